"""Where the files of a pod's containers are: the layers' disks and what is writable."""

from __future__ import annotations

import dataclasses
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


@dataclasses.dataclass(frozen=True)
class Original:
    """The pod that a rescue repairs; *images* are those of ``spec.all_containers``."""

    spec: PodSpec
    images: Sequence[Image]


class Disks:
    """The disks of a pod: each layer once, whatever containers share it, and the writable one.

    *images* are those of ``spec.all_containers``.  A rescue has the disks of its
    *original* as well, and what it writes itself in memory.
    """

    def __init__(
        self, spec: PodSpec, images: Sequence[Image], original: Original | None = None
    ) -> None:
        self._spec = spec
        self._images = images
        everything = [*images, *(original.images if original else ())]
        diff_ids = [layer.diff_id for image in everything for layer in image.layers]
        self._serials = {d: f"l{i}" for i, d in enumerate(dict.fromkeys(diff_ids))}
        # The first upper that a rescue mounts is not its own, so its volumes must name theirs.
        self._is_shared = is_shared(spec) or original is not None
        self._upper = _SHARED if self._is_shared else f"{_SHARED}0"
        self._original: Disks | None = None
        if original is not None:
            self._original = Disks(original.spec, original.images)
            self._original._serials = self._serials

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The layers in the order of their disks."""
        return tuple(self._serials)

    @property
    def count(self) -> int:
        """How many disks there are."""
        writable = (self._original or self)._spec.root_gib
        return len(self._serials) + (1 if writable else 0)

    @property
    def original(self) -> Disks:
        """The same disks as those of the pod that a rescue repairs."""
        assert self._original is not None
        return self._original

    def of_domain(self, layer_paths: Sequence[Path], upper_path: Path | None) -> list[Disk]:
        """Return the domain's disks; the paths are in the order of :attr:`diff_ids`."""
        layers = zip(layer_paths, self._serials.values(), strict=True)
        disks = [Disk(path, serial, readonly=True) for path, serial in layers]
        if upper_path is not None:
            serial = (self._original or self)._upper
            disks.append(Disk(upper_path, serial, readonly=False))
        return disks

    def of_container(self, index: int) -> tuple[list[str], dict[str, Any]]:
        """Return the serial numbers of a container's layers, and its ``upper`` for the agent."""
        layers = [self._serials[layer.diff_id] for layer in self._images[index].layers]
        place = self.writable()
        if self._is_shared:
            place["dir"] = self._spec.all_containers[index].name
        return layers, place

    def of_volumes(self) -> dict[str, Any] | None:
        """Return the ``upper`` that volumes are on, None for that of the only container."""
        return self.writable() if self._is_shared else None

    def writable(self) -> dict[str, Any]:
        """Return the ``upper`` that is the whole disk, or tmpfs, of what is written."""
        if self._spec.root_gib:
            return {"serial": self._upper}
        place: dict[str, Any] = {"tmpfs_mib": max(1, self._spec.memory_mib // _TMPFS_SHARE)}
        if self._is_shared:
            place["tmpfs"] = _SHARED
        return place
