"""Network interfaces of a pod."""

from __future__ import annotations

import dataclasses
import enum


class NicKind(enum.StrEnum):
    """How the hypervisor connects the interface to the host."""

    OVS = "ovs"
    """libvirt makes the tap and adds it to the Open vSwitch ``bridge`` with ``interface_id``."""
    BRIDGE = "bridge"
    """libvirt makes the tap and adds it to the Linux ``bridge``."""
    TAP = "tap"
    """The tap ``device`` exists already and belongs to whoever made it."""


@dataclasses.dataclass(frozen=True)
class Route:
    """A route; ``destination`` is a CIDR (``0.0.0.0/0`` is the default route)."""

    destination: str
    gateway: str


@dataclasses.dataclass(frozen=True)
class Nic:
    """One interface.

    ``addresses`` are CIDRs with the prefix length (``10.0.0.5/24``), v4 or v6.
    ``offload`` is False where the host's datapath cannot finish checksums that
    the guest leaves undone (OVS ``datapath_type=netdev``): then all checksum
    and segmentation offloads of the virtio NIC are off.
    """

    mac: str
    kind: NicKind
    bridge: str = ""
    interface_id: str = ""
    device: str = ""
    mtu: int = 0
    offload: bool = True
    addresses: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()


FIRST_SLOT = 3
"""Of pcie.0, for what a pod is made of; those before it are the micro-VM's own."""
PLACED = 16
"""So many of a pod's interfaces have slots of their own, in their order."""


def pci_address(index: int) -> str | None:
    """Return where the pod's interface number *index* is on the PCI bus, as sysfs writes it.

    It depends on nothing else; None for those beyond the first :data:`PLACED`.
    """
    return f"0000:00:{FIRST_SLOT + index:02x}.0" if index < PLACED else None


@dataclasses.dataclass(frozen=True)
class Dns:
    """What goes into the containers' ``/etc/resolv.conf``."""

    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
