"""libvirt's test driver: a real libvirt in this process, without libvirtd and without QEMU."""

from __future__ import annotations

import queue

import pytest

from nova_hyper.daemon.hypervisor.connection import Connection
from tests.unit.daemon.fakes import PATIENCE_S

URI = "test:///default"


class Libvirt:
    """A connection to the test driver, and what it has told."""

    def __init__(self):
        self.connects = queue.Queue()
        self.events = queue.Queue()
        self.connection = Connection(URI, lambda: self.connects.put(None), self.events.put, 0.5)

    def connected(self):
        self.connects.get(timeout=PATIENCE_S)

    def event(self):
        return self.events.get(timeout=PATIENCE_S)


@pytest.fixture(scope="package")
def libvirtd():
    """One for all: libvirt has one event loop in a process."""
    made = Libvirt()
    made.connection.start()
    made.connected()
    yield made
    made.connection.stop()
