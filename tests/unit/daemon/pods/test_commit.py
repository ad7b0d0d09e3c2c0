"""A container as an image: who reads what it wrote, and what is left when that fails."""

from __future__ import annotations

import dataclasses
import threading
import time

import pytest

from nova_hyper.spec.errors import Conflict, ContainerNotFound, GuestFailed, HypervisorFailed
from nova_hyper.spec.pod import PodState
from tests.unit.daemon.fakes import IMAGE_ID, PATIENCE_S, POD_ID, spec

LAYER = [b"a layer", b" of tar"]


@pytest.fixture
def committed(core):
    """What the image store was given: (base, bytes, name, changes); it answers with the base."""
    calls = []

    def commit(base, chunks, name=None, changes=()):
        calls.append((base, b"".join(chunks), name, changes))
        return dataclasses.replace(core.images.get(base), names=(name,) if name else ())

    core.images.commit = commit
    return calls


def deliver(core, pod_id=POD_ID, error=None, exit_code=0, pieces=LAYER):
    """Have the next export of a pod's guest be read, and ended as said."""
    streams = []

    def play():
        # The guest of a stopped pod is not there yet.
        deadline = time.monotonic() + PATIENCE_S
        while pod_id not in core.guests.agents and time.monotonic() < deadline:
            time.sleep(0.005)
        stream = core.guests.agents[pod_id].streams.get(timeout=PATIENCE_S)
        streams.append(stream)
        for piece in pieces:
            stream.say(piece)
        stream.end(exit_code, error)

    threading.Thread(target=play, daemon=True).start()
    return streams


def started(core, **changes):
    core.pods.create(spec(**changes))
    return core.pods.start(POD_ID)


def test_a_running_container_is_read_by_its_agent_and_frozen_meanwhile(core, committed):
    pod = started(core)
    streams = deliver(core)
    image = core.commits.commit(POD_ID, None, "mine:1", ("ENV A=b",), freeze=True)
    assert committed == [(IMAGE_ID, b"a layer of tar", "mine:1", ("ENV A=b",))]
    assert image.names == ("mine:1",)
    (stream,) = streams
    assert (stream.op, stream.args["freeze"]) == ("upper.export", True)
    assert stream.args["name"] == pod.spec.containers[0].name
    assert stream.closed.is_set()
    assert core.pods.get(POD_ID).state is PodState.RUNNING


def test_a_container_may_run_on_while_it_is_read(core, committed):
    started(core)
    streams = deliver(core)
    core.commits.commit(POD_ID, None, None, (), freeze=False)
    assert streams[0].args["freeze"] is False


def test_a_stopped_pod_is_read_by_a_guest_without_interfaces_that_starts_nothing(core, committed):
    started(core, root_gib=1)
    core.pods.stop(POD_ID, force=True)
    before = core.pods.get(POD_ID)
    deliver(core)
    core.commits.commit(POD_ID, None, "mine:1", (), freeze=True)
    assert committed[0][1] == b"a layer of tar"
    assert core.pods.get(POD_ID) == before
    assert core.hypervisor.launched[-1].nics == ()
    assert POD_ID not in core.hypervisor.domains
    assert not core.repository.agent_socket(POD_ID).exists()


def test_a_stopped_pod_that_wrote_to_memory_has_nothing_to_give(core, committed):
    started(core, root_gib=0)
    core.pods.stop(POD_ID, force=True)
    with pytest.raises(Conflict, match=r"in memory.*commit it while it runs"):
        core.commits.commit(POD_ID, None, None, (), freeze=True)
    assert not committed


def test_a_guest_that_cannot_read_its_layer_makes_no_image(core, committed):
    started(core)
    deliver(core, error="I/O error in /data")
    with pytest.raises(GuestFailed, match="could not read its layer: I/O error in /data"):
        core.commits.commit(POD_ID, None, "mine:1", (), freeze=True)
    assert not committed


def test_what_a_failed_helper_leaves_is_nothing(core, committed):
    started(core, root_gib=1)
    core.pods.stop(POD_ID, force=True)
    core.hypervisor.fail("launch", HypervisorFailed("libvirt refused: no"))
    with pytest.raises(HypervisorFailed):
        core.commits.commit(POD_ID, None, None, (), freeze=True)
    assert POD_ID not in core.hypervisor.domains
    assert core.pods.get(POD_ID).state is PodState.STOPPED


def test_a_container_that_is_not_there_is_named(core, committed):
    started(core)
    with pytest.raises(ContainerNotFound, match="no container db"):
        core.commits.commit(POD_ID, "db", None, (), freeze=True)
