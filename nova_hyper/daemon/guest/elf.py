"""As much of ELF as tells whether QEMU can boot a kernel directly."""

from __future__ import annotations

import mmap
import struct

_MACHINE_X86_64 = 62
_TYPE_NOTE = 4
# XEN_ELFNOTE_PHYS32_ENTRY: xen/include/public/elfnote.h
_NOTE_PHYS32_ENTRY = 18


def pvh_entry(data: bytes | mmap.mmap) -> int | None:
    """Return the physical address of the PVH entry point of an ELF image, None without one.

    :raises ValueError: when *data* is not a 64-bit x86 ELF image.
    """
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("it is not a 64-bit little-endian ELF file")
    try:
        (machine,) = struct.unpack_from("<H", data, 18)
        if machine != _MACHINE_X86_64:
            raise ValueError(f"it is for another architecture ({machine})")
        (offset,) = struct.unpack_from("<Q", data, 32)
        size, count = struct.unpack_from("<HH", data, 54)
        for index in range(count):
            kind, _flags, start, _v, _p, length = struct.unpack_from(
                "<IIQQQQ", data, offset + index * size
            )
            if kind == _TYPE_NOTE:
                entry = _entry_in_notes(data[start : start + length])
                if entry is not None:
                    return entry
    except struct.error:
        raise ValueError("it is truncated") from None
    return None


def _entry_in_notes(notes: bytes) -> int | None:
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("<III", notes, at)
        name = notes[at + 12 : at + 12 + name_size]
        begin = at + 12 + (name_size + 3) // 4 * 4
        if name == b"Xen\0" and kind == _NOTE_PHYS32_ENTRY:
            return int.from_bytes(notes[begin : begin + size], "little")
        at = begin + (size + 3) // 4 * 4
    return None
