"""Limits and the make of a micro-VM as elements of its domain XML.

Source of the format: https://libvirt.org/formatdomain.html (cputune, cpu
topology, iotune, bandwidth, rng).
"""

from __future__ import annotations

import dataclasses
from xml.etree import ElementTree as ET

from nova_hyper.spec.nic import Nic, NicKind
from nova_hyper.spec.tuning import Bandwidth, CpuLimits, CpuTopology, DiskLimits, NicLimits, Rng

# TUN's own limit: MAX_TAP_QUEUES of drivers/net/tun.c.
_MAX_QUEUES = 256


def add_cpu_limits(root: ET.Element, cpu: CpuLimits) -> None:
    """Limit the vCPUs of the domain *root*, where *cpu* does."""
    wanted = {"shares": cpu.shares, "period": cpu.period_us, "quota": cpu.quota_us}
    given = {tag: value for tag, value in wanted.items() if value is not None}
    if given:
        cputune = ET.SubElement(root, "cputune")
        for tag, value in given.items():
            ET.SubElement(cputune, tag).text = str(value)


def add_topology(cpu: ET.Element, topology: CpuTopology | None) -> None:
    """Have the guest see its vCPUs as *topology* says."""
    if topology is not None:
        ET.SubElement(
            cpu,
            "topology",
            sockets=str(topology.sockets),
            dies="1",
            cores=str(topology.cores),
            threads=str(topology.threads),
        )


def add_disk_limits(disk: ET.Element, limits: DiskLimits, group: str) -> None:
    """Limit *disk* together with all disks of the domain in *group*."""
    given = {tag: value for tag, value in dataclasses.asdict(limits).items() if value}
    if not given:
        return
    iotune = ET.SubElement(disk, "iotune")
    for tag, value in given.items():
        ET.SubElement(iotune, tag).text = str(value)
    ET.SubElement(iotune, "group_name").text = group


def add_nic_limits(interface: ET.Element, limits: NicLimits) -> None:
    """Limit what an interface receives and sends."""
    bandwidth = ET.Element("bandwidth")
    # libvirt's names are the guest's view, as Nova's are.
    for tag, given in (("inbound", limits.inbound), ("outbound", limits.outbound)):
        if given.average:
            ET.SubElement(bandwidth, tag, _bandwidth(given))
    if len(bandwidth):
        interface.append(bandwidth)


def _bandwidth(given: Bandwidth) -> dict[str, str]:
    return {name: str(value) for name, value in dataclasses.asdict(given).items() if value}


def queues(nic: Nic, vcpus: int, multiqueue: bool) -> int:
    """Return how many queues an interface has.

    A tap that somebody else has made has the one it was made with.
    """
    if not multiqueue or nic.kind is NicKind.TAP:
        return 1
    return min(vcpus, _MAX_QUEUES)


def add_rng(devices: ET.Element, rng: Rng) -> ET.Element | None:
    """Add the random number generator and return it, None where there shall be none."""
    if not rng.enabled:
        return None
    element = ET.SubElement(devices, "rng", model="virtio")
    if rng.rate_bytes:
        rate = {"bytes": str(rng.rate_bytes)}
        if rng.rate_period_ms:
            rate["period"] = str(rng.rate_period_ms)
        ET.SubElement(element, "rate", rate)
    ET.SubElement(element, "backend", model="random").text = "/dev/urandom"
    return element
