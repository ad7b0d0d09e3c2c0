from __future__ import annotations

import struct

import pytest

from nova_hyper.daemon.guest import elf


def image(notes: bytes, *, machine: int = 62, kind: int = 4) -> bytes:
    header = bytearray(64)
    header[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<H", header, 18, machine)
    struct.pack_into("<Q", header, 32, 64)
    struct.pack_into("<HH", header, 54, 56, 1)
    program = struct.pack("<IIQQQQQQ", kind, 0, 120, 0, 0, len(notes), len(notes), 4)
    return bytes(header) + program + notes


def note(name: bytes, kind: int, value: bytes) -> bytes:
    padded = name + bytes(-len(name) % 4)
    return (
        struct.pack("<III", len(name), len(value), kind) + padded + value + bytes(-len(value) % 4)
    )


PVH = note(b"Xen\0", 18, struct.pack("<Q", 0x1000000))


def test_the_pvh_entry_is_found_among_other_notes() -> None:
    assert elf.pvh_entry(image(note(b"GNU\0", 3, b"12345") + PVH)) == 0x1000000


@pytest.mark.parametrize(
    "data",
    [
        image(b""),
        image(note(b"GNU\0", 18, b"1234")),
        image(note(b"Xen\0", 6, b"12")),
        image(PVH, kind=1),
    ],
)
def test_without_the_note_there_is_no_entry(data: bytes) -> None:
    assert elf.pvh_entry(data) is None


@pytest.mark.parametrize(
    "data", [b"", b"MZ", image(PVH, machine=183), image(PVH)[:70], b"\x7fELF\x02\x01"]
)
def test_what_is_no_x86_image_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        elf.pvh_entry(data)


def test_a_note_that_claims_too_much_is_not_followed() -> None:
    assert elf.pvh_entry(image(struct.pack("<III", 2**31, 2**31, 18))) is None
