"""A forward-only byte stream with exact reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from nova_hyper.spec.errors import ImageInvalid

CHUNK = 1 << 18


class Readable(Protocol):
    """Where an archive comes from: a file, a request's body."""

    def read(self, size: int, /) -> bytes:
        """Return at most *size* bytes, and none at the end only."""


class Chunks:
    """What an iterable gives, as a readable."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)

    def read(self, _size: int, /) -> bytes:
        """Return the next chunk that has something in it, whatever the size; none at the end."""
        return next((chunk for chunk in self._chunks if chunk), b"")


class ByteStream:
    """Exact reads from a source whose reads may be short.

    :param read: returns at most the asked-for bytes; none means the end.
    :param what: what ends too early, in the message of a truncated stream.
    """

    def __init__(self, read: Callable[[int], bytes], what: str = "the archive") -> None:
        self._read = read
        self._what = what
        self._chunk = b""
        self._pos = 0

    def take(self, size: int) -> bytes:
        """Return exactly *size* bytes.

        :raises ImageInvalid: when the stream ends before.
        """
        end = self._pos + size
        if end <= len(self._chunk):
            data = self._chunk[self._pos : end]
            self._pos = end
            return data
        data = self.take_upto(size)
        if len(data) < size:
            raise ImageInvalid(f"{self._what} is truncated: it ends in the middle")
        return data

    def take_upto(self, size: int) -> bytes:
        """Return *size* bytes, or all that are left when those are fewer."""
        parts = []
        left = size
        while left:
            if self._pos == len(self._chunk):
                self._chunk = self._read(CHUNK)
                self._pos = 0
                if not self._chunk:
                    break
            part = self._chunk[self._pos : self._pos + left]
            self._pos += len(part)
            left -= len(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def some(self, size: int) -> bytes:
        """Return at least one and at most *size* bytes; none at the end only."""
        if self._pos == len(self._chunk):
            self._chunk = self._read(CHUNK)
            self._pos = 0
        part = self._chunk[self._pos : self._pos + size]
        self._pos += len(part)
        return part

    def push_back(self, data: bytes) -> None:
        """Put *data*, read just before, back to the front."""
        self._chunk = data + self._chunk[self._pos :]
        self._pos = 0

    def skip(self, size: int) -> None:
        """Pass over exactly *size* bytes.

        :raises ImageInvalid: when the stream ends before.
        """
        while size:
            part = self.some(size)
            if not part:
                raise ImageInvalid(f"{self._what} is truncated: it ends in the middle")
            size -= len(part)

    def drain(self) -> int:
        """Read to the end and return how many bytes that were."""
        count = 0
        while part := self.some(CHUNK):
            count += len(part)
        return count
