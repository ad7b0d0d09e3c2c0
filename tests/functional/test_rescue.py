"""Pods in rescue on real libvirt and QEMU: their disks are mounted in another, and repaired."""

from __future__ import annotations

import contextlib
import random
import subprocess
import threading
import time
import uuid

import pytest

from nova_hyper.spec.container import Container
from nova_hyper.spec.disk import EphemeralDisk
from nova_hyper.spec.errors import Conflict, ContainerFailed, DiskFull, HyperError, ImageNotFound
from nova_hyper.spec.pod import PodSpec, RestartPolicy
from nova_hyper.spec.volume import Mount, Volume
from tests.functional import archives
from tests.functional.daemon import private, wait_for

# It boots only where its settings are good, and then tells what is on its disks.
PICKY = (
    "trap 'sync; exit 0' TERM; [ -e /etc/settings ] || echo good > /etc/settings; "
    "grep -qx good /etc/settings || { echo broken; exit 7; }; "
    "echo data >> /data/log; echo $(wc -l < /data/log) boots; while :; do sleep 0.1; done"
)
IDLE = "trap 'exit 0' TERM; echo to the rescue; while :; do sleep 0.1; done"


@pytest.fixture(scope="module")
def hyperd(libvirt, guest, busybox, tmp_path_factory):
    """One hyperd with the image ``tools``, which has no layer but one of busybox's, and a file."""
    directory = tmp_path_factory.mktemp("images")

    def configured(**values):
        return lambda image: image["config"].update(values)

    made = {
        "tools": archives.remade(
            busybox,
            directory / "tools.tar",
            configured(Cmd=["sh", "-c", IDLE], Volumes={"/data": {}}),
            archives.layer({"etc/tools": b"here"}),
        ),
        "picky": archives.remade(
            busybox,
            directory / "picky.tar",
            configured(Cmd=["sh", "-c", PICKY], Volumes={"/data": {}}),
        ),
        "broken": archives.remade(
            busybox, directory / "broken.tar", configured(Cmd=["/no/such/command"])
        ),
    }
    with private(guest, busybox) as daemon:
        for name, archive in made.items():
            daemon.ctl("load", str(archive), "--name", name)
        daemon.tools = made["tools"]
        yield daemon


@pytest.fixture
def run(hyperd):
    """Make and start pods; nothing of them is left after the test."""

    def make(*containers, **changes):
        pod_id = str(uuid.uuid4())
        spec = PodSpec(
            pod_id,
            f"p-{pod_id[:8]}",
            containers or (Container("main", "picky"),),
            **{"memory_mib": 64, "root_gib": 1, **changes},
        )
        hyperd.client.create_pod(spec)
        hyperd.client.start_pod(pod_id)
        return pod_id

    yield make
    for pod in hyperd.client.pods():
        hyperd.client.delete_pod(pod.spec.id)
    assert not hyperd.leftovers()


def shell(hyperd, pod_id, command, **options):
    """What a command in a container prints; it must succeed."""
    session = hyperd.client.exec(pod_id, ["sh", "-c", command], **options)
    try:
        out = b"".join(data for _, data in session).decode()
    finally:
        session.close()
    assert session.exit_code == 0, out
    return out.strip()


def said(hyperd, pod_id, text):
    wait_for(lambda: text in hyperd.client.console(pod_id, 1 << 20).decode(), what=f"{text!r}")


def rescue(hyperd, pod_id, image=None):
    hyperd.client.stop_pod(pod_id)
    hyperd.client.rescue_pod(pod_id, image)
    return hyperd.client.start_pod(pod_id)


def unrescue(hyperd, pod_id):
    hyperd.client.stop_pod(pod_id)
    hyperd.client.unrescue_pod(pod_id)
    return hyperd.client.start_pod(pod_id)


def test_a_broken_pod_is_repaired_and_boots_again(hyperd, run):
    pod_id = run()
    said(hyperd, pod_id, "1 boots")
    shell(hyperd, pod_id, "echo bad > /etc/settings")
    hyperd.client.stop_pod(pod_id)
    hyperd.client.start_pod(pod_id)
    wait_for(lambda: hyperd.client.pod(pod_id).exit_code == 7, what="its end")
    original = hyperd.client.pod(pod_id)

    pod = rescue(hyperd, pod_id, "tools")
    assert (pod.state, pod.spec.containers[0].image) == ("running", "tools")
    assert pod.rescued.spec == original.spec
    said(hyperd, pod_id, "to the rescue")
    # Its own root is that of the image, and in memory; the other's is whole, its volume included.
    assert shell(hyperd, pod_id, "cat /etc/tools; ls /etc/settings 2>&1; true").startswith("here")
    assert shell(hyperd, pod_id, "cat /mnt/rescue/etc/settings") == "bad"
    assert shell(hyperd, pod_id, "cat /mnt/rescue/data/log") == "data"
    assert shell(hyperd, pod_id, "ls /mnt/rescue/bin/busybox")
    assert shell(hyperd, pod_id, "ls /data") == ""
    shell(hyperd, pod_id, "echo lost > /etc/lost; echo good > /mnt/rescue/etc/settings")
    shell(hyperd, pod_id, "rm /mnt/rescue/etc/group; echo more >> /mnt/rescue/data/log")

    pod = unrescue(hyperd, pod_id)
    assert (pod.state, pod.rescued, pod.spec) == ("running", None, original.spec)
    said(hyperd, pod_id, "3 boots")
    assert shell(hyperd, pod_id, "cat /etc/settings; ls /etc/lost /etc/group 2>&1; true") == (
        "good\nls: /etc/lost: No such file or directory\nls: /etc/group: No such file or directory"
    )
    # The image of the rescue is nobody's any more.
    hyperd.client.delete_image("tools")
    hyperd.ctl("load", str(hyperd.tools), "--name", "tools")


def test_the_roots_of_all_containers_and_their_volumes_are_there(hyperd, run):
    idle = ("sh", "-c", IDLE)
    mounts = (Mount("shared", "/srv"), Mount("scratch", "/scratch"))
    pod_id = run(
        Container("web", "busybox", idle, mounts=mounts),
        Container("db", "tools", idle, mounts=(Mount("shared", "/sub", "a"),)),
        init_containers=(Container("first", "busybox", ("sh", "-c", "echo 1 > /etc/ran")),),
        volumes=(Volume("shared"), Volume("scratch", medium="memory")),
        ephemerals=(EphemeralDisk(1, "/mnt"),),
        swap_mib=8,
        restart_policy=RestartPolicy.ALWAYS,
    )
    wait_for(
        lambda: hyperd.client.pod(pod_id).containers[2].state == "running", what="its containers"
    )
    write = "echo w > /etc/who; echo s > /srv/file; echo e > /mnt/e"
    shell(hyperd, pod_id, write, container="web")
    shell(hyperd, pod_id, "echo d > /etc/who; echo v > /data/v; echo a > /sub/b", container="db")

    rescue(hyperd, pod_id)
    read = "cd /mnt/rescue; cat first/etc/ran web/etc/who db/etc/who db/etc/tools web/srv/file"
    assert shell(hyperd, pod_id, read).split() == ["1", "w", "d", "heres"]
    read = "cd /mnt/rescue; cat db/data/v db/sub/b web/srv/a/b; ls web/scratch; cat /mnt/*0/e"
    assert shell(hyperd, pod_id, read).split() == ["v", "a", "a", "e"]
    assert shell(hyperd, pod_id, "grep -c vd /proc/swaps") == "1"
    assert hyperd.client.pod(pod_id).spec.containers[0].image == "busybox"
    shell(hyperd, pod_id, "rm /mnt/rescue/web/srv/a/b; echo W > /mnt/rescue/web/etc/who")

    unrescue(hyperd, pod_id)
    wait_for(
        lambda: hyperd.client.pod(pod_id).containers[2].state == "running", what="its containers"
    )
    assert shell(hyperd, pod_id, "cat /etc/who; ls /srv/a", container="web") == "W"


def test_a_rescue_is_a_pod_as_any_other(hyperd, run):
    pod_id = run()
    said(hyperd, pod_id, "1 boots")
    rescue(hyperd, pod_id, "tools")
    shell(hyperd, pod_id, "echo mine > /mnt/rescue/etc/mine; sync")
    hyperd.kill()
    hyperd.start()
    assert hyperd.client.pod(pod_id).state == "running"
    assert shell(hyperd, pod_id, "cat /mnt/rescue/etc/mine") == "mine"
    hyperd.client.stop_pod(pod_id, force=True)
    hyperd.client.start_pod(pod_id)
    assert shell(hyperd, pod_id, "cat /mnt/rescue/etc/mine") == "mine"
    hyperd.client.suspend_pod(pod_id)
    with pytest.raises(Conflict, match="resume and stop it"):
        hyperd.client.unrescue_pod(pod_id)
    hyperd.client.resume_pod(pod_id)
    assert shell(hyperd, pod_id, "cat /mnt/rescue/etc/mine") == "mine"
    subprocess.run(
        ["virsh", "-c", "qemu:///system", "destroy", hyperd.prefix + pod_id],
        check=True,
        capture_output=True,
    )
    wait_for(lambda: hyperd.client.pod(pod_id).state == "crashed", what="the crash")
    hyperd.client.delete_pod(pod_id)
    assert not hyperd.leftovers()


def test_an_image_that_does_not_start_leaves_the_pod_to_itself(hyperd, run):
    pod_id = run()
    said(hyperd, pod_id, "1 boots")
    hyperd.client.stop_pod(pod_id)
    with pytest.raises(ImageNotFound):
        hyperd.client.rescue_pod(pod_id, "none")
    assert hyperd.client.pod(pod_id).rescued is None
    hyperd.client.rescue_pod(pod_id, "broken")
    with pytest.raises(ContainerFailed, match=r"container rescue: .*no/such/command"):
        hyperd.client.start_pod(pod_id)
    # Another image may do.
    hyperd.client.rescue_pod(pod_id, "tools")
    hyperd.client.start_pod(pod_id)
    assert shell(hyperd, pod_id, "cat /mnt/rescue/etc/settings") == "good"
    unrescue(hyperd, pod_id)
    said(hyperd, pod_id, "2 boots")


def test_what_cannot_be_rescued_is_refused_and_runs_on(hyperd, run):
    pod_id = run()
    with pytest.raises(Conflict, match="stop it before it is rescued"):
        hyperd.client.rescue_pod(pod_id, "tools")
    in_memory = run(root_gib=0)
    refused = hyperd.ctl("rescue", in_memory, check=False)
    assert refused.returncode == 1
    assert "has its root in memory" in refused.stderr
    assert hyperd.client.pod(in_memory).state == "running"
    hyperd.client.stop_pod(in_memory)
    with pytest.raises(Conflict, match="has its root in memory"):
        hyperd.client.rescue_pod(in_memory, "tools")


def test_hyperctl_rescues(hyperd, run):
    pod_id = run()
    said(hyperd, pod_id, "1 boots")
    hyperd.ctl("rescue", "--image", "tools", pod_id)
    assert hyperd.ctl("exec", pod_id, "cat", "/mnt/rescue/etc/settings").stdout == "good\n"
    assert "is not in rescue" not in hyperd.ctl("unrescue", pod_id).stderr
    assert "is not in rescue" in hyperd.ctl("unrescue", pod_id, check=False).stderr
    failed = hyperd.ctl("rescue", "--image", "broken", pod_id, check=False)
    assert "is out of rescue" in failed.stderr
    assert hyperd.client.start_pod(pod_id).state == "running"


def test_kills_at_any_moment_leave_the_pod_in_rescue_or_out_of_it(hyperd, run):
    """Seeded; each kill is followed by a way on, and at the end everything written is there."""
    chance = random.Random(5)
    pod_id = run()
    said(hyperd, pod_id, "1 boots")
    for turn in range(6):
        pod = hyperd.client.pod(pod_id)
        change = rescue if pod.rescued is None else unrescue
        arguments = (hyperd, pod_id, "tools") if pod.rescued is None else (hyperd, pod_id)

        def attempt(change=change, arguments=arguments):
            with contextlib.suppress(HyperError, OSError):
                change(*arguments)

        thread = threading.Thread(target=attempt)
        thread.start()
        time.sleep(chance.uniform(0.0, 2.5))
        hyperd.kill()
        thread.join()
        hyperd.start()
        pod = hyperd.client.pod(pod_id)
        assert pod.state in ("stopped", "running", "ready", "crashed")
        hyperd.client.stop_pod(pod_id)
        hyperd.client.start_pod(pod_id)
        root = "" if pod.rescued is None else "/mnt/rescue"
        assert shell(hyperd, pod_id, f"cat {root}/etc/settings") == "good", f"turn {turn}"
    if hyperd.client.pod(pod_id).rescued is not None:
        unrescue(hyperd, pod_id)
    hyperd.client.delete_image("tools")
    hyperd.ctl("load", str(hyperd.tools), "--name", "tools")


@pytest.fixture
def small_disk(hyperd):
    """A file system of a few MiB in place of the pods' directories."""
    pods = hyperd.state / "pods"
    hyperd.stop()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", pods], check=True)
    hyperd.start()
    yield pods
    for pod in hyperd.client.pods():
        hyperd.client.delete_pod(pod.spec.id)
    hyperd.stop()
    subprocess.run(["umount", "-l", pods], check=True)
    hyperd.start()


def test_a_full_disk_is_said_and_leaves_the_pod_as_it_was(hyperd, small_disk, run):
    pod_id = run()
    said(hyperd, pod_id, "1 boots")
    before = hyperd.client.stop_pod(pod_id)
    ballast = small_disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    with pytest.raises(DiskFull, match="no room on the host's disk"):
        hyperd.client.rescue_pod(pod_id, "tools")
    assert hyperd.client.pod(pod_id) == before
    ballast.unlink()
    hyperd.client.rescue_pod(pod_id, "tools")
    hyperd.client.start_pod(pod_id)
    assert shell(hyperd, pod_id, "cat /mnt/rescue/etc/settings") == "good"
    unrescue(hyperd, pod_id)
    said(hyperd, pod_id, "2 boots")
