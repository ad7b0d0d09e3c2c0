"""What every hyperd does for its clients: the real daemon's core, and the fake in memory.

The tests of the driver use the fake; these are what makes that honest.  They run
on the fake itself, on the client with the fake behind a socket, and on the client
with the daemon's own API, pods and image store behind its own server, where only
libvirt and the guests are fakes.
"""

from __future__ import annotations

import dataclasses
import threading
from types import SimpleNamespace

import pytest

from nova_hyper.client import HyperClient
from nova_hyper.daemon.api.app import App
from nova_hyper.daemon.api.handlers import Handlers
from nova_hyper.daemon.api.server import Server
from nova_hyper.daemon.image.store import ImageStore
from nova_hyper.spec.errors import (
    ImageInUse,
    ImageInvalid,
    ImageNotFound,
    PodExists,
    PodNotFound,
)
from nova_hyper.spec.event import EventKind
from nova_hyper.spec.nic import Dns, Nic, NicKind, Route
from nova_hyper.spec.pod import Container, PodSpec, PodState
from tests.unit.daemon import fakes
from tests.unit.daemon.core import Core
from tests.unit.daemon.image.archives import LAYER, UPPER, docker_archive
from tests.unit.fake_hyperd import HOST, NOT_AN_ARCHIVE, FakeHyperd
from tests.unit.unix_server import UnixServer, api_handler

ARCHIVE = docker_archive([LAYER])
OTHER = docker_archive([LAYER, UPPER])
NIC = Nic(
    mac="fa:16:3e:00:00:01",
    kind=NicKind.OVS,
    bridge="br-int",
    interface_id="p1",
    mtu=1442,
    offload=False,
    addresses=("10.0.0.5/24",),
    routes=(Route("0.0.0.0/0", "10.0.0.1"),),
)


class Memory:
    """The fake itself."""

    def __init__(self, directory):
        self.fake = FakeHyperd()
        self.hyperd = self.fake

    def exit(self, pod_id, code):
        self.fake.exit(pod_id, code)

    def write(self, pod_id, data):
        self.fake.write(pod_id, data)

    def close(self):
        pass


class Socket(Memory):
    """The client, and the fake behind a socket."""

    def __init__(self, directory):
        super().__init__(directory)
        self.server = UnixServer(directory / "s", api_handler(self.fake))
        self.hyperd = HyperClient(str(directory / "s"), request_timeout=5, connect_timeout=0)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Daemon:
    """The client, and the daemon behind its own server; hypervisor and guests are fakes."""

    def __init__(self, directory):
        hypervisor = fakes.FakeHypervisor()
        store = ImageStore(
            directory / "images", max_image_bytes=1 << 30, max_layers=16, arch="amd64"
        )
        parts = SimpleNamespace(
            hypervisor=hypervisor, guests=fakes.FakeGuests(hypervisor), images=store
        )
        self.core = Core(directory, before=parts)
        self.core.monitor.reconcile()
        self.core.monitor.start()
        handlers = Handlers(
            self.core.pods, store, self.core.events, lambda n: dataclasses.replace(HOST, pods=n)
        )
        self.server = Server(App(handlers, 1 << 20), directory / "s", "", threads=4)
        self.server.start()
        self.hyperd = HyperClient(str(directory / "s"), request_timeout=5, connect_timeout=0)

    def exit(self, pod_id, code):
        session = self.core.session(pod_id)
        self.core.agent(pod_id).exit(code)
        session.on_event({"event": "container.exited", "name": "main", "exit_code": code})

    def write(self, pod_id, data):
        with self.core.repository.console(pod_id).open("ab") as file:
            file.write(data)

    def close(self):
        self.core.events.release()
        self.server.stop()
        self.core.monitor.stop()


@pytest.fixture(params=[Memory, Socket, Daemon])
def world(request, tmp_path, monkeypatch):
    monkeypatch.setattr("nova_hyper.daemon.pods.service._CUT_S", 0.01)
    monkeypatch.setattr("nova_hyper.daemon.pods.sandbox._POWER_OFF_S", 0.05)
    made = request.param(tmp_path)
    yield made
    made.close()


@pytest.fixture
def hyperd(world):
    return world.hyperd


@pytest.fixture
def spec(hyperd):
    hyperd.import_image("glance:1", [ARCHIVE])
    return PodSpec(
        id="d7a5e1f0-0000-4000-8000-000000000001",
        name="instance-00000001",
        containers=(Container("main", "glance:1"),),
        nics=(NIC,),
        dns=Dns(("10.0.0.2",)),
        labels={"creator": "nova"},
    )


def test_tells_version_and_host(hyperd):
    assert hyperd.version().api == "1.0"
    assert hyperd.host().cpu.arch == "x86_64"
    assert hyperd.openapi()["openapi"].startswith("3")


def test_an_imported_image_is_found_by_id_and_by_name(hyperd):
    image = hyperd.import_image("glance:a/b:c d", iter([ARCHIVE[:99], b"", ARCHIVE[99:]]))
    assert hyperd.image(image.id) == image == hyperd.image("glance:a/b:c d")
    assert hyperd.images() == (image,)


def test_one_content_under_two_names_is_one_image(hyperd):
    hyperd.import_image("one", [ARCHIVE])
    hyperd.import_image("two", [ARCHIVE])
    (image,) = hyperd.images()
    assert set(image.names) == {"one", "two"}
    hyperd.delete_image("one")
    assert hyperd.image("two").names == ("two",)


def test_what_is_no_archive_is_refused(hyperd):
    with pytest.raises(ImageInvalid, match="not a docker or OCI archive"):
        hyperd.import_image("bad", [NOT_AN_ARCHIVE])
    assert hyperd.images() == ()


def test_a_deleted_image_is_gone(hyperd):
    image = hyperd.import_image("x", [ARCHIVE])
    hyperd.delete_image("x")
    with pytest.raises(ImageNotFound):
        hyperd.image(image.id)
    with pytest.raises(ImageNotFound):
        hyperd.delete_image("x")


def test_an_image_in_use_stays(hyperd, spec):
    hyperd.create_pod(spec)
    with pytest.raises(ImageInUse):
        hyperd.delete_image("glance:1")
    assert hyperd.image("glance:1")


def test_a_created_pod_is_ready_and_has_started_nothing(hyperd, spec):
    pod = hyperd.create_pod(spec)
    assert pod.state is PodState.READY
    assert pod.spec == spec
    assert hyperd.pod(spec.id) == hyperd.pod(spec.name) == pod
    assert hyperd.pods() == (pod,)


def test_creating_again_changes_nothing_and_another_spec_is_refused(hyperd, spec):
    pod = hyperd.create_pod(spec)
    assert hyperd.create_pod(spec) == pod
    other = PodSpec(id=spec.id, name=spec.name, containers=spec.containers, vcpus=2)
    with pytest.raises(PodExists):
        hyperd.create_pod(other)


def test_a_pod_starts_stops_and_starts_again(hyperd, spec):
    hyperd.create_pod(spec)
    assert hyperd.start_pod(spec.id).state is PodState.RUNNING
    assert hyperd.start_pod(spec.id).state is PodState.RUNNING
    assert hyperd.stop_pod(spec.id, grace_s=3).state is PodState.STOPPED
    assert hyperd.stop_pod(spec.id, force=True).state is PodState.STOPPED
    assert hyperd.boot_pod(spec.id).state is PodState.READY
    assert hyperd.start_pod(spec.id).state is PodState.RUNNING


def test_booting_replaces_the_nics_of_a_stopped_pod(hyperd, spec):
    hyperd.create_pod(spec)
    hyperd.stop_pod(spec.id, force=True)
    nic = Nic(mac="fa:16:3e:00:00:02", kind=NicKind.TAP, device="tap1")
    pod = hyperd.boot_pod(spec.id, (nic,), Dns(("10.0.0.9",)))
    assert pod.spec.nics == (nic,)
    assert pod.spec.dns.nameservers == ("10.0.0.9",)
    assert hyperd.boot_pod(spec.id).spec.nics == (nic,)


def test_a_deleted_pod_is_gone(hyperd, spec):
    hyperd.create_pod(spec)
    assert hyperd.delete_pod(spec.id) is None
    for call in (hyperd.pod, hyperd.delete_pod, hyperd.start_pod, hyperd.stop_pod):
        with pytest.raises(PodNotFound):
            call(spec.id)
    with pytest.raises(PodNotFound):
        hyperd.console(spec.id, 10)


def test_the_console_is_the_end_of_the_output_byte_for_byte(hyperd, world, spec):
    hyperd.create_pod(spec)
    hyperd.start_pod(spec.id)
    world.write(spec.id, b"\xff\x00end")
    assert hyperd.console(spec.id, 5) == b"\xff\x00end"


def test_events_come_in_order_and_go_on_after_a_number(hyperd, world, spec):
    assert hyperd.events(-1, 5).last == 0
    hyperd.create_pod(spec)
    hyperd.start_pod(spec.id)
    world.exit(spec.id, 3)
    # The exit is told when the daemon has looked.
    hyperd.events(2, 5)
    page = hyperd.events(0, 5)
    assert [e.kind for e in page.events] == [
        EventKind.CREATED,
        EventKind.STARTED,
        EventKind.EXITED,
    ]
    assert [e.seq for e in page.events] == [1, 2, 3] and page.last == 3
    assert page.events[2].exit_code == 3 and page.events[2].pod_id == spec.id
    assert hyperd.events(2, 5).events == page.events[2:]
    assert hyperd.events(3, 0.05).events == ()


def test_waiting_for_an_event_ends_with_the_event(hyperd, spec):
    timer = threading.Timer(0.1, lambda: hyperd.create_pod(spec))
    timer.start()
    assert [e.kind for e in hyperd.events(0, 5).events] == [EventKind.CREATED]
    timer.join()
