"""What takes room on a host's disk, and what was removed from it."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class ImageUsage:
    """An image's bytes on disk: ``size`` of all its layers, ``unique`` of those only it has.

    ``pods`` counts who needs it.
    """

    id: str
    names: tuple[str, ...]
    size: int
    unique: int
    pods: int


@dataclasses.dataclass(frozen=True)
class PodUsage:
    """A pod's bytes on disk: ``size`` taken, ``limit`` that its disks may grow to."""

    id: str
    name: str
    size: int
    limit: int


@dataclasses.dataclass(frozen=True)
class DiskUsage:
    """All of a host's disk that hyperd uses, in bytes.

    ``layers`` counts the layers, which take ``layer_bytes`` together;
    ``reclaimable`` is what removing all images that no pod needs would free;
    ``temporary`` is of imports and pulls under way.
    """

    images: tuple[ImageUsage, ...]
    pods: tuple[PodUsage, ...]
    layers: int
    layer_bytes: int
    reclaimable: int
    temporary: int


@dataclasses.dataclass(frozen=True)
class Pruned:
    """The images that were removed, by id, their names, and the ``bytes`` freed."""

    images: tuple[str, ...]
    names: tuple[str, ...]
    bytes: int
