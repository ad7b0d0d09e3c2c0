"""A new daemon on what a killed one has left."""

from __future__ import annotations

import dataclasses
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from nova_hyper.daemon.ports import DomainState
from nova_hyper.spec.errors import HypervisorFailed, HypervisorUnavailable, PodNotFound
from nova_hyper.spec.pod import PodState
from tests.unit.daemon.core import Core
from tests.unit.daemon.fakes import OTHER_ID, PATIENCE_S, POD_ID, image, spec


class Killed(BaseException):
    """The daemon is killed here: nothing of it runs any more, no undo either."""


@pytest.fixture
def found(tmp_path):
    """Run *work* on a daemon until *at* is reached; return the next daemon."""

    def until(work, at):
        core = Core(tmp_path)
        core.monitor.reconcile()
        at(core)
        plan_run = _run_without_undo
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            patch.setattr("nova_hyper.daemon.plan.run", plan_run)
            work(core)
        core.guests._cut.clear()
        return core.restarted()

    return until


def _run_without_undo(steps, done):
    for step in steps:
        step.do()
        done(step.name)


def die(*_args, **_kwargs):
    raise Killed


def before(thing, method):
    """Be killed instead of calling *method*."""
    return lambda core: setattr(_part(core, thing), method, die)


def after(thing, method):
    """Be killed as soon as *method* has done its work."""

    def arrange(core):
        part = _part(core, thing)
        real = getattr(part, method)

        def call(*args, **kwargs):
            real(*args, **kwargs)
            raise Killed

        setattr(part, method, call)

    return arrange


def _part(core, name):
    return getattr(core, name)


def kill_in_save(core):
    """The directory is there, the record is not, or only its new version."""

    def save(pod):
        directory = core.repository.directory(pod.spec.id)
        directory.mkdir()
        (directory / ".pod.json.new").write_bytes(b'{"spec"')
        raise Killed

    core.repository.save = save


CREATE = {
    "in the first save": kill_in_save,
    "after the first save": after("repository", "save"),
    "before the lease": before("images", "acquire"),
    "after the lease": after("images", "acquire"),
    "before the disk": before("disks", "create"),
    "after the disk": after("disks", "create"),
    "before the launch": before("hypervisor", "launch"),
    "after the launch": after("hypervisor", "launch"),
    "before hello": before("guests", "connect"),
    "after hello": after("guests", "connect"),
    "before the configuration": before("sandboxes", "_configure"),
    "after the containers": after("sandboxes", "_create_containers"),
    "before the last save": before("pods", "_ready"),
}


def restore(core):
    """The fakes that outlive the daemon work again."""
    for part in (core.hypervisor, core.guests, core.images):
        for name in ("launch", "connect", "acquire", "destroy", "release"):
            part.__dict__.pop(name, None)
    return core


@pytest.mark.parametrize("when", CREATE)
def test_a_half_made_pod_is_gone(found, when):
    core = restore(found(lambda c: c.pods.create(spec(root_gib=1)), CREATE[when]))
    core.monitor.reconcile()
    assert core.left() == []
    assert core.pods.all() == []
    assert core.pods.create(spec(root_gib=1))[1]


def test_a_pod_whose_creation_was_done_but_not_answered_is_ready(found):
    core = restore(
        found(
            lambda c: c.pods.create(spec()),
            lambda c: setattr(c.events, "append", die),
        )
    )
    core.monitor.reconcile()
    pod, made = core.pods.create(spec())
    assert not made
    assert pod.state is PodState.READY


def created(work):
    def both(core):
        core.pods.create(spec(root_gib=1))
        work(core)

    return both


DELETE = {
    "after the record": after("repository", "save"),
    "before the domain": before("hypervisor", "destroy"),
    "after the domain": after("hypervisor", "destroy"),
    "before the lease": before("images", "release"),
    "after the lease": after("images", "release"),
    "before the directory": before("repository", "remove"),
    "after the directory": after("repository", "remove"),
}


@pytest.mark.parametrize("when", DELETE)
def test_a_half_removed_pod_is_gone(found, when):
    def work(core):
        core.pods.create(spec(root_gib=1))
        DELETE[when](core)
        core.pods.delete("web")

    core = restore(found(work, lambda _core: None))
    core.monitor.reconcile()
    assert core.left() == []


@pytest.mark.parametrize("files", range(5))
def test_a_removal_that_was_killed_between_its_files_is_finished(core, files):
    core.pods.create(spec(root_gib=1))
    directory = core.repository.directory(POD_ID)
    # In the order of their names in any directory: some before the record, some after it.
    for name in ("aaa", "zzz"):
        (directory / name).touch()
    unlinked = []
    real = type(directory).unlink

    def unlink(path, *args, **kwargs):
        if len(unlinked) == files:
            raise Killed
        real(path, *args, **kwargs)
        unlinked.append(path)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(type(directory), "unlink", unlink)
        core.repository.remove(POD_ID)
    assert (directory / "pod.json").exists()  # it goes last
    core = core.restarted()
    core.monitor.reconcile()
    core.pods.delete("web")
    assert core.left() == []


def test_running_pods_go_on(core):
    core.pods.create(spec())
    running = core.pods.start("web")
    after_kill = core.restarted()
    after_kill.monitor.reconcile()
    assert after_kill.pods.get("web") == running
    assert after_kill.hypervisor.domains == {POD_ID: DomainState.RUNNING}
    assert after_kill.images.leases == core.images.leases
    assert len(after_kill.hypervisor.launched) == 1
    after_kill.monitor.start()
    after_kill.agent().exit(6)
    after_kill.monitor.notice(POD_ID)
    assert after_kill.wait_for(3)[-1] == "exited"
    after_kill.monitor.stop()


def test_what_exited_while_no_daemon_was_there_is_told_once_there_is(core):
    core.pods.create(spec())
    core.pods.start("web")
    core.agent().exit(8)
    after_kill = core.restarted()
    after_kill.monitor.start()
    after_kill.monitor.reconcile()
    assert after_kill.wait_for(3) == ["created", "started", "exited"]
    after_kill.monitor.stop()
    assert after_kill.pods.get("web").exit_code == 8


def test_a_pod_whose_guest_died_meanwhile_has_crashed(core):
    core.pods.create(spec())
    core.pods.start("web")
    after_kill = core.restarted()
    after_kill.hypervisor.domains.clear()  # as after a reboot of the host
    after_kill.monitor.reconcile()
    assert after_kill.pods.get("web").state is PodState.CRASHED
    assert after_kill.kinds()[-1] == "crashed"


def test_a_start_that_was_killed_before_its_record_counts(core):
    core.pods.create(spec())
    core.repository.save = die
    with pytest.raises(Killed):
        core.pods.start("web")
    after_kill = core.restarted()
    after_kill.monitor.start()
    after_kill.monitor.reconcile()
    assert after_kill.wait_for(2) == ["created", "started"]
    after_kill.monitor.stop()
    assert after_kill.pods.get("web").state is PodState.RUNNING
    assert next(after_kill.repository.load()).state is PodState.RUNNING


def test_a_boot_that_was_killed_leaves_a_stopped_pod(core):
    core.pods.create(spec())
    core.pods.stop("web")
    core.hypervisor.domains[POD_ID] = DomainState.RUNNING
    after_kill = core.restarted()
    after_kill.monitor.reconcile()
    assert after_kill.pods.get("web").state is PodState.STOPPED
    assert after_kill.hypervisor.domains == {}
    assert after_kill.pods.start("web").state is PodState.RUNNING


def test_domains_that_belong_to_no_pod_are_removed(core):
    core.pods.create(spec())
    core.hypervisor.domains[OTHER_ID] = DomainState.RUNNING
    core.monitor.reconcile()
    assert core.hypervisor.domains == {POD_ID: DomainState.RUNNING}


def test_an_orphan_that_cannot_be_removed_does_not_stop_the_rest(core, caplog):
    core.hypervisor.domains[OTHER_ID] = DomainState.RUNNING
    core.pods.reconciled.clear()
    core.hypervisor.fail("destroy", HypervisorFailed("device busy"))
    core.monitor.reconcile()
    assert core.pods.reconciled.is_set()
    assert "device busy" in caplog.text


def test_a_pod_whose_record_cannot_be_read_keeps_its_guest(core, caplog):
    """A record of a newer version, or a damaged disk, is no reason to end what runs."""
    core.pods.create(spec())
    record = core.repository.directory(POD_ID) / "pod.json"
    data = json.loads(record.read_bytes())
    data["state"] = "hibernating"
    record.write_text(json.dumps(data))
    after_kill = core.restarted()
    after_kill.monitor.reconcile()
    assert after_kill.hypervisor.domains == {POD_ID: DomainState.RUNNING}
    assert "left alone" in caplog.text
    with pytest.raises(PodNotFound):
        after_kill.pods.get("web")


def test_with_libvirt_away_nothing_is_lost_and_it_happens_later(core, monkeypatch):
    monkeypatch.setattr("nova_hyper.daemon.pods.service._AGREEMENT_S", 0)
    core.pods.create(spec())
    core.pods.start("web")
    core.pods.create(spec(OTHER_ID, "other"))
    after_kill = core.restarted()
    after_kill.hypervisor.away = True
    with pytest.raises(HypervisorUnavailable):
        after_kill.monitor.reconcile()
    assert not after_kill.pods.reconciled.is_set()
    assert [p.state for p in after_kill.pods.all()] == [PodState.RUNNING, PodState.READY]
    with pytest.raises(HypervisorUnavailable):
        after_kill.pods.delete("other")
    after_kill.hypervisor.away = False
    del after_kill.hypervisor.domains[OTHER_ID]
    after_kill.monitor.reconcile()
    assert [p.state for p in after_kill.pods.all()] == [PodState.RUNNING, PodState.CRASHED]


def test_libvirt_going_away_in_the_middle_is_tried_again(core):
    core.pods.create(spec())
    core.pods.create(spec(OTHER_ID, "other"))
    after_kill = core.restarted()
    after_kill.hypervisor.domains.clear()
    after_kill.hypervisor.fail("destroy", HypervisorUnavailable("gone again"))
    with pytest.raises(HypervisorUnavailable):
        after_kill.monitor.reconcile()
    assert not after_kill.pods.reconciled.is_set()
    after_kill.monitor.reconcile()
    assert {p.state for p in after_kill.pods.all()} == {PodState.CRASHED}
    assert after_kill.kinds().count("crashed") == 2


def test_one_broken_pod_does_not_keep_the_others_from_working(core):
    core.pods.create(spec())
    core.pods.create(spec(OTHER_ID, "other"))
    after_kill = core.restarted()
    after_kill.hypervisor.domains.clear()
    after_kill.hypervisor.fail("destroy", HypervisorFailed("device busy"))
    after_kill.monitor.reconcile()
    assert after_kill.pods.reconciled.is_set()
    assert {p.state for p in after_kill.pods.all()} == {PodState.CRASHED}


def test_silent_agents_do_not_keep_the_daemon_from_working(core):
    """A guest's agent is asked by the monitor's threads, after the daemon is ready."""
    core.pods.create(spec())
    after_kill = core.restarted()
    after_kill.agent().silent = True
    after_kill.monitor.reconcile()
    assert after_kill.pods.reconciled.is_set()
    assert after_kill.guests.fresh == [True]  # at its boot; not since


def test_a_reconnection_does_not_wait_for_a_call_under_way(core):
    """libvirtd is restarted while a pod is stopped with a long grace."""
    core.pods.create(spec())
    core.pods.start("web")
    agent = core.agent()
    stopping, go = threading.Event(), threading.Event()

    def wait():
        stopping.set()
        assert go.wait(PATIENCE_S)

    agent.before["container.stop"] = wait
    with ThreadPoolExecutor() as pool:
        stop = pool.submit(core.pods.stop, "web", 3600)
        assert stopping.wait(PATIENCE_S)
        core.monitor.reconcile()
        go.set()
        assert stop.result(PATIENCE_S).exit_code == 143


def test_a_lease_taken_while_libvirt_comes_back_is_kept(core):
    leased = []

    def reconnected(_domain):
        core.monitor.reconcile()
        leased.append(dict(core.images.leases))

    core.hypervisor.on_launch = reconnected
    core.pods.create(spec())
    assert leased == [{POD_ID: {image().id}}]


def test_what_was_written_by_an_older_version_is_read(core):
    """A member that is new has a default."""
    pod, _made = core.pods.create(spec())
    record = core.repository.directory(POD_ID) / "pod.json"
    data = json.loads(record.read_bytes())
    for member in ("timeline", "message", "qemu_pid", "stopped_at"):
        del data[member]
    record.write_text(json.dumps(data))
    found = core.restarted().pods.get("web")
    assert found == dataclasses.replace(pod, timeline=(), qemu_pid=None)


def test_a_pod_whose_record_cannot_be_read_keeps_its_image(core):
    """After a downgrade, for example: the next upgrade finds all it needs."""
    core.pods.create(spec())
    record = core.repository.directory(POD_ID) / "pod.json"
    record.write_text('{"from": "the future"}')
    after = core.restarted()
    after.monitor.reconcile()
    assert {"directory", "domain", "lease"} <= set(after.left())
