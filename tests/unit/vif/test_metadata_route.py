"""The way to the metadata service, by the ports that are Neutron's own."""

from __future__ import annotations

from unittest import mock

import pytest
from neutronclient.common import exceptions as neutronclient

from nova_hyper.spec.nic import Route
from nova_hyper.vif import metadata_route, nics
from tests.unit.vif.ports import port, subnet

SERVICE = "169.254.169.254/32"


def owned(owner, *addresses):
    fixed = [{"subnet_id": "s", "ip_address": address} for address in addresses]
    return {"device_owner": owner, "fixed_ips": fixed}


DHCP = owned("network:dhcp", "10.0.0.2")
ROUTER = owned("network:router_interface", "10.0.0.1")


@pytest.fixture
def services():
    """The ports that Neutron tells of, and in ``asked`` what it was asked."""
    ports = []
    with mock.patch("nova.network.neutron.get_client") as get_client:
        get_client.return_value.list_ports.side_effect = lambda **_: {"ports": ports}
        ports_and = mock.Mock(ports=ports, asked=get_client.return_value.list_ports)
        yield ports_and


def routes(*ports):
    """The routes to the service, by the number of the interface."""
    found = nics.to_nics(metadata_route.added(ports))
    return [
        (number, route)
        for number, nic in enumerate(found)
        for route in nic.routes
        if route.destination == SERVICE
    ]


def test_without_a_router_the_dhcp_agent_serves_it(services):
    services.ports += [DHCP, owned("network:router_interface", "10.0.0.7")]
    original = port()
    assert routes(original) == [(0, Route(SERVICE, "10.0.0.2"))]
    assert original == port()
    (call,) = services.asked.call_args_list
    assert call.kwargs["network_id"] == original["network"]["id"]
    assert {"network:dhcp", "network:distributed"} < set(call.kwargs["device_owner"])


def test_a_subnet_without_a_gateway_has_it_too(services):
    services.ports.append(DHCP)
    assert routes(port(subnet(gateway=None))) == [(0, Route(SERVICE, "10.0.0.2"))]


def test_a_router_that_is_the_gateway_serves_it_itself(services):
    services.ports += [DHCP, ROUTER]
    assert routes(port()) == []


def test_with_ovn_it_is_the_networks_metadata_port_in_any_case(services):
    services.ports += [owned("network:distributed", "10.0.0.3"), ROUTER]
    assert routes(port()) == [(0, Route(SERVICE, "10.0.0.3"))]


def test_a_route_of_the_subnets_own_stays_alone(services):
    services.ports.append(DHCP)
    own = subnet(routes=((SERVICE, "10.0.0.9"),))
    assert routes(port(own)) == [(0, Route(SERVICE, "10.0.0.9"))]


def test_only_the_first_interface_that_leads_there_has_it(services):
    services.ports.append(DHCP)
    other = port(subnet("10.9.0.0/24", ("10.9.0.5",), "10.9.0.1"))
    assert routes(other, port(), port()) == [(1, Route(SERVICE, "10.0.0.2"))]


def test_nobody_is_asked_for_ports_without_ipv4(services):
    metadata_route.added([port(subnet("fd00::/64", ("fd00::5",), "fd00::1"))])
    assert metadata_route.added([]) == []
    services.asked.assert_not_called()


def test_a_neutron_that_does_not_answer_costs_the_route_only(services):
    services.asked.side_effect = neutronclient.ServiceUnavailable()
    assert routes(port()) == []
    assert metadata_route.added([port()]) == [port()]
