"""What a pod uses at a moment, as its guest counts it."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class NicStats:
    """Counters of one interface since the guest booted."""

    mac: str
    rx_bytes: int = 0
    tx_bytes: int = 0
    rx_packets: int = 0
    tx_packets: int = 0
    rx_errors: int = 0
    tx_errors: int = 0
    rx_dropped: int = 0
    tx_dropped: int = 0


@dataclasses.dataclass(frozen=True)
class ContainerStats:
    """Counters of one container since it started, from its control group.

    ``memory_max`` is its limit in bytes, None without one; ``read_bytes`` and
    ``write_bytes`` are of block devices.
    """

    name: str
    cpu_ns: int = 0
    memory_bytes: int = 0
    memory_max: int | None = None
    memory_peak: int = 0
    oom_kills: int = 0
    pids: int = 0
    read_bytes: int = 0
    write_bytes: int = 0


@dataclasses.dataclass(frozen=True)
class PodStats:
    """A pod at ``uptime_ns`` of its guest's clock; ``cpu_ns`` is of all its processors."""

    uptime_ns: int
    cpu_ns: int
    mem_total_kib: int
    mem_available_kib: int
    nics: tuple[NicStats, ...] = ()
    containers: tuple[ContainerStats, ...] = ()


@dataclasses.dataclass(frozen=True)
class Process:
    """One process; ``pid`` is the container's own numbering, ``state`` a letter as of ps(1)."""

    pid: int
    ppid: int
    user: str
    rss_kib: int
    cpu_ns: int
    state: str
    command: str


@dataclasses.dataclass(frozen=True)
class Top:
    """The processes of one container."""

    container: str
    processes: tuple[Process, ...]
