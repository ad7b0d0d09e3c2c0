"""The fields of tar headers: numbers, pax records and sparse maps."""

from __future__ import annotations

import re

from nova_hyper.spec.errors import ImageInvalid

MAX_PAX = 1 << 20
"""Bytes of one pax or GNU long-name header, as in Go's archive/tar."""
MAX_SPARSE = 100_000
"""Parts of one sparse file."""

SparseMap = list[tuple[int, int]]

_TIME = re.compile(rb"(-?)([0-9]{1,18})(?:\.([0-9]*))?")


def parse_number(field: bytes) -> int:
    """Return the number in a header field: octal digits, or GNU's base-256.

    :raises ValueError: when it is neither.
    """
    if field[-1] in b"\0 " and field[:-1].isdigit():
        return int(field[:-1], 8)
    first = field[0]
    if first & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        # Base-256 is two's complement without its topmost bit.
        return value - (1 << (8 * len(field) - 1)) if first & 0x40 else value
    digits = field.strip(b" \0")
    end = digits.find(b"\0")
    if end >= 0:
        digits = digits[:end].rstrip(b" ")
    if not digits:
        return 0
    if not digits.isdigit():
        raise ValueError(f"{field!r} is not a number")
    return int(digits, 8)


def parse_decimal(text: bytes) -> int:
    """Return the number of a pax record.

    :raises ImageInvalid: when it is not a decimal number of at most 18 digits.
    """
    if not text.isdigit() or len(text) > 18:
        raise ImageInvalid(f"a pax header has {text[:40]!r} where a number is needed")
    return int(text)


def parse_time(text: bytes) -> int:
    """Return the whole seconds of a pax time, rounded down."""
    match = _TIME.fullmatch(text)
    if not match:
        raise ImageInvalid(f"a pax header has {text[:40]!r} where a time is needed")
    seconds = int(match[2])
    if match[1]:
        return -seconds - (1 if (match[3] or b"").strip(b"0") else 0)
    return seconds


def parse_pax(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the ``length key=value`` records of a pax header, in order.

    :raises ImageInvalid: when they are malformed.
    """
    records = []
    pos = 0
    while pos < len(data):
        space = data.find(b" ", pos, pos + 20)
        if space < 0 or not data[pos:space].isdigit():
            # Some writers pad the last record with NULs.
            if not data[pos:].strip(b"\0"):
                break
            raise ImageInvalid("a pax header is malformed: a record has no length")
        end = pos + int(data[pos:space])
        if end > len(data) or end <= space + 1 or data[end - 1 : end] != b"\n":
            raise ImageInvalid("a pax header is malformed: a record has the wrong length")
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals or not key:
            raise ImageInvalid("a pax header is malformed: a record has no key")
        records.append((key, value))
        pos = end
    return records


def sparse_of_pax(records: list[tuple[bytes, bytes]]) -> SparseMap | None:
    """Return the map of a sparse file in pax format 0.0 or 0.1, None for another file."""
    numbers: list[int] = []
    for key, value in records:
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            numbers.append(parse_decimal(value))
        elif key == b"GNU.sparse.map" and value:
            if value.count(b",") > 2 * MAX_SPARSE:
                raise ImageInvalid("a sparse file has too many parts")
            numbers = [parse_decimal(v) for v in value.split(b",")]
        else:
            continue
    if not numbers:
        return None
    if len(numbers) % 2:
        raise ImageInvalid("the map of a sparse file is malformed")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def sparse_of_gnu(entries: bytes) -> SparseMap:
    """Return the (offset, length) pairs in the 24-byte entries of a GNU sparse header."""
    found: SparseMap = []
    for pos in range(0, len(entries) - 23, 24):
        if not entries[pos]:
            break
        found.append(
            (
                parse_number(entries[pos : pos + 12]),
                parse_number(entries[pos + 12 : pos + 24]),
            )
        )
    return found


def check_sparse(parts: SparseMap, stored: int, size: int) -> SparseMap:
    """Return *parts* when they are in order, inside *size* and *stored* bytes in sum."""
    if len(parts) > MAX_SPARSE:
        raise ImageInvalid("a sparse file has too many parts")
    end = 0
    for offset, length in parts:
        if offset < end or length < 0:
            raise ImageInvalid("the map of a sparse file is malformed")
        end = offset + length
    if end > size or sum(length for _, length in parts) != stored:
        raise ImageInvalid("the map of a sparse file is malformed")
    return parts
