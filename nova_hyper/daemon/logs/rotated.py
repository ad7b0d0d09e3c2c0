"""A file that virtlogd writes and rotates, read as one.

virtlogd renames ``log`` to ``log.0``, ``log.0`` to ``log.1`` and so on, removes
what is then too old, and begins a new ``log``; it may do so in the middle of a
line.  Files stay open while they are read, so whatever is renamed or removed
meanwhile is read to its end.
"""

from __future__ import annotations

import collections
import contextlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

# As many as virtlogd keeps at most, and more: its max_backups is the operator's.
_MAX_BACKUPS = 16
_CHUNK = 64 * 1024
_MARK = 64


class RotatedFile:
    """What is in *path* and the files it was rotated to, oldest first; each byte once.

    :meth:`read` goes on where it stopped, so calling it again follows the file.
    ``lost`` is True once something was removed before it was read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files = collections.deque(_open_newer(path, None)[0])
        self._offset = 0
        self._mark = b""
        self.lost = False

    def twin(self) -> RotatedFile:
        """Return another one that stands where this one does, with the same files."""
        other = RotatedFile.__new__(RotatedFile)
        other.__dict__.update(self.__dict__)
        other._files = collections.deque(os.dup(fd) for fd in self._files)
        return other

    def close(self) -> None:
        """Close all files; idempotent."""
        while self._files:
            os.close(self._files.popleft())

    def position(self, back: int = 0) -> str:
        """Return a word for the place that is *back* bytes before what was read last.

        It is the offset in its file and a checksum of the bytes before it,
        because a file has no other name that stays.
        """
        end = len(self._mark) - back
        return f"{self._offset - back:x}-{zlib.crc32(self._mark[max(0, end - _MARK) : end]):08x}"

    def seek(self, position: str) -> bool:
        """Go to a place that :meth:`position` told; False when it is no longer there."""
        try:
            offset, checksum = (int(word, 16) for word in position.split("-"))
        except ValueError:
            return False
        # The newest first: places at the very beginning of files look all the same.
        for index in reversed(range(len(self._files))):
            fd = self._files[index]
            begin = max(0, offset - _MARK)
            mark = os.pread(fd, offset - begin, begin) if 0 <= offset < 1 << 62 else b""
            if len(mark) == offset - begin and zlib.crc32(mark) == checksum:
                for _ in range(index):
                    os.close(self._files.popleft())
                self._offset, self._mark = offset, mark
                return True
        return False

    def read(self) -> Iterator[bytes]:
        """Yield what there is to the end of the newest file, in pieces of at most 64 KiB."""
        while self._files or self._find_newer():
            yield from self._rest()
            if len(self._files) < 2 and not self._find_newer():
                return
            # Bytes may have come between the end of the file and its rotation.
            yield from self._rest()
            os.close(self._files.popleft())
            self._offset, self._mark = 0, b""

    def _rest(self) -> Iterator[bytes]:
        while data := os.pread(self._files[0], _CHUNK, self._offset):
            self._offset += len(data)
            self._mark = self._mark[-_MARK:] + data
            yield data

    def _find_newer(self) -> bool:
        """Open files that are newer than the newest one; return whether there are any."""
        newest = os.fstat(self._files[-1]) if self._files else None
        with contextlib.suppress(OSError):
            if newest is not None and os.path.samestat(newest, self._path.stat()):
                return False
        newer, found = _open_newer(self._path, newest)
        if newest is not None and newer and not found:
            self.lost = True
        self._files.extend(newer)
        return bool(newer)


def _open_newer(path: Path, known: os.stat_result | None) -> tuple[list[int], bool]:
    """Open what is newer than the file *known*; return it oldest first, and whether that is left.

    From the newest to the oldest, so that a rotation in between shows a file
    twice rather than not at all.
    """
    opened: list[tuple[os.stat_result, int]] = []
    for name in (path, *(path.with_name(f"{path.name}.{n}") for n in range(_MAX_BACKUPS))):
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            if name == path:  # between two of virtlogd's steps
                continue
            break
        status = os.fstat(fd)
        if known is not None and os.path.samestat(status, known):
            os.close(fd)
            return [fd for _, fd in reversed(opened)], True
        if any(os.path.samestat(status, other) for other, _ in opened):
            os.close(fd)
        else:
            opened.append((status, fd))
    return [fd for _, fd in reversed(opened)], False
