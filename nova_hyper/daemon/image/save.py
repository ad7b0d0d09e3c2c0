"""Archives of images, made from the store: what ``docker load``, podman and skopeo read.

The configuration is given back byte for byte, and so is every layer's tar
stream: id and diff IDs are those that the image came with.  Layers are not
compressed, so that an OCI archive's blobs have digests that are known before
they are written.
"""

from __future__ import annotations

import dataclasses
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from nova_hyper.daemon.image.digest import sha256
from nova_hyper.daemon.image.recipe import restore, verified
from nova_hyper.daemon.image.registry import reference as references
from nova_hyper.spec.errors import HyperError, InvalidRequest

FORMATS = ("docker", "oci")

_BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK)
_OCI = "application/vnd.oci.image."


@dataclasses.dataclass(frozen=True)
class SavedLayer:
    """A layer to give back: ``tar_size`` bytes, made of the files *recipe* and *squashfs*."""

    diff_id: str
    tar_size: int
    recipe: Path
    squashfs: Path


@dataclasses.dataclass(frozen=True)
class Archive:
    """An archive of ``size`` bytes, which ``chunks`` gives; ``close`` lets its layers go.

    ``chunks`` raises HyperError where a layer is damaged: what was given before is useless.
    """

    size: int
    chunks: Iterator[bytes]
    close: Callable[[], None]


@dataclasses.dataclass(frozen=True)
class _Member:
    name: str
    size: int
    content: bytes | SavedLayer


def docker_archive(
    document: bytes, names: tuple[str, ...], layers: Sequence[SavedLayer]
) -> Members:
    """Return the members of a docker-archive, as ``docker save`` and skopeo write it.

    :param layers: bottom first; one may occur several times.
    """
    config = f"{_hex(sha256(document))}.json"
    manifest = [
        {
            "Config": config,
            "RepoTags": [name for name in map(tagged, names) if name],
            "Layers": [f"{_hex(layer.diff_id)}.tar" for layer in layers],
        }
    ]
    return Members(
        [
            *(_Member(f"{_hex(la.diff_id)}.tar", la.tar_size, la) for la in _once(layers)),
            _Member(config, len(document), document),
            _json("manifest.json", manifest),
        ]
    )


def oci_archive(document: bytes, names: tuple[str, ...], layers: Sequence[SavedLayer]) -> Members:
    """Return the members of an OCI archive (OCI image layout)."""
    manifest = _json(
        "",
        {
            "schemaVersion": 2,
            "mediaType": _OCI + "manifest.v1+json",
            "config": _descriptor("config.v1+json", sha256(document), len(document)),
            "layers": [_descriptor("layer.v1.tar", la.diff_id, la.tar_size) for la in layers],
        },
    )
    assert isinstance(manifest.content, bytes)
    digest = sha256(manifest.content)
    described = _descriptor("manifest.v1+json", digest, manifest.size)
    entries = [
        {**described, "annotations": {"org.opencontainers.image.ref.name": name}}
        for name in map(tagged, names)
        if name
    ]
    return Members(
        [
            _json("oci-layout", {"imageLayoutVersion": "1.0.0"}),
            *(_Member(_blob(la.diff_id), la.tar_size, la) for la in _once(layers)),
            _Member(_blob(sha256(document)), len(document), document),
            _Member(_blob(digest), manifest.size, manifest.content),
            _json("index.json", {"schemaVersion": 2, "manifests": entries or [described]}),
        ]
    )


class Members:
    """The members of an archive, in order."""

    def __init__(self, members: list[_Member]) -> None:
        self._members = members

    @property
    def size(self) -> int:
        """Bytes of the archive."""
        return len(_END) + sum(
            len(_header(member)) + member.size + -member.size % _BLOCK for member in self._members
        )

    def chunks(self) -> Iterator[bytes]:
        """Yield the archive.

        :raises HyperError: when a layer is damaged.
        :raises OSError: when one cannot be read.
        """
        for member in self._members:
            yield _header(member)
            if isinstance(member.content, bytes):
                yield member.content
            else:
                yield from _content(member.content)
            yield bytes(-member.size % _BLOCK)
        yield _END


def tagged(name: str) -> str:
    """Return *name* as other tools take it, with a tag; nothing where it is no reference.

    A name by digest is none: the digest would be of another manifest.
    """
    try:
        reference = references.parse(name)
    except InvalidRequest:
        return ""
    if reference.digest:
        return ""
    return name if name.endswith(f":{reference.tag}") else f"{name}:{reference.tag}"


def _content(layer: SavedLayer) -> Iterator[bytes]:
    left = layer.tar_size
    with open(layer.recipe, "rb") as recipe, open(layer.squashfs, "rb") as squashfs:
        for chunk in verified(restore(recipe, squashfs), layer.diff_id):
            left -= len(chunk)
            if left < 0:
                break
            yield chunk
    if left:
        raise HyperError(
            f"the layer {layer.diff_id} is damaged on this host's disk: it has another size; "
            "remove the image and load it again"
        )


def _once(layers: Sequence[SavedLayer]) -> list[SavedLayer]:
    return list({layer.diff_id: layer for layer in layers}.values())


def _header(member: _Member) -> bytes:
    info = tarfile.TarInfo(member.name)
    info.size = member.size
    return info.tobuf(tarfile.PAX_FORMAT)


def _json(name: str, value: object) -> _Member:
    content = json.dumps(value).encode()
    return _Member(name, len(content), content)


def _descriptor(kind: str, digest: str, size: int) -> dict[str, object]:
    return {"mediaType": _OCI + kind, "digest": digest, "size": size}


def _blob(digest: str) -> str:
    return f"blobs/sha256/{_hex(digest)}"


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")
