"""Copies of sparse files that stay sparse."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from nova_hyper.spec.errors import DiskFull

# FICLONE of linux/fs.h: _IOW(0x94, 9, int).
_FICLONE = 0x40049409
_SECTOR = 512
_PIECE = 16 << 20
_MIB = 1024**2


def copy(source: Path, target: Path, tick: Callable[[], None], spare: int = 0) -> None:
    """Make *target* a copy of *source*, of the same owner, that is on the disk.

    Where the file system can share blocks between files it takes no time and no
    room; elsewhere *spare* bytes must be free besides.  *tick* is called now and
    then; what it raises ends this.  Nothing is left behind on failure.

    :raises DiskFull: when there is no room for it.
    :raises OSError: when it cannot be read or written.
    """
    with source.open("rb") as origin:
        status = os.fstat(origin.fileno())
        try:
            with target.open("xb") as made:
                os.fchmod(made.fileno(), 0o600)
                os.fchown(made.fileno(), status.st_uid, status.st_gid)
                if not _shared(origin.fileno(), made.fileno()):
                    _require_room(source, target.parent, status.st_blocks * _SECTOR, spare)
                    made.truncate(status.st_size)
                    for start, end in _extents(origin.fileno(), status.st_size):
                        _copy_range(origin.fileno(), made.fileno(), start, end, tick)
                os.fsync(made.fileno())
        except BaseException:
            target.unlink(missing_ok=True)
            raise


def _shared(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _require_room(source: Path, directory: Path, needed: int, spare: int) -> None:
    found = os.statvfs(directory)
    free = found.f_bavail * found.f_frsize
    if free < needed + spare:
        raise DiskFull(
            f"a copy of {source.name} takes {needed // _MIB} MiB of the host's disk, which has "
            f"{free // _MIB} MiB free; free space and try again"
        )


def _extents(source: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield where the file has data."""
    end = 0
    while end < size:
        try:
            start = os.lseek(source, end, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        end = os.lseek(source, start, os.SEEK_HOLE)
        yield start, end


def _copy_range(source: int, target: int, start: int, end: int, tick: Callable[[], None]) -> None:
    while start < end:
        tick()
        count = os.copy_file_range(source, target, min(_PIECE, end - start), start, start)
        if not count:
            raise OSError(errno.EIO, "a disk of the pod became shorter while it was copied")
        start += count
