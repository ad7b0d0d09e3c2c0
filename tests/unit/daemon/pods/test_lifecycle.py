"""Starting, stopping and booting pods again."""

from __future__ import annotations

import errno
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from nova_hyper.daemon.pods import service
from nova_hyper.daemon.ports import AgentError
from nova_hyper.spec.container import Container, ContainerState
from nova_hyper.spec.errors import (
    Conflict,
    ContainerFailed,
    DiskFull,
    GuestFailed,
    HyperError,
    HypervisorFailed,
    HypervisorUnavailable,
    NetworkFailed,
    PodNotFound,
)
from nova_hyper.spec.nic import Dns, Nic, NicKind
from nova_hyper.spec.pod import PodState
from tests.unit.daemon.fakes import OTHER_ID, PATIENCE_S, POD_ID, FakeAgent, spec

NO_ROOM = OSError(errno.ENOSPC, "No space left on device")
NIC = Nic("52:54:00:00:00:01", NicKind.BRIDGE, bridge="br0")


@pytest.fixture
def pod(core):
    return core.pods.create(spec())[0]


@pytest.fixture
def running(core, pod):
    return core.pods.start("web")


def test_started_containers_run(core, running):
    assert running.state is PodState.RUNNING
    assert [c.state for c in running.containers] == [ContainerState.RUNNING]
    assert running.started_at >= running.created_at
    assert [m.stage for m in running.timeline][-2:] == ["start", "started"]
    assert list(core.repository.load()) == [running]
    assert core.kinds() == ["created", "started"]


def test_starting_again_changes_nothing(core, running):
    assert core.pods.start(POD_ID) == running
    assert core.agent().asked.count("pod.start") == 1
    assert core.kinds() == ["created", "started"]


def test_a_start_of_a_stopped_pod_boots_it_first(core, running):
    core.pods.stop("web")
    again = core.pods.start("web")
    assert again.state is PodState.RUNNING
    assert again.exit_code is None
    assert again.stopped_at is None
    assert again.message == ""
    assert len(core.hypervisor.launched) == 2
    assert core.kinds() == ["created", "started", "stopped", "created", "started"]


def test_a_container_that_cannot_start_leaves_the_pod_stopped_with_the_reason(core, pod):
    core.agent().fail("pod.start", AgentError("exec", "/bin/web: no such file"))
    with pytest.raises(ContainerFailed, match="container main: /bin/web: no such file"):
        core.pods.start("web")
    stopped = core.pods.get("web")
    assert stopped.state is PodState.STOPPED
    assert stopped.message == "container main: /bin/web: no such file"
    assert core.hypervisor.domains == {}
    assert core.left() == ["entry", "directory", "lease"]
    assert core.kinds() == ["created", "stopped"]


def test_a_full_disk_does_not_keep_a_pod_from_running(core, pod):
    core.repository.save = lambda _pod: (_ for _ in ()).throw(NO_ROOM)
    assert core.pods.start("web").state is PodState.RUNNING
    assert core.kinds() == ["created", "started"]


def test_stopping_asks_the_containers_and_flushes_the_disks(core, running):
    agent = core.agent()
    stopped = core.pods.stop("web", grace_s=2.5)
    assert stopped.state is PodState.STOPPED
    assert stopped.exit_code == 143
    assert stopped.containers[0].exit_code == 143
    assert stopped.message == "stopped on request"
    assert stopped.qemu_pid is None
    assert agent.requests[-2:] == [
        ("container.stop", {"name": "main", "grace_ms": 2500}),
        ("power.off", {}),
    ]
    assert core.left() == ["entry", "directory", "lease"]
    assert list(core.repository.load()) == [stopped]


def test_the_grace_is_the_configured_one_when_none_is_given(core, running):
    agent = core.agent()
    core.pods.stop("web")
    assert ("container.stop", {"name": "main", "grace_ms": 10000}) in agent.requests


def test_no_grace_is_none(core, running):
    assert core.pods.stop("web", grace_s=0).exit_code == 137


def test_force_asks_nobody(core, running):
    agent = core.agent()
    stopped = core.pods.stop("web", force=True)
    assert (stopped.state, stopped.exit_code) == (PodState.STOPPED, None)
    assert "container.stop" not in agent.asked
    assert core.hypervisor.domains == {}


def test_stopping_again_changes_nothing(core, running):
    stopped = core.pods.stop("web")
    assert core.pods.stop("web") == stopped
    assert core.kinds() == ["created", "started", "stopped"]


def test_a_pod_that_never_started_is_stopped_with_its_disks_flushed(core, pod):
    agent = core.agent()
    stopped = core.pods.stop("web")
    assert (stopped.state, stopped.exit_code) == (PodState.STOPPED, None)
    assert agent.asked[-1] == "power.off"


def test_a_silent_agent_does_not_keep_a_pod_from_being_stopped(core, running):
    core.agent().silent = True
    assert core.pods.stop("web").state is PodState.STOPPED
    assert core.hypervisor.domains == {}


def test_a_guest_that_does_not_power_off_is_ended(core, running):
    core.agent().off = lambda: None
    assert core.pods.stop("web").state is PodState.STOPPED
    assert core.hypervisor.domains == {}


def test_every_container_has_its_own_exit_code(core):
    two = (Container("a", "web:1"), Container("b", "web:1"))
    core.pods.create(spec(containers=two))
    core.pods.start("web")
    core.agent().exit(3, "b")
    stopped = core.pods.stop("web")
    assert [c.exit_code for c in stopped.containers] == [143, 3]
    assert stopped.exit_code == 143


@pytest.mark.parametrize("code", [True, "1", -1, 256, 1 << 70, 1.0, None, [], {}])
def test_an_exit_code_that_is_none_is_unknown(core, running, code):
    core.agent().answers["container.stop"] = {"exit_code": code}
    stopped = core.pods.stop("web")
    assert stopped.exit_code is None
    assert list(core.repository.load()) == [stopped]


def test_a_full_disk_does_not_keep_a_pod_from_being_stopped(core, running):
    core.repository.save = lambda _pod: (_ for _ in ()).throw(NO_ROOM)
    assert core.pods.stop("web").state is PodState.STOPPED
    assert core.hypervisor.domains == {}


def test_with_libvirt_away_a_stop_fails_and_can_be_repeated(core, running):
    core.hypervisor.away = True
    with pytest.raises(HypervisorUnavailable):
        core.pods.stop("web", force=True)
    assert core.pods.get("web").state is PodState.RUNNING
    core.hypervisor.away = False
    assert core.pods.stop("web", force=True).state is PodState.STOPPED


def test_a_guest_that_powers_itself_off_is_stopped_also_with_libvirt_away(core, running):
    def off():
        core.hypervisor.vanish(POD_ID)
        core.hypervisor.away = True

    core.agent().off = off
    stopped = core.pods.stop("web")
    assert (stopped.state, stopped.exit_code, stopped.qemu_pid) == (PodState.STOPPED, 143, None)
    core.hypervisor.away = False
    core.monitor.reconcile()
    assert core.pods.get("web") == stopped
    assert core.left() == ["entry", "directory", "lease"]
    assert core.kinds() == ["created", "started", "stopped"]


def test_a_boot_takes_other_interfaces(core, pod):
    core.pods.stop("web")
    booted = core.pods.boot("web", nics=(NIC,), dns=Dns(("9.9.9.9",)))
    assert booted.state is PodState.READY
    assert booted.spec.nics == (NIC,)
    assert core.hypervisor.launched[-1].nics == (NIC,)
    assert next(core.repository.load()).spec.dns == Dns(("9.9.9.9",))


def test_a_boot_without_interfaces_keeps_those_there_are(core):
    core.pods.create(spec(nics=(NIC,)))
    core.pods.stop("web")
    assert core.pods.boot("web").spec.nics == (NIC,)


def test_booting_what_is_up_changes_nothing(core, pod):
    assert core.pods.boot("web", nics=(NIC,)) == pod
    assert len(core.hypervisor.launched) == 1


BOOT_FAILURES = {
    "destroy": (lambda c: c.hypervisor.fail("destroy", HypervisorFailed("no")), HypervisorFailed),
    "launch": (lambda c: c.hypervisor.fail("launch", NetworkFailed("no")), NetworkFailed),
    "agent": (lambda c: c.guests.fail("connect", GuestFailed("no")), GuestFailed),
    "image": (lambda c: c.images.fail("get", HyperError("no")), HyperError),
}


@pytest.mark.parametrize("step", BOOT_FAILURES)
def test_a_boot_that_fails_leaves_the_pod_as_it_was(core, running, step):
    stopped = core.pods.stop("web")
    arrange, error = BOOT_FAILURES[step]
    arrange(core)
    with pytest.raises(error):
        core.pods.boot("web", nics=(NIC,))
    assert core.pods.get("web") == stopped
    assert list(core.repository.load()) == [stopped]
    assert core.left() == ["entry", "directory", "lease"]
    assert core.pods.boot("web").state is PodState.READY


def test_a_boot_on_a_full_disk_leaves_the_pod_as_it_was(core, running):
    stopped = core.pods.stop("web")
    save, core.repository.save = (
        core.repository.save,
        lambda _pod: (_ for _ in ()).throw(NO_ROOM),
    )
    with pytest.raises(DiskFull, match="free space"):
        core.pods.boot("web")
    assert core.pods.get("web") == stopped
    assert core.hypervisor.domains == {}
    core.repository.save = save
    assert core.pods.start("web").state is PodState.RUNNING


def test_what_a_dead_boot_has_left_is_removed_by_the_next(core, running):
    """A boot whose undo failed, libvirt being away, has left a domain."""
    core.pods.stop("web")
    core.hypervisor.domains[POD_ID] = "running"
    destroyed = []
    core.hypervisor.on_gone = destroyed.append
    core.pods.boot("web")
    assert destroyed == [POD_ID]


def test_the_timeline_is_of_the_latest_start(core, running):
    first = running.timeline
    core.pods.stop("web")
    again = core.pods.start("web")
    stages = [m.stage for m in again.timeline]
    assert stages == ["request", *stages[1:-1], "started"]
    assert len(set(stages)) == len(stages)
    assert again.timeline != first


def test_after_a_restart_of_the_daemon_calls_find_the_agent_again(core, running):
    after = core.restarted()
    after.monitor.reconcile()
    agent = after.agent()
    assert after.pods.stop("web").exit_code == 143
    assert agent.asked[-2:] == ["container.stop", "power.off"]
    assert after.guests.fresh[-1] is False


def test_a_pod_that_was_ready_before_a_restart_starts_after_it(core, pod):
    after = core.restarted()
    after.monitor.reconcile()
    assert after.pods.start("web").state is PodState.RUNNING
    assert len(after.hypervisor.launched) == 1


def test_pods_are_listed_oldest_first(core):
    core.pods.create(spec(OTHER_ID, "b"))
    core.pods.create(spec(POD_ID, "a"))
    assert [p.spec.name for p in core.pods.all()] == ["b", "a"]


def test_the_console_of_an_unknown_pod_is_not_found(core, pod):
    assert core.pods.console("web", 10) == b""
    with pytest.raises(PodNotFound):
        core.pods.console("nginx", 10)


def test_many_calls_at_once_leave_a_state_that_is_true(core):
    """Whatever the order, record, memory and hypervisor agree in the end."""
    calls = [
        lambda: core.pods.create(spec()),
        lambda: core.pods.start("web"),
        lambda: core.pods.stop("web", 0),
        lambda: core.pods.delete("web"),
        lambda: core.monitor.reconcile(),
    ]

    def shoot(number):
        try:
            calls[number % len(calls)]()
        except HyperError:
            return

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(shoot, range(200)))
    core.monitor.reconcile()
    if core.registry.find(POD_ID) is None:
        assert core.left() == []
        return
    pod = core.pods.get("web")
    up = pod.state in (PodState.READY, PodState.RUNNING)
    assert (POD_ID in core.hypervisor.domains) == up
    assert list(core.repository.load()) == [pod]
    core.pods.delete("web")
    assert core.left() == []


def test_a_forced_stop_ends_one_with_a_long_grace(core, running):
    stopping = threading.Event()
    agent, session = core.agent(), core.session()

    def wait():
        stopping.set()
        assert session.closed.wait(PATIENCE_S)

    agent.before["container.stop"] = wait
    agent.fail("container.stop", GuestFailed("gone"))
    with ThreadPoolExecutor() as pool:
        stop = pool.submit(core.pods.stop, "web", 86400)
        assert stopping.wait(PATIENCE_S)
        assert core.pods.stop("web", force=True).state is PodState.STOPPED
        assert stop.result(PATIENCE_S).state is PodState.STOPPED
    assert core.kinds().count("stopped") == 1
    assert core.hypervisor.domains == {}
    assert core.pods.start("web").state is PodState.RUNNING


def test_nobody_waits_for_ever_for_a_pod_that_is_busy(core, running, monkeypatch):
    """Each who waits takes one of the daemon's few threads, long after its client has gone."""
    monkeypatch.setattr(service, "_BUSY_S", 0.1)
    entry = core.registry.get("web")
    with entry.lock, ThreadPoolExecutor() as pool:
        for call in (core.pods.stop, core.pods.start, core.pods.boot, core.power.pause):
            with pytest.raises(Conflict, match="another call is at work on pod web"):
                pool.submit(call, "web").result(PATIENCE_S)
    assert core.pods.stop("web").state is PodState.STOPPED


def test_an_agent_of_another_pod_is_never_asked(core, running):
    core.guests.agents[OTHER_ID] = other = FakeAgent()
    core.pods.stop("web")
    assert other.requests == []
