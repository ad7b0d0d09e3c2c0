"""Pods that stand still on real libvirt and QEMU: paused, suspended, dumped, and back."""

from __future__ import annotations

import contextlib
import queue
import random
import re
import subprocess
import threading
import time
import uuid

import pytest

from nova_hyper.daemon.hypervisor.adapter import LibvirtHypervisor
from nova_hyper.daemon.hypervisor.connection import Connection
from nova_hyper.daemon.ports import DomainState
from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import Conflict, DiskFull, HyperError, PodPaused, SavedStateUnusable
from nova_hyper.spec.nic import Nic, NicKind
from nova_hyper.spec.pod import PodSpec
from tests.functional.daemon import private, wait_for

TICK = (
    "trap 'echo bye; sync; exit 0' TERM; while :; do "
    "echo up $(cut -d' ' -f1 /proc/uptime) at $(date +%s); sleep 0.1; done"
)
MAC = "52:54:00:aa:bb:01"


@pytest.fixture(scope="module")
def hyperd(libvirt, guest, busybox):
    """One hyperd for all; what a test makes it removes."""
    with private(guest, busybox, pod__max_crash_dumps="2") as daemon:
        yield daemon


@pytest.fixture
def run(hyperd):
    """Make pods that tell the time; nothing of them is left after the test."""

    def make(script=TICK, **changes):
        pod_id = str(uuid.uuid4())
        container = Container("main", "busybox", command=("sh", "-c", script))
        spec = PodSpec(pod_id, f"p-{pod_id[:8]}", (container,), memory_mib=64, **changes)
        hyperd.client.create_pod(spec)
        hyperd.client.start_pod(pod_id)
        wait_for(lambda: ticks(hyperd, pod_id), what="output")
        return pod_id

    yield make
    for pod in hyperd.client.pods():
        hyperd.client.delete_pod(pod.spec.id)
    assert not hyperd.leftovers()


def ticks(hyperd, pod_id):
    """What the guest printed: its uptime, and the time that it thinks it is."""
    text = hyperd.client.console(pod_id, 1 << 20).decode(errors="replace")
    found = re.findall(r"^up ([\d.]+) at (\d+)\r?$", text, re.MULTILINE)
    return [(float(uptime), int(at)) for uptime, at in found]


def goes_on(hyperd, pod_id, before):
    """Assert that the same guest runs, with a clock that is right, and return its ticks."""
    now = time.time()
    count = len(before)
    seen = wait_for(
        lambda: (t := ticks(hyperd, pod_id))[count + 2 :] and t, what="output after the pause"
    )
    uptimes = [uptime for uptime, _ in seen]
    assert uptimes == sorted(uptimes), "it was booted anew"
    assert uptimes[count] - uptimes[count - 1] < now - before[-1][1], "it ran meanwhile"
    assert seen[-1][1] >= int(now), f"its clock is {now - seen[-1][1]:.0f} s late"
    return seen


def saved_file(hyperd, pod_id):
    return hyperd.state / "pods" / pod_id / "memory.save"


def state(hyperd, pod_id):
    return hyperd.client.pod(pod_id).state.value


def domain_state(hyperd, pod_id):
    return subprocess.run(
        ["virsh", "-c", "qemu:///system", "domstate", hyperd.prefix + pod_id],
        capture_output=True,
        text=True,
        check=False,  # a suspended pod has none
    ).stdout.strip()


def test_a_paused_pod_stands_still_and_goes_on_with_the_right_time(hyperd, run):
    pod_id = run()
    assert hyperd.client.pause_pod(pod_id).state == "paused"
    assert domain_state(hyperd, pod_id) == "paused"
    before = ticks(hyperd, pod_id)
    time.sleep(3)
    assert ticks(hyperd, pod_id) == before
    hyperd.kill()
    hyperd.start()
    assert state(hyperd, pod_id) == "paused"
    with pytest.raises(PodPaused, match="is paused; unpause it first"):
        hyperd.client.stats(pod_id)
    assert hyperd.client.diagnostics(pod_id).memory.used_mib is None
    assert hyperd.client.unpause_pod(pod_id).state == "running"
    goes_on(hyperd, pod_id, before)


def test_a_paused_pod_is_stopped_in_good_order_and_deleted(hyperd, run):
    pod_id = run()
    hyperd.client.pause_pod(pod_id)
    stopped = hyperd.client.stop_pod(pod_id, grace_s=10)
    assert (stopped.state, stopped.exit_code) == ("stopped", 0)
    assert "bye" in hyperd.client.console(pod_id, 4096).decode()
    hyperd.client.start_pod(pod_id)
    hyperd.client.pause_pod(pod_id)
    hyperd.client.delete_pod(pod_id)


def test_what_an_operator_does_to_the_domain_is_seen(hyperd, run):
    pod_id = run()
    for verb, expected in (("suspend", "paused"), ("resume", "running")):
        subprocess.run(
            ["virsh", "-c", "qemu:///system", verb, hyperd.prefix + pod_id],
            capture_output=True,
            check=True,
        )
        wait_for(lambda e=expected: state(hyperd, pod_id) == e, what=expected)


def test_a_suspended_pod_is_a_file_and_comes_back_where_it_was(hyperd, run):
    pod_id = run(root_gib=1)
    assert hyperd.client.suspend_pod(pod_id).state == "suspended"
    before = ticks(hyperd, pod_id)
    assert hyperd.domains() == set()
    assert saved_file(hyperd, pod_id).stat().st_mode & 0o777 == 0o600
    hyperd.kill()
    time.sleep(3)
    hyperd.start()
    assert state(hyperd, pod_id) == "suspended"
    # The layers are shared: nothing has changed their owner.
    layers = {p.stat().st_uid for p in (hyperd.state / "images/layers").iterdir()}
    assert layers == {0}
    pod = hyperd.client.resume_pod(pod_id)
    assert (pod.state, pod.message) == ("running", "")
    assert not saved_file(hyperd, pod_id).exists()
    seen = goes_on(hyperd, pod_id, before)
    # And again, by a start; a stop in good order ends it.
    hyperd.client.suspend_pod(pod_id)
    assert hyperd.client.start_pod(pod_id).state == "running"
    goes_on(hyperd, pod_id, seen)
    hyperd.client.suspend_pod(pod_id)
    stopped = hyperd.client.stop_pod(pod_id, grace_s=10)
    assert (stopped.state, stopped.exit_code) == ("stopped", 0)
    assert hyperd.client.start_pod(pod_id).state == "running"


def test_a_suspended_pod_is_deleted_with_its_memory(hyperd, run):
    pod_id = run()
    hyperd.client.suspend_pod(pod_id)
    hyperd.client.delete_pod(pod_id)
    assert not hyperd.leftovers()


def test_a_delete_ends_a_suspend_that_is_under_way(hyperd, run):
    pod_id = run()
    failed = []

    def suspend():
        try:
            hyperd.client.suspend_pod(pod_id)
        except HyperError as exc:
            failed.append(exc)

    thread = threading.Thread(target=suspend)
    thread.start()
    wait_for(saved_file(hyperd, pod_id).exists, what="the beginning of the save")
    hyperd.client.delete_pod(pod_id)
    thread.join(30)
    assert not thread.is_alive()
    assert not hyperd.leftovers()


def test_kills_in_the_middle_of_suspends_and_resumes_lose_no_guest(hyperd, run):
    moments = random.Random(2026)  # seeded: a failure can be repeated
    pod_id = run()
    hyperd.client._transport._connect_timeout = 0.0
    try:
        for _ in range(6):
            call = (
                hyperd.client.suspend_pod
                if state(hyperd, pod_id) == "running"
                else hyperd.client.resume_pod
            )

            def cut(call=call):
                with contextlib.suppress(HyperError):
                    call(pod_id)

            thread = threading.Thread(target=cut)
            thread.start()
            time.sleep(moments.uniform(0, 1.2))
            hyperd.kill()
            thread.join()
            hyperd.start()
            wait_for(
                lambda: (
                    state(hyperd, pod_id) == "suspended"
                    or domain_state(hyperd, pod_id) in ("running", "paused")
                ),
                what="agreement",
            )
            if state(hyperd, pod_id) == "paused":
                hyperd.client.unpause_pod(pod_id)
    finally:
        hyperd.client._transport._connect_timeout = 20.0
    if state(hyperd, pod_id) != "suspended":
        hyperd.client.suspend_pod(pod_id)
    before = ticks(hyperd, pod_id)
    hyperd.client.resume_pod(pod_id)
    assert not saved_file(hyperd, pod_id).exists()
    goes_on(hyperd, pod_id, before)


@pytest.mark.parametrize("keep", [0.5, 0.0])
def test_a_damaged_memory_is_told_and_a_forced_stop_discards_it(hyperd, run, keep):
    pod_id = run()
    hyperd.client.suspend_pod(pod_id)
    path = saved_file(hyperd, pod_id)
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * keep))
    with pytest.raises(SavedStateUnusable, match="a hard reboot, or a stop, discards it"):
        hyperd.client.resume_pod(pod_id)
    assert state(hyperd, pod_id) == "suspended"
    assert hyperd.domains() == set()
    assert hyperd.client.stop_pod(pod_id, force=bool(keep)).state == "stopped"
    assert hyperd.client.start_pod(pod_id).state == "running"


@pytest.fixture
def small_disk(hyperd):
    """A file system of a few MiB in place of the pods' directories."""
    pods = hyperd.state / "pods"
    hyperd.stop()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", pods], check=True)
    hyperd.start()
    yield pods
    for pod in hyperd.client.pods():
        hyperd.client.delete_pod(pod.spec.id)
    hyperd.stop()
    subprocess.run(["umount", "-l", pods], check=True)
    hyperd.start()


def test_a_pod_runs_on_where_the_disk_has_no_room_for_its_memory(hyperd, small_disk, run):
    pod_id = run()
    with pytest.raises(DiskFull, match=r"may take 96 MiB .* which has \d MiB free; free space"):
        hyperd.client.suspend_pod(pod_id)
    assert state(hyperd, pod_id) == "running"
    before = ticks(hyperd, pod_id)
    goes_on(hyperd, pod_id, before)

    # The disk may also fill while the memory is written.
    connected = queue.Queue()
    connection = Connection("qemu:///system", lambda: connected.put(None), lambda _name: None)
    connection.start()
    connected.get(timeout=10)
    hypervisor = LibvirtHypervisor(connection, hyperd.prefix)
    path = saved_file(hyperd, pod_id)
    with pytest.raises(DiskFull, match="no room in"):
        hypervisor.save(pod_id, path)
    assert not path.exists()
    assert hypervisor.state(pod_id) is DomainState.RUNNING
    connection.stop()
    wait_for(lambda: state(hyperd, pod_id) == "running", what="agreement")
    goes_on(hyperd, pod_id, ticks(hyperd, pod_id))


@pytest.fixture
def bridges():
    """Two bridges, each with an address of its own in one network."""
    names = [f"t{uuid.uuid4().hex[:8]}" for _ in range(2)]
    for index, name in enumerate(names):
        subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)
        subprocess.run(["ip", "addr", "add", f"10.231.{index}.1/24", "dev", name], check=True)
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
    yield names
    for name in names:
        subprocess.run(["ip", "link", "delete", name], check=True)


def _answers(address):
    done = subprocess.run(
        ["ping", "-c", "1", "-W", "2", address], capture_output=True, check=False
    )
    return done.returncode == 0


def test_a_resumed_pod_is_plugged_where_it_belongs_now_and_answers(hyperd, run, bridges):
    nic = Nic(MAC, NicKind.BRIDGE, bridge=bridges[0], addresses=("10.231.0.5/24",))
    pod_id = run(nics=(nic,))
    wait_for(lambda: _answers("10.231.0.5"), what="an answer")
    sent = hyperd.client.diagnostics(pod_id).nics[0].tx_packets
    assert sent > 0
    hyperd.client.suspend_pod(pod_id)
    # The other bridge takes over the network: what the guest sees is as before.
    subprocess.run(["ip", "addr", "flush", "dev", bridges[0]], check=True)
    subprocess.run(["ip", "addr", "add", "10.231.0.1/24", "dev", bridges[1]], check=True)
    moved = Nic(MAC, NicKind.BRIDGE, bridge=bridges[1], addresses=nic.addresses)
    pod = hyperd.client.resume_pod(pod_id, (moved,), paused=True)
    assert (pod.state, pod.spec.nics) == ("paused", (moved,))
    hyperd.client.unpause_pod(pod_id)
    wait_for(lambda: _answers("10.231.0.5"), what="an answer")


def test_a_kernel_panics_when_asked_to_and_its_memory_is_kept(hyperd, run):
    dumps = hyperd.state / "dumps"
    for count in (1, 2, 2):
        pod_id = run()
        hyperd.client.crash_pod(pod_id)
        wait_for(lambda p=pod_id: state(hyperd, p) == "crashed", what="the panic")
        message = hyperd.client.pod(pod_id).message
        (dump,) = dumps.glob(f"{pod_id}-*.vmcore")
        assert f"the crash dump is {dump}" in message
        assert dump.read_bytes()[:12] == b"makedumpfile"
        assert dump.stat().st_mode & 0o777 == 0o600
        assert len(list(dumps.iterdir())) == count
    wait_for(lambda: not hyperd.domains(), what="the end of the micro-VM")
    with pytest.raises(Conflict, match="does not run"):
        hyperd.client.crash_pod(pod_id)
    assert hyperd.client.start_pod(pod_id).state == "running"


def test_the_figures_of_a_pod_are_counted(hyperd, run):
    script = "head -c 3000000 /dev/urandom > /file; sync; " + TICK
    pod_id = run(script, root_gib=1)
    found = hyperd.client.diagnostics(pod_id)
    assert len(found.cpus) == 1 and found.cpus[0].time_ns > 10**8
    assert found.memory.maximum_mib == 64
    assert 5 < found.memory.used_mib < 60
    assert found.memory.resident_mib > 30
    (upper,) = (disk for disk in found.disks if disk.serial == "upper0")
    assert upper.write_bytes >= 3000000
    layer = next(disk for disk in found.disks if disk.serial == "l0")
    assert layer.read_bytes > 0 and layer.write_bytes == 0
