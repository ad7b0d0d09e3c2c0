"""What servers leave on a host and in the cloud's records: for telling that nothing was left."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from openstack.connection import Connection

from cloud import command, hyperd, libvirt, openvswitch
from cloud.site import HYPERD_SOCKET, Site

_PREFIX = hyperd.DOMAIN_PREFIX


@dataclasses.dataclass(frozen=True)
class Traces:
    """Names of everything of one kind; two of these compare equal when nothing came or went."""

    domains: frozenset[str]
    qemu_processes: frozenset[str]
    interfaces: frozenset[str]
    ovs_ports: frozenset[str]
    loop_devices: frozenset[str]
    pod_files: frozenset[str]
    ports: frozenset[str]
    allocations: frozenset[str]

    def since(self, before: Traces) -> dict[str, list[str]]:
        """Return what is there now and was not *before*, by kind; empty kinds are left out."""
        new = {
            field.name: sorted(getattr(self, field.name) - getattr(before, field.name))
            for field in dataclasses.fields(self)
        }
        return {kind: names for kind, names in new.items() if names}


def find(site: Site, cloud: Connection) -> Traces:
    """Return the traces that are there now.

    Images are not among them: a host keeps those on purpose.
    """
    return Traces(
        # Those of the cloud's hyperd: others on this libvirtd are not what is looked after here.
        domains=frozenset(d for d in libvirt.domains() if d.startswith(_PREFIX)),
        qemu_processes=frozenset(qemu_processes()),
        interfaces=frozenset(path.name for path in Path("/sys/class/net").iterdir()),
        ovs_ports=frozenset(_lines("ovs-vsctl", "--timeout=5", "list-ports", openvswitch.BRIDGE)),
        loop_devices=frozenset(_lines("losetup", "--noheadings", "--output", "NAME")),
        pod_files=frozenset(_pod_files(site)),
        ports=frozenset(
            port.id
            for port in cloud.network.ports()
            if str(port.device_owner).startswith("compute:")
        ),
        allocations=frozenset(_allocations(cloud)),
    )


def qemu_processes() -> list[str]:
    """Return the process ids of the QEMUs of pods; a zombie, which is no more, has no command."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"\0guest={_PREFIX}".encode() in (process / "cmdline").read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return found


def _pod_files(site: Site) -> list[str]:
    roots = (site.var / "hyperd/pods", HYPERD_SOCKET.parent)
    return [str(path) for root in roots if root.exists() for path in root.rglob("*")]


def _lines(*argv: str) -> list[str]:
    return (command.output(argv) or "").split()


def _allocations(cloud: Connection) -> list[str]:
    found: list[str] = []
    for provider in cloud.placement.resource_providers():
        answer = cloud.placement.get(f"/resource_providers/{provider.id}/allocations")
        found.extend(answer.json()["allocations"])
    return found
