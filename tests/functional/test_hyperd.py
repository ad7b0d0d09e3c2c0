"""hyperd and hyperctl without OpenStack: real libvirt, QEMU and guest."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import subprocess
import sys
import tarfile
import threading
import time
import uuid
from pathlib import Path

import pytest

from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import HyperError
from nova_hyper.spec.pod import PodSpec
from tests.functional.archives import remade
from tests.functional.daemon import Daemon, wait_for

REPO = Path(__file__).resolve().parents[2]
# HYPER_CYCLES=50 is what a release is tested with.
CYCLES = int(os.environ.get("HYPER_CYCLES", "20"))
UPTIME = "while true; do cut -d' ' -f1 /proc/uptime; sleep 0.2; done"


@pytest.fixture
def hyperd(place, libvirt, guest, busybox):
    """A fresh hyperd with the image ``busybox``; no pod, file or domain of it is left after."""
    daemon = Daemon(place, guest, f"t{uuid.uuid4().hex[:6]}-")
    daemon.start()
    daemon.ctl("load", str(busybox), "--name", "busybox")
    yield daemon
    daemon.remove()
    assert not daemon.leftovers()


def spec(name=None, script=UPTIME, **changes):
    container = Container("main", "busybox", command=("sh", "-c", script))
    pod_id = str(uuid.uuid4())
    return PodSpec(pod_id, name or f"p-{pod_id[:8]}", (container,), memory_mib=64, **changes)


def started(hyperd, **kwargs):
    wanted = spec(**kwargs)
    hyperd.client.create_pod(wanted)
    return hyperd.client.start_pod(wanted.id)


def output(hyperd, pod_id):
    """What the containers printed, all of it."""
    return hyperd.client.console(pod_id, 1 << 20).decode().replace("\r\n", "\n")


def uptime(hyperd, pod_id):
    """The guest's uptime as it last printed it."""
    lines = hyperd.client.console(pod_id, 4096).decode().split()
    return float(lines[-1]) if lines else 0.0


def test_a_session_with_every_verb(hyperd, busybox):
    assert hyperd.json("images")[0]["names"] == ["busybox"]
    ran = hyperd.ctl(
        "run", "--rm", "-m", "64", "busybox", "sh", "-c", "echo hello; exit 7", check=False
    )
    assert (ran.stdout, ran.returncode) == ("hello\n", 7)

    pod_id = hyperd.ctl("run", "-d", "--name", "web", "-m", "64", "busybox").stdout.strip()
    assert [p["spec"]["name"] for p in hyperd.json("ps")] == ["web"]
    wait_for(lambda: hyperd.ctl("logs", "web").stdout, what="output")
    shown = hyperd.json("inspect", "web")
    assert shown["id"] == pod_id
    stages = [mark["stage"] for mark in shown["timeline"]]
    for stage in ("request", "domain", "agent", "created", "started"):
        assert stage in stages
    times = [mark["at_ns"] for mark in shown["timeline"]]
    assert times == sorted(times)

    hyperd.ctl("stop", "-t", "2", "web")
    assert hyperd.json("inspect", "web")["state"] == "stopped"
    assert hyperd.domains() == set()
    hyperd.ctl("start", "web")
    refused = hyperd.ctl("rm", "web", check=False)
    assert refused.returncode == 1
    assert "rm -f" in refused.stderr
    hyperd.ctl("rm", "-f", "web")
    assert hyperd.json("ps", "-a") == []

    lines = hyperd.ctl("events", "--after", "0", "--no-follow", "-o", "json").stdout.splitlines()
    events = [json.loads(line) for line in lines]
    kinds = [e["kind"] for e in events if e["pod_id"] == pod_id]
    assert kinds == ["created", "started", "stopped", "created", "started", "deleted"]
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))

    info = hyperd.json("info")
    assert info["virt_type"] == "qemu"
    assert info["guest_kernel"]
    assert hyperd.json("version")["api"].startswith("1.")
    hyperd.ctl("rmi", "busybox")
    assert hyperd.json("images") == []


def test_a_disk_keeps_what_was_written_over_a_stop_and_memory_does_not(hyperd):
    script = "cat /kept 2>/dev/null; echo again >> /kept; sync; echo up; exec sleep 1000"
    for root_gib, expected in ((1, "up\nagain\nup\n"), (0, "up\nup\n")):
        pod = started(hyperd, script=script, root_gib=root_gib)
        for times in (1, 2):
            wait_for(lambda n=times, p=pod: output(hyperd, p.spec.id).count("up\n") == n)
            hyperd.client.stop_pod(pod.spec.id, grace_s=0)
            if times == 1:
                hyperd.client.start_pod(pod.spec.id)
        assert output(hyperd, pod.spec.id) == expected


def test_an_exit_is_an_event_and_a_client_that_was_away_gets_it(hyperd):
    before = hyperd.client.events(-1, 0).last
    pod = started(hyperd, script="sleep 0.5; exit 3")
    wait_for(lambda: hyperd.client.pod(pod.spec.id).state == "stopped", what="the exit")
    hyperd.kill()
    hyperd.start()
    events = [e for e in hyperd.client.events(before, 0).events if e.pod_id == pod.spec.id]
    assert [e.kind for e in events] == ["created", "started", "exited"]
    assert events[-1].exit_code == 3


def test_an_exit_while_the_daemon_is_away_is_told_when_it_is_back(hyperd):
    pod = started(hyperd, script="sleep 2; exit 5")
    hyperd.kill()
    time.sleep(4)
    hyperd.start()
    wait_for(lambda: hyperd.client.pod(pod.spec.id).state == "stopped", what="the exit")
    assert hyperd.client.pod(pod.spec.id).exit_code == 5


def test_a_killed_qemu_is_a_crash(hyperd):
    pod = started(hyperd)
    os.kill(pod.qemu_pid, 9)
    wait_for(lambda: hyperd.client.pod(pod.spec.id).state == "crashed", what="the crash")
    assert hyperd.client.events(0, 0).events[-1].kind == "crashed"
    hyperd.client.start_pod(pod.spec.id)
    assert hyperd.client.pod(pod.spec.id).state == "running"


def test_a_running_pod_survives_a_kill_of_the_daemon(hyperd):
    pod = started(hyperd)
    wait_for(lambda: uptime(hyperd, pod.spec.id) > 0)
    before = uptime(hyperd, pod.spec.id)
    hyperd.kill()
    hyperd.start()
    wait_for(lambda: uptime(hyperd, pod.spec.id) > before + 1, what="more uptime")
    assert hyperd.client.pod(pod.spec.id).qemu_pid == pod.qemu_pid
    assert hyperd.client.stop_pod(pod.spec.id, grace_s=1).state == "stopped"
    assert hyperd.client.start_pod(pod.spec.id).state == "running"


def test_two_calls_for_one_pod_make_one(hyperd):
    wanted = spec()
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(hyperd.client.create_pod(wanted)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [pod.spec.id for pod in found] == [wanted.id] * 2
    assert len(hyperd.domains()) == 1


def test_a_delete_ends_a_create_that_is_under_way(hyperd):
    wanted = spec()
    failures = []

    def create():
        try:
            hyperd.client.create_pod(wanted)
        except HyperError as exc:
            failures.append(exc)

    thread = threading.Thread(target=create)
    thread.start()
    wait_for(hyperd.domains, what="the domain")
    hyperd.client.delete_pod(wanted.id)
    thread.join(30)
    assert failures
    assert not hyperd.leftovers()


def test_kills_at_random_moments_of_creates_leave_nothing_half_made(hyperd):
    moments = random.Random(2026)  # seeded: a failure can be repeated
    for _ in range(20):
        wanted = spec()
        hyperd.client._transport._connect_timeout = 0.0

        def create(wanted=wanted):
            with contextlib.suppress(HyperError):
                hyperd.client.create_pod(wanted)

        thread = threading.Thread(target=create)
        thread.start()
        time.sleep(moments.uniform(0, 3.0))
        hyperd.kill()
        thread.join()
        hyperd.client._transport._connect_timeout = 20.0
        hyperd.start()
        wait_for(
            lambda: {p.state.value for p in hyperd.client.pods()} <= {"ready"}, what="agreement"
        )
        whole = {hyperd.prefix + p.spec.id for p in hyperd.client.pods()}
        assert hyperd.domains() == whole
        for pod in hyperd.client.pods():
            assert hyperd.client.start_pod(pod.spec.id).state == "running"
            hyperd.client.delete_pod(pod.spec.id)
        assert not hyperd.leftovers()


def test_many_cycles_make_nothing_grow(hyperd):
    def cycle():
        pod = started(hyperd)
        hyperd.client.delete_pod(pod.spec.id)

    for _ in range(5):  # caches and thread pools fill up first
        cycle()
    files, memory = hyperd.open_files(), hyperd.rss_kib()
    loops = subprocess.run(["losetup", "-l"], capture_output=True, text=True, check=True).stdout
    for _ in range(CYCLES):
        cycle()
    assert not hyperd.leftovers()
    assert hyperd.open_files() <= files + 2
    assert hyperd.rss_kib() <= memory * 1.1
    after = subprocess.run(["losetup", "-l"], capture_output=True, text=True, check=True).stdout
    assert after == loops


def _no_command(config):
    config["config"].pop("Cmd", None)
    config["config"].pop("Entrypoint", None)


def _other_arch(config):
    config["architecture"] = "riscv64"


def _refused(hyperd, *args, words):
    """Run hyperctl and expect one sentence with *words*."""
    done = hyperd.ctl(*args, check=False)
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("hyperctl: ")
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert re.search(words, done.stderr), done.stderr
    assert hyperd.client.pods() == ()
    assert not hyperd.leftovers()


def test_bad_archives_are_refused_with_a_sentence(hyperd, busybox, tmp_path):
    text = tmp_path / "text.tar"
    text.write_text("this is no archive\n" * 1000)
    _refused(hyperd, "load", str(text), words="not a docker or OCI archive")
    cut = tmp_path / "cut.tar"
    cut.write_bytes(busybox.read_bytes()[: busybox.stat().st_size // 2])
    _refused(hyperd, "load", str(cut), words="truncated|ends|incomplete")
    arch = tmp_path / "arch.tar"
    remade(busybox, arch, _other_arch)
    _refused(hyperd, "load", str(arch), words="riscv64")
    _refused(hyperd, "load", str(tmp_path / "absent.tar"), words="No such file")
    assert [i.names for i in hyperd.client.images()] == [("busybox",)]


def test_pods_that_cannot_work_are_refused_with_a_sentence(hyperd, busybox, tmp_path):
    silent = tmp_path / "silent.tar"
    remade(busybox, silent, _no_command)
    hyperd.ctl("load", str(silent))
    for args, words in (
        (("silent",), "neither Entrypoint nor Cmd"),
        (("nosuch",), "nosuch"),
        (("-m", "16", "busybox"), "16 MiB .* less than the 32 MiB"),
        (("-m", "99999999", "busybox"), "more than the"),
        (("busybox", "nosuchcommand"), 'command "nosuchcommand" not found'),
        (("-u", "nobody2", "busybox"), 'user "nobody2" is not'),
        (("--bridge", "nosuchbridge", "busybox"), "network interface.*nosuchbridge"),
    ):
        _refused(hyperd, "run", "-d", *args, words=words)


def test_an_image_larger_than_the_disk_is_refused(hyperd, busybox, tmp_path):
    zeros = tarfile.TarInfo("zeros")
    zeros.size = 1100 * 1024 * 1024
    layer = zeros.tobuf() + bytes(zeros.size + 1024)
    remade(busybox, tmp_path / "big.tar", top=layer)
    hyperd.ctl("load", str(tmp_path / "big.tar"))
    _refused(hyperd, "run", "-d", "--root", "1", "big", words="unpacks to .* more than .* 1 GiB")


def test_without_a_guest_the_sentence_says_how_to_make_one(libvirt, busybox, place):
    daemon = Daemon(place, place / "no-guest", f"t{uuid.uuid4().hex[:6]}-")
    daemon.start()
    try:
        daemon.ctl("load", str(busybox), "--name", "busybox")
        _refused(daemon, "run", "-d", "busybox", words="hyperctl guest build")
    finally:
        daemon.remove()


def test_a_full_disk_is_named_and_leaves_nothing(libvirt, guest, busybox, place):
    small = place / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", small], check=True)
    daemon = Daemon(small, guest, f"t{uuid.uuid4().hex[:6]}-")
    try:
        daemon.start()
        done = daemon.ctl("load", str(busybox), check=False)
        assert done.returncode == 1
        assert "room" in done.stderr or "full" in done.stderr
        assert daemon.client.images() == ()
        assert not daemon.leftovers()
    finally:
        daemon.remove()
        subprocess.run(["umount", "-l", small], check=True)


def test_a_second_daemon_on_the_same_state_is_refused(hyperd):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "nova_hyper.cmd.hyperd"),
            *("--config-file", str(hyperd.state.parent / "hyperd.conf")),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode != 0
    assert f"process {hyperd.pid}" in done.stderr
    hyperd.client.host()


def test_a_stopping_daemon_leaves_pods_running(hyperd):
    pod = started(hyperd)
    assert hyperd.stop() == 0
    assert Path(f"/proc/{pod.qemu_pid}").exists()
    hyperd.start()
    assert hyperd.client.pod(pod.spec.id).state == "running"
