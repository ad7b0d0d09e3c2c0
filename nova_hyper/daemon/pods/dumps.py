"""Crash dumps on the host: as many, and as large, as the operator allows."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from nova_hyper.spec.errors import Conflict, DiskFull

_MIB = 1024**2
_SUFFIX = ".vmcore"
# A disk that dumps fill to the brim would stop the pods that still run.
_SPARE_MIB = 256


class Dumps:
    """Files below *directory*: at most *most*, of *max_mib* MiB together, the oldest go first."""

    def __init__(self, directory: Path, most: int, max_mib: int) -> None:
        self._directory = directory
        self._most = most
        self._max_mib = max_mib

    def require_room(self, memory_mib: int) -> None:
        """Refuse a dump of *memory_mib* that could not be kept.

        :raises Conflict: when the configuration does not allow it.
        :raises DiskFull: when the disk has no room.
        """
        if not self._most:
            raise Conflict("this host keeps no crash dumps ([pod] max_crash_dumps is 0)")
        if memory_mib > self._max_mib:
            raise Conflict(
                f"the pod's {memory_mib} MiB of memory are more than the {self._max_mib} MiB that "
                "this host keeps of crash dumps ([pod] max_crash_dump_mib)"
            )
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        needed = memory_mib + _SPARE_MIB
        unused = shutil.disk_usage(self._directory).free
        free = (unused + sum(self._sizes().values())) // _MIB
        if free < needed:
            raise DiskFull(
                f"a crash dump may take {needed} MiB of the host's disk, which has {free} MiB free"
            )

    def take(self, pod_id: str, memory_mib: int, write: Callable[[Path], None]) -> Path:
        """Make room, have *write* fill a new file, and return it.

        :raises Conflict: see :meth:`require_room`, as DiskFull.
        """
        self.require_room(memory_mib)
        self._make_room(memory_mib)
        path = self._directory / f"{pod_id}-{_stamp()}{_SUFFIX}"
        write(path)
        path.chmod(0o600)
        return path

    def _make_room(self, memory_mib: int) -> None:
        sizes = self._sizes()
        for path in sorted(sizes, key=lambda p: p.name.rpartition("-")[2]):
            total = sum(sizes.values()) // _MIB
            if len(sizes) < self._most and total + memory_mib <= self._max_mib:
                return
            path.unlink(missing_ok=True)
            del sizes[path]

    def _sizes(self) -> dict[Path, int]:
        return {path: path.stat().st_size for path in self._directory.glob(f"*{_SUFFIX}")}


def _stamp() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
