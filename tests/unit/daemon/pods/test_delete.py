"""Deleting pods."""

from __future__ import annotations

import errno
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from nova_hyper.spec.errors import (
    GuestFailed,
    HyperError,
    HypervisorFailed,
    HypervisorUnavailable,
    PodNotFound,
)
from nova_hyper.spec.pod import PodState
from tests.unit.daemon.fakes import OTHER_ID, PATIENCE_S, POD_ID, spec

NO_ROOM = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def running(core):
    core.pods.create(spec())
    return core.pods.start("web")


def test_delete_removes_everything(core, running):
    core.pods.delete("web")
    assert core.left() == []
    assert core.kinds() == ["created", "started", "deleted"]
    with pytest.raises(PodNotFound):
        core.pods.delete("web")


def test_a_deleted_pods_id_and_name_are_free(core, running):
    core.pods.delete("web")
    assert core.pods.create(spec())[1]
    core.pods.delete("web")
    assert core.pods.create(spec(OTHER_ID))[1]


def test_a_full_disk_does_not_keep_a_pod_from_being_deleted(core, running):
    """Only the pod's own files make room again."""
    directory = core.repository.directory(POD_ID)
    release = core.images.release

    def needs_room(owner):
        if directory.exists():
            raise NO_ROOM
        release(owner)

    core.images.release = needs_room
    core.repository.save = lambda _pod: (_ for _ in ()).throw(NO_ROOM)
    core.pods.delete("web")
    assert core.left() == []


DELETE_FAILURES = {
    "destroy": (lambda c: c.hypervisor.fail("destroy", HypervisorFailed("busy")), "busy"),
    "lease": (lambda c: c.images.fail("release", OSError(errno.EIO, "I/O error")), "I/O error"),
    "directory": (lambda c: _fail_remove(c), "I/O error"),
}


def _fail_remove(core):
    remove = core.repository.remove

    def once(_pod_id):
        core.repository.remove = remove
        raise OSError(errno.EIO, "I/O error")

    core.repository.remove = once


@pytest.mark.parametrize("step", DELETE_FAILURES)
@pytest.mark.parametrize("how", ["delete", "monitor", "restart"])
def test_a_delete_that_fails_is_finished_later(core, running, step, how):
    arrange, words = DELETE_FAILURES[step]
    arrange(core)
    with pytest.raises(HyperError, match=words):
        core.pods.delete("web")
    assert core.pods.get("web").state is PodState.DELETING
    if how == "delete":
        core.pods.delete("web")
    elif how == "monitor":
        core.monitor.repeat()
    else:
        core = core.restarted()
        core.monitor.reconcile()
    assert core.left() == []
    assert core.kinds()[-1] == "deleted"


def test_a_pod_that_is_being_deleted_takes_no_other_call(core, running):
    core.images.fail("release", OSError(errno.EIO, "I/O error"))
    with pytest.raises(HyperError):
        core.pods.delete("web")
    for call in (core.pods.start, core.pods.stop, core.pods.boot):
        with pytest.raises(PodNotFound, match="being deleted"):
            call("web")


def test_two_deletes_at_once_both_succeed(core, running):
    releasing, go = threading.Event(), threading.Event()
    release = core.images.release

    def slow(owner):
        releasing.set()
        assert go.wait(PATIENCE_S)
        release(owner)

    core.images.release = slow
    with ThreadPoolExecutor() as pool:
        first = pool.submit(core.pods.delete, "web")
        assert releasing.wait(PATIENCE_S)
        second = pool.submit(core.pods.delete, "web")
        go.set()
        first.result(PATIENCE_S)
        second.result(PATIENCE_S)
    assert core.left() == []
    assert core.kinds().count("deleted") == 1


def test_a_delete_ends_a_stop_with_a_long_grace(core, running):
    stopping = threading.Event()
    agent, session = core.agent(), core.session()

    def wait():
        stopping.set()
        assert session.closed.wait(PATIENCE_S)

    agent.before["container.stop"] = wait
    agent.fail("container.stop", GuestFailed("gone"))
    with ThreadPoolExecutor() as pool:
        stop = pool.submit(core.pods.stop, "web", 3600)
        assert stopping.wait(PATIENCE_S)
        core.pods.delete("web")
        assert stop.result(PATIENCE_S).state is PodState.STOPPED
    assert core.left() == []


def test_a_delete_that_could_not_reach_libvirt_does_not_doom_the_pod(core, running):
    """Its next boot is not taken for one of a pod that is being deleted."""
    core.pods.stop("web")
    entry = core.registry.get("web")
    with entry.lock, ThreadPoolExecutor() as pool:
        core.hypervisor.away = True
        with pytest.raises(HypervisorUnavailable):
            pool.submit(core.pods.delete, "web").result(PATIENCE_S)
    core.hypervisor.away = False
    assert core.pods.boot("web").state is PodState.READY
