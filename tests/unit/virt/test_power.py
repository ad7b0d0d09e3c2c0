"""Instances that stand still, over a hyperd in memory."""

from __future__ import annotations

import contextlib
from unittest import mock

import pytest
from nova import exception as nova_exception

from nova_hyper import exception
from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import DaemonUnavailable, DiskFull, SavedStateUnusable
from nova_hyper.spec.pod import PodSpec, PodState
from nova_hyper.virt import diagnostics
from nova_hyper.virt.power import Power
from tests.unit.fake_hyperd import FakeHyperd
from tests.unit.vif.ports import PORT_ID, port
from tests.unit.virt.instances import UUID, instance


class VirtApi:
    """Neutron's reports; ``states`` is what the pod was when they were waited for."""

    def __init__(self, hyperd):
        self.hyperd = hyperd
        self.waits = []
        self.states = []
        self.times_out = False

    @contextlib.contextmanager
    def wait_for_instance_event(self, instance, events, timeout, error_callback):
        self.waits.append((events, timeout))
        yield
        self.states.append(self.hyperd.pod(UUID).state)
        if events and self.times_out:
            raise nova_exception.InstanceEventTimeout()


@pytest.fixture
def hyperd():
    made = FakeHyperd()
    image = made.import_image("i", [b"x"])
    made.create_pod(PodSpec(UUID, "instance-7", (Container("main", image.id),)))
    made.start_pod(UUID)
    return made


@pytest.fixture
def virtapi(hyperd):
    return VirtApi(hyperd)


@pytest.fixture
def plugged():
    with mock.patch("nova_hyper.virt.power.plugging.plug") as plug:
        yield plug


@pytest.fixture
def power(hyperd, virtapi, plugged):
    return Power(hyperd, virtapi, wiring_timeout=300)


def state(hyperd):
    return hyperd.pod(UUID).state


def test_pause_and_unpause(power, hyperd):
    power.pause(instance())
    assert state(hyperd) is PodState.PAUSED
    power.unpause(instance())
    assert state(hyperd) is PodState.RUNNING


def test_an_instance_that_is_not_there_is_novas_unknown_one(power, hyperd):
    hyperd.delete_pod(UUID)
    for call in (power.pause, power.unpause, power.trigger_crash_dump):
        with pytest.raises(nova_exception.InstanceNotFound):
            call(instance())
    with pytest.raises(nova_exception.InstanceFaultRollback) as failed:
        power.suspend(instance())
    assert isinstance(failed.value.inner_exception, nova_exception.InstanceNotFound)


def test_a_suspended_pod_does_not_run_before_its_ports_are_wired(power, hyperd, virtapi, plugged):
    power.suspend(instance())
    assert state(hyperd) is PodState.SUSPENDED
    ports = [port(active=False)]
    power.resume(instance(), ports)
    plugged.assert_called_once_with(mock.ANY, ports)
    assert virtapi.waits == [([("network-vif-plugged", PORT_ID)], 15.0)]
    assert virtapi.states == [PodState.PAUSED]
    assert state(hyperd) is PodState.RUNNING
    assert hyperd.pod(UUID).spec.nics[0].interface_id == PORT_ID


def test_a_resume_goes_on_without_neutrons_report(power, hyperd, virtapi):
    virtapi.times_out = True
    power.suspend(instance())
    power.resume(instance(), [port(active=False)])
    assert state(hyperd) is PodState.RUNNING


def test_a_resume_that_was_cut_goes_on(power, hyperd):
    power.suspend(instance())
    hyperd.fail_next["unpause_pod"] = DaemonUnavailable("hyperd is away")
    with pytest.raises(nova_exception.InstanceFaultRollback):
        power.resume(instance(), [])
    assert state(hyperd) is PodState.PAUSED
    power.resume(instance(), [])
    assert state(hyperd) is PodState.RUNNING


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("suspend_pod", DiskFull("suspending pod web may take 96 MiB; free space")),
        ("resume_pod", SavedStateUnusable("the saved memory is damaged; reboot")),
    ],
)
def test_what_fails_leaves_the_server_as_it_was_with_hyperds_sentence(power, hyperd, call, error):
    if call == "resume_pod":
        power.suspend(instance())
    before = state(hyperd)
    hyperd.fail_next[call] = error
    with pytest.raises(nova_exception.InstanceFaultRollback) as failed:
        power.suspend(instance()) if call == "suspend_pod" else power.resume(instance(), [])
    inner = failed.value.inner_exception
    assert isinstance(inner, exception.PodFailed)
    assert error.message in inner.format_message()
    assert state(hyperd) is before


def test_a_port_that_cannot_be_plugged_leaves_the_server_suspended(power, hyperd, plugged):
    power.suspend(instance())
    plugged.side_effect = nova_exception.VirtualInterfacePlugException()
    with pytest.raises(nova_exception.InstanceFaultRollback):
        power.resume(instance(), [port()])
    assert state(hyperd) is PodState.SUSPENDED


def test_a_crash_dump_needs_a_kernel_that_runs(power, hyperd):
    power.trigger_crash_dump(instance())
    assert "crash_pod" in hyperd.calls
    hyperd.pause_pod(UUID)
    with pytest.raises(exception.PodFailed, match="paused; unpause it first"):
        power.trigger_crash_dump(instance())
    hyperd.stop_pod(UUID, force=True)
    with pytest.raises(nova_exception.InstanceNotRunning):
        power.trigger_crash_dump(instance())


def test_the_diagnostics_are_novas_object_of_hyperds_figures(hyperd, power):
    power.suspend(instance())
    power.resume(instance(), [port()])
    found = diagnostics.as_object(
        instance(), hyperd.pod(UUID), hyperd.diagnostics(UUID), virt_type="kvm"
    )
    assert (found.state, found.driver, found.hypervisor) == ("running", "libvirt", "kvm")
    assert found.uptime >= 0
    assert (found.memory_details.maximum, found.memory_details.used) == (64, 20)
    assert [(c.id, c.time) for c in found.cpu_details] == [(0, 5_000_000)]
    assert found.disk_details[0].read_bytes == 4096
    assert found.nic_details[0].mac_address == hyperd.pod(UUID).spec.nics[0].mac
    assert (found.nic_details[0].rx_octets, found.nic_details[0].tx_octets) == (100, 200)
    assert (found.num_cpus, found.num_disks, found.num_nics) == (1, 1, 1)


def test_the_old_diagnostics_are_one_flat_dictionary_in_kib(hyperd):
    found = diagnostics.as_dict(hyperd.diagnostics(UUID))
    assert found["cpu0_time"] == 5_000_000
    assert found["l0_read"] == 4096
    assert found["memory"] == 64 << 10
    assert found["memory-available"] == 44 << 10
    assert all(isinstance(value, int) for value in found.values())
