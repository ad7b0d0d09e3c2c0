"""Daemons and agents of different versions: hosts are upgraded while pods run."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import uuid
from pathlib import Path

import pytest

from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import HyperError
from nova_hyper.spec.pod import PodSpec, PodState
from tests.functional.daemon import Daemon, wait_for

REPO = Path(__file__).resolve().parents[2]
FROZEN = Path(__file__).parent / "frozen"
UPTIME = "while true; do cut -d' ' -f1 /proc/uptime; sleep 0.2; done"


@pytest.fixture(scope="module", params=sorted(p.name for p in FROZEN.glob("*.tar.xz")))
def older(request, tmp_path_factory):
    """The sources of an older version."""
    directory = tmp_path_factory.mktemp("older")
    with tarfile.open(FROZEN / request.param) as tar:
        tar.extractall(directory)  # ours, as reviewed as any source
    return directory


@pytest.fixture(scope="module")
def older_guest(older, guest):
    """A guest with the older agent, and today's kernel."""
    with tempfile.TemporaryDirectory(prefix="guest-", dir="/run") as name:
        directory = Path(name)
        directory.chmod(0o755)
        command = [sys.executable, "-m", "nova_hyper.cmd.hyperctl", "guest", "build"]
        command += ["--source-dir", older / "guest", "--directory", directory]
        kernel = guest / "current" / "vmlinux"
        # What it takes for a guest's source has a fragment, which a ready kernel does not need.
        (older / "guest/kernel").mkdir(exist_ok=True)
        (older / "guest/kernel/hyper.config").touch()
        subprocess.run([*command, "--kernel", kernel], check=True, cwd=REPO, capture_output=True)
        yield directory


@pytest.fixture
def run(libvirt, busybox, place):
    """Start a daemon: ``run(guest, code=None)``; a second one takes the first one's place."""
    running = []
    prefix = f"t{uuid.uuid4().hex[:6]}-"

    def start(guest, code=REPO):
        for before in running:
            before.kill()
        daemon = Daemon(place, guest, prefix)
        daemon.code = code
        running[:] = [daemon]
        daemon.start()
        if not daemon.client.images():
            daemon.ctl("load", str(busybox), "--name", "busybox")
        return daemon

    yield start
    for daemon in running:
        daemon.remove()
        assert not daemon.leftovers()


def spec(*names):
    containers = tuple(Container(n, "busybox", command=("sh", "-c", UPTIME)) for n in names)
    pod_id = str(uuid.uuid4())
    return PodSpec(pod_id, f"p-{pod_id[:8]}", containers, memory_mib=96)


def printed(daemon, pod_id):
    return daemon.client.console(pod_id, 1 << 20).decode().split()


def test_a_pod_with_an_older_agent_lives_as_any_other(run, older_guest):
    daemon = run(older_guest)
    pod = daemon.client.create_pod(spec("main"))
    daemon.client.start_pod(pod.spec.id)
    wait_for(lambda: printed(daemon, pod.spec.id), what="output")
    assert daemon.ctl("logs", pod.spec.name).stdout
    daemon.kill()
    daemon.start()
    before = len(printed(daemon, pod.spec.id))
    wait_for(lambda: len(printed(daemon, pod.spec.id)) > before, what="output after a restart")
    assert daemon.client.stop_pod(pod.spec.id, 0).state is PodState.STOPPED
    assert daemon.client.start_pod(pod.spec.id).state is PodState.RUNNING
    daemon.client.delete_pod(pod.spec.id)


def test_what_an_older_agent_cannot_do_is_refused_with_the_way_out(run, older_guest):
    daemon = run(older_guest)
    with pytest.raises(HyperError, match=r"too old .*hyperctl guest build"):
        daemon.client.create_pod(spec("one", "two"))
    assert daemon.client.pods() == ()
    pod = daemon.client.create_pod(spec("main"))
    daemon.client.start_pod(pod.spec.id)
    refused = daemon.ctl("exec", pod.spec.name, "true", check=False)
    assert refused.returncode != 0
    assert "too old" in refused.stderr
    assert daemon.client.pod(pod.spec.id).state is PodState.RUNNING


def test_an_older_daemon_runs_pods_with_the_agent_of_today(run, older, guest):
    daemon = run(guest, code=older)
    pod_id = daemon.ctl("run", "-d", "--name", "web", "busybox", "sh", "-c", UPTIME).stdout.strip()
    wait_for(lambda: daemon.ctl("logs", pod_id).stdout, what="output")
    daemon.kill()
    daemon.start()
    daemon.ctl("stop", "-t", "0", "web")
    daemon.ctl("start", "web")
    assert daemon.json("inspect", "web")["state"] == "running"


def test_a_pod_outlives_the_upgrade_of_its_daemon(run, older, older_guest, guest):
    daemon = run(older_guest, code=older)
    daemon.ctl("run", "-d", "--name", "web", "busybox", "sh", "-c", UPTIME)
    wait_for(lambda: daemon.ctl("logs", "web").stdout, what="output")
    daemon = run(guest)
    (pod,) = daemon.client.pods()
    uptimes = printed(daemon, pod.spec.id)
    wait_for(lambda: len(printed(daemon, pod.spec.id)) > len(uptimes), what="output afterwards")
    told = [float(t) for t in printed(daemon, pod.spec.id)[:-1]]
    assert told == sorted(told)  # never booted again
    assert daemon.client.stop_pod(pod.spec.id, 0).state is PodState.STOPPED
    assert daemon.client.start_pod(pod.spec.id).state is PodState.RUNNING
    assert daemon.ctl("exec", "web", "echo", "hello").stdout == "hello\n"
