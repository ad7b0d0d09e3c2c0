"""Neutron ports as Nova hands them to a driver."""

from __future__ import annotations

from nova.network import model

PORT_ID = "51a9642b-1414-4bd6-9a92-1320ddc55a63"


def subnet(cidr="10.0.0.0/24", ips=("10.0.0.5",), gateway="10.0.0.1", dns=(), routes=()):
    return model.Subnet(
        cidr=cidr,
        ips=[model.FixedIP(address=ip) for ip in ips],
        gateway=model.IP(gateway, type="gateway") if gateway else model.IP(None, type="gateway"),
        dns=[model.IP(address) for address in dns],
        routes=[model.Route(cidr=c, gateway=model.IP(g)) for c, g in routes],
    )


def port(*subnets, **options):
    values = {
        "id": PORT_ID,
        "address": "fa:16:3e:00:00:01",
        "type": "ovs",
        "details": {"port_filter": True, "datapath_type": "system"},
        "devname": "tap51a9642b-14",
        "ovs_interfaceid": PORT_ID,
        "vnic_type": "normal",
        "active": False,
        **options,
    }
    network = model.Network(
        id="4587c867-a2e6-4356-8c5b-bc077dcb8620",
        bridge=values.pop("bridge", "br-int"),
        label="private",
        subnets=list(subnets) or [subnet()],
        mtu=values.pop("mtu", 1442),
    )
    return model.VIF(network=network, **values)
