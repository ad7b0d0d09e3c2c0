"""The life of an instance, over a hyperd in memory."""

from __future__ import annotations

import contextlib
import dataclasses
from unittest import mock

import pytest
from nova import exception as nova_exception
from nova.compute import power_state

from nova_hyper import exception
from nova_hyper.spec import errors
from nova_hyper.spec.pod import PodState
from nova_hyper.virt.blueprint import Blueprints
from nova_hyper.virt.image import ImageCache
from nova_hyper.virt.lifecycle import Lifecycle, Wiring
from tests.unit.fake_hyperd import NOT_AN_ARCHIVE, FakeHyperd
from tests.unit.fake_setup import ISO
from tests.unit.vif.ports import PORT_ID, port, subnet
from tests.unit.virt.instances import UUID, flavor, image_meta, instance


class VirtApi:
    """Neutron's reports arrive when the body is done; ``seen`` is hyperd's calls by then."""

    def __init__(self, hyperd):
        self.hyperd = hyperd
        self.waits = []
        self.times_out = False
        self.seen = None

    @contextlib.contextmanager
    def wait_for_instance_event(self, instance, events, timeout, error_callback):
        self.waits.append((events, timeout))
        yield
        self.seen = list(self.hyperd.calls)
        if events and self.times_out:
            raise nova_exception.InstanceEventTimeout()


class Glance:
    data = b"archive"

    def download(self, context, image_id):
        return iter([self.data])


@pytest.fixture
def hyperd():
    return FakeHyperd()


@pytest.fixture
def virtapi(hyperd):
    return VirtApi(hyperd)


@pytest.fixture
def glance():
    return Glance()


@pytest.fixture
def lifecycle(hyperd, virtapi, glance):
    blueprints = Blueprints(hyperd, ImageCache(hyperd, glance), glance)
    return Lifecycle(hyperd, virtapi, blueprints, Wiring(300, True))


@pytest.fixture(autouse=True)
def plugged():
    """The ports that are plugged on the host."""
    ports = set()
    with (
        mock.patch(
            "nova_hyper.vif.plugging.plug",
            side_effect=lambda i, vifs: ports.update(vif["id"] for vif in vifs),
        ),
        mock.patch(
            "nova_hyper.vif.plugging.unplug",
            side_effect=lambda i, vifs: ports.difference_update(vif["id"] for vif in vifs),
        ),
    ):
        yield ports


@pytest.fixture(autouse=True)
def nobody_else():
    """No tags are in Nova's database, and Neutron knows of no way to its metadata service."""
    with (
        mock.patch("nova_hyper.virt.device_tags.metadata", return_value=None),
        mock.patch("nova_hyper.vif.metadata_route.added", side_effect=list),
    ):
        yield


def spawn(
    lifecycle, server=None, image=None, ports=None, power_on=True, files=(), password="secret"
):
    lifecycle.spawn(
        None,
        server or instance(),
        image or image_meta(),
        list(files),
        password,
        [port()] if ports is None else ports,
        None,
        None,
        power_on,
    )


def state(lifecycle):
    return lifecycle.info(instance()).state


def test_spawn_runs_the_pod_with_its_ports_plugged(lifecycle, hyperd, plugged):
    spawn(lifecycle)
    assert hyperd.pod(UUID).state is PodState.RUNNING
    assert plugged == {PORT_ID}
    assert lifecycle.info(instance()).internal_id == 4242
    assert state(lifecycle) == power_state.RUNNING


def test_what_a_server_is_given_is_there_before_its_containers_start(lifecycle, hyperd):
    spawn(lifecycle, instance(key_data="ssh-rsa AAAA"), files=[("/etc/motd", b"x")])
    (setup,) = hyperd.given[UUID]
    assert [file.path for file in setup.files] == ["/etc/motd"]
    assert setup.keys == ("ssh-rsa AAAA",)
    assert setup.password.startswith("$6$")
    order = [c for c in hyperd.calls if c in ("create_pod", "setup_pod", "start_pod")]
    assert order == ["create_pod", "setup_pod", "start_pod"]
    assert not hyperd.pod(UUID).spec.config_drive


def test_a_config_drive_is_stored_before_the_pod_is_made(lifecycle, hyperd):
    with mock.patch("nova_hyper.virt.config_drive.image", return_value=ISO) as image:
        spawn(lifecycle, files=[("/etc/motd", b"x")])
    assert image.call_args.args[2] == [("/etc/motd", b"x")]
    assert hyperd.pod(UUID).spec.config_drive
    assert hyperd.drives[UUID] == ISO


def test_a_file_that_cannot_be_given_ends_the_build_and_leaves_nothing(lifecycle, hyperd, plugged):
    with pytest.raises(nova_exception.BuildAbortException, match="makes it itself"):
        spawn(lifecycle, files=[("/etc/hosts", b"x")])
    assert hyperd.pods() == ()
    assert plugged == set()


def test_the_places_of_tagged_devices_are_noted_on_the_instance(lifecycle):
    server = instance()
    with mock.patch("nova_hyper.virt.device_tags.metadata", return_value=None) as metadata:
        spawn(lifecycle, server)
    assert metadata.call_count == 1
    assert server.device_metadata is None


def test_each_boot_has_the_way_to_the_metadata_service_as_it_is_now(lifecycle, hyperd):
    way = ("169.254.169.254/32", "10.0.0.2")
    routed = port(subnet(routes=(way,)))
    spawn(lifecycle)
    assert way not in [(r.destination, r.gateway) for r in hyperd.pod(UUID).spec.nics[0].routes]
    with mock.patch("nova_hyper.vif.metadata_route.added", return_value=[routed]):
        lifecycle.reboot(instance(), [port()], soft=False)
    assert way in [(r.destination, r.gateway) for r in hyperd.pod(UUID).spec.nics[0].routes]


def test_containers_start_after_neutron_has_wired_the_ports_and_the_sandbox_boots_before(
    lifecycle, virtapi, hyperd
):
    spawn(lifecycle)
    assert virtapi.waits == [([("network-vif-plugged", PORT_ID)], 300)]
    assert "create_pod" in virtapi.seen and "start_pod" not in virtapi.seen


def test_spawn_without_power_leaves_the_pod_stopped_and_waits_for_nothing(
    lifecycle, virtapi, hyperd
):
    spawn(lifecycle, power_on=False)
    assert hyperd.pod(UUID).state is PodState.STOPPED
    assert "start_pod" not in hyperd.calls
    assert virtapi.waits == [([], 300)]


@pytest.mark.parametrize("call", ["create_pod", "start_pod"])
def test_a_failed_spawn_leaves_nothing(lifecycle, hyperd, plugged, call):
    hyperd.fail_next[call] = errors.GuestFailed("the guest did not boot")
    with pytest.raises(exception.PodFailed, match="the guest did not boot"):
        spawn(lifecycle)
    assert hyperd.pods() == () and plugged == set()


def test_a_port_that_is_never_wired_ends_the_build_and_leaves_nothing(
    lifecycle, virtapi, hyperd, plugged
):
    virtapi.times_out = True
    with pytest.raises(nova_exception.BuildAbortException, match=PORT_ID):
        spawn(lifecycle)
    assert hyperd.pods() == () and plugged == set()
    assert "start_pod" not in hyperd.calls


def test_a_bad_image_ends_the_build_with_hyperds_sentence(lifecycle, hyperd, glance, plugged):
    glance.data = NOT_AN_ARCHIVE
    with pytest.raises(
        nova_exception.BuildAbortException, match=r"image .* cannot be used: not a docker"
    ):
        spawn(lifecycle)
    assert "create_pod" not in hyperd.calls and plugged == set()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"image": image_meta(container_format="bare")}, "container_format 'bare'"),
        ({"server": instance(flavor=flavor(memory_mb=16))}, "16 MB of memory"),
    ],
)
def test_what_cannot_be_a_pod_is_refused_before_anything_is_fetched(
    lifecycle, hyperd, options, sentence
):
    with pytest.raises(nova_exception.BuildAbortException, match=sentence):
        spawn(lifecycle, **options)
    assert hyperd.imports == [] and "create_pod" not in hyperd.calls


def test_a_build_that_failed_because_hyperd_is_away_can_go_to_another_host(lifecycle, hyperd):
    hyperd.fail_next["host"] = errors.DaemonUnavailable("start it")
    with pytest.raises(nova_exception.HypervisorUnavailable):
        spawn(lifecycle)
    # The manager calls destroy, and gives up when that fails too.
    hyperd.fail_next["delete_pod"] = errors.DaemonUnavailable("start it")
    lifecycle.destroy(instance(), [port()], destroy_disks=True)
    # That was for that build only.
    with pytest.raises(nova_exception.HypervisorUnavailable):
        lifecycle.destroy(instance(), [port()], destroy_disks=True)


def test_a_pod_that_may_be_there_is_not_forgotten(lifecycle, hyperd):
    hyperd.fail_next["start_pod"] = errors.DaemonUnavailable("gone")
    hyperd.fail_next["delete_pod"] = errors.DaemonUnavailable("gone")
    with pytest.raises(nova_exception.HypervisorUnavailable):
        spawn(lifecycle)
    assert hyperd.pods()
    lifecycle.destroy(instance(), [port()], destroy_disks=True)
    assert hyperd.pods() == ()


def test_destroy_removes_pod_and_ports_and_again_is_no_failure(lifecycle, hyperd, plugged):
    spawn(lifecycle)
    for _ in range(2):
        lifecycle.destroy(instance(), [port()], destroy_disks=True)
        assert hyperd.pods() == () and plugged == set()


def test_destroy_keeps_disks_where_it_is_told_to(lifecycle, hyperd, plugged):
    spawn(lifecycle)
    lifecycle.destroy(instance(), [port()], destroy_disks=False)
    assert hyperd.pod(UUID).state is PodState.STOPPED and plugged == set()
    lifecycle.cleanup(instance(), [port()], destroy_disks=True, destroy_vifs=False)
    assert hyperd.pods() == ()


def test_a_port_that_cannot_be_unplugged_does_not_keep_an_instance_alive(lifecycle, hyperd):
    spawn(lifecycle)
    with mock.patch(
        "nova_hyper.vif.plugging.unplug",
        side_effect=exception.VifUnplugFailed(port="p", reason="no ovsdb"),
    ):
        lifecycle.destroy(instance(), [port()], destroy_disks=True)
    assert hyperd.pods() == ()


def test_power_off_gives_the_grace_that_nova_gives(lifecycle, hyperd):
    spawn(lifecycle)
    with mock.patch.object(hyperd, "stop_pod", wraps=hyperd.stop_pod) as stop:
        lifecycle.power_off(instance(), 60)
        stop.assert_called_once_with(UUID, grace_s=60)
    assert state(lifecycle) == power_state.SHUTDOWN


def test_power_off_without_a_timeout_is_at_once(lifecycle, hyperd):
    spawn(lifecycle)
    with mock.patch.object(hyperd, "stop_pod", wraps=hyperd.stop_pod) as stop:
        lifecycle.power_off(instance(), 0)
        stop.assert_called_once_with(UUID, force=True)


def test_power_on_boots_with_the_ports_as_they_are_now(lifecycle, hyperd, virtapi):
    spawn(lifecycle)
    lifecycle.power_off(instance(), 0)
    lifecycle.power_on(instance(), [port(mtu=9000)])
    assert state(lifecycle) == power_state.RUNNING
    assert hyperd.pod(UUID).spec.nics[0].mtu == 9000
    assert virtapi.waits[-1] == ([("network-vif-plugged", PORT_ID)], 15)


def test_power_on_goes_on_without_neutrons_report(lifecycle, hyperd, virtapi):
    spawn(lifecycle)
    lifecycle.power_off(instance(), 0)
    virtapi.times_out = True
    lifecycle.power_on(instance(), [port()])
    assert state(lifecycle) == power_state.RUNNING


def test_power_on_of_a_running_pod_changes_nothing(lifecycle, hyperd, virtapi):
    spawn(lifecycle)
    calls, waits = len(hyperd.calls), len(virtapi.waits)
    lifecycle.power_on(instance(), [port()])
    assert hyperd.calls[calls:] == ["pod"] and len(virtapi.waits) == waits


def test_a_crashed_pod_is_shut_down_and_starts_again(lifecycle, hyperd):
    spawn(lifecycle)
    hyperd.crash(UUID)
    assert state(lifecycle) == power_state.SHUTDOWN
    lifecycle.power_on(instance(), [port()])
    assert state(lifecycle) == power_state.RUNNING


@pytest.mark.parametrize("soft", [True, False])
def test_reboot_stops_and_starts_and_waits_for_nothing(lifecycle, hyperd, virtapi, soft):
    spawn(lifecycle)
    waits = len(virtapi.waits)
    with mock.patch.object(hyperd, "stop_pod", wraps=hyperd.stop_pod) as stop:
        lifecycle.reboot(instance(), [port()], soft)
        stop.assert_called_once_with(UUID, grace_s=None, force=not soft)
    assert state(lifecycle) == power_state.RUNNING and len(virtapi.waits) == waits


@pytest.mark.parametrize(("own", "grace"), [(0.0, 0), (7.5, 8), (86400.0, 120)])
def test_a_soft_reboot_waits_for_the_pods_own_grace_but_not_for_a_day(
    lifecycle, hyperd, own, grace
):
    spawn(lifecycle)
    pod = hyperd.pod(UUID)
    spec = dataclasses.replace(pod.spec, termination_grace_s=own)
    hyperd._pods[UUID] = dataclasses.replace(pod, spec=spec)
    with mock.patch.object(hyperd, "stop_pod", wraps=hyperd.stop_pod) as stop:
        lifecycle.reboot(instance(), [port()], True)
        stop.assert_called_once_with(UUID, grace_s=grace, force=False)


def test_resuming_after_a_boot_of_the_host_starts_what_is_down_and_waits_for_nothing(
    lifecycle, hyperd, virtapi
):
    spawn(lifecycle)
    hyperd.crash(UUID)
    waits = len(virtapi.waits)
    lifecycle.resume(instance(), [port()])
    calls = len(hyperd.calls)
    lifecycle.resume(instance(), [port()])
    assert state(lifecycle) == power_state.RUNNING and len(virtapi.waits) == waits
    assert "boot_pod" not in hyperd.calls[calls:]


def test_after_a_boot_of_the_host_what_was_suspended_goes_on_and_what_was_paused_stays(
    lifecycle, hyperd, virtapi
):
    ports = [port()]
    spawn(lifecycle)
    hyperd.pause_pod(UUID)
    lifecycle.resume(instance(), ports)
    assert hyperd.pod(UUID).state is PodState.PAUSED
    hyperd.unpause_pod(UUID)
    hyperd.suspend_pod(UUID)
    lifecycle.resume(instance(), ports)
    assert hyperd.pod(UUID).state is PodState.RUNNING
    assert "boot_pod" not in hyperd.calls[-4:]


@pytest.mark.parametrize("still", ["pause_pod", "suspend_pod"])
def test_power_on_lets_a_pod_that_stands_still_go_on(lifecycle, hyperd, still):
    spawn(lifecycle)
    getattr(hyperd, still)(UUID)
    lifecycle.power_on(instance(), [port()])
    assert hyperd.pod(UUID).state is PodState.RUNNING


@pytest.mark.parametrize(
    ("still", "state"),
    [("pause_pod", power_state.PAUSED), ("suspend_pod", power_state.SUSPENDED)],
)
def test_a_pod_that_stands_still_has_novas_state_for_it_and_can_be_rebooted(
    lifecycle, hyperd, still, state
):
    spawn(lifecycle)
    getattr(hyperd, still)(UUID)
    assert lifecycle.info(instance()).state == state
    lifecycle.reboot(instance(), [port()], soft=False)
    assert lifecycle.info(instance()).state == power_state.RUNNING


def test_a_pod_whose_containers_wait_for_the_network_is_paused(lifecycle, hyperd):
    spawn(lifecycle)
    hyperd.stop_pod(UUID, force=True)
    hyperd.boot_pod(UUID)
    assert state(lifecycle) == power_state.PAUSED


def test_an_unknown_instance_is_novas_unknown_instance(lifecycle):
    for call in (
        lambda: lifecycle.info(instance()),
        lambda: lifecycle.power_on(instance(), []),
        lambda: lifecycle.reboot(instance(), [], True),
        lambda: lifecycle.resume(instance(), []),
    ):
        with pytest.raises(nova_exception.InstanceNotFound):
            call()


@pytest.mark.parametrize("timeout", [0, 5])
def test_a_pod_that_is_not_there_is_as_good_as_stopped(lifecycle, timeout):
    lifecycle.power_off(instance(), timeout)


@pytest.mark.parametrize(
    ("call", "run", "failure"),
    [
        ("stop_pod", lambda x: x.power_off(instance(), 5), "InstancePowerOffFailure"),
        ("boot_pod", lambda x: x.reboot(instance(), [], True), "InstanceRebootFailure"),
        ("delete_pod", lambda x: x.destroy(instance(), [], True), "InstanceTerminationFailure"),
    ],
)
def test_a_failed_operation_is_novas_exception_for_it(lifecycle, hyperd, call, run, failure):
    spawn(lifecycle)
    hyperd.fail_next[call] = errors.HypervisorFailed("QEMU said no")
    with pytest.raises(getattr(nova_exception, failure), match="QEMU said no"):
        run(lifecycle)
