"""Parts of files, read one after the other as if they were one."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO


class Ranges:
    """Reads (file, first byte, number of bytes) in turn; one file is open at a time."""

    def __init__(self, ranges: Iterable[tuple[Path, int, int]]) -> None:
        self._pending: Iterator[tuple[Path, int, int]] = iter(ranges)
        self._file: BinaryIO | None = None
        self._left = 0

    def read(self, size: int) -> bytes:
        """Return at most *size* bytes, none at the end only.

        :raises OSError: when a file cannot be read.
        """
        while not self._left:
            self.close()
            following = next(self._pending, None)
            if following is None:
                return b""
            path, start, self._left = following
            self._file = path.open("rb")
            self._file.seek(start)
        assert self._file is not None
        data = self._file.read(min(size, self._left))
        if not data:
            raise OSError(errno.EIO, "the file is shorter than it was", self._file.name)
        self._left -= len(data)
        return data

    def close(self) -> None:
        """Close the file at hand; idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None
