"""From network_info to NICs and a resolver."""

from __future__ import annotations

import pytest

from nova_hyper import exception
from nova_hyper.spec.nic import Dns, Nic, NicKind, Route
from nova_hyper.vif import nics
from tests.unit.vif.ports import PORT_ID, port, subnet


def test_an_ovs_port_is_a_tap_that_libvirt_adds_to_the_bridge():
    assert nics.to_nics([port()]) == (
        Nic(
            mac="fa:16:3e:00:00:01",
            kind=NicKind.OVS,
            bridge="br-int",
            interface_id=PORT_ID,
            device="tap51a9642b-14",
            mtu=1442,
            offload=True,
            addresses=("10.0.0.5/24",),
            routes=(Route("0.0.0.0/0", "10.0.0.1"),),
        ),
    )


def test_offloads_are_off_where_the_datapath_is_userspace():
    (nic,) = nics.to_nics([port(details={"datapath_type": "netdev"})])
    assert nic.offload is False


def test_a_hybrid_port_is_on_the_linux_bridge_that_os_vif_makes():
    (nic,) = nics.to_nics([port(details={"ovs_hybrid_plug": True})])
    assert (nic.kind, nic.bridge, nic.interface_id) == (NicKind.BRIDGE, "qbr51a9642b-14", "")


@pytest.mark.parametrize(
    "options", [{"type": "tap"}, {"details": {"ovs_create_tap": True}}], ids=["tap", "create_tap"]
)
def test_a_tap_that_somebody_else_connects_is_only_used(options):
    (nic,) = nics.to_nics([port(**options)])
    assert (nic.kind, nic.bridge, nic.device) == (NicKind.TAP, "", "tap51a9642b-14")


def test_a_port_without_a_device_name_has_the_one_that_os_vif_makes_up():
    (nic,) = nics.to_nics([port(devname=None)])
    assert nic.device == "nic51a9642b-14"


def test_both_families_have_addresses_and_a_default_route():
    v6 = subnet("2001:db8::/64", ("2001:db8::5", "2001:db8::6"), "2001:db8::1")
    (nic,) = nics.to_nics([port(subnet(), v6)])
    assert nic.addresses == ("10.0.0.5/24", "2001:db8::5/64", "2001:db8::6/64")
    assert nic.routes == (Route("0.0.0.0/0", "10.0.0.1"), Route("::/0", "2001:db8::1"))


def test_only_the_first_gateway_of_a_family_is_the_default():
    first, second = nics.to_nics(
        [port(), port(subnet("10.1.0.0/24", ("10.1.0.5",), "10.1.0.1"), id="b")]
    )
    assert first.routes == (Route("0.0.0.0/0", "10.0.0.1"),)
    assert second.routes == ()


def test_host_routes_come_along_and_one_to_everywhere_beats_the_gateway():
    routes = (("10.9.0.0/16", "10.0.0.9"), ("0.0.0.0/0", "10.0.0.8"))
    (nic,) = nics.to_nics([port(subnet(routes=routes))])
    assert nic.routes == (Route("10.9.0.0/16", "10.0.0.9"), Route("0.0.0.0/0", "10.0.0.8"))


def test_a_subnet_without_a_gateway_gives_no_route():
    (nic,) = nics.to_nics([port(subnet(gateway=None))])
    assert nic.routes == ()


def test_a_subnet_that_the_port_has_no_address_of_gives_nothing():
    bare = subnet("10.2.0.0/24", (), "10.2.0.1", dns=("10.2.0.2",))
    (nic,) = nics.to_nics([port(bare)])
    assert (nic.addresses, nic.routes) == ((), ())
    assert nics.to_dns([port(bare)]) == Dns()


def test_name_servers_are_each_once_and_at_most_three():
    ports = [
        port(subnet(dns=("10.0.0.2", "10.0.0.3"))),
        port(subnet(dns=("10.0.0.3", "10.0.0.4", "10.0.0.6"))),
    ]
    assert nics.to_dns(ports) == Dns(nameservers=("10.0.0.2", "10.0.0.3", "10.0.0.4"))


def test_a_server_without_ports_has_no_nics():
    assert nics.to_nics([]) == ()
    assert nics.to_dns([]) == Dns()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"type": "vhostuser"}, "its vif_type is 'vhostuser', a pod needs 'ovs' or 'tap'"),
        ({"type": "bridge"}, "its vif_type is 'bridge'"),
        ({"type": "binding_failed"}, "Neutron did not bind it to this host"),
        ({"type": "unbound"}, "Neutron did not bind it to this host"),
        ({"vnic_type": "direct"}, "its vnic_type is 'direct', a pod needs 'normal'"),
        ({"bridge": None}, "names no bridge"),
    ],
)
def test_a_port_that_a_pod_cannot_have_is_refused_by_name(options, sentence):
    with pytest.raises(exception.VifUnsupported, match=sentence) as caught:
        nics.to_nics([port(**options)])
    assert PORT_ID in str(caught.value)
