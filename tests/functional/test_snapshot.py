"""Containers as archives that the host does not keep: what a snapshot of a server is made of."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nova_hyper.client.transport import Transport
from nova_hyper.spec.errors import Conflict, DaemonUnavailable, DiskFull, HyperError
from tests.functional import listing
from tests.functional.archives import colour_of, coloured, layer, remade
from tests.functional.daemon import Daemon, wait_for
from tests.functional.test_commit import SLEEP, WORK, difference, tree

REPO = Path(__file__).resolve().parents[2]
COUNT = "echo ready; n=0; while :; do n=$((n+1)); echo $n >/count; sleep 0.1; done"


@pytest.fixture(scope="module")
def hyperd(libvirt, guest, busybox):
    """A hyperd with the images ``hard`` (odd files, and a lister) and ``busybox``."""
    with tempfile.TemporaryDirectory(prefix="hyperd-", dir="/run") as name:
        directory = Path(name)
        plain = directory / "plain.tar"
        subprocess.run([REPO / "tools/images/five-layers.sh", plain], check=True)
        top = layer({"list": listing.build(directory).read_bytes()})
        daemon = Daemon(directory, guest, f"t{uuid.uuid4().hex[:6]}-", image__max_layer_disks="6")
        daemon.start()
        hard = remade(plain, directory / "hard.tar", top=top)
        daemon.ctl("load", str(hard), "--name", "hard")
        daemon.ctl("load", str(busybox), "--name", "busybox")
        yield daemon
        daemon.remove()
        assert not daemon.leftovers()


@pytest.fixture
def run(hyperd):
    """Start a pod that waits: ``run(image, *options)``; gone after the test, as is what it left.

    Images that were loaded meanwhile have the name of a pod, and go with it.
    """
    made = []
    before = kept(hyperd)

    def start(image, *options, script=SLEEP):
        name = f"p{uuid.uuid4().hex[:8]}"
        made.append(name)
        command = ["run", "-d", "--name", name, "-m", "128", *options, "--entrypoint", "/bin/sh"]
        hyperd.ctl(*command, image, "-c", script)
        wait_for(lambda: "ready" in hyperd.ctl("logs", name).stdout, what="the container")
        return name

    yield start
    for name in made:
        hyperd.ctl("rm", "-f", name, check=False)
    for name in made:
        with contextlib.suppress(HyperError):
            hyperd.client.delete_image(f"of-{name}")
    assert not hyperd.leftovers()
    assert kept(hyperd) == before


def kept(hyperd):
    """The images, and the files of all layers."""
    files = sorted(path.name for path in (hyperd.state / "images/layers").iterdir())
    return sorted(image.id for image in hyperd.client.images()), files


def taken(hyperd, pod, **options):
    """Take a snapshot of *pod* and load it; return its name. Nothing else of it is here."""
    before = kept(hyperd)
    with hyperd.client.snapshot(pod, **options) as body:
        data = b"".join(body)
    wait_for(lambda: kept(hyperd) == before, what="the end of the snapshot")
    assert "temporary files" not in hyperd.leftovers()
    return hyperd.client.import_image(f"of-{pod}", [data]).names[0]


def output(hyperd, pod, *command):
    return hyperd.ctl("exec", pod, *command).stdout


def test_a_snapshot_runs_again_as_the_container_was(hyperd, run):
    pod = run("hard", "--root", "1")
    hyperd.ctl("exec", pod, "sh", "-c", WORK)
    hyperd.client.write_archive(pod, "/srv", [coloured("file", "green")])
    written = tree(hyperd, pod)
    image = taken(hyperd, pod, changes=["ENV COLOUR=green"])
    assert "COLOUR=green" in hyperd.client.image(image).config.env
    again = run(image)
    assert difference(written, tree(hyperd, again)) == {}
    assert colour_of(hyperd.client.read_archive(again, "/srv/file"), "file") == "green"
    assert difference(written, tree(hyperd, pod)) == {}

    hyperd.ctl("stop", pod)
    image = taken(hyperd, pod)
    assert hyperd.json("inspect", pod)["state"] == "stopped"
    assert difference(written, tree(hyperd, run(image, "--root", "1"))) == {}


@pytest.mark.parametrize("verb", ["pause", "suspend"])
def test_a_pod_that_stands_still_is_read_and_goes_on_where_it_was(hyperd, run, verb):
    pod = run("hard", "--root", "1", script=COUNT)
    pod_id = hyperd.client.pod(pod).spec.id
    hyperd.ctl("exec", pod, "sh", "-c", WORK)  # and it is on the disk
    written = tree(hyperd, pod)
    getattr(hyperd.client, f"{verb}_pod")(pod)
    (disk,) = (hyperd.state / "pods" / pod_id).glob("upper*")
    before, domains = disk.stat().st_mtime_ns, hyperd.domains()
    image = taken(hyperd, pod)
    assert hyperd.client.pod(pod).state == {"pause": "paused", "suspend": "suspended"}[verb]
    assert disk.stat().st_mtime_ns == before
    assert hyperd.domains() == domains
    again = tree(hyperd, run(image))
    # Written to all the time: the disk may have it as it is after a power cut.
    assert {name for name in difference(written, again) if b"count" not in name} == set()
    # The guest goes on in its own memory and on its own disk.
    getattr(hyperd.client, {"pause": "unpause_pod", "suspend": "resume_pod"}[verb])(pod)
    at = int(output(hyperd, pod, "cat", "/count"))
    wait_for(lambda: int(output(hyperd, pod, "cat", "/count") or 0) > at, what="more counting")
    hyperd.client.stop_pod(pod, force=True)


def test_what_a_memory_holds_that_stands_still_is_not_read(hyperd, run):
    pod = run("busybox")
    hyperd.client.pause_pod(pod)
    with pytest.raises(Conflict, match="stands still: unpause it first"):
        hyperd.client.snapshot(pod)
    hyperd.client.unpause_pod(pod)
    hyperd.ctl("exec", pod, "sh", "-c", "echo memory >/file")
    assert output(hyperd, run(taken(hyperd, pod)), "cat", "/file") == "memory\n"


_LOOKED_AT = (1, 5, 10)


def test_ten_snapshots_of_snapshots_boot(hyperd, run):
    pod = run("hard", "--root", "1")
    for number in range(1, 11):
        script = "set -e; echo {0} >/of-{0}; echo {0} >/latest; rm -f /of-{1}"
        hyperd.ctl("exec", pod, "sh", "-c", script.format(number, number - 3))
        written = tree(hyperd, pod) if number in _LOOKED_AT else {}
        with hyperd.client.snapshot(pod) as body:
            image = hyperd.client.import_image(f"of-{pod}", body)
        assert len(image.layers) <= 6
        hyperd.ctl("rm", "-f", pod)
        pod = run(image.names[0], "--root", "1")
        if written:
            assert difference(written, tree(hyperd, pod)) == {}, number
    assert output(hyperd, pod, "sh", "-c", "cat /latest; ls -d /of-*").split() == [
        "10",
        "/of-10",
        "/of-8",
        "/of-9",
    ]


@pytest.fixture
def large(hyperd, run):
    """A pod with more in it than sockets hold."""
    pod = run("busybox", "--root", "1", script=COUNT)
    hyperd.ctl("exec", pod, "dd", "if=/dev/urandom", "of=/large", "bs=1M", "count=30")
    hyperd.ctl("exec", pod, "sync")
    return pod


def counts(hyperd, pod):
    before = output(hyperd, pod, "cat", "/count")
    wait_for(lambda: output(hyperd, pod, "cat", "/count") != before, what="the thaw")


def test_the_pod_runs_on_while_the_archive_is_sent(hyperd, large):
    with hyperd.client.snapshot(large) as body:
        body.read(1000)
        counts(hyperd, large)


def test_a_client_that_hangs_up_leaves_nothing(hyperd, large):
    before = kept(hyperd)
    body = hyperd.client.snapshot(large)
    body.read(1000)
    assert kept(hyperd) != before
    body.close()
    wait_for(lambda: kept(hyperd) == before, what="the end of the snapshot")
    # The same before anything has been sent: while the container is read.
    impatient = Transport(str(hyperd.socket), request_timeout=0.3, connect_timeout=1)
    with pytest.raises(DaemonUnavailable):
        impatient.open("POST", f"/v1/pods/{large}/snapshot", b"{}")
    wait_for(lambda: kept(hyperd) == before, what="the end of the snapshot")
    wait_for(lambda: "temporary files" not in hyperd.leftovers(), what="the end of the snapshot")
    counts(hyperd, large)


def test_a_kill_in_the_middle_leaves_nothing_and_the_pod_running(hyperd, large):
    before = kept(hyperd)
    body = hyperd.client.snapshot(large)
    body.read(1000)
    hyperd.kill()
    with pytest.raises(DaemonUnavailable), body:
        for _ in body:
            pass
    hyperd.start()
    assert kept(hyperd) == before
    counts(hyperd, large)


@pytest.mark.parametrize("when", ["copy", "boot", "read"])
def test_a_kill_over_a_copy_leaves_nothing_and_the_pod_paused(hyperd, large, when):
    before = kept(hyperd)
    hyperd.client.pause_pod(large)
    pod_id = hyperd.client.pod(large).spec.id
    pods, tmp = hyperd.state / "pods", hyperd.state / "images/tmp"
    begun = {
        "copy": lambda: [p for p in pods.iterdir() if p.name != pod_id],
        "boot": lambda: len(hyperd.domains()) > 1,
        "read": lambda: list(tmp.iterdir()),
    }[when]
    with ThreadPoolExecutor() as pool:
        cut = pool.submit(hyperd.client.snapshot, large)
        wait_for(begun, what=when)
        hyperd.kill()
        with pytest.raises(DaemonUnavailable):
            cut.result()
    hyperd.start()
    assert hyperd.client.pod(large).state == "paused"
    wait_for(lambda: hyperd.domains() == {hyperd.prefix + pod_id}, what="the helper's end")
    assert [path.name for path in pods.iterdir()] == [pod_id]
    assert [path.name for path in (hyperd.run / "agents").iterdir()] == [f"{pod_id}.sock"]
    assert kept(hyperd) == before
    hyperd.client.unpause_pod(large)
    counts(hyperd, large)


def test_a_delete_ends_a_snapshot_that_is_under_way(hyperd, large):
    hyperd.client.pause_pod(large)
    with ThreadPoolExecutor() as pool:
        cut = pool.submit(hyperd.client.snapshot, large)
        wait_for(lambda: len(hyperd.domains()) > 1, what="the helper")
        started = time.monotonic()
        hyperd.client.delete_pod(large)
        assert time.monotonic() - started < 10
        # It reads a copy, which is there to the end.
        cut.result().close()
    wait_for(lambda: not hyperd.leftovers(), what="the end of the helper")


@pytest.fixture
def narrow(libvirt, guest, busybox):
    """A hyperd on a file system with room for one pod's writings, but not twice."""
    with tempfile.TemporaryDirectory(prefix="hyperd-", dir="/run") as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", name], check=True)
        try:
            daemon = Daemon(Path(name), guest, f"t{uuid.uuid4().hex[:6]}-")
            daemon.start()
            daemon.ctl("load", str(busybox), "--name", "busybox")
            yield daemon
            daemon.remove()
            assert not daemon.leftovers()
        finally:
            subprocess.run(["umount", "-l", name], check=True)


def test_a_full_disk_is_told_and_the_pod_is_unharmed(narrow):
    script = ["--entrypoint", "/bin/sh", "busybox", "-c", COUNT]
    narrow.ctl("run", "-d", "--name", "full", "-m", "128", "--root", "1", *script)
    fill = "dd if=/dev/urandom of=/large bs=1M count=38 && sync"
    narrow.ctl("exec", "full", "sh", "-c", fill)
    before = kept(narrow)
    for pause in (False, True):
        if pause:
            narrow.client.pause_pod("full")
        with pytest.raises(DiskFull) as raised:
            narrow.client.snapshot("full")
        assert len(raised.value.message) < 255
        assert kept(narrow) == before
        assert len(list((narrow.state / "pods").iterdir())) == 1
        assert "temporary files" not in narrow.leftovers()
        if pause:
            narrow.client.unpause_pod("full")
        counts(narrow, "full")
