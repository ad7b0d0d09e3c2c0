"""What a micro-VM boots, and kernels that users bring."""

from __future__ import annotations

import dataclasses
import enum


class BootFileKind(enum.StrEnum):
    """What a file in the store of boot files is for."""

    KERNEL = "kernel"
    RAMDISK = "ramdisk"


@dataclasses.dataclass(frozen=True)
class BootFile:
    """A kernel or ramdisk in hyperd's store.

    ``id`` is ``sha256:`` and the digest of the content, ``format`` what it was
    recognized as (``vmlinux``, ``bzimage``, ``cpio``, ``gzip``, ...), ``size``
    is in bytes.
    """

    id: str
    names: tuple[str, ...]
    kind: BootFileKind
    format: str
    size: int


@dataclasses.dataclass(frozen=True)
class Boot:
    """What is booted in place of, or beside, the host's guest.

    ``kernel`` and ``ramdisk`` are ids in the store of boot files, empty for none:
    the host's own kernel, and the agent alone.  The ramdisk is unpacked before the
    agent is.  ``cmdline`` goes to the kernel beside what the guest needs.
    """

    kernel: str = ""
    ramdisk: str = ""
    cmdline: str = ""
