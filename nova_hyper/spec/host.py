"""The host: what it has, and what runs on it."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Cpu:
    """The host's processors, as libvirt's capabilities name them."""

    arch: str
    vendor: str = ""
    model: str = ""
    sockets: int = 1
    cores: int = 1
    threads: int = 1
    features: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Host:
    """Facts of the host and of the daemon.

    Disk figures are of the file system that holds ``state_dir``.
    ``pod_overhead_mib`` is the host memory that a pod takes beside its own
    (QEMU's, and under TCG the translator's).  ``virt_reason`` is the sentence
    that says why ``virt_type`` (``kvm`` or ``qemu``) is what it is.
    """

    hostname: str
    uptime_s: int
    cpu: Cpu
    vcpus: int
    memory_mib: int
    memory_used_mib: int
    disk_gib: int
    disk_free_gib: int
    disk_used_gib: int
    virt_type: str
    virt_reason: str
    hypervisor_version: int
    libvirt_version: int
    pod_overhead_mib: int
    min_memory_mib: int
    guest_kernel: str
    guest_agent: str
    state_dir: str
    pods: int


@dataclasses.dataclass(frozen=True)
class Version:
    """``api`` is the version of the REST API, ``hyperd`` the package's."""

    api: str
    hyperd: str
