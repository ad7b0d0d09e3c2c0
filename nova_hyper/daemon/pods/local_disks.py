"""The disks of a pod beside its root: ephemeral disks, swap and config drive."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any

from nova_hyper.daemon.hypervisor.domain import Disk
from nova_hyper.daemon.pods import mounts
from nova_hyper.daemon.pods.repository import Repository
from nova_hyper.daemon.ports import WritableDisks
from nova_hyper.spec.errors import InvalidRequest
from nova_hyper.spec.pod import PodSpec
from nova_hyper.spec.setup import CONFIG_DRIVE_LABEL, CONFIG_DRIVE_PATH

_SWAP = "swap"
_CONFIG = "config"
# What a container's own file systems are mounted on, or what is mounted on within.
_SETTINGS = "/etc"


def count(spec: PodSpec) -> int:
    """Return how many devices they take."""
    return len(spec.ephemerals) + bool(spec.swap_mib) + spec.config_drive


def check(spec: PodSpec) -> None:
    """Refuse paths that cannot be mounted on, or that are in each other's way.

    :raises InvalidRequest: naming the path.
    """
    paths = [disk.path for disk in spec.ephemerals]
    for path in paths:
        if not path.startswith("/") or posixpath.normpath(path) != path:
            raise InvalidRequest(f"an ephemeral disk cannot be at {path!r}: give an absolute path")
        if path == _SETTINGS or mounts.is_taken(path):
            raise InvalidRequest(f"an ephemeral disk cannot be at {path}: a container needs that")
        if spec.config_drive and path == CONFIG_DRIVE_PATH:
            raise InvalidRequest(f"an ephemeral disk cannot be at {path}: the config drive is")
        if any(other != path and other.startswith(f"{path}/") for other in paths):
            raise InvalidRequest(f"an ephemeral disk at {path} would hold another one")
    if len(set(paths)) != len(paths):
        raise InvalidRequest(f"two ephemeral disks are at one path: {', '.join(paths)}")


def make(disks: WritableDisks, repository: Repository, spec: PodSpec, owner: str) -> None:
    """Make the disks for QEMU's *owner* (``uid:gid``); see :class:`WritableDisks` for failures."""
    for index, disk in enumerate(spec.ephemerals):
        disks.create(ephemeral(repository, spec.id, index), disk.size_gib, owner)
    if spec.swap_mib:
        disks.create_swap(swap(repository, spec.id), spec.swap_mib, owner)
    if spec.config_drive and not repository.config_drive(spec.id).exists():
        raise InvalidRequest("the pod's config drive is missing: store it before the pod is made")


def ephemeral(repository: Repository, pod_id: str, index: int) -> Path:
    """Return the file of an ephemeral disk, the first of which is 0."""
    return _path(repository, pod_id, _serial(index))


def swap(repository: Repository, pod_id: str) -> Path:
    """Return the file of the disk for swap."""
    return _path(repository, pod_id, _SWAP)


def of_domain(repository: Repository, spec: PodSpec) -> list[Disk]:
    """Return the domain's disks."""
    serials = [_serial(index) for index in range(len(spec.ephemerals))]
    if spec.swap_mib:
        serials.append(_SWAP)
    found = [
        Disk(_path(repository, spec.id, serial), serial, readonly=False, group=serial)
        for serial in serials
    ]
    if spec.config_drive:
        found.append(Disk(repository.config_drive(spec.id), _CONFIG, readonly=True, group=_CONFIG))
    return found


def requests(spec: PodSpec) -> list[tuple[str, dict[str, Any]]]:
    """Return what the agent is asked for before containers are made: operations and arguments."""
    asked: list[tuple[str, dict[str, Any]]] = [
        ("disk.mount", {"serial": _serial(index), "path": disk.path, "format": "ext4"})
        for index, disk in enumerate(spec.ephemerals)
    ]
    if spec.config_drive:  # after the others: it may be below one of them
        asked.append(
            (
                "disk.mount",
                {
                    "serial": _CONFIG,
                    "path": CONFIG_DRIVE_PATH,
                    "format": "iso9660",
                    "label": CONFIG_DRIVE_LABEL,
                },
            )
        )
    if spec.swap_mib:
        asked.append(("swap.on", {"serial": _SWAP}))
    return asked


def _serial(index: int) -> str:
    return f"ephemeral{index}"


def _path(repository: Repository, pod_id: str, serial: str) -> Path:
    return repository.directory(pod_id) / f"{serial}.img"
