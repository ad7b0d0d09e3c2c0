"""Volumes and mounts as the agent takes them."""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Iterator, Sequence
from typing import Any

from nova_hyper.spec.container import Container
from nova_hyper.spec.image import Image
from nova_hyper.spec.pod import PodSpec
from nova_hyper.spec.volume import Medium, Volume, VolumeFile

Request = tuple[str, dict[str, Any]]

# Well below the 256 KiB of a frame, in base64 and with what is around it.
_PART = 128 * 1024
# What an agent mounts in one container, those of the pod and of the image together.
_MAX_MOUNTS = 64
# What the agent mounts itself.
_TAKEN = ("/", "/proc", "/sys", "/dev")


def of_image(container: Container, image: Image, index: int) -> dict[str, str]:
    """Return the names of the volumes that an image declares, by their paths.

    One at a path where the pod mounts something has given way to that.  Names
    have a dot, which those of a pod's own volumes have not.
    """
    own = {mount.path for mount in container.mounts}
    found: dict[str, str] = {}
    for declared in image.config.volumes[: max(0, _MAX_MOUNTS - len(own))]:
        path = posixpath.normpath(declared).replace("//", "/")
        if path.startswith("/") and path not in own and not is_taken(path):
            found.setdefault(path, f"image.{index}.{len(found)}")
    return found


def is_taken(path: str) -> bool:
    """Tell whether a container has something of its own at *path*."""
    return path in _TAKEN or path.startswith(("/proc/", "/sys/", "/dev/"))


def volume_requests(
    spec: PodSpec, images: Sequence[Image], upper: dict[str, Any] | None, first: int = 0
) -> Iterator[Request]:
    """Yield the operations that make the volumes and what is in them.

    Those on disk are on *upper*; None is that of the only container.  *first* is
    the index of the first container.
    """
    on_disk = {} if upper is None else {"upper": upper}
    for volume in spec.volumes:
        yield "volume.create", _volume(volume) | (on_disk if volume.medium is Medium.DISK else {})
        for file in volume.files:
            yield from _file(volume.name, file)
    containers = zip(spec.all_containers, images, strict=True)
    for index, (container, image) in enumerate(containers, first):
        for name in of_image(container, image, index).values():
            yield "volume.create", {"name": name, "kind": "empty", "medium": "disk", **on_disk}


def _volume(volume: Volume) -> dict[str, Any]:
    request: dict[str, Any] = {
        "name": volume.name,
        "kind": "empty",
        "medium": volume.medium.value,
        "mode": volume.mode,
    }
    if volume.size_mib is not None:
        request["size_mib"] = volume.size_mib
    if volume.gid is not None:
        request["gid"] = volume.gid
    return request


def _file(volume: str, file: VolumeFile) -> Iterator[Request]:
    data = base64.b64decode(file.data)
    for start in range(0, max(1, len(data)), _PART):
        yield (
            "volume.write",
            {
                "name": volume,
                "path": file.path,
                "mode": file.mode,
                "data": base64.b64encode(data[start : start + _PART]).decode(),
                "append": start > 0,
            },
        )


def mount_requests(container: Container, image: Image, index: int) -> list[dict[str, Any]]:
    """Return the ``mounts`` of ``container.create``: those that hold others come first."""
    found: list[dict[str, Any]] = []
    for mount in container.mounts:
        request: dict[str, Any] = {
            "volume": mount.volume,
            "path": mount.path,
            "read_only": mount.read_only,
        }
        if mount.sub_path:
            request["sub_path"] = mount.sub_path
        found.append(request)
    for path, name in of_image(container, image, index).items():
        found.append({"volume": name, "path": path, "read_only": False, "copy": True})
    return sorted(found, key=lambda m: (m["path"].count("/"), m["path"]))
