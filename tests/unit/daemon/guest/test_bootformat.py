"""What kernels and ramdisks are recognized as."""

from __future__ import annotations

import struct

import pytest

from nova_hyper.daemon.guest import bootformat
from nova_hyper.spec.boot import BootFileKind
from nova_hyper.spec.errors import BootFileInvalid

KERNEL, RAMDISK = BootFileKind.KERNEL, BootFileKind.RAMDISK


def bzimage(loadflags=1, magic=b"HdrS"):
    data = bytearray(1024)
    data[0x1FE:0x200] = b"\x55\xaa"
    data[0x202:0x206] = magic
    data[0x211] = loadflags
    return bytes(data)


def vmlinux(note=18, machine=62):
    """An ELF image with one note."""
    notes = struct.pack("<III", 4, 4, note) + b"Xen\0" + struct.pack("<I", 0x1000000)
    header = b"\x7fELF\x02\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    program = struct.pack("<IIQQQQQQ", 4, 0, 120, 0, 0, len(notes), len(notes), 4)
    return header + program + notes


def recognize(tmp_path, data, kind):
    path = tmp_path / "file"
    path.write_bytes(data)
    return bootformat.recognize(path, kind)


@pytest.mark.parametrize(
    ("data", "kind", "form"),
    [
        (vmlinux(), KERNEL, "vmlinux"),
        (bzimage(), KERNEL, "bzimage"),
        (b"070701" + bytes(110), RAMDISK, "cpio"),
        (b"070702" + bytes(110), RAMDISK, "cpio"),
        (b"\x1f\x8b\x08\x00", RAMDISK, "gzip"),
        (b"BZh9", RAMDISK, "bzip2"),
        (b"\xfd7zXZ\x00\x00", RAMDISK, "xz"),
        (b"\x28\xb5\x2f\xfd\x00", RAMDISK, "zstd"),
        (b"\x02\x21\x4c\x18", RAMDISK, "lz4"),
    ],
)
def test_what_boots_is_recognized(tmp_path, data, kind, form):
    assert recognize(tmp_path, data, kind) == form


@pytest.mark.parametrize(
    ("data", "kind", "sentence"),
    [
        (b"", KERNEL, "empty"),
        (b"", RAMDISK, "empty"),
        (b"MZ", KERNEL, "must be a bzImage"),
        (b"#!/bin/sh\n" * 200, KERNEL, "must be a bzImage"),
        (b"\x1f\x8b\x08\x00" * 300, KERNEL, "compressed .gzip."),
        (bzimage(magic=b"XXXX"), KERNEL, "must be a bzImage"),
        (bzimage(loadflags=0), KERNEL, "zImage"),
        (vmlinux(note=17), KERNEL, "CONFIG_PVH"),
        (vmlinux(machine=183), KERNEL, "another architecture"),
        (vmlinux()[:70], KERNEL, "truncated"),
        (b"\x7fELF\x01\x01", KERNEL, "64-bit"),
        (b"not an archive", RAMDISK, "no cpio"),
        (b"070707" + bytes(70), RAMDISK, "no cpio"),
    ],
)
def test_what_does_not_boot_is_refused_with_what_to_do(tmp_path, data, kind, sentence):
    with pytest.raises(BootFileInvalid, match=sentence):
        recognize(tmp_path, data, kind)
