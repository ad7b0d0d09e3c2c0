"""Which image of an archive it is, and of which blobs it consists.

Sources: docker's image tarball (``manifest.json`` of ``docker save``), the OCI
image layout (``index.json``), image index and image manifest.  Everything here
is computed from the documents in an archive.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from nova_hyper.daemon.image.config import ConfigFile, oci_architecture, parse_config
from nova_hyper.daemon.image.digest import is_digest
from nova_hyper.daemon.image.document import a_list, a_string, an_object, parse_json, strings
from nova_hyper.spec.errors import ImageInvalid, ImageUnsuitable

Lookup = Callable[[str], bytes | None]

MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_CONFIGS = (
    "",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
_MAX_DESCRIPTORS = 1000
_DEFAULT_VARIANTS = ("", "v1", "v8")
"""Those that every machine of an architecture runs."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One image of an archive.

    ``layers`` are member names (docker) or blob digests (OCI), bottom first, and
    ``sizes`` the bytes of those, where the manifest says so.
    """

    config_id: str
    config: ConfigFile
    names: tuple[str, ...]
    layers: tuple[str, ...]
    sizes: tuple[int | None, ...] = ()


def docker_candidates(raw: bytes, lookup: Callable[[str], tuple[str, bytes]]) -> list[Candidate]:
    """Return the images that docker's ``manifest.json`` lists.

    :param lookup: returns digest and content of the configuration of a name.
    """
    found = []
    configs: dict[str, ConfigFile] = {}
    items = a_list(parse_json(raw, "manifest.json"), "manifest.json")
    if len(items) > _MAX_DESCRIPTORS:
        raise ImageInvalid("manifest.json of the archive lists too many images")
    for item in items:
        entry = an_object(item, "an image in manifest.json")
        name = a_string(entry.get("Config"), "Config in manifest.json")
        if not name:
            raise ImageInvalid("an image in manifest.json has no Config")
        digest, blob = lookup(name)
        if digest not in configs:
            configs[digest] = parse_config(blob)
        found.append(
            Candidate(
                config_id=digest,
                config=configs[digest],
                names=strings(entry.get("RepoTags"), "RepoTags in manifest.json"),
                layers=strings(entry.get("Layers"), "Layers in manifest.json"),
            )
        )
    return found


def oci_candidates(raw: bytes, lookup: Lookup, arch: str) -> list[Candidate]:
    """Return the images that ``index.json`` lists, also through nested indexes.

    Images whose descriptor names another platform are left out where there is
    one for *arch*: their blobs need not be in the archive.

    :param lookup: returns the JSON blob of a digest, None when the archive lacks it.
    """
    descriptors = _image_descriptors(
        an_object(parse_json(raw, "index.json"), "index.json"), lookup
    )
    here = [d for d in descriptors if _platform(d) in ("", f"linux/{arch}")]
    if descriptors and not here:
        raise _other_platform({_platform(d) for d in descriptors}, arch)
    found = []
    missing = ""
    manifests: dict[str, Candidate | None] = {}
    for descriptor in here:
        digest = a_string(descriptor.get("digest"), "the digest of a manifest")
        blob = lookup(digest)
        if blob is None:
            missing = digest
            continue
        check_size(_size(descriptor), len(blob), f"the manifest {digest}")
        if digest not in manifests:
            data = parse_json(blob, f"the manifest {digest}")
            manifests[digest] = _manifest(data, digest, lookup)
        candidate = manifests[digest]
        if candidate:
            found.append(dataclasses.replace(candidate, names=_names(descriptor)))
    if not found and missing:
        raise ImageInvalid(f"the archive lacks the manifest {missing}")
    return found


def index_of(digest: str, raw: bytes) -> bytes:
    """Return an index that lists just the manifest *raw*, whose digest is *digest*.

    :raises ImageInvalid: when it is a manifest of docker's first schema, or none.
    """
    data = an_object(parse_json(raw, "the manifest"), "the manifest")
    if data.get("schemaVersion") == 1:
        raise ImageInvalid(
            "the registry has the image in docker's first format only, which nothing reads any "
            "more; push it again with a tool of today"
        )
    media = a_string(data.get("mediaType"), "the mediaType of the manifest") or MANIFESTS[0]
    if media not in MANIFESTS or "config" not in data:
        raise ImageInvalid(f"what the registry has there is no image ({media[:100]})")
    return json.dumps({"manifests": [{"mediaType": media, "digest": digest}]}).encode()


def choose(candidates: list[Candidate], arch: str, name: str | None) -> Candidate:
    """Return the image for *arch*; *name* decides where there are several.

    :raises ImageInvalid: when there is none at all, or the choice is open.
    :raises ImageUnsuitable: when all are for other platforms.
    """
    if not candidates:
        raise ImageInvalid("not a docker or OCI archive: it lists no image")
    fitting = [c for c in candidates if c.config.architecture == arch and c.config.os == "linux"]
    if not fitting:
        platforms = {f"{c.config.os}/{c.config.architecture}" for c in candidates}
        raise _other_platform(platforms, arch)
    merged: dict[str, Candidate] = {}
    for candidate in fitting:
        before = merged.get(candidate.config_id)
        if before:
            names = dict.fromkeys(before.names + candidate.names)
            candidate = dataclasses.replace(before, names=tuple(names))  # noqa: PLW2901
        merged[candidate.config_id] = candidate
    chosen = list(merged.values())
    if len(chosen) > 1 and name:
        chosen = [c for c in chosen if name in c.names] or chosen
    if len(chosen) > 1:
        plain = [c for c in chosen if c.config.variant in _DEFAULT_VARIANTS]
        if len({c.config.variant for c in chosen}) == len(chosen) and len(plain) == 1:
            chosen = plain
    if len(chosen) > 1:
        listed = ", ".join(c.names[0] if c.names else c.config_id[:19] for c in chosen)
        raise ImageInvalid(
            f"the archive has {len(chosen)} images for linux/{arch} ({listed[:300]}); "
            "save the wanted one alone"
        )
    return chosen[0]


def _other_platform(platforms: set[str], arch: str) -> ImageUnsuitable:
    return ImageUnsuitable(
        f"the image is for {', '.join(sorted(platforms))[:200]}, but this host runs linux/{arch}; "
        "use an image for that"
    )


def _image_descriptors(index: dict[str, Any], lookup: Lookup) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    seen: set[str] = set()
    pending: list[tuple[dict[str, Any], dict[str, Any]]] = [(index, {})]
    while pending:
        current, outer = pending.pop(0)
        for item in a_list(current.get("manifests"), "manifests of the index"):
            descriptor = an_object(item, "a descriptor in the index")
            digest = a_string(descriptor.get("digest"), "the digest of a descriptor")
            if not is_digest(digest):
                raise ImageInvalid(f"the index has the digest {digest[:100]!r}, not one of sha256")
            if len(found) + len(seen) > _MAX_DESCRIPTORS:
                raise ImageInvalid("the index of the archive lists too many manifests")
            if _is_attestation(descriptor):
                continue
            media = a_string(descriptor.get("mediaType"), "the mediaType of a descriptor")
            if media in INDEXES:
                blob = lookup(digest)
                if blob is not None and digest not in seen:
                    seen.add(digest)
                    what = f"the index {digest}"
                    pending.append((an_object(parse_json(blob, what), what), descriptor))
            elif media in MANIFESTS or not media:
                annotations = {
                    **an_object(outer.get("annotations"), "annotations"),
                    **an_object(descriptor.get("annotations"), "annotations"),
                }
                found.append({**descriptor, "annotations": annotations})
    return found


def _is_attestation(descriptor: dict[str, Any]) -> bool:
    annotations = an_object(descriptor.get("annotations"), "annotations of a descriptor")
    return (
        annotations.get("vnd.docker.reference.type") == "attestation-manifest"
        or _platform(descriptor) == "unknown/unknown"
        or bool(descriptor.get("artifactType"))
    )


def _platform(descriptor: dict[str, Any]) -> str:
    platform = an_object(descriptor.get("platform"), "platform of a descriptor")
    if not platform:
        return ""
    arch = oci_architecture(a_string(platform.get("architecture"), "architecture"))
    return f"{a_string(platform.get('os'), 'os')}/{arch}"


def _names(descriptor: dict[str, Any]) -> tuple[str, ...]:
    annotations = an_object(descriptor.get("annotations"), "annotations of a descriptor")
    for key in ("io.containerd.image.name", "org.opencontainers.image.ref.name"):
        name = a_string(annotations.get(key), key)
        if name:
            return (name,)
    return ()


def _manifest(data: Any, digest: str, lookup: Lookup) -> Candidate | None:
    manifest = an_object(data, f"the manifest {digest}")
    config = an_object(manifest.get("config"), f"config of the manifest {digest}")
    config_id = a_string(config.get("digest"), "the digest of the configuration")
    if not config_id:
        raise ImageInvalid(f"the manifest {digest} has no config")
    media = a_string(config.get("mediaType"), "the mediaType of the configuration")
    if media not in _CONFIGS or manifest.get("artifactType"):
        # An artifact (a chart, a signature): not an image.
        return None
    blob = lookup(config_id)
    if blob is None:
        raise ImageInvalid(f"the archive lacks the image configuration {config_id[:100]}")
    check_size(_size(config), len(blob), f"the image configuration {config_id}")
    layers = []
    sizes = []
    for item in a_list(manifest.get("layers"), f"layers of the manifest {digest}"):
        layer = an_object(item, "a layer of the manifest")
        layers.append(a_string(layer.get("digest"), "the digest of a layer"))
        sizes.append(_size(layer))
    return Candidate(config_id, parse_config(blob), (), tuple(layers), tuple(sizes))


def _size(descriptor: dict[str, Any]) -> int | None:
    """Return the size that a descriptor claims, None where it has none."""
    size = descriptor.get("size")
    if size is None:
        return None
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ImageInvalid("a descriptor has a size that is no number of bytes")
    return size


def check_size(claimed: int | None, size: int, what: str) -> None:
    """Refuse *what*, which has *size* bytes, where its descriptor claims otherwise.

    :raises ImageInvalid: then; see descriptor.md of the OCI image specification, "size".
    """
    if claimed is not None and claimed != size:
        raise ImageInvalid(f"{what} has the wrong size: expected {claimed} bytes, got {size}")
