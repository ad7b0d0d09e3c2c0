"""Pods that change their size on real QEMU: what the guest sees of it, and the way back."""

from __future__ import annotations

import dataclasses
import subprocess
import threading
import time
import uuid

import pytest

from nova_hyper.spec.container import Container
from nova_hyper.spec.disk import EphemeralDisk
from nova_hyper.spec.errors import Conflict, HyperError, InvalidRequest
from nova_hyper.spec.pod import PodSpec, PodState
from nova_hyper.spec.shape import Shape
from tests.functional.daemon import private, wait_for

SEEN = """
trap 'exit 0' TERM
echo cpus $(nproc)
echo memory $(awk '/MemTotal/ {print $2}' /proc/meminfo)
echo root $(df -k / | tail -n 1 | awk '{print $2}')
echo ephemeral $(df -k /mnt 2>/dev/null | tail -n 1 | awk '{print $2}')
echo swap $(awk 'NR == 2 {print $3}' /proc/swaps)
echo x >> /runs
echo runs $(wc -l < /runs)
sync
echo end
while :; do sleep 0.2; done
"""
KIB_PER_GIB = 1 << 20


@pytest.fixture(scope="module")
def hyperd(libvirt, guest, busybox):
    """One hyperd for all; what a test makes it removes."""
    with private(guest, busybox) as daemon:
        yield daemon


@pytest.fixture
def run(hyperd):
    """Make pods and wait for what they print; nothing of them is left after the test."""

    def make(*names, **changes):
        pod_id = str(uuid.uuid4())
        containers = tuple(
            Container(name, "busybox", command=("sh", "-c", SEEN)) for name in names or ("main",)
        )
        spec = PodSpec(pod_id, f"p-{pod_id[:8]}", containers, **{"memory_mib": 64, **changes})
        hyperd.client.create_pod(spec)
        hyperd.client.start_pod(pod_id)
        return pod_id

    yield make
    for pod in hyperd.client.pods():
        hyperd.client.delete_pod(pod.spec.id)
    assert not hyperd.leftovers()


def seen(hyperd, pod_id, times=1):
    """What the pod printed at its latest start, the *times*-th, by word."""

    def text():
        shown = hyperd.client.console(pod_id, 1 << 16).decode().replace("\r\n", "\n")
        return shown if shown.count("end\n") >= times else None

    lines = wait_for(text, what=f"start {times}").splitlines()
    return {word: value for word, _, value in (line.partition(" ") for line in lines) if word}


def reshape(hyperd, pod_id, **changes):
    shape = dataclasses.replace(Shape.of(hyperd.client.pod(pod_id).spec), **changes)
    return hyperd.client.reshape_pod(pod_id, shape)


def output(hyperd, pod_id, *argv, container=None):
    session = hyperd.client.exec(pod_id, argv, container=container)
    try:
        said = b"".join(data for _channel, data in session).decode()
    finally:
        session.close()
    assert session.exit_code == 0, said
    return said


def is_sound(hyperd, pod_id, name):
    path = hyperd.state / "pods" / pod_id / name
    checked = subprocess.run(["e2fsck", "-fn", path], capture_output=True, text=True, check=False)
    return checked.returncode == 0 or checked.stdout


def test_a_pod_grows_with_its_data_and_goes_back(hyperd, run):
    pod_id = run(root_gib=1, ephemerals=(EphemeralDisk(1),))
    before = seen(hyperd, pod_id)
    assert (before["cpus"], before["swap"], before["runs"]) == ("1", "", "1")
    assert int(before["root"]) < KIB_PER_GIB
    output(
        hyperd,
        pod_id,
        "sh",
        "-c",
        "dd if=/dev/urandom of=/data bs=1M count=5; md5sum /data > /sum",
    )
    output(hyperd, pod_id, "sh", "-c", "echo kept > /mnt/file")

    hyperd.client.stop_pod(pod_id, grace_s=5)
    hyperd.client.make_restore_point(pod_id)
    reshape(
        hyperd,
        pod_id,
        vcpus=2,
        memory_mib=128,
        root_gib=20,
        ephemerals=(EphemeralDisk(3),),
        swap_mib=32,
    )
    hyperd.client.start_pod(pod_id)
    after = seen(hyperd, pod_id, 2)
    assert after["cpus"] == "2"
    assert 100 << 10 < int(after["memory"]) <= 128 << 10
    assert 19 * KIB_PER_GIB < int(after["root"]) <= 20 * KIB_PER_GIB
    assert 2.8 * KIB_PER_GIB < int(after["ephemeral"]) <= 3 * KIB_PER_GIB
    assert int(after["swap"]) == (32 << 10) - 4
    assert after["runs"] == "2"
    assert "OK" in output(hyperd, pod_id, "md5sum", "-c", "/sum")
    assert output(hyperd, pod_id, "cat", "/mnt/file") == "kept\n"
    # The new room can be written to, beyond what there was.
    output(hyperd, pod_id, "sh", "-c", "dd if=/dev/zero of=/big bs=1M count=1200; rm /big /data")
    output(hyperd, pod_id, "sh", "-c", "echo changed > /mnt/file")

    hyperd.client.stop_pod(pod_id, grace_s=5)
    assert is_sound(hyperd, pod_id, "upper-main.img") is True
    assert hyperd.client.restore_pod(pod_id).spec.root_gib == 1
    hyperd.client.start_pod(pod_id)
    again = seen(hyperd, pod_id, 3)
    for word in ("cpus", "memory", "root", "ephemeral", "swap"):
        assert again[word] == before[word], word
    assert again["runs"] == "2"
    assert "OK" in output(hyperd, pod_id, "md5sum", "-c", "/sum")
    assert output(hyperd, pod_id, "cat", "/mnt/file") == "kept\n"
    assert not list((hyperd.state / "pods" / pod_id).glob("rest*"))


def test_a_disk_grows_again_and_again_by_any_factor(hyperd, run):
    pod_id = run(root_gib=1)
    seen(hyperd, pod_id)
    for times, size in enumerate((2, 1500), start=2):
        hyperd.client.stop_pod(pod_id, grace_s=5)
        reshape(hyperd, pod_id, root_gib=size)
        hyperd.client.start_pod(pod_id)
        found = seen(hyperd, pod_id, times)
        assert 0.95 * size * KIB_PER_GIB < int(found["root"]) <= size * KIB_PER_GIB
        assert found["runs"] == str(times)
    hyperd.client.stop_pod(pod_id, grace_s=5)
    assert is_sound(hyperd, pod_id, "upper-main.img") is True


def test_several_containers_see_their_common_disk_grow(hyperd, run):
    pod_id = run("one", "two", root_gib=1)
    seen(hyperd, pod_id, 2)
    hyperd.client.stop_pod(pod_id, grace_s=5)
    hyperd.client.make_restore_point(pod_id)
    reshape(hyperd, pod_id, root_gib=2)
    hyperd.client.start_pod(pod_id)
    assert int(seen(hyperd, pod_id, 4)["root"]) > 1.9 * KIB_PER_GIB
    for name in ("one", "two"):
        assert output(hyperd, pod_id, "wc", "-l", "/runs", container=name) == "2 /runs\n"
    hyperd.client.stop_pod(pod_id, grace_s=5)
    hyperd.client.restore_pod(pod_id)
    hyperd.client.start_pod(pod_id)
    found = seen(hyperd, pod_id, 6)
    assert (found["runs"], int(found["root"]) < KIB_PER_GIB) == ("2", True)


def test_a_root_in_memory_becomes_a_disk(hyperd, run):
    pod_id = run(root_gib=0)
    seen(hyperd, pod_id)
    hyperd.client.stop_pod(pod_id, force=True)
    reshape(hyperd, pod_id, root_gib=1)
    for times in (2, 3):
        hyperd.client.start_pod(pod_id)
        assert seen(hyperd, pod_id, times)["runs"] == str(times - 1)
        hyperd.client.stop_pod(pod_id, grace_s=5)
    with pytest.raises(InvalidRequest, match="cannot be memory only"):
        reshape(hyperd, pod_id, root_gib=0)


def test_a_running_pod_is_refused_and_runs_on(hyperd, run):
    pod_id = run(root_gib=2)
    seen(hyperd, pod_id)
    with pytest.raises(Conflict, match="stop it first"):
        reshape(hyperd, pod_id, vcpus=2)
    with pytest.raises(InvalidRequest, match="cannot be 1 GiB"):
        reshape(hyperd, pod_id, root_gib=1)
    assert hyperd.client.pod(pod_id).state is PodState.RUNNING


def test_a_daemon_killed_while_it_copies_leaves_a_pod_that_can_go_either_way(hyperd, run):
    pod_id = run(root_gib=2)
    seen(hyperd, pod_id)
    output(hyperd, pod_id, "sh", "-c", "dd if=/dev/zero of=/data bs=1M count=800; sync")
    hyperd.client.stop_pod(pod_id, grace_s=5)
    directory = hyperd.state / "pods" / pod_id
    errors = []

    def keep():
        try:
            hyperd.client.make_restore_point(pod_id)
        except HyperError as exc:
            errors.append(exc)

    thread = threading.Thread(target=keep)
    thread.start()
    wait_for(lambda: list(directory.glob("restore-point.new/*.img")), what="the copy")
    hyperd.kill()
    hyperd.start()
    thread.join()
    # The client asked again when the daemon was back, and was answered.
    assert not errors
    assert [path.name for path in directory.glob("rest*")] == ["restore-point"]
    hyperd.client.drop_restore_point(pod_id)
    assert not list(directory.glob("rest*"))
    hyperd.client.start_pod(pod_id)
    assert seen(hyperd, pod_id, 2)["runs"] == "2"


def test_a_pod_is_deleted_while_it_is_copied(hyperd, run):
    pod_id = run(root_gib=2)
    seen(hyperd, pod_id)
    output(hyperd, pod_id, "sh", "-c", "dd if=/dev/zero of=/data bs=1M count=800; sync")
    hyperd.client.stop_pod(pod_id, grace_s=5)
    directory = hyperd.state / "pods" / pod_id
    errors = []

    def keep():
        try:
            hyperd.client.make_restore_point(pod_id)
        except HyperError as exc:
            errors.append(exc)

    thread = threading.Thread(target=keep)
    thread.start()
    wait_for(lambda: list(directory.glob("restore-point*/*.img")), what="the copy")
    begun = time.monotonic()
    hyperd.client.delete_pod(pod_id)
    print(f"deleted in {time.monotonic() - begun:.1f} s")
    thread.join()
    assert not directory.exists()
