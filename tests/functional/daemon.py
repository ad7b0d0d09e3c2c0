"""A hyperd of a test's own: state, socket and domains apart from the cloud's."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from nova_hyper.client import HyperClient
from nova_hyper.spec.errors import HyperError

_START_S = 30.0
_STOP_S = 20.0


class Daemon:
    """Starts, kills and asks one hyperd below *directory*.

    *guest* is a directory that ``hyperctl guest build`` has filled; *prefix*
    keeps its domains apart from those of other daemons on the same libvirtd.
    ``code`` is the directory whose ``nova_hyper`` runs: that of these tests, or
    one of another version.
    """

    code = Path(__file__).resolve().parents[2]

    def __init__(self, directory: Path, guest: Path, prefix: str, **options: str) -> None:
        self.state = directory / "state"
        self.run = directory / "run"
        self.prefix = prefix
        self.log = directory / "hyperd.log"
        self.socket = self.run / "hyperd.sock"
        self._config = directory / "hyperd.conf"
        self._process: subprocess.Popen[bytes] | None = None
        directory.chmod(0o755)
        text = f"[DEFAULT]\nstate_dir = {self.state}\nruntime_dir = {self.run}\ndebug = true\n"
        text += f"[guest]\ndirectory = {guest}\n"
        text += f"[hypervisor]\nvirt_type = qemu\ndomain_prefix = {prefix}\n"
        for option, value in options.items():
            group, _, name = option.partition("__")
            text += f"[{group}]\n{name} = {value}\n"
        self._config.write_text(text)
        self.client = HyperClient(str(self.socket), request_timeout=120, connect_timeout=20)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it serves and has looked at everything."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "nova_hyper.cmd.hyperd", "--config-file", self._config],
                stdout=log,
                stderr=log,
                cwd=self.code,
            )
        deadline = time.monotonic() + _START_S
        while True:
            try:
                self.client.host()
                return
            except HyperError:
                assert time.monotonic() < deadline, self.log.read_text()[-3000:]
                assert self._process.poll() is None, self.log.read_text()[-3000:]
                time.sleep(0.1)

    def kill(self) -> None:
        """Kill -9."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        """End it as an init system does; return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(_STOP_S)

    def remove(self) -> None:
        """Delete all pods and end it, whatever state it is in."""
        if self._process is None:
            return
        if self._process.poll() is not None:
            self.start()
        for pod in self.client.pods():
            self.client.delete_pod(pod.spec.id)
        self.stop()

    def ctl(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run hyperctl with *args*."""
        done = subprocess.run(
            [sys.executable, "-m", "nova_hyper.cmd.hyperctl", *args],
            env={**os.environ, "HYPERD_SOCKET": str(self.socket)},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
            cwd=self.code,
        )
        assert not check or done.returncode == 0, f"{args}: {done.stderr}"
        return done

    def json(self, *args: str):
        """Return what hyperctl prints as JSON."""
        return json.loads(self.ctl(*args, "-o", "json").stdout)

    def domains(self) -> set[str]:
        """Return the names of its domains, as libvirt has them."""
        listed = subprocess.run(
            ["virsh", "-c", "qemu:///system", "list", "--all", "--name"],
            capture_output=True,
            text=True,
            check=True,
        )
        return {name for name in listed.stdout.split() if name.startswith(self.prefix)}

    def leftovers(self) -> dict[str, list[str]]:
        """Return what there is of pods, and half-made things, by kind; empty when clean."""
        images = self.state / "images"
        found = {
            "domains": sorted(self.domains()),
            "pod files": sorted(str(p) for p in (self.state / "pods").rglob("*")),
            "sockets": sorted(str(p) for p in (self.run / "agents").iterdir()),
            "temporary files": sorted(
                str(p)
                for p in images.rglob("*")
                if "tmp" in str(p.relative_to(images)) and p.is_file()
            ),
            "qemu": qemu_processes(self.prefix),
        }
        return {kind: names for kind, names in found.items() if names}

    def open_files(self) -> int:
        """Return how many files the daemon has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def rss_kib(self) -> int:
        """Return the daemon's resident memory in KiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])


@contextlib.contextmanager
def private(guest: Path, busybox: Path, **options: str) -> Iterator[Daemon]:
    """Run a hyperd with the image ``busybox``; no pod, file or domain of it is left after."""
    # QEMU's user can pass this directory, and paths of sockets in it are short enough.
    with tempfile.TemporaryDirectory(prefix="hyperd-", dir="/run") as directory:
        daemon = Daemon(Path(directory), guest, f"t{uuid.uuid4().hex[:6]}-", **options)
        daemon.start()
        daemon.ctl("load", str(busybox), "--name", "busybox")
        yield daemon
        daemon.remove()
        assert not daemon.leftovers()


def qemu_processes(prefix: str) -> list[str]:
    """Return the pids of QEMUs whose domain's name begins with *prefix*."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if b"qemu-system" in command and f"guest={prefix}".encode() in command:
            found.append(process.name)
    return found


def wait_for(condition, timeout_s: float = 30.0, what: str = "it"):
    """Return the first true value of *condition*, asked again and again."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen in {timeout_s:g} s"
        time.sleep(0.05)
    return value
