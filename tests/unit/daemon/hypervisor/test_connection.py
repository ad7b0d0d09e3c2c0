"""The connection to libvirt."""

from __future__ import annotations

import queue
import threading

import libvirt
import pytest

from nova_hyper.daemon.hypervisor.connection import Connection
from nova_hyper.spec.errors import HypervisorFailed, HypervisorUnavailable
from tests.unit.daemon.fakes import PATIENCE_S
from tests.unit.daemon.hypervisor.conftest import URI


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name in ("_RETRY_S", "_AGAIN_S"):
        monkeypatch.setattr(f"nova_hyper.daemon.hypervisor.connection.{name}", 0.01)


class Keeper:
    """The thread that keeps a connection up, without libvirt's event loop."""

    def __init__(self, monkeypatch, on_connect=lambda: None, uri=URI):
        monkeypatch.setattr(libvirt, "virEventRegisterDefaultImpl", lambda: None)
        monkeypatch.setattr(Connection, "_run_events", lambda _self: None)
        self.told = queue.Queue()

        def connected():
            try:
                on_connect()
            finally:
                self.told.put(None)

        self.connection = Connection(uri, connected, lambda _name: None, patience=0.05)

    def wait(self):
        self.told.get(timeout=PATIENCE_S)

    def __enter__(self):
        self.connection.start()
        return self

    def __exit__(self, *_args):
        self.connection.stop()
        for thread in threading.enumerate():
            if (
                thread.name == "libvirt-connect"
                and thread._target == self.connection._keep_connected
            ):
                thread.join(PATIENCE_S)


def test_who_asks_before_there_is_a_connection_waits_and_is_told():
    connection = Connection(URI, lambda: None, lambda _name: None, patience=0.01)
    with pytest.raises(HypervisorUnavailable, match="check that libvirtd runs"):
        connection.get()


def test_who_asks_a_little_early_gets_it_when_it_is_there(monkeypatch):
    keeper = Keeper(monkeypatch)
    keeper.connection._patience = PATIENCE_S
    found = []
    thread = threading.Thread(target=lambda: found.append(keeper.connection.get()))
    thread.start()
    with keeper:
        thread.join(PATIENCE_S)
        assert found[0].isAlive()


def test_the_reason_is_in_the_message(monkeypatch):
    opened = threading.Event()
    real = libvirt.open

    def open_(uri):
        try:
            return real(uri)
        finally:
            opened.set()

    monkeypatch.setattr(libvirt, "open", open_)
    with Keeper(monkeypatch, uri="test:///no/such/file") as keeper:
        assert opened.wait(PATIENCE_S)
        keeper.connection._patience = 0.2
        with pytest.raises(HypervisorUnavailable, match="no/such/file"):
            keeper.connection.get()


def test_a_lost_connection_is_made_again_and_told(monkeypatch):
    with Keeper(monkeypatch) as keeper:
        keeper.wait()
        first = keeper.connection.get()
        keeper.connection.lost(first)
        keeper.wait()
        assert keeper.connection.get() is not first


def test_the_loss_of_an_old_connection_does_not_end_the_new_one(monkeypatch):
    with Keeper(monkeypatch) as keeper:
        keeper.wait()
        first = keeper.connection.get()
        keeper.connection.lost(first)
        keeper.wait()
        second = keeper.connection.get()
        keeper.connection.lost(first)
        assert keeper.connection.get() is second


@pytest.mark.parametrize(
    "error", [HypervisorUnavailable("gone"), HypervisorFailed("odd"), RuntimeError("a bug")]
)
def test_what_could_not_be_done_on_connecting_is_done_again(monkeypatch, error):
    errors = [error, error]

    def on_connect():
        if errors:
            raise errors.pop()

    with Keeper(monkeypatch, on_connect) as keeper:
        for _ in range(3):
            keeper.wait()
        assert keeper.connection.get().isAlive()


def test_a_connection_that_cannot_be_set_up_is_closed_and_tried_again(monkeypatch):
    closed = []
    register, close = libvirt.virConnect.domainEventRegisterAny, libvirt.virConnect.close
    failures = [libvirt.libvirtError("no events")]

    def register_(self, *args):
        if failures:
            raise failures.pop()
        return register(self, *args)

    def close_(self):
        closed.append(self)
        return close(self)

    monkeypatch.setattr(libvirt.virConnect, "domainEventRegisterAny", register_)
    monkeypatch.setattr(libvirt.virConnect, "close", close_)
    with Keeper(monkeypatch) as keeper:
        keeper.wait()
        assert len(closed) == 1
        assert keeper.connection.get() is not closed[0]


def test_stopping_ends_its_thread(monkeypatch):
    with Keeper(monkeypatch) as keeper:
        keeper.wait()
    assert keeper.connection._keep_connected not in [
        getattr(t, "_target", None) for t in threading.enumerate()
    ]
