"""The files of a pod's disks, brought to what its specification says."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from nova_hyper.daemon.pods import layout, local_disks
from nova_hyper.daemon.pods.repository import Repository
from nova_hyper.daemon.ports import WritableDisks
from nova_hyper.spec.pod import PodSpec

_MIB = 1024**2
_GIB = 1024**3
_EPHEMERAL = re.compile(r"ephemeral(\d+)\.img")


def kept(repository: Repository, spec: PodSpec) -> Iterator[tuple[Path, int]]:
    """Yield the disks that hold what a pod has written, and their sizes in GiB.

    Swap is none of them: it says nothing once the pod is down.
    """
    upper = layout.upper(repository, spec)
    if upper is not None:
        yield upper, spec.root_gib
    for index, disk in enumerate(spec.ephemerals):
        yield local_disks.ephemeral(repository, spec.id, index), disk.size_gib


def fit(disks: WritableDisks, repository: Repository, spec: PodSpec, owner: str) -> None:
    """Make the disks of a pod that is down as large as *spec* says, and remove the others.

    What a disk holds stays; only an area for swap is made anew where its size is
    another one.  May be repeated after a failure.

    :raises DiskFull: when there is no room for it.
    :raises OSError: when a file cannot be changed.
    """
    for path in _surplus(repository, spec):
        path.unlink(missing_ok=True)
    for path, size_gib in kept(repository, spec):
        if path.exists() and path.stat().st_size < size_gib * _GIB:
            disks.resize(path, size_gib)
    _fit_swap(disks, repository, spec, owner)


def _surplus(repository: Repository, spec: PodSpec) -> Iterator[Path]:
    if not spec.root_gib:
        with_disk = layout.upper(repository, dataclasses.replace(spec, root_gib=1))
        assert with_disk is not None
        yield with_disk
    for path in repository.directory(spec.id).iterdir():
        found = _EPHEMERAL.fullmatch(path.name)
        if found and int(found.group(1)) >= len(spec.ephemerals):
            yield path
    if not spec.swap_mib:
        yield local_disks.swap(repository, spec.id)


def _fit_swap(disks: WritableDisks, repository: Repository, spec: PodSpec, owner: str) -> None:
    path = local_disks.swap(repository, spec.id)
    if not spec.swap_mib or (path.exists() and path.stat().st_size == spec.swap_mib * _MIB):
        return
    path.unlink(missing_ok=True)
    disks.create_swap(path, spec.swap_mib, owner)
