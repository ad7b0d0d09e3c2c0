"""Creating pods."""

from __future__ import annotations

import dataclasses
import errno
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from nova_hyper.daemon.ports import AgentError, DomainState
from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import (
    Conflict,
    ContainerFailed,
    DiskFull,
    GuestFailed,
    HyperError,
    HypervisorFailed,
    HypervisorUnavailable,
    ImageNotFound,
    ImageUnsuitable,
    InsufficientMemory,
    InvalidRequest,
    NetworkFailed,
    PodExists,
    PodNotFound,
)
from nova_hyper.spec.image import Layer
from nova_hyper.spec.nic import Nic, NicKind, Route
from nova_hyper.spec.pod import Pod, PodState
from tests.unit.daemon import fakes
from tests.unit.daemon.core import Core
from tests.unit.daemon.fakes import OTHER_ID, PATIENCE_S, POD_ID, spec

NO_ROOM = OSError(errno.ENOSPC, "No space left on device")


def test_a_created_pod_is_ready_and_on_disk(core):
    pod, made = core.pods.create(spec(root_gib=1))
    assert made
    assert pod.state is PodState.READY
    assert pod.qemu_pid == 4242
    assert [c.image_id for c in pod.containers] == [fakes.IMAGE_ID]
    assert list(core.repository.load()) == [pod]
    assert core.images.leases == {POD_ID: {fakes.IMAGE_ID}}
    assert core.kinds() == ["created"]
    assert core.agent().asked == ["pod.configure", "container.create"]


def test_the_timeline_has_every_stage_in_order(core):
    pod, _made = core.pods.create(spec())
    assert [m.stage for m in pod.timeline] == [
        "request",
        "record",
        "images",
        "disks",
        "domain",
        "agent",
        "configured",
        "created",
    ]
    assert sorted(m.at_ns for m in pod.timeline) == [m.at_ns for m in pod.timeline]


def test_the_record_is_on_disk_before_the_domain_is_launched(core):
    seen = []
    core.hypervisor.on_launch = lambda _domain: seen.extend(core.repository.load())
    core.pods.create(spec())
    assert [(p.spec, p.state) for p in seen] == [(spec(), PodState.CREATING)]


def test_the_domain_gets_each_layer_once_and_the_upper_last(core):
    two = (Container("a", "web:1"), Container("b", "web:1"))
    core.pods.create(spec(containers=two, root_gib=3))
    (domain,) = core.hypervisor.launched
    assert [(d.serial, d.readonly) for d in domain.disks] == [
        ("l0", True),
        ("l1", True),
        ("upper", False),
    ]
    assert [(p.name, size, owner) for p, size, owner in core.disks.made] == [
        ("upper.img", 3, "64055:64055")
    ]
    assert domain.owner == "64055:64055"


def test_without_root_disk_the_upper_is_a_share_of_the_memory(core):
    two = (Container("a", "web:1"), Container("b", "web:1"))
    core.pods.create(spec(containers=two, memory_mib=256))
    creates = [args for op, args in core.agent().requests if op == "container.create"]
    assert [c["upper"] for c in creates] == [
        {"tmpfs_mib": 128, "tmpfs": "upper", "dir": "a"},
        {"tmpfs_mib": 128, "tmpfs": "upper", "dir": "b"},
    ]
    assert [c["layers"] for c in creates] == [["l0", "l1"]] * 2


def test_creating_again_gives_the_same_pod(core):
    first, _ = core.pods.create(spec())
    again, made = core.pods.create(spec())
    assert (again, made) == (first, False)
    assert len(core.hypervisor.launched) == 1
    assert core.kinds() == ["created"]


def test_the_same_id_with_another_spec_is_refused(core):
    core.pods.create(spec())
    with pytest.raises(PodExists, match="another specification"):
        core.pods.create(spec(memory_mib=128))


def test_a_name_belongs_to_one_pod(core):
    core.pods.create(spec())
    with pytest.raises(PodExists, match=POD_ID):
        core.pods.create(spec(OTHER_ID))
    assert core.left(OTHER_ID) == []


def test_two_calls_at_once_make_one_pod(core):
    launching, go = threading.Event(), threading.Event()

    def wait(_domain):
        launching.set()
        assert go.wait(PATIENCE_S)

    core.hypervisor.on_launch = wait
    with ThreadPoolExecutor() as pool:
        first = pool.submit(core.pods.create, spec())
        assert launching.wait(PATIENCE_S)
        second = pool.submit(core.pods.create, spec())
        go.set()
        results = [first.result(PATIENCE_S), second.result(PATIENCE_S)]
    assert sorted(made for _pod, made in results) == [False, True]
    assert {pod.state for pod, _made in results} == {PodState.READY}
    assert len(core.hypervisor.launched) == 1


def test_a_new_entry_is_never_seen_unlocked(core):
    """Nobody gets the lock between the claim and the call that made it."""
    entry, new = core.registry.claim(Pod(spec(), PodState.CREATING, ()))
    assert new
    with ThreadPoolExecutor() as pool:
        assert not pool.submit(entry.lock.acquire, False).result(PATIENCE_S)
    entry.lock.release()


def test_a_call_that_waited_for_one_that_failed_makes_the_pod_itself(core):
    core.hypervisor.fail("launch", HypervisorFailed("no"))
    launching, go = threading.Event(), threading.Event()
    acquire = core.images.acquire

    def slow(image_id, owner):
        launching.set()
        assert go.wait(PATIENCE_S)
        acquire(image_id, owner)

    core.images.acquire = slow
    with ThreadPoolExecutor() as pool:
        first = pool.submit(core.pods.create, spec())
        assert launching.wait(PATIENCE_S)
        second = pool.submit(core.pods.create, spec())
        go.set()
        with pytest.raises(HypervisorFailed):
            first.result(PATIENCE_S)
        pod, made = second.result(PATIENCE_S)
    assert made
    assert pod.state is PodState.READY


def _fail_save(core, at):
    """Have the *at*-th save fail, and those of the undo too: the disk stays full."""
    save, count = core.repository.save, iter(range(1, 100))

    def full(pod):
        if next(count) >= at:
            raise NO_ROOM
        save(pod)

    core.repository.save = full


STEPS = {
    "first save": (lambda c: _fail_save(c, 1), DiskFull),
    "lease": (lambda c: c.images.fail("acquire", NO_ROOM), DiskFull),
    "disk": (lambda c: c.disks.fail("create", DiskFull("no room")), DiskFull),
    "mkfs missing": (
        lambda c: c.disks.fail("create", FileNotFoundError(2, "No such file", "mkfs.ext4")),
        HyperError,
    ),
    "accelerator": (lambda c: c.platform.fail("virt_type", GuestFailed("no")), GuestFailed),
    "launch": (lambda c: c.hypervisor.fail("launch", NetworkFailed("no bridge")), NetworkFailed),
    "agent": (lambda c: c.guests.fail("connect", GuestFailed("no hello")), GuestFailed),
    "configure": (lambda c: _refuse(c, "pod.configure", "network"), NetworkFailed),
    "container": (lambda c: _refuse(c, "container.create", "exec"), ContainerFailed),
    "disk in the guest": (lambda c: _refuse(c, "container.create", "disk"), GuestFailed),
    "last save": (lambda c: _fail_save(c, 2), DiskFull),
    "something unforeseen": (lambda c: c.hypervisor.fail("launch", RuntimeError()), RuntimeError),
    "interrupt": (lambda c: c.hypervisor.fail("launch", KeyboardInterrupt()), KeyboardInterrupt),
}


def _refuse(core, op, code):
    agent = core.guests.agents[POD_ID] = fakes.FakeAgent()
    agent.off = lambda: None
    agent.fail(op, AgentError(code, "it cannot be done"))


@pytest.mark.parametrize("step", STEPS)
def test_a_failure_at_any_step_leaves_nothing(core, step):
    arrange, error = STEPS[step]
    arrange(core)
    with pytest.raises(error):
        core.pods.create(spec(root_gib=1))
    assert core.left() == []
    assert core.kinds() == []
    assert core.restarted().pods.all() == []


def test_a_failed_create_can_be_repeated(core):
    core.hypervisor.fail("launch", HypervisorFailed("no"))
    with pytest.raises(HypervisorFailed):
        core.pods.create(spec())
    pod, made = core.pods.create(spec())
    assert made
    assert pod.state is PodState.READY


def test_when_libvirt_dies_during_a_create_the_pod_is_removed_when_it_is_back(core):
    def die():
        core.hypervisor.away = True

    core.guests.agents[POD_ID] = agent = fakes.FakeAgent()
    agent.before["pod.configure"] = die
    agent.fail("pod.configure", GuestFailed("gone"))
    with pytest.raises(GuestFailed):
        core.pods.create(spec())
    assert core.pods.get(POD_ID).state is PodState.DELETING
    core.hypervisor.away = False
    core.monitor.reconcile()
    assert core.left() == []


def test_what_could_not_be_undone_is_undone_by_the_next_create(core):
    core.hypervisor.fail("launch", HypervisorFailed("no"))
    with (
        core.hypervisor.failing("destroy", HypervisorFailed("device busy")),
        pytest.raises(HypervisorFailed),
    ):
        core.pods.create(spec())
    assert core.pods.get(POD_ID).state is PodState.DELETING
    pod, made = core.pods.create(spec())
    assert made
    assert pod.state is PodState.READY


def test_what_could_not_be_undone_is_undone_by_the_monitor_later(core):
    core.hypervisor.fail("launch", HypervisorFailed("no"))
    with (
        core.hypervisor.failing("destroy", HypervisorFailed("device busy")),
        pytest.raises(HypervisorFailed),
    ):
        core.pods.create(spec())
    core.monitor.repeat()
    assert core.left() == []


def test_the_error_of_a_guest_that_does_not_boot_ends_with_its_console(core):
    def panic(domain):
        domain.console_log.write_bytes(b"booting\n\x1b[31mKernel panic\x07\n\n")
        core.guests.fail("connect", GuestFailed("no hello in 60 s"))

    core.hypervisor.on_launch = panic
    with pytest.raises(GuestFailed) as failed:
        core.pods.create(spec())
    assert failed.value.message.endswith("its console ends with: booting | [31mKernel panic")
    assert failed.value.message.isprintable()


REFUSED = {
    "image": (spec(containers=(Container("main", "nginx"),)), ImageNotFound, "nginx"),
    "id": (spec("not-a-uuid"), InvalidRequest, "UUID"),
    "upper case": (spec(POD_ID.upper()), InvalidRequest, "lower case"),
    "little memory": (spec(memory_mib=31), InsufficientMemory, "32 MiB"),
    "much memory": (spec(memory_mib=8193), InsufficientMemory, "8192 MiB"),
    "names": (
        spec(containers=(Container("a", "web:1"), Container("a", "web:1"))),
        InvalidRequest,
        "one name",
    ),
    "bridge": (spec(nics=(Nic("52:54:00:00:00:01", NicKind.BRIDGE),)), InvalidRequest, "bridge"),
    "ovs": (
        spec(nics=(Nic("52:54:00:00:00:01", NicKind.OVS, bridge="br-int"),)),
        InvalidRequest,
        "interface_id",
    ),
    "tap": (spec(nics=(Nic("52:54:00:00:00:01", NicKind.TAP),)), InvalidRequest, "device"),
    "address": (
        spec(nics=(Nic("52:54:00:00:00:01", NicKind.BRIDGE, "br", addresses=("10.0.0.300/24",)),)),
        InvalidRequest,
        "10.0.0.300",
    ),
    "route": (
        spec(
            nics=(
                Nic("52:54:00:00:00:01", NicKind.BRIDGE, "br", routes=(Route("all", "10.0.0.1"),)),
            )
        ),
        InvalidRequest,
        "all",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_work_is_refused_before_anything_is_made(core, what):
    wanted, error, words = REFUSED[what]
    with pytest.raises(error, match=words):
        core.pods.create(wanted)
    assert core.left(wanted.id) == []
    assert core.hypervisor.launched == []


def test_an_image_that_does_not_fit_the_disk_is_refused(core):
    layer = Layer("sha256:" + "1" * 64, size=1000, unpacked_size=(1 << 30) + 1)
    core.images.images = [dataclasses.replace(fakes.image(), layers=(layer,))]
    with pytest.raises(ImageUnsuitable, match="larger flavor"):
        core.pods.create(spec(root_gib=1))
    core.pods.create(spec(root_gib=2))


def test_nothing_is_made_before_libvirt_has_been_reached(tmp_path, monkeypatch):
    monkeypatch.setattr("nova_hyper.daemon.pods.service._AGREEMENT_S", 0)
    core = Core(tmp_path)
    with pytest.raises(HypervisorUnavailable, match="check that libvirtd runs"):
        core.pods.create(spec())
    assert core.left() == []


def test_a_delete_ends_a_boot_that_hangs(core):
    core.guests.hang = True
    with ThreadPoolExecutor() as pool:
        creating = pool.submit(core.pods.create, spec())
        assert core.guests.hanging.wait(PATIENCE_S)
        core.pods.delete(POD_ID)
        with pytest.raises(GuestFailed):
            creating.result(PATIENCE_S)
    assert core.left() == []
    with pytest.raises(PodNotFound):
        core.pods.get(POD_ID)


def test_a_delete_before_the_launch_ends_the_create_without_one(core):
    leasing, go = threading.Event(), threading.Event()
    acquire = core.images.acquire

    def slow(image_id, owner):
        leasing.set()
        assert go.wait(PATIENCE_S)
        acquire(image_id, owner)

    core.images.acquire = slow
    with ThreadPoolExecutor() as pool:
        creating = pool.submit(core.pods.create, spec())
        assert leasing.wait(PATIENCE_S)
        entry = core.registry.get(POD_ID)
        destroy, core.hypervisor.destroy = core.hypervisor.destroy, lambda _id: go.set()
        deleting = pool.submit(core.pods.delete, POD_ID)
        assert go.wait(PATIENCE_S)
        core.hypervisor.destroy = destroy
        with pytest.raises(Conflict, match="deleted"):
            creating.result(PATIENCE_S)
        deleting.result(PATIENCE_S)
    assert entry.doomed
    assert core.hypervisor.launched == []
    assert core.left() == []


def test_a_delete_while_libvirt_is_away_fails_at_once_and_the_create_goes_on(core):
    go = threading.Event()
    launching = threading.Event()
    core.guests.agents[POD_ID] = agent = fakes.FakeAgent()

    def wait():
        launching.set()
        assert go.wait(PATIENCE_S)

    agent.before["pod.configure"] = wait
    with ThreadPoolExecutor() as pool:
        creating = pool.submit(core.pods.create, spec())
        assert launching.wait(PATIENCE_S)
        core.hypervisor.away = True
        with pytest.raises(HypervisorUnavailable):
            core.pods.delete(POD_ID)
        core.hypervisor.away = False
        go.set()
        pod, _made = creating.result(PATIENCE_S)
    assert pod.state is PodState.READY
    assert core.hypervisor.domains == {POD_ID: DomainState.RUNNING}
