"""hyperd, from its configuration to its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from nova_hyper.client import HyperClient
from nova_hyper.cmd import hyperd
from tests.unit.daemon.fakes import PATIENCE_S

REPO = Path(__file__).parents[3]


@pytest.fixture
def tmp_path():
    """A directory whose name is short enough for the agents' sockets."""
    with tempfile.TemporaryDirectory(prefix="hyperd-") as directory:
        yield Path(directory)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "hyperd.conf"
    path.write_text(
        f"[DEFAULT]\nstate_dir = {tmp_path}/state\nruntime_dir = {tmp_path}/run\n"
        "[hypervisor]\nuri = test:///default\nvirt_type = qemu\n"
        "[api]\nthreads = 4\nsocket_group = no-such-group\n"
    )
    return path


class Process:
    """A hyperd of its own, told of over NOTIFY_SOCKET as systemd would be."""

    def __init__(self, tmp_path, config):
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.settimeout(0.1)
        address = str(tmp_path / "notify")
        Path(address).unlink(missing_ok=True)
        self.notify.bind(address)
        self.client = HyperClient(str(tmp_path / "run" / "hyperd.sock"), PATIENCE_S, 0)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nova_hyper.cmd.hyperd", "--config-file", str(config)],
            cwd=REPO,
            env={**os.environ, "NOTIFY_SOCKET": address},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def told(self):
        """The next thing that systemd would be told."""
        for _ in range(30 * PATIENCE_S):
            try:
                return self.notify.recv(100).decode()
            except TimeoutError:
                assert self.process.poll() is None, self.end()
        raise AssertionError("hyperd says nothing")

    def end(self):
        """The exit code and what it has logged."""
        log, _none = self.process.communicate(timeout=PATIENCE_S * 3)
        self.notify.close()
        return self.process.returncode, log


@pytest.fixture
def start(tmp_path, config):
    started = []

    def run(conf=config):
        started.append(Process(tmp_path, conf))
        return started[-1]

    yield run
    for made in started:
        if made.process.returncode is None:
            made.process.kill()
            made.end()


def test_it_serves_until_it_is_told_to_end_and_starts_again_after_a_kill(start, config, tmp_path):
    first = start()
    assert first.told() == "READY=1"
    assert first.client.version().api == "1.0"
    assert first.client.pods() == ()
    assert first.client.host().virt_type == "qemu"

    second = start()
    code, log = second.end()
    assert code == 1
    assert f"another hyperd (process {first.process.pid}) uses {tmp_path}/state" in log
    assert "Traceback" not in log
    assert first.client.version().api == "1.0"

    other = config.with_name("other.conf")
    other.write_text(config.read_text().replace("/state\n", "/other\n"))
    third = start(other)
    code, log = third.end()
    assert code == 1
    assert "another server answers on this socket" in log
    assert "connected to libvirt" not in log  # whose domains it would take for orphans
    assert first.client.version().api == "1.0"

    first.process.kill()
    first.end()
    last = start()
    assert last.told() == "READY=1"
    assert last.client.version().api == "1.0"
    last.process.send_signal(signal.SIGTERM)
    assert last.told() == "STOPPING=1"
    code, log = last.end()
    assert code == 0
    assert "pods go on" in log
    assert not (tmp_path / "run" / "hyperd.sock").exists()


@pytest.fixture
def refused(config, monkeypatch):
    """The sentence that hyperd ends with; it must not come to have a daemon."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["hyperd", *map(str, arguments)])
        monkeypatch.setattr(signal, "signal", lambda *_args: None)
        with pytest.raises(SystemExit) as ended:
            hyperd.main()
        assert str(ended.value.code).startswith("hyperd: ")
        return str(ended.value.code)

    return run


@pytest.fixture
def no_daemon(monkeypatch):
    monkeypatch.setattr(hyperd, "Daemon", lambda _conf: pytest.fail("there is a daemon"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[api]\nthreads = many\n", "threads"),
        ("[api]\nthreads = 1\n", "threads"),
        ("[hypervisor]\nvirt_type = xen\n", "virt_type"),
        ("[hypervisor]\ndomain_prefix = a b\n", "domain_prefix"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_wrong_configuration_is_told_before_anything_is_touched(
    config, refused, no_daemon, line, words
):
    with config.open("a") as file:
        file.write(line)
    assert words in refused("--config-file", config)


def test_a_missing_configuration_is_named(tmp_path, refused, no_daemon):
    assert "none.conf" in refused("--config-file", tmp_path / "none.conf")


def test_a_state_directory_that_cannot_be_made_is_named(tmp_path, config, refused):
    (tmp_path / "state").touch()
    assert str(tmp_path / "state") in refused("--config-file", config)


def test_a_runtime_directory_with_too_long_a_path_is_named(tmp_path, config, refused, monkeypatch):
    config.write_text(config.read_text().replace("/run\n", f"/{'x' * 60}\n"))
    assert "choose a shorter runtime_dir" in refused("--config-file", config)
    assert list(tmp_path.iterdir()) == [config]


def test_options_have_the_defaults_of_the_documentation(tmp_path):
    conf = hyperd.configuration(["--config-dir", str(tmp_path)])
    assert conf.state_dir == "/var/lib/hyperd"
    assert conf.api.socket == "/run/hyperd/hyperd.sock"
    assert conf.guest.directory == "/var/lib/hyperd/guest"
    assert conf.hypervisor.domain_prefix == "hyper-"
