"""The volumes of a Pod and what is mounted of them."""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Mapping
from typing import Any

from nova_hyper.manifest import quantity
from nova_hyper.manifest.objects import CONFIG_MAP, SECRET, Objects
from nova_hyper.manifest.problems import Problems
from nova_hyper.spec.volume import Medium, Mount, Volume, VolumeFile

_MIB = 1024**2
_MODE = 0o644
# What kubelet adds so that the pod's fsGroup can use a volume (SetVolumeOwnership).
_GROUP_READS = 0o440
_GROUP_DIRECTORY = 0o2070


def volumes(
    spec: Mapping[str, Any], objects: Objects, fs_group: int | None, problems: Problems
) -> tuple[Volume, ...]:
    """Return the volumes of a Pod's *spec*; *fs_group* owns them where it is given."""
    found: dict[str, Volume] = {}
    for index, volume in enumerate(spec.get("volumes", ())):
        path = f"spec.volumes[{index}]"
        name = volume["name"]
        if name in found:
            problems.add(f"{path}.name", f"is {name}, as of an earlier volume")
        if "emptyDir" in volume:
            found[name] = _empty(name, volume["emptyDir"], fs_group, f"{path}.emptyDir", problems)
        elif "configMap" in volume:
            source = volume["configMap"]
            where = f"{path}.configMap"
            data = objects.find(
                CONFIG_MAP,
                source["name"],
                source.get("optional", False),
                f"{where}.name",
                problems,
            )
            found[name] = _filled(name, Medium.DISK, source, data, fs_group, where, problems)
        else:
            source = volume["secret"]
            where = f"{path}.secret"
            data = objects.find(
                SECRET,
                source["secretName"],
                source.get("optional", False),
                f"{where}.secretName",
                problems,
            )
            # Never on a disk, as in Kubernetes.
            found[name] = _filled(name, Medium.MEMORY, source, data, fs_group, where, problems)
    return tuple(found.values())


def _empty(
    name: str, source: Mapping[str, Any], fs_group: int | None, path: str, problems: Problems
) -> Volume:
    medium = Medium.MEMORY if source.get("medium") == "Memory" else Medium.DISK
    size = None
    if "sizeLimit" in source:
        try:
            size = -(-quantity.parse(source["sizeLimit"]) // _MIB)
        except ValueError as exc:
            problems.add(f"{path}.sizeLimit", str(exc))
        if medium is Medium.DISK:
            problems.add(
                f"{path}.sizeLimit",
                "is supported with medium Memory only; the limit of what is on disk is that of "
                "the pod's own disk",
            )
    mode = 0o777 if fs_group is None else 0o777 | _GROUP_DIRECTORY
    return Volume(name, medium, size, mode, fs_group)


def _filled(
    name: str,
    medium: Medium,
    source: Mapping[str, Any],
    data: Mapping[str, bytes],
    fs_group: int | None,
    path: str,
    problems: Problems,
) -> Volume:
    default = source.get("defaultMode", _MODE)
    wanted = [
        (item["key"], posixpath.normpath(item["path"]), item.get("mode", default), index)
        for index, item in enumerate(source.get("items", ()))
    ]
    if not source.get("items"):  # an empty list is as good as none, as in Kubernetes
        wanted = [(key, key, default, 0) for key in data]
    files: dict[str, VolumeFile] = {}
    for key, target, mode, index in wanted:
        where = f"{path}.items[{index}]"
        if key not in data:
            if not source.get("optional", False) and data:
                problems.add(f"{where}.key", f"is {key}, which is not in the object")
            continue
        if target in files:
            problems.add(f"{where}.path", f"is {target}, as of an earlier item")
        bits = mode if fs_group is None else mode | _GROUP_READS
        files[target] = VolumeFile(target, base64.b64encode(data[key]).decode(), bits)
    mode = 0o755 if fs_group is None else 0o755 | _GROUP_DIRECTORY
    return Volume(name, medium, None, mode, fs_group, tuple(files.values()))


def mounts(
    container: Mapping[str, Any], known: Mapping[str, Volume], path: str, problems: Problems
) -> tuple[Mount, ...]:
    """Return what a container mounts of the *known* volumes."""
    found: dict[str, Mount] = {}
    for index, mount in enumerate(container.get("volumeMounts", ())):
        where = f"{path}.volumeMounts[{index}]"
        name = mount["name"]
        target = posixpath.normpath(mount["mountPath"]).replace("//", "/")
        if name not in known:
            problems.add(f"{where}.name", f"is {name}, which is not in spec.volumes")
            continue
        if target == "/":
            problems.add(f"{where}.mountPath", "must not be the root of the container")
        if target in found:
            problems.add(f"{where}.mountPath", f"is {target}, as of an earlier mount")
        sub_path = mount.get("subPath", "")
        found[target] = Mount(
            volume=name,
            path=target,
            sub_path=posixpath.normpath(sub_path) if sub_path.strip("./") else "",
            # What comes from a ConfigMap or a Secret cannot be written, as in Kubernetes.
            read_only=mount.get("readOnly", False) or bool(known[name].files),
        )
    return tuple(found.values())
