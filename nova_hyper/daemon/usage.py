"""What hyperd takes on the host's disk."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

from nova_hyper.daemon.pods.registry import Registry
from nova_hyper.daemon.pods.repository import Repository
from nova_hyper.spec.usage import DiskUsage, PodUsage

_SECTOR = 512


class HostUsage:
    """Adds the pods' directories up to what *images* tells of the image store."""

    def __init__(
        self, images: Callable[[], DiskUsage], registry: Registry, repository: Repository
    ) -> None:
        self._images = images
        self._registry = registry
        self._repository = repository

    def __call__(self) -> DiskUsage:
        """Return the use of disk as it is now."""
        pods = []
        for entry in self._registry:
            size, limit = _directory(self._repository.directory(entry.id))
            pods.append(PodUsage(entry.id, entry.pod.spec.name, size, limit))
        return dataclasses.replace(self._images(), pods=tuple(pods))


def _directory(path: Path) -> tuple[int, int]:
    """Return the bytes that the files below *path* take, and those that they may grow to."""
    size = limit = 0
    for directory, _, names in os.walk(path):
        for name in names:
            # A pod may be deleted meanwhile.
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(os.path.join(directory, name))
                size += status.st_blocks * _SECTOR
                limit += status.st_size
    return size, limit
