"""Reading of a docker or OCI archive in one pass, whatever the order of its members.

What a member is for is known only at the end (``docker save`` writes
``manifest.json`` last, an OCI archive's blobs come before or after
``index.json``).  So a member that is a tar stream, plain or compressed, goes to
the layer sink at once; one that is JSON is kept in memory, within limits;
everything else is passed over.  :func:`resolve` then finds the image in it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import posixpath
from typing import Protocol

from nova_hyper.daemon.image import manifest
from nova_hyper.daemon.image.compression import Read, decompressed, sniff
from nova_hyper.daemon.image.config import ConfigFile
from nova_hyper.daemon.image.digest import digest_in_name
from nova_hyper.daemon.image.limits import Limits
from nova_hyper.daemon.image.names import components, printable
from nova_hyper.daemon.image.stream import ByteStream, Readable
from nova_hyper.daemon.image.tar import HARDLINK, REGULAR, SYMLINK, Member, TarReader, is_header
from nova_hyper.spec.errors import HyperError, ImageInvalid

_NOT_AN_ARCHIVE = "not a docker or OCI archive"
_JSON_START = (b"{", b"[")
_OTHER_FORMATS = (
    (b"QFI\xfb", "a qcow2 disk image"),
    (b"hsqs", "a squashfs file system"),
    (b"PK\x03\x04", "a zip file"),
    (b"\x7fELF", "a program"),
    (b"KDMV", "a VMDK disk image"),
    (b"<", "an HTML or XML page"),
    (b"{", "a JSON document"),
)


class LayerSink(Protocol):
    """Where the layers of an archive go."""

    def known(self, digest: str, compressed: bool) -> str:
        """Return the diff ID of a layer that is here already, or nothing.

        :param digest: of the blob, as its name claims.
        """

    def convert(self, read: Read, compression: str, what: str) -> tuple[str, str]:
        """Take the layer in, to the end of *read*; return its diff ID and blob digest.

        :raises ImageInvalid: when it is no layer.
        """


@dataclasses.dataclass
class Contents:
    """What an archive holds: by member name, and by the digest of the content."""

    documents: dict[str, tuple[str, bytes]] = dataclasses.field(default_factory=dict)
    by_digest: dict[str, bytes] = dataclasses.field(default_factory=dict)
    layers: dict[str, str] = dataclasses.field(default_factory=dict)
    """Member name or blob digest → diff ID."""
    aliases: dict[str, str] = dataclasses.field(default_factory=dict)
    others: dict[str, str] = dataclasses.field(default_factory=dict)
    """Why a member is neither a layer nor a document."""
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)
    """Blob digest of a layer → bytes in the archive."""
    complete: bool = False


@dataclasses.dataclass(frozen=True)
class FoundImage:
    """The image of an archive; the layers of its ``config.diff_ids`` all went to the sink.

    ``document`` is the configuration itself, of which ``id`` is the digest; bytes as Latin-1.
    """

    id: str
    names: tuple[str, ...]
    config: ConfigFile
    document: str


def read_archive(source: Readable, sink: LayerSink, limits: Limits) -> Contents:
    """Read *source* to its end.

    :raises ImageInvalid: when it is no archive, or damaged.
    """
    stream = _open(source, limits.raw)
    reader = TarReader(stream)
    contents = Contents()
    kept = members = 0
    while member := reader.next():
        members += 1
        if members > limits.members:
            raise ImageInvalid(f"{_NOT_AN_ARCHIVE}: it has more than {limits.members} members")
        name = _name(member.name)
        if member.kind in (SYMLINK, HARDLINK):
            base = posixpath.dirname(name) if member.kind == SYMLINK else ""
            link = member.link.decode("utf-8", "replace")
            contents.aliases[name] = posixpath.normpath(posixpath.join(base, link))
        elif member.kind == REGULAR:
            if member.sparse is not None:
                raise ImageInvalid(f"{_NOT_AN_ARCHIVE}: {name} is a sparse file")
            kept += _read_member(reader, member, name, contents, sink, limits)
            if kept > limits.json_total:
                raise ImageInvalid("the archive has too many JSON documents")
    contents.complete = reader.complete
    # The sender's last bytes: padding, and the end of an outer compression.
    stream.drain()
    return contents


def resolve(contents: Contents, arch: str, name: str | None) -> FoundImage:
    """Return the image for *arch* in *contents*; *name* helps where there are several.

    :raises ImageInvalid: when something is missing or does not fit together.
    :raises ImageUnsuitable: when there are images for other platforms only.
    """
    docker = contents.documents.get("manifest.json")
    oci = contents.documents.get("index.json")
    if docker:
        candidates = manifest.docker_candidates(
            docker[1], lambda path: _docker_config(contents, path)
        )
    elif oci:
        candidates = manifest.oci_candidates(oci[1], contents.by_digest.get, arch)
    elif reason := contents.others.get("manifest.json") or contents.others.get("index.json"):
        raise ImageInvalid(f"the manifest of the archive cannot be used: {reason}")
    elif not contents.complete:
        raise ImageInvalid("the archive is truncated: it has no end, and no manifest.json so far")
    else:
        raise ImageInvalid(
            f"{_NOT_AN_ARCHIVE}: it has neither manifest.json nor index.json; make one with "
            "docker save, skopeo copy or buildah push"
        )
    chosen = manifest.choose(candidates, arch, name)
    expected = chosen.config.diff_ids
    if len(chosen.layers) != len(expected):
        raise ImageInvalid(
            f"the manifest has {len(chosen.layers)} layers and the image configuration "
            f"{len(expected)}"
        )
    for number, (key, diff_id) in enumerate(zip(chosen.layers, expected, strict=True), 1):
        what = f"layer {number} of {len(expected)} ({key[:150]})"
        got = contents.layers.get(_follow(contents, key))
        if got is None:
            why = contents.others.get(_follow(contents, key), "it is missing in the archive")
            raise ImageInvalid(f"{what} cannot be used: {why}")
        if got != diff_id:
            raise ImageInvalid(f"{what} has the wrong digest: expected {diff_id}, got {got}")
    for key, claimed in zip(chosen.layers, chosen.sizes, strict=False):
        if key in contents.sizes:
            manifest.check_size(claimed, contents.sizes[key], f"the layer {key}")
    document = contents.by_digest[chosen.config_id].decode("latin-1")
    return FoundImage(chosen.config_id, chosen.names, chosen.config, document)


def _bounded(read: Read, limit: int) -> Read:
    """Return *read*, which raises ImageInvalid after *limit* bytes: nothing else ends a stream."""
    left = limit

    def bounded(size: int) -> bytes:
        nonlocal left
        data = read(size)
        left -= len(data)
        if left < 0:
            raise ImageInvalid(
                f"the archive is larger than {limit / (1 << 30):.3g} GiB; raise [image] "
                "max_image_gib of hyperd if that is intended"
            )
        return data

    return bounded


def _open(source: Readable, limit: int) -> ByteStream:
    stream = ByteStream(_bounded(source.read, limit))
    start = stream.take_upto(512)
    compression = sniff(start)
    stream.push_back(start)
    if compression:
        if compression not in ("gzip", "zstd"):
            raise ImageInvalid(
                f"{_NOT_AN_ARCHIVE} that can be read: it is compressed with {compression}; "
                "use gzip, zstd or none"
            )
        stream = ByteStream(_bounded(decompressed(stream.some, compression), limit))
        start = stream.take_upto(512)
        stream.push_back(start)
    if not start:
        what = f"its {compression} stream is empty or truncated" if compression else "it is empty"
        raise ImageInvalid(f"{_NOT_AN_ARCHIVE}: {what}")
    if not is_header(start):
        what = next((text for magic, text in _OTHER_FORMATS if start.startswith(magic)), "")
        what = f"it looks like {what}" if what else "it is no tar file"
        raise ImageInvalid(f"{_NOT_AN_ARCHIVE}: {what}")
    return stream


def _name(raw: bytes) -> str:
    return b"/".join(components(raw)).decode("utf-8", "replace")


def _read_member(
    reader: TarReader,
    member: Member,
    name: str,
    contents: Contents,
    sink: LayerSink,
    limits: Limits,
) -> int:
    """Take in one regular member and return how many bytes of it are kept in memory."""
    start = reader.peek(512)
    compression = sniff(start)
    claimed = digest_in_name(name)
    contents.others.pop(name, None)
    if compression in ("gzip", "zstd") or (not compression and is_header(start)):
        blob = _read_layer(reader, name, compression, claimed, contents, sink)
        contents.sizes[blob] = member.size
        return 0
    if not start.lstrip()[:1].startswith(_JSON_START):
        contents.others[name] = (
            f"it is compressed with {compression}; use gzip or zstd"
            if compression
            else "it is no tar file"
        )
        return 0
    if member.size > limits.json:
        contents.others[name] = f"it is a JSON document of more than {limits.json >> 20} MiB"
        if claimed:
            contents.others[claimed] = contents.others[name]
        return 0
    data = b""
    while part := reader.read(1 << 18):
        data += part
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if claimed and claimed != digest:
        raise ImageInvalid(f"{name} has the wrong digest: expected {claimed}, got {digest}")
    contents.documents[name] = (digest, data)
    contents.by_digest[digest] = data
    return len(data)


def _read_layer(
    reader: TarReader,
    name: str,
    compression: str,
    claimed: str,
    contents: Contents,
    sink: LayerSink,
) -> str:
    """Take in one layer and return the digest of its blob."""
    diff_id = sink.known(claimed, bool(compression)) if claimed else ""
    fitting: tuple[str, ...]
    try:
        if diff_id:
            digest = hashlib.sha256()
            while part := reader.read(1 << 20):
                digest.update(part)
            blob = f"sha256:{digest.hexdigest()}"
            fitting = (blob,)
        else:
            diff_id, blob = sink.convert(reader.read, compression, name)
            # A docker archive's <hex>.tar has its diff ID as name even when it is compressed.
            fitting = (blob, diff_id)
    except HyperError as exc:
        exc.message = f"the layer {printable(name.encode())}: {exc.message}"
        exc.args = (exc.message,)
        raise
    if claimed and claimed not in fitting:
        raise ImageInvalid(
            f"the layer {name} has the wrong digest: expected {claimed}, got {blob}"
        )
    contents.layers[name] = diff_id
    contents.layers[blob] = diff_id
    return blob


def _follow(contents: Contents, name: str) -> str:
    """Return where *name* leads: legacy docker archives link a layer that occurs twice."""
    if name.startswith("sha256:"):
        return name
    name = posixpath.normpath(name)
    for _ in range(16):
        if name not in contents.aliases or name in contents.layers:
            break
        name = contents.aliases[name]
    return name


def _docker_config(contents: Contents, path: str) -> tuple[str, bytes]:
    name = _follow(contents, path)
    found = contents.documents.get(name)
    if found is None:
        why = contents.others.get(name, "it is missing in the archive")
        raise ImageInvalid(f"the image configuration {path[:150]} cannot be used: {why}")
    return found
