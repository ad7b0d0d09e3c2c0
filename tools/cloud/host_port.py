"""A port of the host's own on a network of the cloud, so that its processes reach the pods.

An internal port of Open vSwitch that Neutron's agent wires as it does any
other; a router with floating addresses would need two more agents.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterator
from typing import Any

from openstack.connection import Connection

from cloud import command, openvswitch, plan
from cloud.openvswitch import BRIDGE
from cloud.site import Site

INTERFACE = "hyper-host"
OWNER = "nova-hyper:host"
"""Neutron's ``device_owner``; not one of a server, a router or a DHCP server."""
_VSCTL = ("ovs-vsctl", "--timeout=20")


@contextlib.contextmanager
def plugged(site: Site, cloud: Connection, network_name: str) -> Iterator[str]:
    """Give the host a port on the network *network_name*; yield its address.

    :raises CloudError: when the switch or the agent does not do its part.
    """
    network: Any = cloud.network.find_network(network_name, ignore_missing=False)
    port = _port(site, cloud, network)
    try:
        _plug(site, port, network.mtu)
        plan.until(
            f"Neutron's wiring of {INTERFACE}",
            lambda: cloud.network.get_port(port).status == "ACTIVE",
            timeout_s=60,
        )
        # After the wiring, which sets the port's VLAN: nothing is sent before it may be.
        address = _configure(site, cloud, port)
        yield address
    finally:
        unplug(site)
        cloud.network.delete_port(port)


def unplug(site: Site) -> None:
    """Remove the interface, if it is there.

    Its port in Neutron, which is there still after a killed run, is used by the
    next one.
    """
    if openvswitch.runs():
        command.run(site, "ovs-vsctl", (*_VSCTL, "--if-exists", "del-port", BRIDGE, INTERFACE))


def _port(site: Site, cloud: Connection, network: Any) -> Any:
    """Return the host's port on *network*, which any traffic may pass."""
    for found in cloud.network.ports(network_id=network.id, device_owner=OWNER):
        return found
    return cloud.network.create_port(
        network_id=network.id,
        name=INTERFACE,
        device_owner=OWNER,
        device_id=site.host,
        binding_host_id=site.host,
        is_port_security_enabled=False,
    )


def _plug(site: Site, port: Any, mtu: int) -> None:
    """Add the port to the bridge in the way that tells Neutron's agent which port it is."""
    command.run(
        site,
        "ovs-vsctl",
        (
            *_VSCTL,
            *("--may-exist", "add-port", BRIDGE, INTERFACE),
            *("--", "set", "Interface", INTERFACE, "type=internal"),
            f'mac="{port.mac_address}"',
            f"mtu_request={mtu}",
            f"external_ids:iface-id={port.id}",
            "external_ids:iface-status=active",
            f'external_ids:attached-mac="{port.mac_address}"',
        ),
    )


def _configure(site: Site, cloud: Connection, port: Any) -> str:
    """Give the interface the port's first address; return that."""
    fixed = port.fixed_ips[0]
    subnet: Any = cloud.network.get_subnet(fixed["subnet_id"])
    address = str(fixed["ip_address"])
    prefix = ipaddress.ip_network(subnet.cidr).prefixlen
    command.run(site, "ip", ("ip", "addr", "replace", f"{address}/{prefix}", "dev", INTERFACE))
    command.run(site, "ip", ("ip", "link", "set", INTERFACE, "up"))
    return address
