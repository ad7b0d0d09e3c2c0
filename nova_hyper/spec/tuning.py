"""How the micro-VM of a pod is made and limited, beside its size."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class CpuLimits:
    """What the vCPUs get of the host's CPUs; None is the host's own.

    ``shares`` is a relative weight; each vCPU runs at most ``quota_us`` in every
    ``period_us``, and a negative quota is no limit.
    """

    shares: int | None = None
    period_us: int | None = None
    quota_us: int | None = None


@dataclasses.dataclass(frozen=True)
class CpuTopology:
    """How the guest sees its vCPUs; the product of the three is their number."""

    sockets: int
    cores: int
    threads: int


@dataclasses.dataclass(frozen=True)
class DiskLimits:
    """Bytes and operations in a second; 0 is no limit."""

    read_bytes_sec: int = 0
    write_bytes_sec: int = 0
    total_bytes_sec: int = 0
    read_iops_sec: int = 0
    write_iops_sec: int = 0
    total_iops_sec: int = 0


@dataclasses.dataclass(frozen=True)
class Bandwidth:
    """One direction of an interface: ``average`` and ``peak`` in KiB/s, ``burst`` in KiB.

    0 is no limit, and without an average there is none at all.
    """

    average: int = 0
    peak: int = 0
    burst: int = 0


@dataclasses.dataclass(frozen=True)
class NicLimits:
    """Of each interface, as the guest sees it: ``inbound`` is what it receives."""

    inbound: Bandwidth = dataclasses.field(default_factory=Bandwidth)
    outbound: Bandwidth = dataclasses.field(default_factory=Bandwidth)


@dataclasses.dataclass(frozen=True)
class Rng:
    """The virtio random number generator: at most ``rate_bytes`` in ``rate_period_ms``.

    0 bytes is no limit.
    """

    enabled: bool = True
    rate_bytes: int = 0
    rate_period_ms: int = 0


@dataclasses.dataclass(frozen=True)
class Tuning:
    """All of it.

    ``disk`` is for the root (the layers and what is written, together) and again
    for each further disk; ``multiqueue`` gives interfaces a queue for each vCPU.
    """

    cpu: CpuLimits = dataclasses.field(default_factory=CpuLimits)
    topology: CpuTopology | None = None
    disk: DiskLimits = dataclasses.field(default_factory=DiskLimits)
    nic: NicLimits = dataclasses.field(default_factory=NicLimits)
    rng: Rng = dataclasses.field(default_factory=Rng)
    multiqueue: bool = False
