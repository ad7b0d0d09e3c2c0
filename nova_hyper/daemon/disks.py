"""The writable disks of pods: sparse files with an ext4 file system, or for swap."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from nova_hyper.daemon import sparse, swap
from nova_hyper.spec.errors import DiskFull, HyperError

_GIB = 1024**3
_MIB = 1024**2
_MKFS_S = 60
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# The file is new, so what mkfs would zero is zero already: 10 ms for 100 GiB. No reserved blocks,
# because the disk is the container's alone. The features, e2fsprogs' defaults too, are what lets a
# mounted file system grow by any factor.
_EXTENDED = "lazy_itable_init=1,lazy_journal_init=1,nodiscard,assume_storage_prezeroed=1"
_MKFS = ["mkfs.ext4", "-q", "-F", "-m", "0", "-O", "64bit,resize_inode", "-E", _EXTENDED]


class Disks:
    """Makes disks; see :class:`nova_hyper.daemon.ports.WritableDisks`."""

    def create(self, path: Path, size_gib: int, owner: str) -> None:
        """Make an empty ext4 disk of *size_gib* GiB at *path*, for QEMU's *owner* (``uid:gid``).

        Nothing is left behind on failure.

        :raises DiskFull: when the host's disk has no room for it.
        :raises HyperError: when mkfs.ext4 fails.
        :raises OSError: when the file cannot be made for another reason.
        """
        with _made(path, owner, f"{size_gib} GiB"):
            _sparse(path, size_gib * _GIB)
            self._format(path, size_gib)

    def create_swap(self, path: Path, size_mib: int, owner: str) -> None:
        """Make a swap area of *size_mib* MiB at *path*, for QEMU's *owner* (``uid:gid``).

        Nothing is left behind on failure.

        :raises DiskFull: when the host's disk has no room for it.
        :raises OSError: when the file cannot be made for another reason.
        """
        with _made(path, owner, f"{size_mib} MiB"):
            _sparse(path, size_mib * _MIB)
            with path.open("r+b") as file:
                file.write(swap.header(size_mib * _MIB))

    def resize(self, path: Path, size_gib: int) -> None:
        """Make the disk at *path* one of *size_gib* GiB; its file system is the guest's affair.

        :raises DiskFull: when the host's file system cannot have such a file.
        :raises OSError: when it cannot be changed for another reason.
        """
        try:
            os.truncate(path, size_gib * _GIB)
        except OSError as exc:
            if exc.errno in _NO_ROOM:
                raise _no_room(path, f"{size_gib} GiB") from exc
            raise

    def copy(self, source: Path, path: Path, owner: str, tick: Callable[[], None]) -> None:
        """Make *path* a copy of the disk *source*, which nobody writes to meanwhile.

        See :func:`sparse.copy` for *tick*.  Nothing is left behind on failure.

        :raises DiskFull: when the host's disk has no room for it.
        :raises OSError: when a file cannot be used for another reason.
        """
        with _made(path, owner, f"up to {-(-source.stat().st_size // _MIB)} MiB"):
            sparse.copy(source, path, tick)

    @staticmethod
    def _format(path: Path, size_gib: int) -> None:
        try:
            made = subprocess.run(
                [*_MKFS, str(path)], capture_output=True, text=True, check=False, timeout=_MKFS_S
            )
        except subprocess.TimeoutExpired:
            raise HyperError(
                f"mkfs.ext4 did not make a disk of {size_gib} GiB in {_MKFS_S} s; the host's disk "
                "is too slow"
            ) from None
        if made.returncode == 0:
            return
        if os.statvfs(path).f_bavail == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise HyperError(
            f"mkfs.ext4 could not make a disk of {size_gib} GiB: {made.stderr.strip()}"
        )


@contextlib.contextmanager
def _made(path: Path, owner: str, size: str) -> Iterator[None]:
    """Give what the body makes at *path* to its owner, or remove it."""
    try:
        yield
        if owner:
            uid, _, gid = owner.partition(":")
            os.chown(path, int(uid), int(gid))
    except BaseException as exc:
        path.unlink(missing_ok=True)
        if isinstance(exc, OSError) and exc.errno in _NO_ROOM:
            raise _no_room(path, size) from exc
        raise


def _no_room(path: Path, size: str) -> DiskFull:
    return DiskFull(
        f"no room for the pod's disk of {size} in {path.parent}; free space on the host or use "
        "another one"
    )


def _sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.truncate(size)
