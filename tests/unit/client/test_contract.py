"""What every hyperd does for its clients: the client over a socket, and the fake in memory.

Tests of the driver use the fake; this is what makes that honest.
"""

from __future__ import annotations

import threading

import pytest

from nova_hyper.client import HyperClient
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
from tests.unit.fake_hyperd import NOT_AN_ARCHIVE, FakeHyperd
from tests.unit.unix_server import UnixServer, api_handler

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


@pytest.fixture
def backend():
    return FakeHyperd()


@pytest.fixture(params=["memory", "socket"])
def hyperd(request, backend, tmp_path):
    if request.param == "memory":
        yield backend
        return
    server = UnixServer(tmp_path / "s", api_handler(backend))
    yield HyperClient(str(tmp_path / "s"), request_timeout=5, connect_timeout=0)
    server.shutdown()
    server.server_close()


@pytest.fixture
def spec(hyperd):
    image = hyperd.import_image("glance:1", [b"archive"])
    return PodSpec(
        id="d7a5e1f0-0000-4000-8000-000000000001",
        name="instance-00000001",
        containers=(Container("main", image.id),),
        nics=(NIC,),
        dns=Dns(("10.0.0.2",)),
        labels={"creator": "nova"},
    )


def test_tells_version_and_host(hyperd):
    assert hyperd.version().api == "1.0"
    assert hyperd.host().cpu.arch == "x86_64"
    assert hyperd.openapi()["openapi"].startswith("3")


def test_an_imported_image_is_found_by_id_and_by_name(hyperd):
    image = hyperd.import_image("glance:a/b:c d", iter([b"arch", b"", b"ive"]))
    assert hyperd.image(image.id) == image == hyperd.image("glance:a/b:c d")
    assert hyperd.images() == (image,)


def test_one_content_under_two_names_is_one_image(hyperd):
    hyperd.import_image("one", [b"same"])
    hyperd.import_image("two", [b"same"])
    (image,) = hyperd.images()
    assert set(image.names) == {"one", "two"}
    hyperd.delete_image("one")
    assert hyperd.image("two").names == ("two",)


def test_what_is_no_archive_is_refused(hyperd):
    with pytest.raises(ImageInvalid, match="not an image archive"):
        hyperd.import_image("bad", [NOT_AN_ARCHIVE])
    assert hyperd.images() == ()


def test_a_deleted_image_is_gone(hyperd):
    image = hyperd.import_image("x", [b"archive"])
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


def test_the_console_is_the_end_of_the_output_byte_for_byte(hyperd, backend, spec):
    hyperd.create_pod(spec)
    hyperd.start_pod(spec.id)
    backend.write(spec.id, b"\xff\x00end")
    assert hyperd.console(spec.id, 5) == b"\xff\x00end"


def test_events_come_in_order_and_go_on_after_a_number(hyperd, backend, spec):
    assert hyperd.events(-1, 5).last == 0
    hyperd.create_pod(spec)
    hyperd.start_pod(spec.id)
    backend.exit(spec.id, 3)
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
