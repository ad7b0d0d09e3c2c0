"""What the host counts of a running pod: its processors, memory, disks and interfaces."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class CpuTime:
    """One virtual CPU and the nanoseconds that it has run."""

    id: int
    time_ns: int


@dataclasses.dataclass(frozen=True)
class Memory:
    """Memory in MiB: what the pod has, and what its guest uses of it.

    ``used_mib`` is None when the guest could not be asked; ``resident_mib`` is
    what QEMU's process takes on the host, None where libvirt does not say.
    """

    maximum_mib: int
    used_mib: int | None = None
    resident_mib: int | None = None


@dataclasses.dataclass(frozen=True)
class DiskCount:
    """One disk since the micro-VM was started; ``serial`` is its name in the guest."""

    serial: str
    read_bytes: int
    read_requests: int
    write_bytes: int
    write_requests: int


@dataclasses.dataclass(frozen=True)
class NicCount:
    """One interface since it was attached, received and sent as the guest sees it."""

    mac: str
    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


@dataclasses.dataclass(frozen=True)
class Diagnostics:
    """What the hypervisor has counted of a pod that is up."""

    cpus: tuple[CpuTime, ...]
    memory: Memory
    disks: tuple[DiskCount, ...] = ()
    nics: tuple[NicCount, ...] = ()
