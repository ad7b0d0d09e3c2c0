"""Listening sockets, real ones."""

from __future__ import annotations

import errno
import ipaddress
import queue
import socket

import pytest

from nova_hyper.daemon.console.listeners import Listeners
from tests.unit.daemon.core import CONSOLES
from tests.unit.daemon.fakes import PATIENCE_S

HOST = "127.0.0.1"


@pytest.fixture
def accepted():
    return queue.SimpleQueue()


@pytest.fixture
def make(accepted):
    made = []

    def listeners(*clients, address=HOST):
        networks = tuple(ipaddress.ip_network(client) for client in clients or ("127.0.0.0/8",))
        new = Listeners(address, networks, lambda pod, sock: accepted.put((pod, sock)))
        made.append(new)
        return new

    yield listeners
    for one in made:
        one.stop()


def connect(port):
    return socket.create_connection((HOST, port), timeout=PATIENCE_S)


def test_a_connection_is_given_on_with_its_pod(make, accepted):
    listeners = make()
    first = listeners.open("a", CONSOLES.ports)
    second = listeners.open("b", CONSOLES.ports)
    assert first != second and listeners.port("b") == second and "b" in listeners
    for port, pod in ((second, "b"), (first, "a")):
        with connect(port) as client:
            owner, sock = accepted.get(timeout=PATIENCE_S)
            assert owner == pod
            sock.sendall(b"hello")
            assert client.recv(10) == b"hello"
            sock.close()


def test_ports_in_use_are_passed_over_and_none_is_none(make):
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        assert make().open("a", [port]) is None
        assert make().open("a", [port, *CONSOLES.ports]) in CONSOLES.ports


def test_an_address_of_another_host_is_an_error(make):
    with pytest.raises(OSError) as caught:
        make(address="192.0.2.1").open("a", CONSOLES.ports)
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_a_port_that_is_closed_refuses_and_can_be_opened_again(make, accepted):
    listeners = make()
    port = listeners.open("a", CONSOLES.ports)
    with connect(port):
        _, sock = accepted.get(timeout=PATIENCE_S)
        listeners.close("a")
        listeners.close("a")
        assert "a" not in listeners and listeners.port("a") is None
        with pytest.raises(ConnectionRefusedError):
            connect(port)
        sock.close()  # its side closes first: it lingers
        assert listeners.open("a", [port]) == port


def test_who_may_not_connect_is_hung_up_on(make, accepted):
    port = make("192.0.2.0/24", "::1").open("a", CONSOLES.ports)
    with connect(port) as client:
        assert client.recv(1) == b""
    assert accepted.empty()


@pytest.mark.parametrize(
    ("peer", "may"),
    [("127.0.0.1", True), ("::ffff:127.0.0.1", True), ("fe80::1%eth0", True), ("::1", False)],
)
def test_addresses_are_compared_whatever_they_are_written_as(make, peer, may):
    assert make("127.0.0.1", "fe80::/64")._may(peer) is may


def test_nothing_is_opened_once_it_is_stopped(make):
    listeners = make()
    port = listeners.open("a", CONSOLES.ports)
    listeners.stop()
    with pytest.raises(ConnectionRefusedError):
        connect(port)
    with pytest.raises(OSError):
        listeners.open("a", CONSOLES.ports)
