"""The way to the metadata service on networks without a router.

A DHCP client learns it from its lease (option 121, RFC 3442); a pod has none,
and ``network_info`` has only the routes that users gave to their subnets.  Who
answers is Neutron's rule (``get_isolated_subnets`` in
``neutron.agent.linux.dhcp``): the DHCP agent where no router has the subnet's
gateway address, else that router.  With OVN it is always the network's
metadata port (``network:distributed``).
"""

from __future__ import annotations

import copy
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keystoneauth1 import exceptions as keystone
from neutronclient.common import exceptions as neutronclient
from nova import context as nova_context
from nova import exception as nova_exception
from nova.network import model, neutron
from oslo_log import log as logging

LOG = logging.getLogger(__name__)

DESTINATION = "169.254.169.254/32"
_DHCP = "network:dhcp"
_DISTRIBUTED = "network:distributed"
_ROUTERS = (
    "network:router_interface",
    "network:router_interface_distributed",
    "network:ha_router_replicated_interface",
)
_FAILURES = (
    neutronclient.NeutronClientException,
    keystone.ClientException,
    nova_exception.NovaException,
)


def added(network_info: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the ports with the route in the first one that leads to the service.

    Without Neutron's answer they are as they were.
    """
    ports = list(network_info)
    for index, vif in enumerate(ports):
        try:
            services = _services(str(vif["network"]["id"])) if _has_ipv4(vif) else ()
        except _FAILURES as exc:
            LOG.warning(
                "Port %s has no route to the metadata service, because Neutron did not tell "
                "who serves it: %s",
                vif["id"],
                exc,
            )
            continue
        with_route = _with_route(vif, services)
        if with_route is not None:
            ports[index] = with_route
            break
    return ports


def _services(network_id: str) -> Sequence[Mapping[str, Any]]:
    """Return the ports of a network that belong to Neutron itself."""
    client = neutron.get_client(nova_context.get_admin_context(), admin=True)
    owners = [_DHCP, _DISTRIBUTED, *_ROUTERS]
    found: list[dict[str, Any]] = client.list_ports(network_id=network_id, device_owner=owners)[
        "ports"
    ]
    return found


def _has_ipv4(vif: Mapping[str, Any]) -> bool:
    return any(_is_ipv4(subnet) for subnet in vif["network"]["subnets"])


def _is_ipv4(subnet: Mapping[str, Any]) -> bool:
    return bool(subnet["ips"]) and ipaddress.ip_network(subnet["cidr"], strict=False).version == 4


def _with_route(
    vif: Mapping[str, Any], services: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    """Return *vif* with the route, None where it has or needs none."""
    for number, subnet in enumerate(vif["network"]["subnets"]):
        if not _is_ipv4(subnet) or any(str(r["cidr"]) == DESTINATION for r in subnet["routes"]):
            continue
        gateway = _gateway(subnet, services)
        if gateway is not None:
            changed: dict[str, Any] = copy.deepcopy(dict(vif))
            route = model.Route(cidr=DESTINATION, gateway=model.IP(address=gateway))
            changed["network"]["subnets"][number]["routes"].append(route)
            return changed
    return None


def _gateway(subnet: Mapping[str, Any], services: Sequence[Mapping[str, Any]]) -> str | None:
    by_owner = {owner: _addresses(subnet, services, owner) for owner in (_DISTRIBUTED, _DHCP)}
    if by_owner[_DISTRIBUTED]:
        return by_owner[_DISTRIBUTED][0]
    own = (subnet["gateway"] or {}).get("address")
    if any(own in _addresses(subnet, services, owner) for owner in _ROUTERS):
        return None
    return by_owner[_DHCP][0] if by_owner[_DHCP] else None


def _addresses(
    subnet: Mapping[str, Any], services: Sequence[Mapping[str, Any]], owner: str
) -> list[str]:
    network = ipaddress.ip_network(subnet["cidr"], strict=False)
    return [
        fixed["ip_address"]
        for port in services
        if port["device_owner"] == owner
        for fixed in port["fixed_ips"]
        if ipaddress.ip_address(fixed["ip_address"]) in network
    ]
