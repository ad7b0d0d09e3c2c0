"""Volumes of a pod: directories that its containers share, and what is in them at first."""

from __future__ import annotations

import dataclasses
import enum


class Medium(enum.StrEnum):
    """What a volume is made of."""

    DISK = "disk"
    """A directory beside the containers' writable layers, within the pod's quota."""
    MEMORY = "memory"
    """A tmpfs, which counts as memory of whoever writes to it."""


@dataclasses.dataclass(frozen=True)
class VolumeFile:
    """A file that is in a volume from the beginning.

    ``path`` is relative to the volume; ``data`` is base64; ``mode`` has the
    permission bits only.
    """

    path: str
    data: str
    mode: int = 0o644


@dataclasses.dataclass(frozen=True)
class Volume:
    """A directory that is empty, or has ``files``, whenever the pod boots.

    ``size_mib`` bounds a volume in memory; ``mode`` and ``gid`` are of the
    directory itself, and may have the set-group-ID bit.
    """

    name: str
    medium: Medium = Medium.DISK
    size_mib: int | None = None
    mode: int = 0o777
    gid: int | None = None
    files: tuple[VolumeFile, ...] = ()


@dataclasses.dataclass(frozen=True)
class Mount:
    """A volume, or what is at ``sub_path`` in it, at ``path`` of a container."""

    volume: str
    path: str
    sub_path: str = ""
    read_only: bool = False
