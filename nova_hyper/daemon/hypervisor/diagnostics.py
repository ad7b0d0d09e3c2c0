"""What libvirt has counted of a domain, from its bulk statistics.

Source: virConnectGetAllDomainStats in https://libvirt.org/html/libvirt-libvirt-domain.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

import libvirt

from nova_hyper.spec.diagnostics import CpuTime, Diagnostics, DiskCount, Memory, NicCount

_WANTED = (
    libvirt.VIR_DOMAIN_STATS_VCPU
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_BLOCK
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
)
_KIB_PER_MIB = 1024


def read(connection: libvirt.virConnect, handle: libvirt.virDomain) -> Diagnostics:
    """Return the figures of *handle*."""
    xml = handle.XMLDesc(0)
    ((_, stats),) = connection.domainListGetStats([handle], _WANTED, 0)
    return parse(stats, xml)


def parse(stats: Mapping[str, Any], xml: str) -> Diagnostics:
    """Return *stats* with the names that the guest knows its devices by, which *xml* has."""
    root = ET.fromstring(xml)  # noqa: S314 (libvirt made it)
    resident = stats.get("balloon.rss")
    return Diagnostics(
        cpus=tuple(
            CpuTime(i, int(stats[f"vcpu.{i}.time"]))
            for i in range(int(stats.get("vcpu.maximum", 0)))
            if f"vcpu.{i}.time" in stats
        ),
        memory=Memory(
            maximum_mib=int(stats.get("balloon.maximum", 0)) // _KIB_PER_MIB,
            resident_mib=None if resident is None else int(resident) // _KIB_PER_MIB,
        ),
        disks=tuple(_disks(stats, _names(root, "disk", "serial"))),
        nics=tuple(_nics(stats, _names(root, "interface", "mac"))),
    )


def _names(root: ET.Element, device: str, name: str) -> dict[str, str]:
    """Return what the guest calls each *device*, by the host's name for it."""
    found = {}
    for element in root.findall(f"./devices/{device}"):
        target, named = element.find("target"), element.find(name)
        if target is not None and named is not None:
            found[target.get("dev", "")] = named.get("address") or named.text or ""
    return found


def _disks(stats: Mapping[str, Any], serials: Mapping[str, str]) -> list[DiskCount]:
    found = []
    for i in range(int(stats.get("block.count", 0))):
        of = f"block.{i}."
        found.append(
            DiskCount(
                serial=serials.get(stats.get(of + "name", ""), ""),
                read_bytes=int(stats.get(of + "rd.bytes", 0)),
                read_requests=int(stats.get(of + "rd.reqs", 0)),
                write_bytes=int(stats.get(of + "wr.bytes", 0)),
                write_requests=int(stats.get(of + "wr.reqs", 0)),
            )
        )
    return found


def _nics(stats: Mapping[str, Any], macs: Mapping[str, str]) -> list[NicCount]:
    found = []
    for i in range(int(stats.get("net.count", 0))):
        counts = {
            f"{way}_{ours}": int(stats.get(f"net.{i}.{way}.{theirs}", 0))
            for way in ("rx", "tx")
            for ours, theirs in (
                ("bytes", "bytes"),
                ("packets", "pkts"),
                ("errors", "errs"),
                ("dropped", "drop"),
            )
        }
        found.append(NicCount(mac=macs.get(stats.get(f"net.{i}.name", ""), ""), **counts))
    return found
