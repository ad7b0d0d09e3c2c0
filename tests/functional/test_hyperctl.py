"""What a container user does with hyperctl, in real pods: terminals, floods, breaks, all verbs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tarfile
import termios
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nova_hyper.spec.container import Container
from nova_hyper.spec.pod import PodSpec, RestartPolicy
from tests.functional.daemon import private, wait_for

COUNT = "trap 'exit 3' TERM; echo begun; n=0; while true; do n=$((n+1)); echo $n; sleep 0.2; done"
MIB = 1 << 20


@pytest.fixture(scope="module")
def hyperd(libvirt, guest, busybox):
    """A hyperd with the image ``busybox``; no pod, file or domain of it is left after."""
    with private(guest, busybox) as daemon:
        yield daemon


def make(hyperd, name, script, **changes):
    container = Container("main", "busybox", command=("sh", "-c", script))
    wanted = PodSpec(str(uuid.uuid4()), name, (container,), memory_mib=64, **changes)
    hyperd.client.create_pod(wanted)
    return hyperd.client.start_pod(wanted.id)


@pytest.fixture(scope="module")
def web(hyperd):
    """A pod that only sleeps; what tests do in it they undo."""
    return make(hyperd, "web", "trap 'exit 3' TERM; while true; do sleep 1; done")


@pytest.fixture
def counter(hyperd):
    """A pod that counts, and whose container is started again whenever it ends."""
    pod = make(hyperd, "counter", COUNT, restart_policy=RestartPolicy.ALWAYS)
    yield pod
    hyperd.client.delete_pod(pod.spec.id)


def command(hyperd, *args):
    """hyperctl with *args*, and its environment."""
    argv = [sys.executable, "-m", "nova_hyper.cmd.hyperctl", *args]
    return argv, {**os.environ, "HYPERD_SOCKET": str(hyperd.socket)}


@contextlib.contextmanager
def running(hyperd, *args, **options):
    """A hyperctl that goes on while the test does something else."""
    argv, environment = command(hyperd, *args)
    process = subprocess.Popen(
        argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def processes(hyperd, pod="web"):
    """The command lines in a pod's container."""
    return [p["command"] for p in hyperd.json("top", pod)["processes"]]


def at_rest(hyperd):
    """The daemon's threads and files, once nothing lasts any more."""
    tasks = Path(f"/proc/{hyperd.pid}/task")

    def names():
        return [(task / "comm").read_text().strip() for task in tasks.iterdir()]

    fds = [hyperd.open_files()]

    def quiet():
        fds.append(hyperd.open_files())
        time.sleep(0.2)
        return fds[-1] == fds[-2]

    wait_for(quiet, what="quiet")
    return len(names()), fds[-1]


class Screen:
    """A hyperctl on a pseudo-terminal, and what it shows."""

    def __init__(self, hyperd, *args, rows=24, cols=80):
        argv, environment = command(hyperd, *args)
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(argv[0], argv, environment)
        self.shown = b""
        self.resize(rows, cols)

    def resize(self, rows, cols):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def type(self, text):
        os.write(self.fd, text.encode())

    def until(self, pattern, timeout_s=20.0):
        """Read until *pattern* has come; what is before it and itself is gone then."""
        deadline = time.monotonic() + timeout_s
        while not (match := re.search(pattern.encode(), self.shown)):
            assert time.monotonic() < deadline, f"no {pattern!r} in {self.shown!r}"
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.shown += os.read(self.fd, 4096)
                except OSError as exc:  # the other end is closed
                    raise AssertionError(f"no {pattern!r} in {self.shown!r}") from exc
        self.shown = self.shown[match.end() :]
        return match

    def end(self):
        """Return its exit code, once it has ended by itself."""
        with contextlib.suppress(OSError):
            while os.read(self.fd, 4096):
                pass
        _pid, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


# exec


def test_a_shell_has_a_real_terminal(hyperd, web):
    screen = Screen(hyperd, "exec", "-it", "web", "sh", rows=30, cols=90)
    screen.until("# ")
    screen.type("stty size; tty; echo $TERM\n")
    screen.until(r"30 90\r\n/dev/pts/\d+\r\nxterm\r\n")
    screen.resize(50, 132)
    # The program sees the new size a moment later.
    screen.type("while [ \"$(stty size)\" != '50 132' ]; do sleep 0.1; done; echo resi''zed\n")
    screen.until("resized")
    screen.type("sleep 100\n")
    screen.until("sleep 100")
    time.sleep(0.5)
    screen.type("\x03")  # Ctrl-C is the command's, not hyperctl's
    screen.until("# ")
    screen.type("exit 5\n")
    assert screen.end() == 5


def test_a_command_has_streams_environment_user_and_exit_code(hyperd, web):
    done = hyperd.ctl("exec", "web", "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)
    script = 'echo "$A $(pwd) $(id -u)"'
    done = hyperd.ctl("exec", "-e", "A=b c", "-w", "/tmp", "-u", "1:1", "web", "sh", "-c", script)
    assert done.stdout == "b c /tmp 1\n"
    killed = hyperd.ctl("exec", "web", "sh", "-c", "kill -9 $$", check=False)
    assert killed.returncode == 137
    missing = hyperd.ctl("exec", "web", "nothing-of-the-sort", check=False)
    assert missing.returncode == 125
    assert '"nothing-of-the-sort" not found' in missing.stderr
    nobody = hyperd.ctl("exec", "-c", "db", "web", "true", check=False)
    assert "pod web has no container db; it has main" in nobody.stderr


def test_input_goes_through_whole(hyperd, web):
    data = os.urandom(3 * MIB)
    argv, environment = command(hyperd, "exec", "-i", "web", "sha256sum")
    done = subprocess.run(argv, env=environment, input=data, capture_output=True, check=True)
    local = subprocess.run(["sha256sum"], input=data, capture_output=True, check=True)
    assert done.stdout == local.stdout


def test_forty_commands_at_once_are_forty_answers(hyperd, web):
    other = make(hyperd, "other", "while true; do sleep 1; done")
    try:

        def run(number):
            pod = ("web", "other")[number % 2]
            session = hyperd.client.exec(
                pod, ["sh", "-c", f"echo {number}; sleep 1; exit {number}"]
            )
            with contextlib.closing(session):
                return b"".join(data for _to, data in session), session.exit_code

        with ThreadPoolExecutor(40) as pool:
            answers = list(pool.map(run, range(40)))
        assert answers == [(b"%d\n" % number, number) for number in range(40)]
    finally:
        hyperd.client.delete_pod(other.spec.id)


def test_nothing_is_left_of_a_client_that_is_killed(hyperd, web):
    hyperd.ctl("exec", "web", "true")
    before = at_rest(hyperd)
    with running(hyperd, "exec", "web", "sleep", "9999") as client:
        wait_for(lambda: "sleep 9999" in processes(hyperd), what="the command")
        with running(hyperd, "logs", "-f", "web") as follower:
            time.sleep(0.5)
            follower.kill()
        client.kill()
    wait_for(lambda: "sleep 9999" not in processes(hyperd), what="the command's end")
    wait_for(lambda: at_rest(hyperd) == before, what="the daemon at rest")


def test_a_command_ends_with_hyperd_and_says_so(hyperd, web):
    with running(hyperd, "exec", "web", "sleep", "8888") as client:
        wait_for(lambda: "sleep 8888" in processes(hyperd), what="the command")
        hyperd.kill()
        assert client.wait(20) == 125
        assert b"the connection to hyperd broke" in client.stderr.read()
        hyperd.start()
    wait_for(lambda: "sleep 8888" not in processes(hyperd), what="the command's end")
    assert hyperd.ctl("exec", "web", "echo", "again").stdout == "again\n"


# attach


def test_attach_shows_what_comes_and_its_end_leaves_the_container(hyperd, counter):
    with running(hyperd, "attach", "counter") as client:
        first = client.stdout.readline()
        assert client.stdout.readline() == b"%d\n" % (int(first) + 1)
        client.kill()
    assert hyperd.client.pod("counter").state == "running"


# logs


def numbers(text):
    return [int(line) for line in text.splitlines() if line.strip().isdigit()]


def test_followers_see_every_line_once_over_all_restarts(hyperd, counter):
    """Two of them; the container ends and begins again, and hyperd is killed and comes back."""
    with (
        running(hyperd, "logs", "-f", "counter") as one,
        running(hyperd, "logs", "-f", "-t", "counter") as two,
    ):
        wait_for(lambda: len(numbers(hyperd.ctl("logs", "counter").stdout)) > 5, what="lines")
        hyperd.ctl("kill", "-s", "TERM", "counter")
        wait_for(
            lambda: hyperd.ctl("logs", "counter").stdout.count("begun") == 2,
            timeout_s=60,
            what="the container's second run",
        )
        hyperd.kill()
        time.sleep(1)
        hyperd.start()
        ran = len(numbers(hyperd.ctl("logs", "counter").stdout))
        wait_for(lambda: len(numbers(hyperd.ctl("logs", "counter").stdout)) > ran + 5)
        hyperd.ctl("stop", "-f", "counter")
        shown, shown_too = (client.communicate(timeout=30)[0].decode() for client in (one, two))
    whole = hyperd.ctl("logs", "counter").stdout
    assert shown == whole
    assert re.sub(r"(?m)^\S+Z ", "", shown_too) == whole
    first, second = (numbers(run) for run in whole.split("begun\n")[1:])
    assert first == list(range(1, len(first) + 1))
    assert second == list(range(1, len(second) + 1))


def test_logs_are_cut_to_what_is_wanted(hyperd, web):
    script = "echo one; sleep 1; echo two; echo oops >&2; printf three; sleep 9999"
    pod = make(hyperd, "speaker", script)
    try:
        wait_for(lambda: hyperd.ctl("logs", "speaker").stdout.endswith("two\n"), what="output")
        done = hyperd.ctl("logs", "speaker")
        assert (done.stdout, done.stderr) == ("one\ntwo\n", "oops\n")
        assert hyperd.ctl("logs", "--tail", "2", "speaker").stdout == "two\n"
        lines = hyperd.ctl("logs", "-o", "json", "speaker").stdout.splitlines()
        records = [json.loads(line) for line in lines]
        assert [r["text"] for r in records] == ["one", "two", "oops"]
        assert {r["container"] for r in records} == {"main"}
        since = hyperd.ctl("logs", "--since", records[1]["time"], "speaker").stdout
        assert since == "two\n"
        assert hyperd.ctl("logs", "--since", "1s", "-c", "db", "speaker", check=False).returncode
    finally:
        hyperd.client.delete_pod(pod.spec.id)


def test_a_flood_neither_fills_the_disk_nor_stalls_anything(hyperd, web):
    pod = make(hyperd, "flood", "yes 0123456789012345678901234567890123456789")
    try:
        directory = hyperd.state / "pods" / pod.spec.id
        log = directory / "container.log"
        wait_for(log.with_name("container.log.0").exists, timeout_s=90, what="a rotation")
        before = hyperd.rss_kib()
        with (
            running(hyperd, "logs", "-f", "flood") as reader,
            running(hyperd, "logs", "-f", "flood") as stuck,
        ):
            # One reads and one does not; both leave the others alone.
            read = sum(len(reader.stdout.readline()) for _ in range(100_000))
            assert read > 3 * MIB
            assert hyperd.ctl("exec", "web", "echo", "well").stdout == "well\n"
            assert hyperd.ctl("exec", "flood", "echo", "well").stdout == "well\n"
            assert stuck.poll() is None
            assert hyperd.rss_kib() < before + 16 * 1024
        assert sum(path.stat().st_size for path in directory.glob("container.log*")) < 16 * MIB
    finally:
        hyperd.client.delete_pod(pod.spec.id)


# cp


def test_a_directory_goes_in_and_comes_out(hyperd, web, tmp_path):
    site = tmp_path / "site"
    (site / "deep" / "er").mkdir(parents=True)
    (site / "deep" / "er" / "data").write_bytes(os.urandom(2 * MIB))
    (site / "run").write_text("#!/bin/sh\necho ran\n")
    (site / "run").chmod(0o755)
    (site / "inside").symlink_to("deep/er/data")
    (site / "outside").symlink_to("/etc/passwd")
    hyperd.ctl("cp", str(site), "web:/srv")
    assert hyperd.ctl("exec", "web", "/srv/run").stdout == "ran\n"
    assert hyperd.ctl("exec", "web", "readlink", "/srv/outside").stdout == "/etc/passwd\n"
    owner = hyperd.ctl("exec", "web", "stat", "-c", "%u:%g %a", "/srv/run").stdout
    assert owner == "0:0 755\n"
    # There is one now, so the next copy goes into it.
    hyperd.ctl("cp", str(site / "run"), "web:/srv/deep")
    assert hyperd.ctl("exec", "web", "/srv/deep/run").stdout == "ran\n"

    out = tmp_path / "out"
    back = hyperd.ctl("cp", "web:/srv", str(out), check=False)
    assert back.returncode == 1
    assert "srv/outside is not copied: it is a link to /etc/passwd" in back.stderr
    assert not (out / "outside").is_symlink()
    assert os.readlink(out / "inside") == "deep/er/data"
    assert (out / "deep/er/data").read_bytes() == (site / "deep/er/data").read_bytes()
    assert (out / "run").stat().st_mode & 0o777 == 0o755
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []

    hyperd.ctl("cp", "web:/etc/hostname", str(tmp_path / "name"))
    assert (tmp_path / "name").read_text() == "web\n"
    # The content alone, as with cp; the guest calls the directory "etc".
    (tmp_path / "content").mkdir()
    hyperd.ctl("cp", "web:/etc/.", str(tmp_path / "content"), check=False)
    assert (tmp_path / "content/hostname").read_text() == "web\n"
    gone = hyperd.ctl("cp", "web:/no/such", str(tmp_path), check=False)
    assert gone.returncode == 1
    assert gone.stderr.count("\n") == 1
    hyperd.ctl("exec", "web", "rm", "-r", "/srv")


def test_a_tar_goes_in_and_comes_out(hyperd, web, tmp_path):
    (tmp_path / "a").write_text("content\n")
    argv, environment = command(hyperd, "cp", "-", "web:/tmp")
    made = subprocess.run(["tar", "c", "-C", tmp_path, "a"], capture_output=True, check=True)
    subprocess.run(argv, env=environment, input=made.stdout, check=True)
    argv, environment = command(hyperd, "cp", "web:/tmp/a", "-")
    out = subprocess.run(argv, env=environment, capture_output=True, check=True)
    (tmp_path / "out.tar").write_bytes(out.stdout)
    with tarfile.open(tmp_path / "out.tar") as tar:
        assert tar.extractfile("a").read() == b"content\n"


# The other verbs


def test_a_pod_is_measured(hyperd, web):
    (pod,) = hyperd.json("stats", "--no-stream", "web")
    (container,) = pod["containers"]
    assert pod["pod"] == "web"
    assert container["memory_bytes"] > 0 and container["pids"] >= 1
    assert 0 <= pod["cpu_percent"]["main"] <= 200
    table = hyperd.ctl("stats", "--no-stream", "web").stdout.splitlines()
    assert table[0].split("  ")[0] == "POD" and table[1].startswith("web")
    first = hyperd.json("top", "web")["processes"][0]
    assert (first["pid"], first["user"]) == (1, "root")
    assert hyperd.ctl("top", "web").stdout.startswith("PID ")
    screen = Screen(hyperd, "stats", "--interval", "0.2")
    screen.until("web +main")
    screen.until("web +main")
    os.kill(screen.pid, signal.SIGINT)
    assert screen.end() == 130


def test_a_session_with_the_verbs_of_a_pods_life(hyperd, web):
    hyperd.ctl("run", "-d", "--name", "job", "-m", "64", "busybox", "sh", "-c", "sleep 2; exit 4")
    assert hyperd.ctl("wait", "job").stdout == "4\n"
    hyperd.ctl("restart", "job")
    assert hyperd.json("inspect", "job")["state"] == "running"
    hyperd.ctl("kill", "job")
    assert hyperd.ctl("wait", "job").stdout == "137\n"
    refused = hyperd.ctl("exec", "job", "true", check=False)
    assert "pod job does not run" in refused.stderr
    hyperd.ctl("stop", "job")
    several = hyperd.ctl("rm", "web", "none", "job", check=False)
    assert (several.returncode, several.stdout) == (1, "job\n")
    assert several.stderr.count("\n") == 2
    hyperd.ctl("run", "-d", "--name", "job", "-m", "64", "busybox", "true")
    hyperd.ctl("wait", "job")
    assert hyperd.ctl("prune", "-f").stdout == "job\n"
    assert [p["spec"]["name"] for p in hyperd.json("ps", "-a")] == ["web"]

    lines = hyperd.ctl("events", "--since", "10m", "--no-follow", "-o", "json", "job").stdout
    kinds = [json.loads(line)["kind"] for line in lines.splitlines()]
    assert kinds[:3] == ["created", "started", "exited"]
    assert kinds[-1] == "deleted"
    assert hyperd.json("info")["pods"] == 1
    assert set(hyperd.json("version")) == {"hyperctl", "api", "hyperd"}


def test_a_shell_completes_verbs_and_pods(hyperd, web):
    script = hyperd.ctl("completion", "bash").stdout
    assert "hyperctl" in script
    environment = {
        **os.environ,
        "HYPERD_SOCKET": str(hyperd.socket),
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "COMP_LINE": "hyperctl exec w",
        "COMP_POINT": "15",
    }
    run = "import sys; sys.argv=['hyperctl']; from nova_hyper.cmd.hyperctl import main; main()"
    argv = ["bash", "-c", f'exec 8>&1 9>&2; exec "{sys.executable}" -c "{run}"']
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split("\x0b") == ["web"]
