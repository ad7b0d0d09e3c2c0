"""What a rescue has mounted of the pod that it repairs.

The roots are overlays of the pod's own layers and writable disk, made by the
agent as for containers that run, so that what is repaired there is what the pod
boots with.  Volumes on disk are at their paths in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nova_hyper.daemon.pods import mounts
from nova_hyper.daemon.pods.layout import Disks, Original
from nova_hyper.spec.volume import Medium

PATH = "/mnt/rescue"
"""Where the root is, or a directory with a root for each container where there are several."""
# A pod's own volumes have no dot in their names, and those that images declare begin otherwise.
_ROOT = "root."


def count(original: Original) -> int:
    """Return how many mounts they are."""
    return len(mount_requests(original))


def volume_requests(original: Original, disks: Disks) -> Iterator[mounts.Request]:
    """Yield the operations that make the roots and volumes of *original*; *disks* are its own.

    Nothing is put into volumes: a pod does that itself when it boots.
    """
    for index in range(len(original.images)):
        layers, upper = disks.of_container(index)
        yield (
            "volume.create",
            {"name": _root(index), "kind": "root", "layers": layers, "upper": upper},
        )
    place = disks.writable()
    for name in sorted({m["volume"] for m in mount_requests(original)}):
        if not name.startswith(_ROOT):
            volume = {"name": name, "kind": "empty", "medium": Medium.DISK.value, "upper": place}
            yield "volume.create", volume


def mount_requests(original: Original) -> list[dict[str, Any]]:
    """Return the ``mounts`` of the rescue's container: those that hold others come first."""
    found: list[dict[str, Any]] = []
    on_disk = {v.name for v in original.spec.volumes if v.medium is Medium.DISK}
    several = len(original.images) > 1
    containers = zip(original.spec.all_containers, original.images, strict=True)
    for index, (container, image) in enumerate(containers):
        path = f"{PATH}/{container.name}" if several else PATH
        found.append({"volume": _root(index), "path": path, "read_only": False})
        for request in mounts.mount_requests(container, image, index):
            if "copy" in request or request["volume"] in on_disk:
                there = {"path": path + request["path"], "read_only": False}
                found.append({k: v for k, v in request.items() if k != "copy"} | there)
    return found


def _root(index: int) -> str:
    return f"{_ROOT}{index}"
