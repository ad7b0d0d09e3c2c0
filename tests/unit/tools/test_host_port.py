from __future__ import annotations

from types import SimpleNamespace

import pytest

from cloud import host_port
from cloud.failure import CloudError


class Network:
    """Neutron, as far as one port goes."""

    def __init__(self, status="ACTIVE"):
        self.status = status
        self.existing = []
        self.asked = []

    def find_network(self, name, ignore_missing):
        return SimpleNamespace(id="net", name=name, mtu=1450)

    def ports(self, **query):
        self.asked.append(query)
        return iter(self.existing)

    def create_port(self, **attributes):
        port = SimpleNamespace(
            id="port",
            mac_address="fa:16:3e:00:00:01",
            fixed_ips=[{"ip_address": "192.168.233.7", "subnet_id": "sub"}],
            status=self.status,
            **attributes,
        )
        self.existing.append(port)
        return port

    def get_port(self, port):
        return port

    def get_subnet(self, subnet_id):
        return SimpleNamespace(id=subnet_id, cidr="192.168.233.0/24")

    def delete_port(self, port):
        self.existing.remove(port)


@pytest.fixture
def ran(monkeypatch):
    """The commands that were run, as lines."""
    lines = []
    monkeypatch.setattr(
        host_port.command, "run", lambda _site, _log, argv: lines.append(" ".join(argv))
    )
    monkeypatch.setattr(host_port.openvswitch, "runs", lambda: True)
    return lines


@pytest.fixture
def cloud():
    return SimpleNamespace(network=Network())


def test_the_host_has_the_address_of_its_port_and_later_nothing_is_left(site, cloud, ran):
    with host_port.plugged(site, cloud, "private") as address:
        assert address == "192.168.233.7"
        (port,) = cloud.network.existing
        assert port.binding_host_id == site.host
        assert not port.is_port_security_enabled
        switch, ip, up = ran
        assert "add-port br-int hyper-host" in switch
        assert "external_ids:iface-id=port" in switch
        assert "mtu_request=1450" in switch
        assert ip == "ip addr replace 192.168.233.7/24 dev hyper-host"
        assert up == "ip link set hyper-host up"
    assert ran[-1].endswith("--if-exists del-port br-int hyper-host")
    assert cloud.network.existing == []


def test_the_port_that_a_killed_run_left_is_used(site, cloud, ran):
    left = cloud.network.create_port()
    with host_port.plugged(site, cloud, "private"):
        assert cloud.network.existing == [left]
    assert cloud.network.asked == [{"network_id": "net", "device_owner": host_port.OWNER}]


def test_nothing_is_left_of_a_port_that_is_not_wired(site, cloud, ran, monkeypatch):
    cloud.network.status = "DOWN"

    def until(what, ask, *, timeout_s):
        assert not ask()
        raise CloudError(f"{what} did not happen")

    monkeypatch.setattr(host_port.plan, "until", until)
    with (
        pytest.raises(CloudError, match="wiring of hyper-host"),
        host_port.plugged(site, cloud, "private"),
    ):
        raise AssertionError("never")
    assert "del-port" in ran[-1]
    assert cloud.network.existing == []


def test_without_a_switch_there_is_nothing_to_unplug(site, ran, monkeypatch):
    monkeypatch.setattr(host_port.openvswitch, "runs", lambda: False)
    host_port.unplug(site)
    assert ran == []
