"""The image with an ssh server that Tempest logs in to, in a pod of a hyperd of its own."""

from __future__ import annotations

import http.server
import subprocess
import threading
import time
import uuid

import pytest

from nova_hyper.spec.container import Container
from nova_hyper.spec.nic import Nic, NicKind, Route
from nova_hyper.spec.pod import PodSpec
from tests.functional.conftest import REPO
from tests.functional.daemon import private

BRIDGE = "hyssh0"
GATEWAY = "10.77.7.1"
ADDRESS = "10.77.7.2"
METADATA = "169.254.169.254"
KEY_PATH = "/latest/meta-data/public-keys/0/openssh-key"
# What Tempest sets before each of its commands: tempest.config, ssh_shell_prologue.
PROLOGUE = "set -eu -o pipefail; PATH=$PATH:/sbin:/usr/sbin;"


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    """The file of a private key; the public one has .pub behind its name."""
    file = tmp_path_factory.mktemp("key") / "id"
    # ECDSA, as Tempest's own.
    subprocess.run(["dropbearkey", "-t", "ecdsa", "-f", file], check=True, capture_output=True)
    shown = subprocess.run(
        ["dropbearkey", "-y", "-f", file], check=True, capture_output=True, text=True
    )
    (line,) = [each for each in shown.stdout.splitlines() if each.startswith("ecdsa-")]
    file.with_suffix(".pub").write_text(line)
    return file


@pytest.fixture(scope="module")
def bridge():
    """A Linux bridge of the test's own, on which this host is gateway and metadata service."""
    for arguments in (
        ["link", "add", BRIDGE, "type", "bridge"],
        ["addr", "add", f"{GATEWAY}/24", "dev", BRIDGE],
        ["addr", "add", f"{METADATA}/32", "dev", BRIDGE],
        ["link", "set", BRIDGE, "up"],
    ):
        subprocess.run(["ip", *arguments], check=True)
    yield BRIDGE
    subprocess.run(["ip", "link", "del", BRIDGE], check=True)


@pytest.fixture(scope="module")
def metadata(bridge, key):
    """A metadata service that is busy when it is asked for the first time."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = key.with_suffix(".pub").read_bytes()
            self.send_response(503 if len(asked) == 1 else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments):
            pass

    server = http.server.ThreadingHTTPServer((METADATA, 80), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield asked
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def hyperd(libvirt, guest, busybox, tmp_path_factory):
    """A hyperd with the image ``ssh``."""
    archive = tmp_path_factory.mktemp("images") / "ssh.tar"
    subprocess.run([REPO / "tools/images/ssh.sh", archive], check=True)
    with private(guest, busybox) as daemon:
        daemon.ctl("load", str(archive), "--name", "ssh")
        yield daemon


@pytest.fixture(scope="module")
def pod(hyperd, bridge, metadata):
    """The id of a pod with the image, as small as the flavor that Tempest uses."""
    pod_id = str(uuid.uuid4())
    nic = Nic(
        mac="52:54:00:77:07:02",
        kind=NicKind.BRIDGE,
        bridge=bridge,
        device="hyssh0-pod",
        addresses=(f"{ADDRESS}/24",),
        routes=(Route("0.0.0.0/0", GATEWAY),),
    )
    hyperd.client.create_pod(
        PodSpec(
            pod_id,
            f"p-{pod_id[:8]}",
            (Container("main", "ssh"),),
            memory_mib=64,
            root_gib=1,
            hostname="ssh-pod",
            nics=(nic,),
        )
    )
    hyperd.client.start_pod(pod_id)
    wait_until_printed(hyperd, pod_id, "key pair taken")
    return pod_id


def console(hyperd, pod_id):
    return hyperd.client.console(pod_id, 1 << 16).decode().replace("\r\n", "\n")


def wait_until_printed(hyperd, pod_id, text, times=1, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while (shown := console(hyperd, pod_id)).count(text) < times:
        assert time.monotonic() < deadline, f"no {text!r} on the console:\n{shown}"
        time.sleep(0.1)


def ssh(key, command, check=True):
    """What *command* prints in the pod, given by ssh as Tempest does."""
    done = subprocess.run(
        ["dbclient", "-y", "-y", "-i", key, f"root@{ADDRESS}", f"{PROLOGUE} {command}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


def test_the_key_of_the_metadata_service_opens_the_door(pod, key, metadata):
    assert metadata == [KEY_PATH, KEY_PATH], "asked again after an error, and no more after a key"
    assert ssh(key, "id -un; hostname") == "root\nssh-pod\n"


def test_another_key_does_not(pod, tmp_path):
    other = tmp_path / "id"
    subprocess.run(["dropbearkey", "-t", "ecdsa", "-f", other], check=True, capture_output=True)
    assert ssh(other, "id -un", check=False) == ""


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("ip addr show eth0 | awk '/ether/ {print $2}'", "52:54:00:77:07:02"),
        (f"ip -o addr | awk '/{ADDRESS}/ {{print $2}}'", "eth0"),
        (f"curl -s http://{METADATA}{KEY_PATH}", "ecdsa-sha2-nistp256"),
        ("lsblk -lb --nodeps", "TYPE"),
        ("grep -c ^processor /proc/cpuinfo", "1"),
        ("cut -f1 -d. /proc/uptime", ""),
        ('sudo sh -c "date > /mnt/timestamp; sync"; cat /mnt/timestamp', "UTC"),
        (f"ping -c1 -w1 -s56 {GATEWAY}", "1 packets received"),
    ],
)
def test_what_tempest_asks_inside_a_server_is_answered(pod, key, command, says):
    assert says in ssh(key, command)


def test_the_console_has_the_lines_that_tempest_counts(hyperd, pod):
    assert len(console(hyperd, pod).splitlines()) >= 10


def test_it_ends_when_it_is_told_to_and_comes_back_with_one_key(hyperd, pod, key):
    hyperd.ctl("stop", "--time", "20", pod)
    assert "Terminated by signal" in console(hyperd, pod), "ended by itself, not by SIGKILL"
    hyperd.client.start_pod(pod)
    wait_until_printed(hyperd, pod, "key pair taken", times=2)
    assert ssh(key, "cat /root/.ssh/authorized_keys | wc -l").strip() == "1"
