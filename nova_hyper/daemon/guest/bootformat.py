"""What a kernel or a ramdisk is made as, by its first bytes.

Users bring them, so only as much is read of them as tells whether QEMU can boot
them at all.

Sources: Documentation/arch/x86/boot.rst of Linux (bzImage), ``lib/decompress.c``
there (compressed ramdisks), and Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from nova_hyper.daemon.guest import elf
from nova_hyper.spec.boot import BootFileKind
from nova_hyper.spec.errors import BootFileInvalid

VMLINUX = "vmlinux"
BZIMAGE = "bzimage"
CPIO = "cpio"

_ELF = b"\x7fELF"
_SETUP_MAGIC = 0x202
_BOOT_FLAG = 0x1FE
_LOADFLAGS = 0x211
_LOADED_HIGH = 1
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x5d\x00\x00": "lzma",
    b"\x89LZO": "lzo",
    b"\x02\x21\x4c\x18": "lz4",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_CPIO = (b"070701", b"070702")


def recognize(path: Path, kind: BootFileKind) -> str:
    """Return the format of the file at *path*.

    :raises BootFileInvalid: when QEMU, or Linux in the case of a ramdisk, could
        not do anything with it.
    """
    if not path.stat().st_size:
        raise BootFileInvalid(f"the {kind.value} is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _kernel(data) if kind is BootFileKind.KERNEL else _ramdisk(data)


def _kernel(data: mmap.mmap) -> str:
    if data[:4] == _ELF:
        try:
            entry = elf.pvh_entry(data)
        except ValueError as exc:
            raise BootFileInvalid(f"the kernel cannot be booted: {exc}") from None
        if entry is None:
            raise BootFileInvalid(
                "the kernel is a vmlinux without a PVH entry point; build it with CONFIG_PVH=y, "
                "or give a bzImage"
            )
        return VMLINUX
    header = data[_SETUP_MAGIC : _SETUP_MAGIC + 4] == b"HdrS"
    if header and data[_BOOT_FLAG : _BOOT_FLAG + 2] == b"\x55\xaa":
        if not data[_LOADFLAGS] & _LOADED_HIGH:
            raise BootFileInvalid("the kernel is a zImage of a time gone by; give a bzImage")
        return BZIMAGE
    compressed = _compression(data)
    what = f"it is compressed ({compressed})" if compressed else "it is neither"
    raise BootFileInvalid(
        f"the kernel must be a bzImage or an uncompressed vmlinux with PVH, and {what}"
    )


def _ramdisk(data: mmap.mmap) -> str:
    if data[:6] in _CPIO:
        return CPIO
    compressed = _compression(data)
    if compressed is None:
        raise BootFileInvalid("the ramdisk is no cpio archive (newc), compressed or not")
    return compressed


def _compression(data: mmap.mmap) -> str | None:
    return next((name for magic, name in _COMPRESSED.items() if data[: len(magic)] == magic), None)
