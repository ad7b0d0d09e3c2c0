"""Docker archives for tests: small, made here, and wrong in the way that a test wants."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_COLOUR = "SCHILY.xattr.user.colour"


def layer(files: Mapping[str, bytes]) -> bytes:
    """Return an uncompressed layer with *files*, by path, all executable."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o755
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def coloured(name: str, colour: str) -> bytes:
    """Return a tar with an empty file that has the extended attribute ``user.colour``."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo(name)
        entry.pax_headers = {_COLOUR: colour}
        tar.addfile(entry)
    return out.getvalue()


def colour_of(body: Any, name: str) -> str:
    """Return that attribute in the tar that *body* has, and close it."""
    data = b""
    while part := body.read():
        data += part
    body.close()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getmember(name).pax_headers[_COLOUR]


def write(
    path: Path,
    layers: list[bytes],
    config: Mapping[str, Any],
    *,
    architecture: str = "amd64",
    diff_ids: list[str] | None = None,
) -> Path:
    """Write a docker archive of *layers* with the execution parameters *config* to *path*.

    *diff_ids* stand for the right ones, where a test wants them wrong.
    """
    image = {
        "architecture": architecture,
        "os": "linux",
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": diff_ids or [_digest(blob) for blob in layers]},
    }
    blob = json.dumps(image).encode()
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": "config.json", "RepoTags": [f"{path.stem}:latest"], "Layers": names}]
    with tarfile.open(path, "w") as tar:
        for name, content in zip(names, layers, strict=True):
            _add(tar, name, content)
        _add(tar, "config.json", blob)
        _add(tar, "manifest.json", json.dumps(manifest).encode())
    return path


def with_command(busybox: Path, path: Path, command: str) -> Path:
    """Write the image *busybox* with another command, run by a shell, to *path*.

    Its layers are the same, so a host that has the one stores nothing for the other.
    """

    def change(image: dict[str, Any]) -> None:
        image["config"]["Cmd"] = ["sh", "-c", command]

    return remade(busybox, path, change)


def remade(
    archive: Path,
    path: Path,
    change: Callable[[dict[str, Any]], None] = lambda image: None,
    top: bytes | None = None,
) -> Path:
    """Write *archive* again to *path*, its configuration changed and the layer *top* put on it."""
    with tarfile.open(archive) as tar:
        contents = {m.name: _content(tar, m) for m in tar if m.isfile()}
    (manifest,) = json.loads(contents.pop("manifest.json"))
    image = json.loads(contents.pop(manifest["Config"]))
    change(image)
    if top is not None:
        image["rootfs"]["diff_ids"].append(_digest(top))
        manifest["Layers"].append("top.tar")
        contents["top.tar"] = gzip.compress(top, 1)
    manifest["Config"] = "config.json"
    manifest["RepoTags"] = [f"{path.stem}:latest"]
    with tarfile.open(path, "w") as tar:
        for name in manifest["Layers"]:
            _add(tar, name, contents[name])
        _add(tar, "config.json", json.dumps(image).encode())
        _add(tar, "manifest.json", json.dumps([manifest]).encode())
    return path


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = tar.extractfile(member)
    assert content is not None, member.name
    return content.read()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"
