"""What a pod's NICs and resolver shall be, computed from Nova's ``network_info``.

Pure functions.  Source of the VIF model: ``nova.network.model``; of what each
binding means for the host: ``nova.network.os_vif_util`` and the ``get_config``
methods of ``nova.virt.libvirt.vif``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nova.network import model

from nova_hyper import exception
from nova_hyper.spec.nic import Dns, Nic, NicKind, Route

_NETDEV = "netdev"
_DEFAULT_ROUTES = ("0.0.0.0/0", "::/0")
# resolv.conf(5): MAXNS; a resolver ignores those after the third.
_MAX_NAMESERVERS = 3


def device_name(vif: Mapping[str, Any]) -> str:
    """Return the name of the port's tap: Neutron's, or the one that os-vif makes up.

    os-vif removes the OVS port of this name at unplug, so QEMU's tap must have it.
    """
    return str(vif.get("devname") or ("nic" + vif["id"])[: model.NIC_NAME_LEN])


def check(vif: Mapping[str, Any]) -> None:
    """Refuse a port that a pod cannot have.

    :raises VifUnsupported: naming the port and what is wrong with it.
    """
    vnic_type = vif.get("vnic_type") or model.VNIC_TYPE_NORMAL
    if vnic_type != model.VNIC_TYPE_NORMAL:
        raise exception.VifUnsupported(
            port=vif["id"], reason=f"its vnic_type is '{vnic_type}', a pod needs 'normal'"
        )
    vif_type = vif.get("type")
    if vif_type in (model.VIF_TYPE_BINDING_FAILED, model.VIF_TYPE_UNBOUND, None):
        raise exception.VifUnsupported(
            port=vif["id"],
            reason=f"Neutron did not bind it to this host ({vif_type}); see neutron-server's log "
            "and whether the L2 agent of this host is alive",
        )
    if vif_type not in (model.VIF_TYPE_OVS, model.VIF_TYPE_TAP):
        raise exception.VifUnsupported(
            port=vif["id"], reason=f"its vif_type is '{vif_type}', a pod needs 'ovs' or 'tap'"
        )


def to_nics(network_info: Iterable[Mapping[str, Any]]) -> tuple[Nic, ...]:
    """Return the NICs of a pod with these ports, in their order.

    Only the first gateway of each address family becomes a default route: two
    of them would be one route too many for a host without metrics.

    :raises VifUnsupported: for a port that a pod cannot have.
    """
    nics = []
    defaults: set[str] = set()
    for vif in network_info:
        check(vif)
        routes = []
        for route in _routes(vif):
            if route.destination in _DEFAULT_ROUTES:
                if route.destination in defaults:
                    continue
                defaults.add(route.destination)
            routes.append(route)
        nics.append(_nic(vif, tuple(routes)))
    return tuple(nics)


def to_dns(network_info: Iterable[Mapping[str, Any]]) -> Dns:
    """Return the resolver's configuration: the subnets' name servers, in order."""
    servers = [
        dns["address"] for vif in network_info for subnet in _subnets(vif) for dns in subnet["dns"]
    ]
    return Dns(nameservers=tuple(dict.fromkeys(servers))[:_MAX_NAMESERVERS])


def _nic(vif: Mapping[str, Any], routes: tuple[Route, ...]) -> Nic:
    details = vif.get("details") or {}
    kind, bridge = _connection(vif, details)
    return Nic(
        mac=vif["address"],
        kind=kind,
        bridge=bridge,
        interface_id=(vif.get("ovs_interfaceid") or vif["id"]) if kind is NicKind.OVS else "",
        device=device_name(vif),
        mtu=int(vif["network"].get_meta("mtu") or 0),
        offload=details.get(model.VIF_DETAILS_OVS_DATAPATH_TYPE) != _NETDEV,
        addresses=tuple(_addresses(vif)),
        routes=routes,
    )


def _connection(vif: Mapping[str, Any], details: Mapping[str, Any]) -> tuple[NicKind, str]:
    if vif["type"] == model.VIF_TYPE_TAP or details.get(model.VIF_DETAILS_OVS_CREATE_TAP):
        return NicKind.TAP, ""
    if details.get(model.VIF_DETAILS_OVS_HYBRID_PLUG):
        # os-vif makes this Linux bridge and its veth to the OVS bridge.
        return NicKind.BRIDGE, ("qbr" + vif["id"])[: model.NIC_NAME_LEN]
    bridge = vif["network"]["bridge"]
    if not bridge:
        raise exception.VifUnsupported(
            port=vif["id"], reason="Neutron's port binding names no bridge"
        )
    return NicKind.OVS, str(bridge)


def _subnets(vif: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the subnets that the port has an address of."""
    for subnet in vif["network"]["subnets"]:
        if subnet["ips"]:
            yield subnet


def _addresses(vif: Mapping[str, Any]) -> Iterator[str]:
    for subnet in _subnets(vif):
        prefix = ipaddress.ip_network(subnet["cidr"], strict=False).prefixlen
        for ip in subnet["ips"]:
            yield f"{ip['address']}/{prefix}"


def _routes(vif: Mapping[str, Any]) -> Iterator[Route]:
    """Yield the host routes and then the gateway, so that a host route to everywhere wins.

    That is what DHCP clients do: RFC 3442 has them ignore the router option
    when there are classless static routes.
    """
    for subnet in _subnets(vif):
        for route in subnet["routes"]:
            yield Route(str(route["cidr"]), route["gateway"]["address"])
        gateway = (subnet["gateway"] or {}).get("address")
        if gateway:
            version = ipaddress.ip_address(gateway).version
            yield Route(_DEFAULT_ROUTES[version == 6], gateway)
