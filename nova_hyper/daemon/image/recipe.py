"""How the tar stream of a layer is given back, byte for byte, from its squashfs.

A squashfs says what a layer *means*; the digests of an image are over the tar
streams.  Beside the squashfs a recipe keeps what it lacks: headers, padding,
and the content of entries that are no files of the image (docker does the same
with tar-split).  The files' content is not repeated: the writer puts the blocks
of the files into the squashfs in the order of the tar stream, one after the
other, so that all that is needed is their sizes.

A recipe is two zstd frames and a footer.  The first frame has records::

    L  u32 length, bytes        these bytes
    F  u64 size                 the content of the next file
    S  u64 size, u32 count,     of the content of the next file only these parts,
       (u64 offset, u64 length)*  because the tar stream has it as a sparse file

The second frame has the stored size of each data block, as squashfs encodes it.
Numbers are little-endian.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

import zstandard

from nova_hyper.daemon.image import squashfs_format as fmt
from nova_hyper.daemon.image.compression import Read, ZstdReader
from nova_hyper.daemon.image.inode import File
from nova_hyper.daemon.image.stream import ByteStream
from nova_hyper.daemon.image.tar_fields import MAX_SPARSE, SparseMap
from nova_hyper.spec.errors import HyperError, ImageInvalid

_LEVEL = 3
_PENDING = 1 << 20
_MAX_TABLE = 64 << 20
"""Bytes for the blocks of 2 TiB; who writes a recipe has read a hostile archive."""
_FOOTER = struct.Struct("<8sQ")
_MAGIC = b"nhrecip1"
_LITERAL = struct.Struct("<cI")
_FILE = struct.Struct("<cQ")
_SPARSE = struct.Struct("<cQI")
_PART = struct.Struct("<QQ")
_U32 = struct.Struct("<I")
_ZEROS = bytes(fmt.BLOCK_SIZE)


class Recorder:
    """Writes the recipe of one layer to *out* while the layer is converted."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._frame = zstandard.ZstdCompressor(level=_LEVEL).compressobj()
        self._pending = bytearray()
        self._literal: list[bytes] = []
        self._literal_size = 0
        self._files: list[File] = []
        self._size = 0

    def literal(self, data: bytes) -> None:
        """Note bytes of the tar stream that the squashfs does not have."""
        if data:
            self._literal.append(data)
            self._literal_size += len(data)
            if self._literal_size >= _PENDING:
                self._end_literal()

    def content(self, file: File, sparse: SparseMap | None) -> None:
        """Note that the content of *file* comes next, or only the parts in *sparse*."""
        self._end_literal()
        self._files.append(file)
        if sparse is None:
            self._pending += _FILE.pack(b"F", file.size)
        else:
            self._pending += _SPARSE.pack(b"S", file.size, len(sparse))
            for part in sparse:
                self._pending += _PART.pack(*part)

    def finish(self) -> None:
        """Write the rest; every block of every file has been stored by now."""
        self._end_literal()
        self._write(self._frame.compress(bytes(self._pending)) + self._frame.flush())
        table = zstandard.ZstdCompressor(level=_LEVEL).compress(
            b"".join(file.blocks for file in self._files)
        )
        self._out.write(table + _FOOTER.pack(_MAGIC, self._size))
        self._out.flush()

    def _end_literal(self) -> None:
        if not self._literal:
            return
        data = b"".join(self._literal)
        self._literal.clear()
        self._literal_size = 0
        self._pending += _LITERAL.pack(b"L", len(data))
        self._pending += data
        if len(self._pending) >= _PENDING:
            self._write(self._frame.compress(bytes(self._pending)))
            self._pending.clear()

    def _write(self, data: bytes) -> None:
        self._out.write(data)
        self._size += len(data)


class RecordedStream(ByteStream):
    """A tar stream whose bytes go to a recorder, but for those read while it is paused."""

    def __init__(self, read: Callable[[int], bytes], what: str, recorder: Recorder) -> None:
        super().__init__(self._next, what)
        self._source = read
        self._recorder = recorder
        self._mark = 0
        self._paused = False

    def pause(self) -> None:
        """Leave out what is read from here on: the content of a file."""
        self._recorder.literal(self._chunk[self._mark : self._pos])
        self._paused = True

    def resume(self) -> None:
        """Record what is read from here on."""
        self._mark = self._pos
        self._paused = False

    def _next(self, size: int) -> bytes:
        # Called when the chunk before is used up.
        if not self._paused:
            self._recorder.literal(self._chunk[self._mark :])
            self._mark = 0
        return self._source(size)


def restore(recipe: BinaryIO, squashfs: BinaryIO) -> Iterator[bytes]:
    """Yield the tar stream of a layer, in parts of at most a few MiB.

    :raises HyperError: when the two files do not fit together.
    """
    try:
        size, table = _block_table(recipe)
        blocks = _Blocks(squashfs, table)
        recipe.seek(0)
        records = ByteStream(ZstdReader(_first(recipe, size)).read, "the recipe of a layer")
        while kind := records.take_upto(1):
            if kind == b"L":
                left = _U32.unpack(records.take(4))[0]
                while left:
                    data = records.some(left)
                    if not data:
                        raise ValueError("it is truncated")
                    left -= len(data)
                    yield data
            elif kind == b"F":
                yield from blocks.file(*struct.unpack("<Q", records.take(8)))
            elif kind == b"S":
                size, count = struct.unpack("<QI", records.take(12))
                if count > MAX_SPARSE:
                    raise ValueError("a sparse file has too many parts")
                parts = [_PART.unpack(records.take(_PART.size)) for _ in range(count)]
                yield from _parts(blocks.file(size), parts)
            else:
                raise ValueError(f"it has a record {kind!r}")
    except (ValueError, struct.error, zstandard.ZstdError, ImageInvalid) as exc:
        raise HyperError(
            f"the recipe of a layer is damaged ({exc}); load the image again"
        ) from exc


def verified(chunks: Iterator[bytes], diff_id: str) -> Iterator[bytes]:
    """Yield *chunks* and check at their end that they are the layer *diff_id*.

    :raises HyperError: when they are not.
    """
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
    if f"sha256:{digest.hexdigest()}" != diff_id:
        raise HyperError(
            f"the layer {diff_id} is damaged on this host's disk: its content has another digest; "
            "remove the image and load it again"
        )


class _Blocks:
    """The data blocks of a squashfs, in order."""

    def __init__(self, squashfs: BinaryIO, table: bytes) -> None:
        self._file = squashfs
        self._table = table
        self._at = 0
        self._engine = zstandard.ZstdDecompressor()
        squashfs.seek(fmt.SUPERBLOCK.size)

    def file(self, size: int) -> Iterator[bytes]:
        """Yield the content of the next file, block by block."""
        while size:
            count = min(size, fmt.BLOCK_SIZE)
            (entry,) = _U32.unpack_from(self._table, self._at)
            self._at += 4
            stored = entry & ~fmt.STORED_RAW
            if not stored:
                yield _ZEROS[:count]
            else:
                if stored > fmt.BLOCK_SIZE:
                    raise ValueError("a block is too large")
                data = self._file.read(stored)
                if not entry & fmt.STORED_RAW:
                    if zstandard.frame_content_size(data) > fmt.BLOCK_SIZE:
                        raise ValueError("a block is too large")
                    data = self._engine.decompress(data, max_output_size=fmt.BLOCK_SIZE)
                if len(data) != count:
                    raise ValueError("a block has the wrong size")
                yield data
            size -= count


def _first(file: BinaryIO, size: int) -> Read:
    """Return a reader of the first *size* bytes of *file*."""
    left = size

    def read(count: int) -> bytes:
        nonlocal left
        data = file.read(min(count, left))
        left -= len(data)
        return data

    return read


def _block_table(recipe: BinaryIO) -> tuple[int, bytes]:
    """Return the size of the records as stored, and the table behind them."""
    end = recipe.seek(0, 2)
    if end < _FOOTER.size:
        raise ValueError("it is truncated")
    recipe.seek(end - _FOOTER.size)
    magic, start = _FOOTER.unpack(recipe.read(_FOOTER.size))
    if magic != _MAGIC or start > end - _FOOTER.size:
        raise ValueError("it is of another kind")
    recipe.seek(start)
    table = recipe.read(end - _FOOTER.size - start)
    if not 0 <= zstandard.frame_content_size(table) <= _MAX_TABLE:
        raise ValueError("it has too many blocks")
    return start, zstandard.ZstdDecompressor().decompress(table)


def _parts(blocks: Iterator[bytes], parts: SparseMap) -> Iterator[bytes]:
    """Yield those *parts*, (offset, length) in order, of the content in *blocks*."""
    pending = list(reversed(parts))
    start = 0
    for block in blocks:
        end = start + len(block)
        while pending and pending[-1][0] < end:
            offset, length = pending.pop()
            now = min(length, end - offset)
            yield block[offset - start : offset - start + now]
            if now < length:
                pending.append((offset + now, length - now))
        start = end
