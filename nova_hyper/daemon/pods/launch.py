"""What a micro-VM and its agent are asked for, computed from a pod."""

from __future__ import annotations

import base64
import ipaddress
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nova_hyper.daemon.hypervisor.domain import MAX_DEVICES, Disk
from nova_hyper.daemon.pods import process
from nova_hyper.spec import codec
from nova_hyper.spec.errors import ImageUnsuitable, InsufficientMemory, InvalidRequest
from nova_hyper.spec.image import Image
from nova_hyper.spec.nic import Nic, NicKind
from nova_hyper.spec.pod import PodSpec

_GIB = 1024**3
_MIB = 1024**2
_ENTROPY_BYTES = 64
_HOSTNAME = 63
# The share of a pod's memory that its tmpfs root may take: the kernel's own default for a tmpfs.
_TMPFS_SHARE = 2


def check(spec: PodSpec, images: Sequence[Image], *, arch: str, memory: tuple[int, int]) -> None:
    """Refuse a pod that cannot work, before anything is made.

    *images* are those of ``spec.containers``, *memory* the least and the most
    MiB a pod may have here.

    :raises HyperError: a typed one, whose message says what to do.
    """
    least, most = memory
    if spec.memory_mib < least:
        raise InsufficientMemory(
            f"{spec.memory_mib} MiB of memory is less than the {least} MiB that a guest needs; "
            "choose a larger flavor"
        )
    if spec.memory_mib > most:
        raise InsufficientMemory(
            f"{spec.memory_mib} MiB of memory is more than the {most} MiB of this host"
        )
    names = [c.name for c in spec.containers]
    if len(set(names)) != len(names):
        raise InvalidRequest(f"two containers of the pod have one name: {', '.join(names)}")
    check_devices(spec, images)
    for container, image in zip(spec.containers, images, strict=True):
        process.resolve(container, image.config)
        if image.architecture != arch:
            raise ImageUnsuitable(
                f"image {container.image} is for {image.architecture}, this host is {arch}"
            )
        if spec.root_gib and image.unpacked_size > spec.root_gib * _GIB:
            raise ImageUnsuitable(
                f"image {container.image} unpacks to {image.unpacked_size / _GIB:.1f} GiB, more "
                f"than the pod's disk of {spec.root_gib} GiB; choose a larger flavor"
            )


def check_devices(spec: PodSpec, images: Sequence[Image]) -> None:
    """Refuse interfaces that contradict themselves, and more devices than a micro-VM has room for.

    :raises InvalidRequest: naming the interface.
    :raises ImageUnsuitable: when the images have too many layers together.
    """
    for nic in spec.nics:
        _check_nic(nic)
    uppers = len(spec.containers) if spec.root_gib else 0
    disks = len(Disks(spec, images).diff_ids) + uppers
    if disks + len(spec.nics) > MAX_DEVICES:
        raise ImageUnsuitable(
            f"the pod's images have so many layers that it needs {disks} disks and "
            f"{len(spec.nics)} interfaces, more than the {MAX_DEVICES} devices possible; use "
            "images with fewer layers"
        )


def _check_nic(nic: Nic) -> None:
    missing = {
        NicKind.OVS: not nic.bridge or not nic.interface_id,
        NicKind.BRIDGE: not nic.bridge,
        NicKind.TAP: not nic.device,
    }
    if missing[nic.kind]:
        raise InvalidRequest(
            f"interface {nic.mac} is of kind {nic.kind} and lacks what that needs: ovs has bridge "
            "and interface_id, bridge has bridge, tap has device"
        )
    try:
        for address in nic.addresses:
            ipaddress.ip_interface(address)
        for route in nic.routes:
            ipaddress.ip_network(route.destination, strict=False)
            ipaddress.ip_address(route.gateway)
    except ValueError as exc:
        raise InvalidRequest(f"interface {nic.mac}: {exc}") from None


class Disks:
    """The disks of a pod: each layer once, whatever containers share it, and the uppers."""

    def __init__(self, spec: PodSpec, images: Sequence[Image]) -> None:
        self._spec = spec
        self._images = images
        diff_ids = [layer.diff_id for image in images for layer in image.layers]
        self._serials = {d: f"l{i}" for i, d in enumerate(dict.fromkeys(diff_ids))}

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The layers in the order of their disks."""
        return tuple(self._serials)

    def of_domain(self, layer_paths: Sequence[Path], upper_paths: Sequence[Path]) -> list[Disk]:
        """Return the domain's disks; both sequences are in the order of this object's own."""
        layers = zip(layer_paths, self._serials.values(), strict=True)
        disks = [Disk(path, serial, readonly=True) for path, serial in layers]
        uppers = enumerate(upper_paths)
        return disks + [Disk(path, _upper_serial(i), readonly=False) for i, path in uppers]

    def of_container(self, index: int) -> tuple[list[str], dict[str, Any]]:
        """Return the serial numbers of a container's layers, and its ``upper`` for the agent."""
        layers = [self._serials[layer.diff_id] for layer in self._images[index].layers]
        if self._spec.root_gib:
            return layers, {"serial": _upper_serial(index)}
        share = self._spec.memory_mib // _TMPFS_SHARE // len(self._spec.containers)
        return layers, {"tmpfs_mib": max(1, share)}


def _upper_serial(index: int) -> str:
    return f"upper{index}"


def entropy() -> str:
    """Return fresh entropy for a guest, in base64."""
    return base64.b64encode(os.urandom(_ENTROPY_BYTES)).decode()


def _hostname(name: str) -> str:
    """Return *name* as a host name: letters, digits and hyphens, at most 63 of them (RFC 1123)."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name)[:_HOSTNAME].strip("-") or "pod"


def pod_request(spec: PodSpec) -> dict[str, Any]:
    """Return the arguments of the agent's ``pod.configure``."""
    return {
        "hostname": spec.hostname or _hostname(spec.name),
        "time_ns": time.time_ns(),
        "entropy": entropy(),
        "nics": [
            {
                "mac": nic.mac,
                "mtu": nic.mtu,
                "addresses": list(nic.addresses),
                "routes": codec.encode(nic.routes),
            }
            for nic in spec.nics
        ],
        "dns": codec.encode(spec.dns),
    }


def container_requests(spec: PodSpec, images: Sequence[Image]) -> list[dict[str, Any]]:
    """Return the arguments of the agent's ``container.create``, one of each container."""
    disks = Disks(spec, images)
    requests = []
    for index, container in enumerate(spec.containers):
        wanted = process.resolve(container, images[index].config)
        layers, upper = disks.of_container(index)
        requests.append(
            {
                "name": container.name,
                "layers": layers,
                "upper": upper,
                "argv": list(wanted.argv),
                "env": list(wanted.env),
                "user": wanted.user,
                "cwd": wanted.cwd,
                "stop_signal": wanted.stop_signal,
            }
        )
    return requests
