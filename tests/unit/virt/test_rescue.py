"""Servers in rescue, over a hyperd in memory."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from unittest import mock

import pytest
from nova import objects
from nova.compute import task_states, vm_states

from nova_hyper import exception
from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import ContainerFailed, DaemonUnavailable
from nova_hyper.spec.pod import PodSpec, PodState
from nova_hyper.virt import rescue
from nova_hyper.virt.image import ImageCache
from nova_hyper.virt.lifecycle import Lifecycle, Wiring
from tests.unit.fake_hyperd import NOT_AN_ARCHIVE, FakeHyperd
from tests.unit.vif.ports import PORT_ID, port
from tests.unit.virt.instances import UUID, flavor, image_meta, instance

TOOLS_ID = "c905cedb-7281-47e4-8a62-f26bc5fc4c78"


class Glance:
    def __init__(self):
        self.data = b"tools"
        self.downloads = []

    def download(self, context, image_id, **_options):
        self.downloads.append(image_id)
        return iter([self.data])


@pytest.fixture
def glance():
    return Glance()


@pytest.fixture
def hyperd():
    made = FakeHyperd()
    image = made.import_image("own", [b"x"])
    made.create_pod(PodSpec(UUID, "instance-7", (Container("main", image.id),), root_gib=2))
    made.start_pod(UUID)
    return made


@pytest.fixture
def plugged():
    with mock.patch("nova_hyper.virt.lifecycle.plugging.plug") as plug:
        yield plug


@pytest.fixture
def lifecycle(hyperd, plugged):
    virtapi = SimpleNamespace(
        wait_for_instance_event=lambda *args, **kwargs: contextlib.nullcontext()
    )
    return Lifecycle(hyperd, virtapi, None, Wiring(300, True))


@pytest.fixture
def rescues(hyperd, glance, lifecycle):
    return rescue.Rescues(hyperd, ImageCache(hyperd, glance), lifecycle)


@pytest.fixture
def server():
    """As the manager has it: stopped, and about to be rescued."""
    made = instance(vm_state=vm_states.ACTIVE, task_state=task_states.RESCUING)
    made.get_network_info = lambda: [port()]
    return made


def tools(**changes):
    return image_meta(id=TOOLS_ID, **changes)


def rescued(rescues, hyperd, server, meta=None):
    hyperd.stop_pod(UUID)
    rescues.rescue(None, server, [port()], meta or tools())
    server.vm_state, server.task_state = vm_states.RESCUED, None
    return hyperd.pod(UUID)


def test_an_image_boots_in_place_of_the_server_with_its_ports(rescues, hyperd, server, plugged):
    pod = rescued(rescues, hyperd, server)
    assert (pod.state, pod.spec.containers[0].name) == (PodState.RUNNING, "rescue")
    assert pod.containers[0].image.startswith(f"glance:{TOOLS_ID}")
    assert [nic.interface_id for nic in pod.spec.nics] == [PORT_ID]
    plugged.assert_called_once()
    server.task_state = task_states.UNRESCUING
    rescues.unrescue(server)
    pod = hyperd.pod(UUID)
    assert (pod.state, pod.rescued, pod.spec.containers[0].name) == (
        PodState.RUNNING,
        None,
        "main",
    )
    assert [nic.interface_id for nic in pod.spec.nics] == [PORT_ID]


def test_the_end_of_a_rescue_is_in_good_order(rescues, hyperd, server):
    rescued(rescues, hyperd, server)
    with mock.patch.object(hyperd, "stop_pod", wraps=hyperd.stop_pod) as stop:
        rescues.unrescue(server)
    stop.assert_called_once_with(UUID)


def test_the_servers_own_image_is_on_the_host_whatever_it_is(rescues, hyperd, server, glance):
    pod = rescued(rescues, hyperd, server, image_meta(container_format="ovf"))
    assert pod.containers[0].image_id == pod.rescued.containers[0].image_id
    assert glance.downloads == []


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        (tools(container_format="bare"), "upload it with --container-format docker"),
        (tools(properties=objects.ImageMetaProps(hw_rescue_device="cdrom")), "hw_rescue_device"),
        (tools(properties=objects.ImageMetaProps(hw_rescue_bus="usb")), "hw_rescue_bus"),
        (image_meta(id=None), "boot it from an image"),
    ],
)
def test_an_image_that_is_none_for_pods_is_refused(rescues, hyperd, server, glance, meta, said):
    hyperd.stop_pod(UUID)
    with pytest.raises(exception.PodFailed, match=said):
        rescues.rescue(None, server, [port()], meta)
    assert hyperd.pod(UUID).rescued is None
    assert glance.downloads == []


def test_stable_device_rescue_is_what_a_pod_has_anyway(rescues, hyperd, server):
    properties = objects.ImageMetaProps(hw_rescue_device="disk", hw_rescue_bus="virtio")
    assert rescued(rescues, hyperd, server, tools(properties=properties)).rescued


def test_data_that_are_no_image_are_refused_by_the_images_id(rescues, hyperd, server, glance):
    glance.data = NOT_AN_ARCHIVE
    hyperd.stop_pod(UUID)
    with pytest.raises(exception.PodFailed, match=f"image {TOOLS_ID} cannot be used: not a"):
        rescues.rescue(None, server, [port()], tools())
    assert hyperd.pod(UUID).rescued is None


@pytest.mark.parametrize("call", ["boot_pod", "start_pod"])
def test_an_image_that_does_not_start_leaves_the_server_stopped_as_it_was(
    rescues, hyperd, server, lifecycle, call
):
    before = hyperd.stop_pod(UUID).spec
    hyperd.fail_next[call] = ContainerFailed("container rescue: no such command")
    with pytest.raises(exception.PodFailed, match="no such command"):
        rescues.rescue(None, server, [port()], tools())
    pod = hyperd.pod(UUID)
    assert (pod.state, pod.rescued, pod.spec.containers) == (
        PodState.STOPPED,
        None,
        before.containers,
    )
    server.vm_state, server.task_state = vm_states.ERROR, None
    lifecycle.reboot(server, [port()], soft=False)
    assert hyperd.pod(UUID).state is PodState.RUNNING


@pytest.mark.parametrize("start", ["power_on", "reboot", "resume"])
def test_a_rescue_that_could_not_be_ended_ends_with_the_next_start(
    rescues, hyperd, server, lifecycle, start
):
    hyperd.stop_pod(UUID)
    hyperd.fail_next["start_pod"] = ContainerFailed("no such command")
    hyperd.fail_next["unrescue_pod"] = DaemonUnavailable("hyperd does not answer")
    with pytest.raises(exception.PodFailed, match="no such command"):
        rescues.rescue(None, server, [port()], tools())
    assert hyperd.pod(UUID).rescued is not None
    server.vm_state, server.task_state = vm_states.ERROR, None
    arguments = {"soft": False} if start == "reboot" else {}
    getattr(lifecycle, start)(server, [port()], **arguments)
    pod = hyperd.pod(UUID)
    assert (pod.state, pod.rescued) == (PodState.RUNNING, None)


@pytest.mark.parametrize("start", ["power_on", "resume"])
def test_a_server_in_rescue_stays_so_over_a_boot_of_the_host(
    rescues, hyperd, server, lifecycle, start
):
    rescued(rescues, hyperd, server)
    hyperd.stop_pod(UUID, force=True)
    getattr(lifecycle, start)(server, [port()])
    pod = hyperd.pod(UUID)
    assert (pod.state, pod.spec.containers[0].name) == (PodState.RUNNING, "rescue")


def test_a_server_with_its_root_in_memory_is_not_even_stopped_for_a_rescue(server):
    server.flavor = flavor(root_gb=0)
    with pytest.raises(exception.PodFailed, match="its root is in memory"):
        rescue.require_disk(server)
    server.task_state = task_states.POWERING_OFF
    rescue.require_disk(server)
    rescue.require_disk(instance(flavor=flavor(root_gb=0)))
