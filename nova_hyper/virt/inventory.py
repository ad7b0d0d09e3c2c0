"""The host as Nova and Placement see it: pure functions from hyperd's facts.

Source of the fields: ``LibvirtDriver.get_available_resource`` and
``LibvirtDriver.update_provider_tree``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import os_resource_classes as orc
import os_traits
from nova.objects import fields
from oslo_serialization import jsonutils

from nova_hyper.spec.host import Cpu, Host
from nova_hyper.spec.image import Image
from nova_hyper.spec.pod import Pod, PodState
from nova_hyper.virt import podspec

HYPERVISOR_TYPE = "hyper"
TRAIT = "CUSTOM_HYPER"
_GIB = 1024**3
_PODS_AT_A_TIME = 4
_UP = (PodState.CREATING, PodState.READY, PodState.RUNNING, PodState.PAUSED)


@dataclasses.dataclass(frozen=True)
class Policy:
    """The operator's part: what to hold back (MiB, CPUs, GiB), and the allocation ratios."""

    reserved_memory_mb: int
    reserved_cpus: int
    reserved_disk_gb: int
    ratios: Mapping[str, float]


def available_resource(host: Host, pods: Iterable[Pod], uptime: str) -> dict[str, Any]:
    """Return what ``get_available_resource`` does."""
    return {
        "vcpus": host.vcpus,
        "memory_mb": host.memory_mib,
        "local_gb": host.disk_gib,
        "vcpus_used": sum(pod.spec.vcpus for pod in pods if pod.state in _UP),
        "memory_mb_used": host.memory_used_mib,
        "local_gb_used": host.disk_used_gib,
        "hypervisor_type": HYPERVISOR_TYPE,
        "hypervisor_version": host.hypervisor_version,
        "hypervisor_hostname": host.hostname,
        "cpu_info": jsonutils.dumps(_cpu_info(host.cpu)),
        "disk_available_least": host.disk_free_gib,
        "supported_instances": [
            (
                fields.Architecture.canonicalize(host.cpu.arch),
                fields.HVType.DOCKER,
                fields.VMMode.EXE,
            )
        ],
        "numa_topology": None,
        "stats": {"uptime": uptime},
    }


def _cpu_info(cpu: Cpu) -> dict[str, Any]:
    return {
        "arch": cpu.arch,
        "vendor": cpu.vendor,
        "model": cpu.model,
        "topology": {"sockets": cpu.sockets, "cores": cpu.cores, "threads": cpu.threads},
        "features": list(cpu.features),
    }


def reserved_memory_mb(host: Host, pods: Iterable[Pod]) -> int:
    """Return the MiB that pods take beside what Placement has allocated for them.

    Placement allocates a flavor's memory; QEMU takes ``pod_overhead_mib`` more,
    and Nova has no hook for it any more (``estimate_instance_overhead`` is
    gone).  So the overhead of the pods that exist is reserved, and that of at
    least one more, which is the pod that the scheduler places next: this runs
    at every claim.  It is reserved for a few pods at a time, because a claim
    that changes the inventory competes with the scheduler's own writes.  Pods
    that are not Nova's take their whole memory too.
    """
    pods = list(pods)
    foreign = sum(pod.spec.memory_mib for pod in pods if not podspec.is_novas(pod))
    reserved_for = -(-(len(pods) + 1) // _PODS_AT_A_TIME) * _PODS_AT_A_TIME
    return host.pod_overhead_mib * reserved_for + foreign


def inventory(host: Host, pods: Iterable[Pod], policy: Policy) -> dict[str, dict[str, Any]]:
    """Return the inventory of the host's resource provider by resource class."""
    reserved_memory = policy.reserved_memory_mb + reserved_memory_mb(host, pods)
    sizes = {
        orc.VCPU: (host.vcpus, policy.reserved_cpus),
        orc.MEMORY_MB: (host.memory_mib, reserved_memory),
        orc.DISK_GB: (host.disk_gib, policy.reserved_disk_gb),
    }
    # Placement refuses a total of 0, and more reserved than there is.
    return {
        resource: {
            "total": total,
            "reserved": min(reserved, total),
            "min_unit": 1,
            "max_unit": total,
            "step_size": 1,
            "allocation_ratio": policy.ratios[resource],
        }
        for resource, (total, reserved) in sizes.items()
        if total
    }


def traits(host: Host) -> set[str]:
    """Return the traits that are true of the host beside those of the driver's capabilities."""
    arch = fields.Architecture.canonicalize(host.cpu.arch).upper()
    wanted = {
        TRAIT,
        os_traits.COMPUTE_NET_VIF_MODEL_VIRTIO,
        os_traits.COMPUTE_STORAGE_BUS_VIRTIO,
        f"HW_ARCH_{arch}",
        f"COMPUTE_ARCH_{arch}",
    }
    known = set(os_traits.get_traits())
    return {trait for trait in wanted if trait in known or trait == TRAIT}


def image_cache_gb(images: Iterable[Image]) -> int:
    """Return the GiB of all layers in the store, shared ones once, rounded up."""
    sizes = {layer.diff_id: layer.size for image in images for layer in image.layers}
    return -(-sum(sizes.values()) // _GIB)
