"""The writable disks of pods: sparse files with an ext4 file system."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path

from nova_hyper.spec.errors import DiskFull, HyperError

_GIB = 1024**3
# No reserved blocks: the disk is the container's alone. The inode tables are zero already because the file is new, so the guest need not write them.
_MKFS_EXTENDED = ",".join(
    ["lazy_itable_init=1", "lazy_journal_init=1", "nodiscard", "assume_storage_prezeroed=1"]
)
_MKFS = ["mkfs.ext4", "-q", "-F", "-m", "0", "-E", _MKFS_EXTENDED]


class Disks:
    """Makes disks; an empty file system of each size is made once and copied sparsely."""

    def __init__(self, templates: Path) -> None:
        self._templates = templates
        templates.mkdir(parents=True, exist_ok=True, mode=0o700)

    def create(self, path: Path, size_gib: int, owner: str) -> None:
        """Make an empty ext4 disk of *size_gib* GiB at *path*, for QEMU's *owner* (``uid:gid``).

        :raises DiskFull: when the host's disk has no room for it.
        """
        try:
            self._copy(self._template(size_gib), path)
            if owner:
                uid, _, gid = owner.partition(":")
                os.chown(path, int(uid), int(gid))
        except OSError as exc:
            path.unlink(missing_ok=True)
            if exc.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(
                    f"no room for the pod's disk of {size_gib} GiB in {path.parent}; free "
                    "space on the host or use another one"
                ) from exc
            raise

    def _template(self, size_gib: int) -> Path:
        template = self._templates / f"ext4-{size_gib}g.img"
        if template.exists():
            return template
        temporary = template.with_suffix(f".{os.getpid()}-{os.urandom(4).hex()}")
        try:
            with temporary.open("wb") as file:
                file.truncate(size_gib * _GIB)
            made = subprocess.run(
                [*_MKFS, str(temporary)], capture_output=True, text=True, check=False
            )
            if made.returncode:
                if os.statvfs(self._templates).f_bavail == 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                raise HyperError(
                    f"mkfs.ext4 could not make a disk of {size_gib} GiB: {made.stderr.strip()}"
                )
            os.replace(temporary, template)
        finally:
            temporary.unlink(missing_ok=True)
        return template

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        """Copy only what is not a hole; :func:`shutil.copyfile` would write the zeros."""
        with source.open("rb") as reader, target.open("wb") as writer:
            os.fchmod(writer.fileno(), 0o600)
            size = os.fstat(reader.fileno()).st_size
            writer.truncate(size)
            offset = 0
            while offset < size:
                try:
                    start = os.lseek(reader.fileno(), offset, os.SEEK_DATA)
                except OSError as exc:
                    if exc.errno == errno.ENXIO:
                        break
                    raise
                end = os.lseek(reader.fileno(), start, os.SEEK_HOLE)
                reader.seek(start)
                writer.seek(start)
                offset = start
                while offset < end:
                    chunk = reader.read(min(1 << 20, end - offset))
                    writer.write(chunk)
                    offset += len(chunk)

    def clear(self) -> None:
        """Remove the templates, such as half-made ones of a daemon that was killed."""
        for path in self._templates.iterdir():
            if path.suffix != ".img":
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
