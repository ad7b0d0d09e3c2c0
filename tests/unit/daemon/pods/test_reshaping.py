"""Pods that change their size: the record and the files together, also after a kill."""

from __future__ import annotations

import dataclasses
import errno
import os

import pytest

from nova_hyper.spec.container import Container
from nova_hyper.spec.disk import EphemeralDisk
from nova_hyper.spec.errors import (
    Conflict,
    DiskFull,
    GuestFailed,
    HyperError,
    ImageUnsuitable,
    InsufficientMemory,
    InvalidRequest,
)
from nova_hyper.spec.image import Layer
from nova_hyper.spec.pod import PodState, RestartPolicy
from nova_hyper.spec.shape import Shape
from nova_hyper.spec.tuning import CpuTopology, Tuning
from tests.unit.daemon.fakes import ALL_FEATURES, POD_ID, FakeSession, image, spec

SMALL = spec(root_gib=1, ephemerals=(EphemeralDisk(1, "/mnt"),), swap_mib=16)
TWO = (Container("a", "web:1"), Container("b", "web:1"))


def shape(made=SMALL, **changes):
    return dataclasses.replace(Shape.of(made), **changes)


LARGE = shape(
    vcpus=2,
    memory_mib=128,
    root_gib=20,
    ephemerals=(EphemeralDisk(2, "/mnt"), EphemeralDisk(3, "/mnt1")),
    swap_mib=32,
    labels={"nova.flavor": "large"},
    restart_policy=RestartPolicy.ALWAYS,
)


@pytest.fixture
def stopped(core):
    """A core with a stopped pod."""
    return stop(core, SMALL)


def stop(core, made):
    core.pods.create(made)
    core.pods.stop(POD_ID, force=True)
    return core


def files(core):
    """The names and sizes of the pod's disks, in MiB."""
    directory = core.repository.directory(POD_ID)
    return {path.name: path.stat().st_size >> 20 for path in sorted(directory.glob("*.img"))}


def write(core, name, data):
    with (core.repository.directory(POD_ID) / name).open("r+b") as file:
        file.write(data)


def read(core, name, count=16):
    with (core.repository.directory(POD_ID) / name).open("rb") as file:
        return file.read(count).rstrip(b"\0")


def saved(core):
    (pod,) = core.repository.load()
    return pod.spec


BEFORE = {"ephemeral0.img": 1024, "swap.img": 16, "upper-main.img": 1024}
AFTER = {
    **{"ephemeral0.img": 2048, "ephemeral1.img": 3072},
    **{"swap.img": 32, "upper-main.img": 20480},
}


def test_a_stopped_pod_becomes_larger_with_what_it_has_written(stopped):
    write(stopped, "upper-main.img", b"mine")
    pod = stopped.reshaping.reshape(POD_ID, LARGE, dry_run=False)
    assert pod.spec == LARGE.applied_to(SMALL) == saved(stopped)
    assert pod.state is PodState.STOPPED
    assert files(stopped) == AFTER
    assert read(stopped, "upper-main.img") == b"mine"
    stopped.pods.start(POD_ID)
    domain = stopped.hypervisor.launched[-1]
    assert (domain.vcpus, domain.memory_mib) == (2, 128)
    mounted = [args["path"] for op, args in stopped.agent().requests if op == "disk.mount"]
    assert mounted == ["/mnt", "/mnt1"]


def test_the_same_shape_again_changes_nothing(stopped):
    first = stopped.reshaping.reshape(POD_ID, LARGE, dry_run=False)
    made = list(stopped.disks.made)
    assert stopped.reshaping.reshape(POD_ID, LARGE, dry_run=False) == first
    assert stopped.disks.made == made


def test_a_dry_run_of_a_running_pod_changes_nothing(core):
    core.pods.create(SMALL)
    core.pods.start(POD_ID)
    assert core.reshaping.reshape(POD_ID, LARGE, dry_run=True).spec == SMALL
    assert files(core) == BEFORE


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"root_gib": 0}, InvalidRequest, "root disk of 1 GiB cannot be memory only"),
        ({"ephemerals": ()}, InvalidRequest, "ephemeral disk 0 of 1 GiB cannot be 0 GiB"),
        ({"memory_mib": 16}, InsufficientMemory, "less than the 32 MiB"),
        ({"memory_mib": 1 << 20}, InsufficientMemory, "more than the 8192 MiB of this host"),
        ({"tuning": Tuning(topology=CpuTopology(2, 1, 1))}, InvalidRequest, "1 vCPUs"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(stopped, changes, error, said, dry_run):
    with pytest.raises(error, match=said):
        stopped.reshaping.reshape(POD_ID, shape(**changes), dry_run)
    assert files(stopped) == BEFORE
    assert saved(stopped) == SMALL


def test_a_root_in_memory_becomes_a_disk_that_the_image_must_fit(core):
    core.images.images = [dataclasses.replace(image(), layers=(Layer("sha256:0", 1000, 3 << 30),))]
    stop(core, spec())
    with pytest.raises(ImageUnsuitable, match="choose a larger flavor"):
        core.reshaping.reshape(POD_ID, shape(spec(), root_gib=1), dry_run=False)
    assert files(core) == {}
    core.reshaping.reshape(POD_ID, shape(spec(), root_gib=4), dry_run=False)
    assert files(core) == {"upper-main.img": 4096}
    assert core.pods.boot(POD_ID).state is PodState.READY


@pytest.mark.parametrize("state", ["ready", "running", "paused", "suspended"])
def test_only_a_pod_that_is_down_takes_another_shape(core, state):
    core.pods.create(SMALL)
    if state != "ready":
        core.pods.start(POD_ID)
    if state == "paused":
        core.power.pause(POD_ID)
    if state == "suspended":
        core.power.suspend(POD_ID)
    with pytest.raises(Conflict, match=f"while it is {state}; stop it first"):
        core.reshaping.reshape(POD_ID, LARGE, dry_run=False)


@pytest.mark.parametrize("step", ["create", "create_swap", "resize", "save"])
def test_a_failure_leaves_the_pod_as_it_was(stopped, monkeypatch, step):
    error = DiskFull("no room for the pod's disk")
    if step == "save":
        original = stopped.repository.save

        def save(pod):
            if pod.spec != SMALL:
                raise OSError(errno.ENOSPC, "no room")
            original(pod)

        monkeypatch.setattr(stopped.repository, "save", save)
    else:
        stopped.disks.fail(step, error)
    with pytest.raises(DiskFull, match="no room"):
        stopped.reshaping.reshape(POD_ID, LARGE, dry_run=False)
    assert stopped.pods.get(POD_ID).spec == SMALL == saved(stopped)
    stopped.pods.start(POD_ID)
    assert files(stopped) == BEFORE


def restarted(core):
    """What a new daemon has made of what a killed one has left."""
    new = core.restarted()
    new.monitor.reconcile()
    return new


class Killed(BaseException):
    """The daemon is killed: nothing of it runs any more."""


@pytest.fixture
def kill(monkeypatch):
    """``kill(object, name)``: the daemon dies before that call; nothing is undone then."""

    def arrange(target, name):
        def die(*_args, **_kwargs):
            raise Killed

        monkeypatch.setattr(target, name, die)
        monkeypatch.setattr("nova_hyper.daemon.plan.reversed", lambda _steps: [], raising=False)

    yield arrange


@pytest.mark.parametrize(
    ("call", "whole"),
    [("create", False), ("save", False), ("resize", True), ("create_swap", True)],
)
def test_a_kill_leaves_the_shape_of_before_or_the_new_one(stopped, kill, monkeypatch, call, whole):
    write(stopped, "upper-main.img", b"mine")
    kill(stopped.repository if call == "save" else stopped.disks, call)
    with pytest.raises(Killed):
        stopped.reshaping.reshape(POD_ID, LARGE, dry_run=False)
    monkeypatch.undo()
    new = restarted(stopped)
    assert saved(new) == (LARGE.applied_to(SMALL) if whole else SMALL)
    assert files(new) == (AFTER if whole else BEFORE)
    assert read(new, "upper-main.img") == b"mine"


def test_a_disk_that_has_grown_is_not_booted_by_an_agent_that_cannot_grow_it(stopped):
    stopped.guests.features = ALL_FEATURES - {"grow"}
    stopped.pods.start(POD_ID)
    stopped.pods.stop(POD_ID)
    stopped.reshaping.reshape(POD_ID, LARGE, dry_run=False)
    with pytest.raises(GuestFailed, match="build the guest again"):
        stopped.pods.start(POD_ID)


# Restore points


def test_a_restored_pod_is_what_it_was(stopped):
    write(stopped, "upper-main.img", b"before")
    write(stopped, "ephemeral0.img", b"before")
    stopped.restore_points.make(POD_ID)
    stopped.reshaping.reshape(POD_ID, LARGE, dry_run=False)
    for name in ("upper-main.img", "ephemeral0.img"):
        write(stopped, name, b"after!")
    assert stopped.restore_points.restore(POD_ID).spec == SMALL == saved(stopped)
    assert files(stopped) == BEFORE
    assert read(stopped, "upper-main.img") == read(stopped, "ephemeral0.img") == b"before"
    assert left(stopped) == []
    assert stopped.pods.start(POD_ID).state is PodState.RUNNING


def left(core):
    directory = core.repository.directory(POD_ID)
    return [path.name for path in directory.iterdir() if path.is_dir()]


def test_several_containers_share_a_disk_that_is_kept(core):
    made = spec(containers=TWO, root_gib=1)
    stop(core, made)
    write(core, "upper.img", b"before")
    core.restore_points.make(POD_ID)
    core.reshaping.reshape(POD_ID, shape(made, root_gib=2), dry_run=False)
    write(core, "upper.img", b"after!")
    core.restore_points.restore(POD_ID)
    assert read(core, "upper.img") == b"before"
    assert files(core) == {"upper.img": 1024}


def test_a_disk_that_was_none_is_none_again(core):
    stop(core, spec())
    core.restore_points.make(POD_ID)
    core.reshaping.reshape(POD_ID, shape(spec(), root_gib=2, swap_mib=16), dry_run=False)
    assert core.restore_points.restore(POD_ID).spec == spec()
    assert files(core) == {}


def test_what_is_kept_first_stays_until_it_is_dropped(stopped):
    write(stopped, "upper-main.img", b"first!")
    stopped.restore_points.make(POD_ID)
    write(stopped, "upper-main.img", b"second")
    stopped.restore_points.make(POD_ID)
    stopped.restore_points.restore(POD_ID)
    assert read(stopped, "upper-main.img") == b"first!"
    stopped.restore_points.make(POD_ID)
    stopped.pods.start(POD_ID)
    stopped.restore_points.drop(POD_ID)
    assert left(stopped) == []


def test_no_room_for_a_copy_leaves_the_pod_as_it_is(stopped, monkeypatch):
    def full(*_args):
        raise DiskFull("a copy takes 5 MiB of the host's disk")

    monkeypatch.setattr("nova_hyper.daemon.sparse.copy", full)
    with pytest.raises(DiskFull):
        stopped.restore_points.make(POD_ID)
    assert left(stopped) == []


def test_a_deleted_pod_leaves_nothing_that_was_kept(stopped):
    stopped.restore_points.make(POD_ID)
    stopped.pods.delete(POD_ID)
    assert stopped.left() == []


PLACES = ["mkdir", "copy", "write_json", "rename"]


@pytest.mark.parametrize("place", PLACES)
def test_a_kill_while_it_is_kept_leaves_no_half_of_it(stopped, kill, monkeypatch, place):
    module = "nova_hyper.daemon.pods.restorepoint"
    targets = {"mkdir": "Path.mkdir", "copy": "sparse.copy"}

    def die(*_args, **_kwargs):
        raise Killed

    monkeypatch.setattr(f"{module}.shutil.rmtree", lambda *_args, **_kwargs: None)
    where = {"rename": "os.rename", **targets}.get(place, place)
    monkeypatch.setattr(f"{module}.{where}", die)
    with pytest.raises(Killed):
        stopped.restore_points.make(POD_ID)
    monkeypatch.undo()
    new = restarted(stopped)
    assert left(new) == []
    assert files(new) == BEFORE


@pytest.mark.parametrize("call", ["os.replace", "fitting.fit", "_remove"])
def test_a_restore_that_a_kill_cut_is_finished(stopped, monkeypatch, call):
    write(stopped, "upper-main.img", b"before")
    stopped.restore_points.make(POD_ID)
    stopped.reshaping.reshape(POD_ID, LARGE, dry_run=False)
    write(stopped, "upper-main.img", b"after!")
    stopped.pods.start(POD_ID)
    stopped.pods.stop(POD_ID)
    module = "nova_hyper.daemon.pods.restorepoint"
    replace = os.replace
    times = []

    def die(*args, **kwargs):
        times.append(args)
        if call == "os.replace" and len(times) == 1:
            return replace(*args, **kwargs)
        raise Killed

    # Settling first removes and fits what is whole already.
    entry = stopped.registry.get(POD_ID)
    point = stopped.repository.directory(POD_ID) / "restore-point"
    os.rename(point, point.with_name("restoring"))
    monkeypatch.setattr(f"{module}.{call}", die)
    with pytest.raises(Killed):
        stopped.restore_points._finish(entry)
    monkeypatch.undo()
    new = restarted(stopped)
    assert saved(new) == SMALL == new.pods.get(POD_ID).spec
    assert files(new) == BEFORE
    assert read(new, "upper-main.img") == b"before"
    assert left(new) == []


def test_a_kill_while_it_is_dropped_leaves_nothing_to_restore(stopped, monkeypatch):
    stopped.restore_points.make(POD_ID)
    calls = []

    def die(directory):
        calls.append(directory)
        if len(calls) > 1:
            raise Killed

    monkeypatch.setattr("nova_hyper.daemon.pods.restorepoint._remove", die)
    with pytest.raises(Killed):
        stopped.restore_points.drop(POD_ID)
    monkeypatch.undo()
    assert left(stopped) == ["restore-point.old"]
    assert left(restarted(stopped)) == []


def test_a_pod_that_cannot_be_put_right_does_not_keep_the_daemon_from_starting(
    stopped, monkeypatch, caplog
):
    stopped.restore_points.make(POD_ID)
    directory = stopped.repository.directory(POD_ID)
    os.rename(directory / "restore-point", directory / "restoring")
    (directory / "restoring/shape.json").write_text("{}")
    new = restarted(stopped)
    assert f"looking at pod {POD_ID} failed" in caplog.text
    with pytest.raises((HyperError, ValueError)):
        new.pods.start(POD_ID)


def test_a_file_system_has_time_to_grow(stopped, monkeypatch):
    stopped.reshaping.reshape(POD_ID, shape(root_gib=2000), dry_run=False)
    waited = {}
    request = FakeSession.request

    def note(self, op, timeout, **args):
        waited[op] = timeout
        return request(self, op, timeout, **args)

    monkeypatch.setattr(FakeSession, "request", note)
    stopped.pods.start(POD_ID)
    assert waited["container.create"] == waited["disk.mount"] == 130
    assert waited["pod.configure"] == 30


def test_a_failure_does_not_shrink_a_disk_that_was_larger_than_its_record(stopped):
    path = stopped.repository.directory(POD_ID) / "upper-main.img"
    os.truncate(path, 5 << 30)
    stopped.disks.fail("create_swap", DiskFull("no room"))
    with pytest.raises(DiskFull):
        stopped.reshaping.reshape(POD_ID, shape(root_gib=20, swap_mib=32), dry_run=False)
    assert path.stat().st_size >= 5 << 30


def test_the_disks_of_a_pod_in_rescue_are_left_as_they_are(stopped):
    stopped.rescues.rescue(POD_ID)
    write(stopped, "upper-main.img", b"precious")
    entry = stopped.registry.get(POD_ID)
    stopped.monitor.look(entry)
    assert files(stopped) == BEFORE
    stopped.pods.start(POD_ID)
    stopped.pods.stop(POD_ID, force=True)
    assert files(stopped) == BEFORE
    assert read(stopped, "upper-main.img") == b"precious"


@pytest.mark.parametrize("what", ["reshape", "keep"])
def test_a_pod_in_rescue_has_to_be_itself_first(stopped, what):
    stopped.rescues.rescue(POD_ID)
    with pytest.raises(Conflict, match="unrescue it first"):
        if what == "keep":
            stopped.restore_points.make(POD_ID)
        else:
            stopped.reshaping.reshape(POD_ID, shape(vcpus=2, root_gib=0), False)
