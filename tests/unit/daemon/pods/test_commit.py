"""A container as an image: who reads what it wrote, and what is left when that fails."""

from __future__ import annotations

import dataclasses
import threading
import time

import pytest

from nova_hyper.daemon.pods import launch
from nova_hyper.daemon.ports import DomainState
from nova_hyper.spec.errors import (
    Conflict,
    ContainerNotFound,
    DiskFull,
    GuestFailed,
    HypervisorFailed,
    ImageUnsuitable,
)
from nova_hyper.spec.image import ImageConfig
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
    core.images.snapshot = lambda base, chunks, changes: calls.append(
        (base, b"".join(chunks), changes)
    )
    return calls


@pytest.fixture
def still(core):
    """The verb that made the pod stand still, its disk written to."""

    def make(verb, **changes):
        started(core, **{"root_gib": 1, **changes})
        for path in core.repository.directory(POD_ID).glob("upper*"):
            path.write_bytes(b"written")
        getattr(core.power, verb)(POD_ID)
        return core.pods.get(POD_ID)

    return make


def deliver(core, pod_id=POD_ID, error=None, exit_code=0, pieces=LAYER, copied=False):
    """Have the next export of a pod's guest be read, and ended as said.

    With *copied* it is that of any other guest.
    """
    streams = []

    def guests():
        return [a for i, a in list(core.guests.agents.items()) if (i == pod_id) != copied]

    def play():
        # The guest of a stopped pod is not there yet.
        deadline = time.monotonic() + PATIENCE_S
        while not guests() and time.monotonic() < deadline:
            time.sleep(0.005)
        stream = guests()[0].streams.get(timeout=PATIENCE_S)
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


def test_a_snapshot_may_be_booted_with_the_disk_that_the_pod_has(core, committed):
    started(core, root_gib=3)
    deliver(core)
    core.commits.snapshot(POD_ID, None, ("ENV A=b",), freeze=True)
    label = f"LABEL {launch.ROOT_LABEL}=3"
    assert committed == [(IMAGE_ID, b"a layer of tar", ("ENV A=b", label))]


@pytest.mark.parametrize(
    ("label", "root_gib", "fits"),
    [
        ("2", 2, True),
        ("2", 3, True),
        ("3", 2, False),
        ("0", 2, False),
        ("x", 2, False),
        ("\u0662", 2, False),
        ("9" * 30, 2, False),
        (None, 2, False),
        (None, 0, True),
    ],
)
def test_an_image_of_a_pod_fits_its_disk_whatever_it_unpacks_to(core, label, root_gib, fits):
    (image,) = core.images.images
    layer = dataclasses.replace(image.layers[0], unpacked_size=10 << 30)
    labels = {} if label is None else {launch.ROOT_LABEL: label}
    config = dataclasses.replace(image.config or ImageConfig(), labels=labels)
    core.images.images = [dataclasses.replace(image, layers=(layer,), config=config)]
    if fits:
        core.pods.create(spec(root_gib=root_gib))
    else:
        with pytest.raises(ImageUnsuitable, match=r"unpacks to 10\.0 GiB"):
            core.pods.create(spec(root_gib=root_gib))


@pytest.mark.parametrize("verb", ["pause", "suspend"])
def test_a_pod_that_stands_still_is_read_from_a_copy_of_its_disk(core, committed, still, verb):
    before = still(verb)
    read = []
    core.hypervisor.on_launch = lambda domain: read.append(
        (domain, [d.path.read_bytes() for d in domain.disks if not d.readonly])
    )
    deliver(core, copied=True)
    domains = dict(core.hypervisor.domains)
    core.commits.commit(POD_ID, None, "mine:1", (), freeze=True)
    assert committed[0][1] == b"a layer of tar"
    ((domain, disks),) = read
    assert disks == [b"written"]
    assert domain.pod_id != POD_ID
    assert domain.nics == ()
    assert core.pods.get(POD_ID) == before
    assert core.hypervisor.domains == domains
    assert core.left(domain.pod_id) == []


@pytest.mark.parametrize(("verb", "way"), [("pause", "unpause"), ("suspend", "resume")])
def test_a_memory_that_stands_still_is_not_read(core, committed, still, verb, way):
    still(verb, root_gib=0)
    with pytest.raises(Conflict, match=f"in memory, which stands still: {way} it first"):
        core.commits.commit(POD_ID, None, None, (), freeze=True)
    assert not committed


@pytest.mark.parametrize("fault", ["copy", "launch"])
def test_what_a_failed_copy_leaves_is_nothing(core, committed, still, fault):
    still("pause")
    failures, error = {
        "copy": (core.disks, DiskFull("no room for the copy")),
        "launch": (core.hypervisor, HypervisorFailed("libvirt refused: no")),
    }[fault]
    failures.fail(fault, error)
    pods = list(core.repository.directory(POD_ID).parent.iterdir())
    with pytest.raises(type(error)):
        core.commits.commit(POD_ID, None, None, (), freeze=True)
    assert list(core.repository.directory(POD_ID).parent.iterdir()) == pods
    assert set(core.hypervisor.domains) == {POD_ID}
    assert set(core.images.leases) == {POD_ID}
    assert core.pods.get(POD_ID).state is PodState.PAUSED


def test_a_disk_that_somebody_writes_to_is_not_read(core, committed, still):
    still("pause")
    core.hypervisor.domains[POD_ID] = DomainState.RUNNING
    with pytest.raises(Conflict, match="let pod web run while it was read"):
        core.commits.commit(POD_ID, None, None, (), freeze=True)


def test_a_daemon_that_is_killed_over_a_copy_leaves_nothing(core, committed, still):
    still("pause")
    helper = core.commits._helpers.of(POD_ID, lambda: None)
    entry = helper.__enter__()
    again = core.restarted()
    again.monitor.reconcile()
    assert again.left(entry.id) in ([], ["session"])
    assert again.pods.get(POD_ID).state is PodState.PAUSED


def test_nobody_is_waited_for_who_has_gone(core, committed):
    started(core)
    streams = deliver(core)
    with pytest.raises(Conflict, match="nobody waits for the image"):
        core.commits.commit(POD_ID, None, "mine:1", (), freeze=True, gone=lambda: True)
    assert streams[0].closed.is_set()
    assert not committed
