"""Compressed streams in, compressed squashfs blocks out."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import IO, Any, cast

import zstandard

from nova_hyper.daemon.image import squashfs_format
from nova_hyper.spec.errors import ImageInvalid

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
ZSTD_SKIPPABLE = b"\x2a\x4d\x18"
"""Bytes 1 to 3 of a skippable frame, which zstd:chunked layers may begin with."""
_MAX_WINDOW = 128 << 20
_OUTPUT = 1 << 20
_INPUT = 1 << 18

Read = Callable[[int], bytes]


def sniff(start: bytes) -> str:
    """Return how a stream with this *start* is compressed: gzip, zstd, xz, bzip2, or nothing."""
    if start.startswith(GZIP_MAGIC):
        return "gzip"
    if start.startswith(ZSTD_MAGIC) or (start[1:4] == ZSTD_SKIPPABLE and start[0] & 0xF0 == 0x50):
        return "zstd"
    if start.startswith(b"\xfd7zXZ\0"):
        return "xz"
    if start.startswith(b"BZh") and start[4:10] == b"1AY&SY":
        return "bzip2"
    return ""


class GzipReader:
    """The content of a gzip stream (RFC 1952) of one or more members."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._engine = zlib.decompressobj(31)
        self._input = b""
        self._started = False
        self._ended = False

    def read(self, size: int) -> bytes:
        """Return at least one byte and at most 1 MiB, whatever *size*; none at the end only.

        :raises ImageInvalid: when the stream is damaged or truncated.
        """
        while not self._ended:
            data = self._input or self._read(_INPUT)
            self._input = b""
            if not data:
                if self._started:
                    raise ImageInvalid("the gzip stream is truncated")
                self._ended = True
                break
            if not self._started and not data.strip(b"\0"):
                # Padding after the last member, as tape drives want it.
                continue
            self._started = True
            try:
                out = self._engine.decompress(data, _OUTPUT)
            except zlib.error as exc:
                raise ImageInvalid(f"the gzip stream is damaged ({exc})") from None
            if self._engine.eof:
                self._input = self._engine.unused_data
                self._engine = zlib.decompressobj(31)
                self._started = False
            else:
                self._input = self._engine.unconsumed_tail
            if out:
                return out
        return b""


class ZstdReader:
    """The content of a zstd stream (RFC 8878) of one or more frames."""

    def __init__(self, read: Read) -> None:
        self._source = _Source(read)
        self._stream = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(
            cast(IO[bytes], self._source), read_size=_INPUT, read_across_frames=True
        )

    def read(self, size: int) -> bytes:
        """Return at least one byte and at most 1 MiB, whatever *size*; none at the end only.

        :raises ImageInvalid: when the stream is damaged.
        """
        try:
            return self._stream.read(_OUTPUT)
        except zstandard.ZstdError as exc:
            raise ImageInvalid(f"the zstd stream is damaged ({exc})") from None


class _Source:
    """What zstandard takes for a file."""

    def __init__(self, read: Read) -> None:
        self._read = read

    def read(self, size: int) -> bytes:
        return self._read(size)


def decompressed(read: Read, compression: str) -> Read:
    """Return the reader of what *read* gives, decompressed.

    :raises ImageInvalid: for a format that images are not compressed with.
    """
    if compression == "gzip":
        return GzipReader(read).read
    if compression == "zstd":
        return ZstdReader(read).read
    if compression:
        raise ImageInvalid(f"{compression} compression is not supported; use gzip or zstd")
    return read


class ZstdBlocks:
    """Data blocks of squashfs compressed with zstd."""

    number = squashfs_format.ZSTD

    def __init__(self, level: int) -> None:
        # Without the content size in the frame, which the kernel knows anyway.
        self._engine = zstandard.ZstdCompressor(level=level, write_content_size=False)

    def compress(self, blocks: list[bytes]) -> list[bytes]:
        """Return each of *blocks* compressed, without the interpreter lock in between."""
        packed = self._engine.multi_compress_to_buffer(cast(Any, blocks), threads=1)
        return [packed[i].tobytes() for i in range(len(packed))]
