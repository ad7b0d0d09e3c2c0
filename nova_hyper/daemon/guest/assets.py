"""What a pod boots: the kernel and the initramfs that ``hyperctl guest build`` made.

A guest directory holds ``<key>/{vmlinux,initramfs.cpio,manifest.json}`` for
each build and ``current``, a link to the one that new pods boot.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from nova_hyper.spec.errors import GuestMissing

KERNEL = "vmlinux"
INITRAMFS = "initramfs.cpio"
MANIFEST = "manifest.json"
CURRENT = "current"


@dataclasses.dataclass(frozen=True)
class GuestAssets:
    """One build; ``key`` is the hash of everything that went into it."""

    kernel: Path
    initramfs: Path
    key: str
    kernel_version: str
    agent_version: str


def current(directory: Path) -> GuestAssets:
    """Return what new pods boot, by paths that stay valid when another build becomes current.

    :raises GuestMissing: when nothing usable was built yet.
    """
    try:
        build = directory / os.readlink(directory / CURRENT)
        return read(build)
    except (OSError, ValueError) as exc:
        raise GuestMissing(
            f"there is no guest in {directory}; make one with 'hyperctl guest build'"
        ) from exc


def read(build: Path) -> GuestAssets:
    """Return the build in the directory *build*.

    :raises OSError: when a file of it is missing.
    :raises ValueError: when its manifest is damaged.
    """
    manifest = json.loads((build / MANIFEST).read_bytes())
    if not isinstance(manifest, dict):
        raise ValueError(f"{build / MANIFEST} is not an object")
    kernel, initramfs = build / KERNEL, build / INITRAMFS
    for path in (kernel, initramfs):
        if not path.stat().st_size:
            raise ValueError(f"{path} is empty")
    return GuestAssets(
        kernel=kernel,
        initramfs=initramfs,
        key=_text(manifest, "key"),
        kernel_version=_text(manifest, "kernel_version"),
        agent_version=_text(manifest, "agent_version"),
    )


def switch(directory: Path, build: Path) -> None:
    """Make *build*, a directory in *directory*, the current one; atomic."""
    link = directory / CURRENT
    try:
        if os.readlink(link) == build.name:
            return
    except OSError:
        pass
    temporary = directory / f".{CURRENT}.new"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(build.name)
    os.replace(temporary, link)


def _text(manifest: dict[str, Any], key: str) -> str:
    value = manifest.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"the manifest has no {key}")
    return value
