"""What a pod's micro-VM boots: the host's guest, or what the user has brought."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import BinaryIO, Protocol

from nova_hyper.daemon.guest import cmdline
from nova_hyper.daemon.guest.assets import GuestAssets
from nova_hyper.spec.boot import BootFile, BootFileKind
from nova_hyper.spec.errors import InvalidRequest
from nova_hyper.spec.pod import PodSpec

# The kernel takes the last of several, so these stand whatever the user's are.
_NEEDED = "console=hvc0 panic=-1 rdinit=/init"
# Where a kernel has drivers for neither hvc0 nor anything else yet.
_EARLY = "earlyprintk=ttyS0 console=ttyS0"
_LONGEST = 2047  # COMMAND_LINE_SIZE of x86, less the end
_ALIGNMENT = 4  # of an archive in an initramfs
_INITRAMFS = "initramfs"
_KERNEL_LOG = "kernel.log"


class BootFiles(Protocol):
    """The store of what users have brought."""

    def get(self, ref: str) -> BootFile: ...

    def path(self, ref: str) -> Path: ...


@dataclasses.dataclass(frozen=True)
class Booted:
    """``kernel_log`` is for what the kernel says on a serial port, None for no such port."""

    kernel: Path
    initramfs: Path
    cmdline: str
    kernel_log: Path | None = None


def command_line(spec: PodSpec) -> str:
    """Return the kernel's command line: ours, the user's, and again what the guest needs."""
    parts = [cmdline.DEFAULT]
    if spec.boot.kernel:
        parts.append(_EARLY)
    if spec.boot.cmdline:
        parts.append(" ".join(spec.boot.cmdline.split()))
    if len(parts) > 1:
        parts.append(_NEEDED)
    return " ".join(parts)


def check(spec: PodSpec, files: BootFiles) -> None:
    """Refuse what cannot be booted, before anything is made.

    :raises InvalidRequest: saying why.
    :raises BootFileNotFound: when the kernel or ramdisk is not in the store.
    """
    boot = spec.boot
    words = boot.cmdline.split()
    if "--" in words or boot.cmdline.count('"') % 2:
        raise InvalidRequest(
            "the kernel's command line may not have '--' or a quotation mark without its partner: "
            "what follows would not reach the kernel"
        )
    if len(command_line(spec)) > _LONGEST:
        raise InvalidRequest(
            f"the kernel's command line is too long: with what the guest needs, it has "
            f"{len(command_line(spec))} characters of at most {_LONGEST}"
        )
    for ref, kind in ((boot.kernel, BootFileKind.KERNEL), (boot.ramdisk, BootFileKind.RAMDISK)):
        if ref and files.get(ref).kind is not kind:
            raise InvalidRequest(f"{ref} is no {kind.value}")
    if boot.ramdisk and not boot.kernel and files.get(boot.ramdisk).format != "cpio":
        raise InvalidRequest(
            "the host's own kernel takes only an uncompressed ramdisk; uncompress it, or bring a "
            "kernel too"
        )


def prepare(spec: PodSpec, assets: GuestAssets, files: BootFiles, directory: Path) -> Booted:
    """Return what the pod boots; what must be made for it is in the pod's *directory*.

    :raises BootFileNotFound: when the kernel or ramdisk is gone.
    :raises OSError: when the initramfs cannot be written.
    """
    boot = spec.boot
    initramfs = assets.initramfs
    if boot.ramdisk:
        initramfs = directory / _INITRAMFS
        _join(files.path(boot.ramdisk), assets.initramfs, initramfs)
    return Booted(
        kernel=files.path(boot.kernel) if boot.kernel else assets.kernel,
        initramfs=initramfs,
        cmdline=command_line(spec),
        kernel_log=kernel_log(directory) if boot.kernel else None,
    )


def kernel_log(directory: Path) -> Path:
    """Return the file, in the pod's *directory*, of what a user's kernel says early."""
    return directory / _KERNEL_LOG


def _join(first: Path, second: Path, target: Path) -> None:
    """Write one ramdisk after the other: a later file takes the place of an earlier one."""
    with target.open("wb") as file:
        for part in (first, second):
            _append(part, file)
    target.chmod(0o644)


def _append(part: Path, file: BinaryIO) -> None:
    with part.open("rb") as source:
        shutil.copyfileobj(source, file, 1 << 20)
    file.write(bytes(-file.tell() % _ALIGNMENT))
