"""Pods that stand still: pause, suspend, crash dumps, and what killed daemons leave of them."""

from __future__ import annotations

import dataclasses
import threading

import pytest

from nova_hyper.daemon.ports import AgentError, DomainState
from nova_hyper.spec.errors import (
    Conflict,
    DiskFull,
    GuestFailed,
    HypervisorFailed,
    HypervisorUnavailable,
    PodPaused,
    SavedStateUnusable,
)
from nova_hyper.spec.nic import Dns, Nic, NicKind
from nova_hyper.spec.pod import PodState
from tests.unit.daemon.core import Core
from tests.unit.daemon.fakes import DIAGNOSTICS, PATIENCE_S, POD_ID, SAVED, spec

NIC = Nic("52:54:00:00:00:02", NicKind.BRIDGE, bridge="br0")


@pytest.fixture
def core(tmp_path):
    made = Core(tmp_path)
    made.monitor.reconcile()
    return made


@pytest.fixture
def running(core):
    core.pods.create(spec())
    core.pods.start(POD_ID)
    core.agent().requests.clear()
    return core


def saved_file(core):
    return core.repository.saved_memory(POD_ID)


def look(core):
    core.monitor.notice(POD_ID)
    core.monitor._look_unless_busy(core.registry.get(POD_ID))
    return core.pods.get(POD_ID)


def recovered(core):
    """The pod after a kill of the daemon and the new one's first look."""
    new = core.restarted()
    new.monitor.reconcile()
    look(new)
    return new


# Pause


def test_a_paused_pod_stands_still_and_goes_on_with_the_right_time(running):
    assert running.power.pause(POD_ID).state is PodState.PAUSED
    assert running.hypervisor.domains[POD_ID] is DomainState.PAUSED
    assert running.power.unpause(POD_ID).state is PodState.RUNNING
    assert running.hypervisor.domains[POD_ID] is DomainState.RUNNING
    assert running.agent().asked == ["entropy.add", "clock.set"]
    assert running.kinds()[-2:] == ["paused", "unpaused"]


def test_pausing_and_unpausing_again_change_nothing(running):
    for call in (running.power.pause, running.power.unpause):
        first = call(POD_ID)
        told = running.kinds()
        assert call(POD_ID) == first
        assert running.kinds() == told


def test_a_paused_pod_is_not_asked_whether_it_is_well(running):
    running.power.pause(POD_ID)
    running.agent().silent = True
    pod = look(running)
    assert (pod.state, pod.message) == (PodState.PAUSED, "")
    assert running.agent().asked == []


def test_a_pod_is_still_paused_after_a_restart_of_the_daemon(running):
    running.power.pause(POD_ID)
    new = recovered(running)
    assert new.pods.get(POD_ID).state is PodState.PAUSED
    assert new.power.unpause(POD_ID).state is PodState.RUNNING


def test_what_needs_the_agent_is_refused_while_it_stands_still(running):
    running.power.pause(POD_ID)
    for call in (
        lambda: running.sandboxes.ask(running.registry.get(POD_ID), "pod.status"),
        lambda: running.pods.start(POD_ID),
        lambda: running.power.suspend(POD_ID),
        lambda: running.power.crash(POD_ID),
    ):
        with pytest.raises(PodPaused, match="web is paused; unpause it"):
            call()
    assert running.agent().asked == []
    assert running.pods.get(POD_ID).state is PodState.PAUSED


def test_a_paused_pod_can_be_stopped_gently_and_at_once(running):
    for force, code in ((False, 143), (True, None)):
        running.pods.start(POD_ID)
        running.power.pause(POD_ID)
        pod = running.pods.stop(POD_ID, grace_s=1, force=force)
        assert (pod.state, pod.exit_code) == (PodState.STOPPED, code)


def test_a_paused_pod_can_be_deleted(running):
    running.power.pause(POD_ID)
    running.pods.delete(POD_ID)
    assert running.left() == []


def test_only_pods_that_run_can_be_paused(core):
    core.pods.create(spec())
    with pytest.raises(Conflict, match=r"does not run \(it is ready\), so it cannot be paused"):
        core.power.pause(POD_ID)
    core.pods.stop(POD_ID, force=True)
    with pytest.raises(Conflict, match=r"is not paused \(it is stopped\)"):
        core.power.unpause(POD_ID)


def test_what_others_do_to_the_domain_is_seen_and_told(running):
    running.hypervisor.pause(POD_ID)
    pod = look(running)
    assert pod.state is PodState.PAUSED
    assert "disk is full" in pod.message
    running.hypervisor.unpause(POD_ID)
    assert look(running).state is PodState.RUNNING
    assert running.kinds()[-2:] == ["paused", "unpaused"]
    assert "clock.set" in running.agent().asked


def test_a_paused_pod_whose_micro_vm_dies_has_crashed(running):
    running.power.pause(POD_ID)
    running.hypervisor.vanish(POD_ID)
    assert look(running).state is PodState.CRASHED


def test_an_agent_that_does_not_answer_keeps_no_pod_paused(running):
    running.power.pause(POD_ID)
    running.agent().fail("entropy.add", GuestFailed("it does not answer"))
    pod = running.power.unpause(POD_ID)
    assert pod.state is PodState.RUNNING
    assert "does not answer" in pod.message


def test_an_agent_that_knows_no_clock_keeps_no_pod_paused(running):
    running.power.pause(POD_ID)
    running.agent().fail("clock.set", AgentError("unknown_op", "no such operation"))
    assert running.power.unpause(POD_ID).state is PodState.RUNNING


# Suspend


def test_a_suspended_pod_is_a_file_and_comes_back_where_it_was(running):
    pod = running.power.suspend(POD_ID)
    assert (pod.state, pod.qemu_pid) == (PodState.SUSPENDED, None)
    assert running.hypervisor.domains == {}
    assert saved_file(running).read_bytes() == SAVED
    pod = running.power.resume(POD_ID)
    assert (pod.state, pod.qemu_pid, pod.stopped_at) == (PodState.RUNNING, 4243, None)
    assert not saved_file(running).exists()
    assert running.agent().asked == ["entropy.add", "clock.set"]
    assert running.guests.fresh[-1] is False
    assert running.kinds()[-2:] == ["suspended", "resumed"]


def test_a_resume_plugs_the_interfaces_where_they_are_now(running):
    running.power.suspend(POD_ID)
    pod = running.power.resume(POD_ID, (NIC,), Dns(("10.0.0.9",)))
    assert running.hypervisor.loaded[-1].nics == (NIC,)
    assert pod.spec.nics == (NIC,)
    assert pod.spec.dns.nameservers == ("10.0.0.9",)


def test_a_resume_may_wait_for_the_network(running):
    running.power.suspend(POD_ID)
    pod = running.power.resume(POD_ID, paused=True)
    assert pod.state is PodState.PAUSED
    assert running.hypervisor.domains[POD_ID] is DomainState.PAUSED
    assert running.agent().asked == []
    assert running.power.resume(POD_ID, paused=True).state is PodState.PAUSED
    assert running.power.unpause(POD_ID).state is PodState.RUNNING


def test_a_start_of_a_suspended_pod_resumes_it_and_a_boot_is_refused(running):
    running.power.suspend(POD_ID)
    with pytest.raises(Conflict, match="suspended; resume it, or stop it to discard"):
        running.pods.boot(POD_ID)
    assert running.pods.start(POD_ID).state is PodState.RUNNING
    assert running.kinds()[-1] == "resumed"


def test_a_suspended_pod_that_is_stopped_ends_in_good_order(running):
    running.power.suspend(POD_ID)
    pod = running.pods.stop(POD_ID)
    assert (pod.state, pod.exit_code) == (PodState.STOPPED, 143)
    assert not saved_file(running).exists()


def test_a_forced_stop_of_a_suspended_pod_discards_its_memory(running):
    running.power.suspend(POD_ID)
    pod = running.pods.stop(POD_ID, force=True)
    assert pod.state is PodState.STOPPED
    assert "memory was discarded" in pod.message
    assert not saved_file(running).exists()
    assert running.pods.start(POD_ID).state is PodState.RUNNING


def test_a_suspended_pod_can_be_deleted_with_its_file(running):
    running.power.suspend(POD_ID)
    running.pods.delete(POD_ID)
    assert running.left() == []


def test_a_pod_runs_on_where_there_may_be_no_room_for_its_memory(running):
    entry = running.registry.get(POD_ID)
    entry.update(spec=dataclasses.replace(entry.pod.spec, memory_mib=1 << 40))
    with pytest.raises(DiskFull, match=r"suspending pod web may take .* MiB free; free space"):
        running.power.suspend(POD_ID)
    assert running.hypervisor.domains[POD_ID] is DomainState.RUNNING
    assert running.pods.get(POD_ID).state is PodState.RUNNING


def test_a_pod_runs_on_where_its_memory_could_not_be_saved(running):
    running.hypervisor.fail("save", DiskFull("no room for the pod's memory"))
    with pytest.raises(DiskFull):
        running.power.suspend(POD_ID)
    assert look(running).state is PodState.RUNNING
    assert running.agent().asked == ["pod.status"]


@pytest.mark.parametrize("damage", [b"LibvirtQemudPart", b"", None])
def test_a_damaged_memory_is_told_with_a_way_out(running, damage):
    running.power.suspend(POD_ID)
    if damage is None:
        saved_file(running).unlink()
    else:
        saved_file(running).write_bytes(damage)
    with pytest.raises(SavedStateUnusable, match="hard reboot, or a stop, discards it"):
        running.power.resume(POD_ID)
    assert running.pods.get(POD_ID).state is PodState.SUSPENDED
    running.pods.stop(POD_ID)
    assert running.pods.start(POD_ID).state is PodState.RUNNING


def test_a_memory_that_the_hypervisor_refuses_stays_for_another_try(running):
    running.power.suspend(POD_ID)
    running.hypervisor.fail("load", SavedStateUnusable("libvirt refused: another CPU"))
    with pytest.raises(SavedStateUnusable, match=r"pod web .*another CPU"):
        running.power.resume(POD_ID)
    assert saved_file(running).exists()
    assert running.power.resume(POD_ID).state is PodState.RUNNING


def test_suspending_and_resuming_again_change_nothing(running):
    for call in (running.power.suspend, running.power.resume):
        first = call(POD_ID)
        told = running.kinds()
        assert call(POD_ID) == first
        assert running.kinds() == told


def test_only_pods_that_run_can_be_suspended(running):
    running.pods.stop(POD_ID, force=True)
    with pytest.raises(Conflict, match="so it cannot be suspended"):
        running.power.suspend(POD_ID)
    with pytest.raises(Conflict, match="is not suspended"):
        running.power.resume(POD_ID)


# What a kill in the middle leaves


def test_a_suspended_pod_is_there_after_a_restart_of_everything(running):
    running.power.suspend(POD_ID)
    new = recovered(running)
    assert new.pods.get(POD_ID).state is PodState.SUSPENDED
    new.monitor.repeat()
    assert new.power.resume(POD_ID).state is PodState.RUNNING


def test_a_save_that_goes_on_without_the_daemon_is_waited_for(running):
    running.hypervisor.domains[POD_ID] = DomainState.SAVING
    saved_file(running).write_bytes(b"LibvirtQemudPart")
    new = recovered(running)
    assert new.pods.get(POD_ID).state is PodState.RUNNING
    saved_file(new).write_bytes(SAVED)
    new.hypervisor.domains[POD_ID] = DomainState.OFF
    assert look(new).state is PodState.SUSPENDED
    assert new.hypervisor.domains == {}
    assert new.kinds()[-1] == "suspended"


def test_a_save_that_libvirt_gave_up_leaves_no_file(running):
    saved_file(running).write_bytes(b"LibvirtQemudPart")
    new = recovered(running)
    assert new.pods.get(POD_ID).state is PodState.RUNNING
    assert not saved_file(new).exists()


def test_a_save_that_ended_with_the_host_is_a_crash_and_its_file_never_used(running):
    saved_file(running).write_bytes(b"LibvirtQemudPart")
    running.hypervisor.vanish(POD_ID)
    new = recovered(running)
    assert new.pods.get(POD_ID).state is PodState.CRASHED
    assert not saved_file(new).exists()


def test_a_boot_never_meets_the_memory_of_before(running):
    running.hypervisor.vanish(POD_ID)
    look(running)
    saved_file(running).write_bytes(SAVED)
    running.pods.boot(POD_ID)
    assert not saved_file(running).exists()


def test_a_resume_that_was_cut_before_the_guest_could_run_is_taken_back(running):
    running.power.suspend(POD_ID)
    running.hypervisor.domains[POD_ID] = DomainState.PAUSED
    new = recovered(running)
    assert new.pods.get(POD_ID).state is PodState.SUSPENDED
    assert new.hypervisor.domains == {}
    assert saved_file(new).exists()


@pytest.mark.parametrize(
    ("domain", "state"),
    [(DomainState.PAUSED, PodState.PAUSED), (DomainState.RUNNING, PodState.RUNNING)],
)
def test_a_resume_that_was_cut_after_it_is_gone_on_with(running, domain, state):
    running.power.suspend(POD_ID)
    saved_file(running).unlink()
    running.hypervisor.domains[POD_ID] = domain
    new = recovered(running)
    assert new.pods.get(POD_ID).state is state
    assert new.power.resume(POD_ID).state is PodState.RUNNING


def test_a_memory_whose_guest_has_run_meanwhile_is_thrown_away(running):
    running.power.suspend(POD_ID)
    running.hypervisor.domains[POD_ID] = DomainState.RUNNING
    new = recovered(running)
    assert new.pods.get(POD_ID).state is PodState.RUNNING
    assert not saved_file(new).exists()


def test_a_suspend_that_is_asked_for_again_waits_for_the_save_under_way(running, monkeypatch):
    running.hypervisor.domains[POD_ID] = DomainState.SAVING

    def finish(_seconds):
        saved_file(running).write_bytes(SAVED)
        running.hypervisor.domains[POD_ID] = DomainState.OFF

    monkeypatch.setattr("nova_hyper.daemon.pods.power.time.sleep", finish)
    assert running.power.suspend(POD_ID).state is PodState.SUSPENDED
    assert running.kinds().count("suspended") == 1


def test_a_libvirt_that_goes_away_changes_nothing(running):
    running.hypervisor.fail("save", HypervisorUnavailable("libvirt went away"))
    with pytest.raises(HypervisorUnavailable):
        running.power.suspend(POD_ID)
    assert look(running).state is PodState.RUNNING


# Crash dumps


def test_a_dump_is_made_of_a_kernel_that_panicked_when_asked_to(running):
    running.power.crash(POD_ID)
    pod = look(running)
    assert pod.state is PodState.CRASHED
    (dump,) = running.dumps.iterdir()
    assert f"the crash dump is {dump}" in pod.message
    assert dump.read_bytes() == b"the memory"
    assert dump.stat().st_mode & 0o777 == 0o600
    assert running.hypervisor.domains == {}


def test_a_dump_is_made_also_when_the_daemon_was_killed_meanwhile(running):
    running.power.crash(POD_ID)
    new = recovered(running)
    assert new.pods.get(POD_ID).state is PodState.CRASHED
    assert len(list(new.dumps.iterdir())) == 1


def test_a_panic_that_nobody_asked_for_is_not_dumped(running):
    running.hypervisor.inject_nmi(POD_ID)
    pod = look(running)
    assert (pod.state, pod.message) == (
        PodState.CRASHED,
        "the kernel in the micro-VM panicked",
    )
    assert not running.dumps.exists()


@pytest.mark.parametrize("fresh", [True, False])
def test_a_guest_that_panics_while_it_boots_ends_the_wait_for_it(core, fresh):
    core.guests.hang = True
    failed = []

    def call():
        try:
            core.pods.create(spec()) if fresh else core.pods.start(POD_ID)
        except GuestFailed as exc:
            failed.append(exc)

    if not fresh:
        core.guests.hang = False
        core.pods.create(spec())
        core.pods.stop(POD_ID, force=True)
        core.guests.hang = True
        core.guests.hanging.clear()
        core.guests._cut.clear()
    thread = threading.Thread(target=call)
    thread.start()
    assert core.guests.hanging.wait(PATIENCE_S)
    core.hypervisor.inject_nmi(POD_ID)
    core.monitor.notice(POD_ID)
    core.monitor._look_unless_busy(core.registry.get(POD_ID))
    thread.join(PATIENCE_S)
    assert failed
    assert core.hypervisor.domains == {}


def test_figures_are_the_hosts_and_the_memory_in_use_is_the_guests(running):
    running.agent().answers["pod.status"] = {"mem_available_kib": 40 << 10, "containers": []}
    found = running.power.diagnostics(POD_ID)
    assert (found.memory.maximum_mib, found.memory.used_mib) == (64, 24)
    assert found.disks == DIAGNOSTICS.disks
    running.power.pause(POD_ID)
    assert running.power.diagnostics(POD_ID).memory.used_mib is None


@pytest.mark.parametrize(
    ("said", "used"), [(1 << 60, 0), (-(1 << 60), 64), ("much", None), (True, None)]
)
def test_a_guest_that_lies_about_its_memory_is_not_believed(running, said, used):
    running.agent().answers["pod.status"] = {"mem_available_kib": said, "containers": []}
    assert running.power.diagnostics(POD_ID).memory.used_mib == used


def test_a_pod_that_is_down_has_no_figures(running):
    running.power.suspend(POD_ID)
    with pytest.raises(Conflict, match=r"is not up \(it is suspended\)"):
        running.power.diagnostics(POD_ID)


def test_dumps_are_bounded_by_number_and_the_oldest_goes(running, monkeypatch):
    stamps = iter(["20260101T000000Z", "20260102T000000Z", "20260103T000000Z"])
    monkeypatch.setattr("nova_hyper.daemon.pods.dumps._stamp", lambda: next(stamps))
    for _ in range(3):
        running.power.crash(POD_ID)
        look(running)
        running.pods.start(POD_ID)
    assert sorted(p.name.rpartition("-")[2] for p in running.dumps.iterdir()) == [
        "20260102T000000Z.vmcore",
        "20260103T000000Z.vmcore",
    ]


def test_a_dump_larger_than_all_that_is_kept_is_refused_before_anything(running):
    entry = running.registry.get(POD_ID)
    entry.update(spec=dataclasses.replace(entry.pod.spec, memory_mib=513))
    with pytest.raises(Conflict, match="513 MiB of memory are more than the 512 MiB"):
        running.power.crash(POD_ID)
    assert running.hypervisor.domains[POD_ID] is DomainState.RUNNING


def test_a_dump_that_fails_is_told_and_the_pod_has_crashed(running):
    running.power.crash(POD_ID)
    running.hypervisor.fail("dump", HypervisorFailed("libvirt refused: no"))
    pod = look(running)
    assert pod.state is PodState.CRASHED
    assert "could not be dumped" in pod.message
    assert not running.repository.dump_request(POD_ID).exists()
