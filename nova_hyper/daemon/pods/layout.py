"""Where the files of a pod's containers are: the layers' disks and what is writable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nova_hyper.daemon.hypervisor.domain import Disk
from nova_hyper.daemon.pods.repository import Repository
from nova_hyper.spec.image import Image
from nova_hyper.spec.pod import PodSpec

# The share of a pod's memory that its tmpfs root may take: the kernel's own default for a tmpfs.
_TMPFS_SHARE = 2
_SHARED = "upper"


def is_shared(spec: PodSpec) -> bool:
    """Tell whether all that is written is on one disk, in a directory for each container.

    The pod's disk is what its containers and volumes have together.  A single
    container without volumes has the disk for itself.
    """
    return len(spec.all_containers) > 1 or bool(spec.volumes)


def upper(repository: Repository, spec: PodSpec) -> Path | None:
    """Return the pod's writable disk, None where that is in memory."""
    if not spec.root_gib:
        return None
    if is_shared(spec):
        return repository.shared_upper(spec.id)
    return repository.upper(spec.id, spec.containers[0].name)


class Disks:
    """The disks of a pod: each layer once, whatever containers share it, and the writable one.

    *images* are those of ``spec.all_containers``.
    """

    def __init__(self, spec: PodSpec, images: Sequence[Image]) -> None:
        self._spec = spec
        self._images = images
        diff_ids = [layer.diff_id for image in images for layer in image.layers]
        self._serials = {d: f"l{i}" for i, d in enumerate(dict.fromkeys(diff_ids))}
        self._upper = _SHARED if is_shared(spec) else f"{_SHARED}0"

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The layers in the order of their disks."""
        return tuple(self._serials)

    @property
    def count(self) -> int:
        """How many disks there are."""
        return len(self._serials) + (1 if self._spec.root_gib else 0)

    def of_domain(self, layer_paths: Sequence[Path], upper_path: Path | None) -> list[Disk]:
        """Return the domain's disks; the paths are in the order of :attr:`diff_ids`."""
        layers = zip(layer_paths, self._serials.values(), strict=True)
        disks = [Disk(path, serial, readonly=True) for path, serial in layers]
        if upper_path is not None:
            disks.append(Disk(upper_path, self._upper, readonly=False))
        return disks

    def of_container(self, index: int) -> tuple[list[str], dict[str, Any]]:
        """Return the serial numbers of a container's layers, and its ``upper`` for the agent."""
        layers = [self._serials[layer.diff_id] for layer in self._images[index].layers]
        place = self._writable()
        if is_shared(self._spec):
            place["dir"] = self._spec.all_containers[index].name
        return layers, place

    def of_volumes(self) -> dict[str, Any] | None:
        """Return the ``upper`` that volumes are on, None for that of the only container."""
        return self._writable() if is_shared(self._spec) else None

    def _writable(self) -> dict[str, Any]:
        if self._spec.root_gib:
            return {"serial": self._upper}
        place: dict[str, Any] = {"tmpfs_mib": max(1, self._spec.memory_mib // _TMPFS_SHARE)}
        if is_shared(self._spec):
            place["tmpfs"] = _SHARED
        return place
