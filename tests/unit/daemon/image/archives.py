"""Tiny layers and archives, made in memory."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import Any

import zstandard

D, F, S, L = tarfile.DIRTYPE, tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(*entries: tuple, format: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar; an entry is (name, type, content or link target, {attributes})."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for name, kind, content, *rest in entries:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.mode = 0o755 if kind == D else 0o644
            for key, value in (rest[0] if rest else {}).items():
                setattr(info, key, value)
            data = content if isinstance(content, bytes) else content.encode()
            if kind in (S, L):
                info.linkname, data = content, b""
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def archive_of(members: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    """Return the outer tar of *members*, in their order."""
    entries: list[tuple] = [(name, F, data) for name, data in members.items()]
    entries += [(name, S, target) for name, target in (links or {}).items()]
    return tar_of(*entries)


LAYER = tar_of(("etc", D, ""), ("etc/motd", F, "hello\n"))
UPPER = tar_of(("etc", D, ""), ("etc/.wh.motd", F, ""), ("etc/issue", F, "upper\n"))


def config_of(layers: list[bytes], **changes: Any) -> bytes:
    """Return the configuration of an image of plain *layers*."""
    data: dict[str, Any] = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-01-01T00:00:00Z",
        "config": {"Cmd": ["/bin/true"], "Env": ["A=1"]},
        "rootfs": {"type": "layers", "diff_ids": [sha256(layer) for layer in layers]},
    }
    data.update(changes)
    return json.dumps(data).encode()


def docker_members(
    layers: list[bytes], tags: tuple[str, ...] = ("web:1",), **changes: Any
) -> dict[str, bytes]:
    """Return the members of what ``podman save`` writes: layers named by diff ID."""
    config = config_of(layers, **changes)
    config_name = sha256(config)[7:] + ".json"
    names = [sha256(layer)[7:] + ".tar" for layer in layers]
    manifest = [{"Config": config_name, "RepoTags": list(tags), "Layers": names}]
    return {
        **dict(zip(names, layers, strict=True)),
        config_name: config,
        "manifest.json": json.dumps(manifest).encode(),
    }


def docker_archive(layers: list[bytes], **kwargs: Any) -> bytes:
    return archive_of(docker_members(layers, **kwargs))


def compress(layer: bytes, how: str) -> bytes:
    if how == "gzip":
        return gzip.compress(layer, mtime=0)
    if how == "zstd":
        return zstandard.ZstdCompressor().compress(layer)
    return layer


def blob_name(data: bytes) -> str:
    return "blobs/sha256/" + sha256(data)[7:]


def descriptor(data: bytes, media: str, **extra: Any) -> dict[str, Any]:
    return {"mediaType": media, "digest": sha256(data), "size": len(data), **extra}


OCI = "application/vnd.oci.image."


def oci_manifest(
    layers: list[bytes], how: str = "gzip", **changes: Any
) -> tuple[bytes, dict[str, bytes]]:
    """Return an OCI manifest and the blobs that it needs, itself included."""
    config = config_of(layers, **changes)
    packed = [compress(layer, how) for layer in layers]
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "config": descriptor(config, OCI + "config.v1+json"),
            "layers": [descriptor(p, f"{OCI}layer.v1.tar+{how}") for p in packed],
        }
    ).encode()
    return manifest, {blob_name(b): b for b in (*packed, config, manifest)}


def oci_members(layers: list[bytes], how: str = "gzip", tag: str = "", **changes: Any):
    """Return the members of an OCI archive of one image."""
    manifest, blobs = oci_manifest(layers, how, **changes)
    extra = {"annotations": {"org.opencontainers.image.ref.name": tag}} if tag else {}
    return {**blobs, **index_of([descriptor(manifest, OCI + "manifest.v1+json", **extra)])}


def index_of(descriptors: list[dict[str, Any]]) -> dict[str, bytes]:
    return {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": descriptors}).encode(),
    }
