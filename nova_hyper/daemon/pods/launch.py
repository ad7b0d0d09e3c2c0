"""What a micro-VM and its agent are asked for, computed from a pod."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import re
import time
from collections.abc import Sequence
from typing import Any

from nova_hyper.daemon.hypervisor.domain import max_devices
from nova_hyper.daemon.pods import layout, local_disks, process
from nova_hyper.spec import codec
from nova_hyper.spec.errors import ImageUnsuitable, InsufficientMemory, InvalidRequest
from nova_hyper.spec.image import Image
from nova_hyper.spec.nic import Nic, NicKind
from nova_hyper.spec.pod import PodSpec

_GIB = 1024**3
_MIB = 1024**2
_ENTROPY_BYTES = 64
_HOSTNAME = 63

ROOT_LABEL = "org.nova-hyper.root-gib"
"""Label of an image that was made of a pod: the size of the disk that it was written to."""


def check(
    spec: PodSpec,
    images: Sequence[Image],
    *,
    arch: str,
    memory: tuple[int, int],
    original: layout.Original | None = None,
) -> None:
    """Refuse a pod that cannot work, before anything is made.

    *images* are those of ``spec.all_containers``, *memory* the least and the
    most MiB a pod may have here, *original* what it repairs where it is a rescue.

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
    topology = spec.tuning.topology
    if topology and topology.sockets * topology.cores * topology.threads != spec.vcpus:
        raise InvalidRequest(
            f"{topology.sockets} sockets of {topology.cores} cores of {topology.threads} threads "
            f"are not the pod's {spec.vcpus} vCPUs"
        )
    names = [c.name for c in spec.all_containers]
    if len(set(names)) != len(names):
        raise InvalidRequest(f"two containers of the pod have one name: {', '.join(names)}")
    for volume in spec.volumes:
        for file in volume.files:
            try:
                base64.b64decode(file.data)
            except (binascii.Error, ValueError):
                raise InvalidRequest(
                    f"the data of file {file.path} in volume {volume.name} are not base64"
                ) from None
    check_devices(spec, images, original)
    for container, image in zip(spec.all_containers, images, strict=True):
        process.check_user(container, process.resolve(container, image.config).user)
        if image.architecture != arch:
            raise ImageUnsuitable(
                f"image {container.image} is for {image.architecture}, this host is {arch}"
            )
        if not _fits(spec.root_gib, image):
            raise ImageUnsuitable(
                f"image {container.image} unpacks to {image.unpacked_size / _GIB:.1f} GiB, more "
                f"than the pod's disk of {spec.root_gib} GiB; choose a larger flavor"
            )


def _fits(root_gib: int, image: Image) -> bool:
    """Tell whether a pod with a disk of *root_gib* may have *image*.

    The layers take no room on that disk; the rule says that a flavor is too small
    before an image's user finds out.  So the word of an image is enough that it
    was made of a pod with such a disk: its layers count what was replaced twice.
    """
    if not root_gib or image.unpacked_size <= root_gib * _GIB:
        return True
    label = image.config.labels.get(ROOT_LABEL, "")
    return label.isascii() and label.isdigit() and 0 < int(label[:9]) <= root_gib


def check_devices(
    spec: PodSpec, images: Sequence[Image], original: layout.Original | None = None
) -> None:
    """Refuse interfaces that contradict themselves, and more devices than a micro-VM has room for.

    :raises InvalidRequest: naming the interface.
    :raises ImageUnsuitable: when the images have too many layers together.
    """
    for nic in spec.nics:
        _check_nic(nic)
    local_disks.check(spec)
    disks = layout.Disks(spec, images, original).count + local_disks.count(spec)
    most = max_devices(len(spec.nics))
    if disks + len(spec.nics) > most:
        raise ImageUnsuitable(
            f"the pod's images have so many layers that it needs {disks} disks and "
            f"{len(spec.nics)} interfaces, more than the {most} devices possible; use "
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
        **({"sysctls": spec.sysctls} if spec.sysctls else {}),
        **({"hosts": codec.encode(spec.host_aliases)} if spec.host_aliases else {}),
    }
