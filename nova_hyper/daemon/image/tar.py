"""Reading of tar streams, strictly forward and with bounded memory.

The formats are those of real images: POSIX ustar and pax (IEEE Std 1003.1,
"pax"), GNU (long names, base-256 numbers, sparse files) and the xattr records
of star.  Where implementations differ, Go's ``archive/tar`` is followed,
because docker, containerd and umoci read with it.

Every header is parsed to values here and nothing of it is passed on: no other
program ever reads the stream and understands it differently.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator

from nova_hyper.daemon.image.names import MAX_PATH, printable
from nova_hyper.daemon.image.stream import ByteStream
from nova_hyper.daemon.image.tar_fields import (
    MAX_PAX,
    MAX_SPARSE,
    SparseMap,
    check_sparse,
    parse_decimal,
    parse_number,
    parse_pax,
    parse_time,
    sparse_of_gnu,
    sparse_of_pax,
)
from nova_hyper.spec.errors import ImageInvalid

BLOCK = 512
REGULAR, HARDLINK, SYMLINK, CHARDEV, BLOCKDEV, DIRECTORY, FIFO = range(7)

_ZERO = bytes(BLOCK)
_MAX_ID = 0xFFFFFFFF
_KINDS = {
    ord("0"): REGULAR,
    0: REGULAR,
    ord("7"): REGULAR,
    ord("S"): REGULAR,
    ord("1"): HARDLINK,
    ord("2"): SYMLINK,
    ord("3"): CHARDEV,
    ord("4"): BLOCKDEV,
    ord("5"): DIRECTORY,
    ord("6"): FIFO,
}
_HEADER = struct.Struct("100s8s8s8s12s12s9x100s6s66x8s8s155s12x")
"""name, mode, uid, gid, size, mtime, link, magic, major, minor, prefix."""
_XATTR = b"SCHILY.xattr."
_MAX_HELD = 2 * MAX_PAX
"""Bytes of all the headers of one member: a long name, a long link and pax records."""


@dataclasses.dataclass(slots=True)
class Member:
    """One entry of a tar stream.

    ``size`` is the size of the file as a reader sees it; ``sparse`` lists
    (offset, length) of the parts of a sparse file that are in the stream, in
    order, or is None.  ``mtime`` is whole Unix seconds, rounded down.
    """

    name: bytes
    kind: int
    mode: int
    uid: int
    gid: int
    mtime: int
    size: int = 0
    link: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: dict[bytes, bytes] | None = None
    sparse: SparseMap | None = None


def is_header(block: bytes) -> bool:
    """Tell whether *block* starts with a tar header, or with the end of a tar stream."""
    if len(block) < BLOCK:
        return False
    block = block[:BLOCK]
    return block == _ZERO or _checksum_matches(block)


def _checksum_matches(block: bytes) -> bool:
    field = block[148:156]
    try:
        stored = parse_number(field)
    except ValueError:
        return False
    unsigned = sum(block) - sum(field) + 256
    if stored == unsigned:
        return True
    # Some old implementations summed signed characters.
    high = sum(b >= 128 for b in block) - sum(b >= 128 for b in field)
    return stored == unsigned - 256 * high


def _text(field: bytes) -> bytes:
    end = field.find(0)
    return field if end < 0 else field[:end]


class TarReader:
    """The members of a tar stream, one after the other.

    Data of a member that was not read is passed over by :meth:`next`.
    """

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._left = 0
        self._padding = 0
        self.complete = False
        """Whether the end-of-archive mark was seen."""

    def next(self) -> Member | None:
        """Return the next member, None at the end of the archive.

        :raises ImageInvalid: when the stream is not tar, or is truncated.
        """
        self._skip_data()
        long_name = long_link = b""
        pax: list[tuple[bytes, bytes]] = []
        held = 0
        while True:
            block = self._stream.take_upto(BLOCK)
            if not block or block == _ZERO:
                self.complete = bool(block)
                return None
            if len(block) < BLOCK:
                raise ImageInvalid("the tar stream is truncated: it ends in the middle")
            if not _checksum_matches(block):
                raise ImageInvalid("the tar stream is damaged: a header has the wrong checksum")
            flag = block[156]
            if flag in _KINDS:
                try:
                    return self._member(block, flag, pax, long_name, long_link)
                except ValueError as exc:
                    name = printable(_text(block[:100]))
                    raise ImageInvalid(f"the tar header of {name} is malformed: {exc}") from None
            payload = self._header_payload(block)
            held += BLOCK + len(payload)
            if held > _MAX_HELD:
                raise ImageInvalid("a file of the tar stream has too many headers")
            if flag in b"xX":
                pax += parse_pax(payload)
            elif flag == ord("L"):
                long_name = _text(payload)
            elif flag == ord("K"):
                long_link = _text(payload)
            elif flag != ord("g"):
                # Global headers hold comments (git archive); docker ignores them too.
                raise ImageInvalid(
                    f"{printable(_text(block[:100]))} is of the unknown tar type {chr(flag)!r}"
                )

    def read(self, size: int) -> bytes:
        """Return at most *size* of the stored bytes of this member; none after the last."""
        part = self._stream.some(min(size, self._left))
        if not part and self._left:
            raise ImageInvalid("the archive is truncated: it ends in the middle")
        self._left -= len(part)
        return part

    def peek(self, size: int) -> bytes:
        """Return the next *size* stored bytes of this member, or fewer, and keep them unread."""
        data = self._stream.take(min(size, self._left))
        self._stream.push_back(data)
        return data

    def blocks(self, member: Member, size: int, zero: bytes) -> Iterator[bytes]:
        """Yield the content of *member* in blocks of *size* bytes, the last one shorter.

        A whole block inside a hole of a sparse file is *zero* itself, which is
        *size* zero bytes.
        """
        if member.sparse is None:
            while self._left:
                count = min(size, self._left)
                block = self._stream.take(count)
                self._left -= count
                yield block
        else:
            yield from self._sparse_blocks(member.sparse, member.size, size, zero)

    def _sparse_blocks(
        self, parts: SparseMap, total: int, size: int, zero: bytes
    ) -> Iterator[bytes]:
        pending = list(reversed(parts))
        for start in range(0, total, size):
            count = min(size, total - start)
            end = start + count
            if not pending or pending[-1][0] >= end:
                yield zero if count == size else zero[:count]
                continue
            block = bytearray(count)
            while pending and pending[-1][0] < end:
                offset, length = pending.pop()
                now = min(length, end - offset)
                block[offset - start : offset - start + now] = self._stream.take(now)
                self._left -= now
                if now < length:
                    pending.append((offset + now, length - now))
            yield bytes(block)

    def _skip_data(self) -> None:
        if self._left or self._padding:
            self._stream.skip(self._left + self._padding)
            self._left = self._padding = 0

    def _header_payload(self, block: bytes) -> bytes:
        try:
            size = parse_number(block[124:136])
        except ValueError:
            size = -1
        if not 0 <= size <= MAX_PAX:
            raise ImageInvalid(f"a tar header of more than {MAX_PAX >> 20} MiB is refused")
        return self._stream.take(size + -size % BLOCK)[:size]

    def _member(
        self,
        block: bytes,
        flag: int,
        pax: list[tuple[bytes, bytes]],
        long_name: bytes,
        long_link: bytes,
    ) -> Member:
        field = _HEADER.unpack(block)
        name = long_name or _text(field[0])
        if not long_name and field[7] == b"ustar\0":
            prefix = _text(field[10][:131] if block[508:] == b"tar\0" else field[10])
            if prefix:
                name = prefix + b"/" + name
        member = Member(
            name=name,
            kind=_KINDS[flag],
            mode=parse_number(field[1]) & 0o7777,
            uid=parse_number(field[2]),
            gid=parse_number(field[3]),
            size=parse_number(field[4]),
            mtime=parse_number(field[5]),
        )
        kind = member.kind
        if kind in (HARDLINK, SYMLINK):
            member.link = long_link or _text(field[6])
        elif kind in (CHARDEV, BLOCKDEV):
            member.major = parse_number(field[8])
            member.minor = parse_number(field[9])
        if pax:
            self._apply_pax(member, pax)
        if kind == REGULAR and flag in b"0\0" and member.name.endswith(b"/"):
            # Version 7 tar had no type for directories.
            kind = member.kind = DIRECTORY
        if not 0 <= member.uid <= _MAX_ID or not 0 <= member.gid <= _MAX_ID:
            raise ValueError(f"its owner is {member.uid}:{member.gid}")
        if len(member.link) > MAX_PATH or 0 in member.link or 0 in member.name:
            raise ValueError("its name or the target of its link cannot be that of a file")
        if kind != REGULAR:
            member.size = 0
        elif member.size < 0:
            raise ValueError(f"its size is {member.size}")
        else:
            self._left = member.size
            self._padding = -member.size % BLOCK
            if flag == ord("S") or pax:
                self._find_sparse(member, block if flag == ord("S") else b"", pax)
        return member

    def _apply_pax(self, member: Member, pax: list[tuple[bytes, bytes]]) -> None:
        for key, value in pax:
            if not value:
                # An empty value takes the record back (POSIX); Go drops empty xattrs too.
                continue
            if key.startswith(_XATTR):
                if member.xattrs is None:
                    member.xattrs = {}
                member.xattrs[key[len(_XATTR) :]] = value
            elif key == b"path":
                member.name = value
            elif key == b"linkpath":
                member.link = value
            elif key == b"size":
                member.size = parse_decimal(value)
            elif key == b"uid":
                member.uid = parse_decimal(value)
            elif key == b"gid":
                member.gid = parse_decimal(value)
            elif key == b"mtime":
                member.mtime = parse_time(value)

    def _find_sparse(self, member: Member, header: bytes, pax: list[tuple[bytes, bytes]]) -> None:
        if header:
            parts = sparse_of_gnu(header[386:482])
            size = parse_number(header[483:495])
            more = header[482]
            while more:
                if len(parts) > MAX_SPARSE:
                    raise ValueError("it has too many sparse parts")
                extension = self._stream.take(BLOCK)
                parts += sparse_of_gnu(extension[:504])
                more = extension[504]
        else:
            keys = dict(pax)
            if not any(key.startswith(b"GNU.sparse.") for key in keys):
                return
            member.name = keys.get(b"GNU.sparse.name") or member.name
            size = parse_decimal(
                keys.get(b"GNU.sparse.realsize") or keys.get(b"GNU.sparse.size") or b""
            )
            if keys.get(b"GNU.sparse.major") == b"1":
                parts = self._sparse_map_in_data()
            else:
                parts = sparse_of_pax(pax) or []
        member.sparse = check_sparse(parts, self._left, size)
        member.size = size

    def _sparse_map_in_data(self) -> SparseMap:
        """Read the map that pax format 1.0 puts before the data, padded to a whole block."""
        numbers: list[int] = []
        wanted = 1
        rest = b""
        while len(numbers) < wanted:
            if self._left < BLOCK:
                raise ValueError("its sparse map is truncated")
            lines = (rest + self._stream.take(BLOCK)).split(b"\n")
            self._left -= BLOCK
            rest = lines.pop()
            for line in lines:
                if len(numbers) < wanted:
                    numbers.append(parse_decimal(line))
                    wanted = 1 + 2 * numbers[0]
            if len(numbers) < wanted and len(rest) > 20:
                raise ValueError("its sparse map is malformed")
            if wanted > 2 * MAX_SPARSE:
                raise ValueError("it has too many sparse parts")
        return list(zip(numbers[1::2], numbers[2::2], strict=True))
