"""Interactive consoles of pods on a real hyperd, over plain TCP as nova-serialproxy uses them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import uuid

import pytest

from nova_hyper.spec.console import ConsoleKind
from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import Conflict, HyperError, PodNotFound, PortsExhausted
from nova_hyper.spec.pod import PodSpec
from tests.functional.daemon import private, wait_for
from tests.functional.websocket import ConsoleClient

LONG_S = 60.0
PORTS = 3
IDLE = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done")
# What is typed comes back in capitals: a shell would not do that.
ECHO = ("sh", "-c", "while read line; do echo heard $line | tr a-z A-Z; done; echo end of input")


class Client:
    """One connection, as the proxy makes it."""

    def __init__(self, where):
        self.sock = socket.create_connection((where.host, where.port), timeout=LONG_S)
        self.got = b""

    def type(self, text):
        self.sock.sendall(text.encode())

    def sees(self, text):
        """Read until *text* has come; return all that came before it."""
        while text.encode() not in self.got:
            data = self.sock.recv(4096)
            assert data, f"hung up on after {self.got!r}"
            self.got += data
        before, _, self.got = self.got.partition(text.encode())
        return before

    def rest(self):
        """Read to the end; a reset is one too."""
        with contextlib.suppress(ConnectionResetError):
            while data := self.sock.recv(4096):
                self.got += data
        return self.got.decode(errors="replace")

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.sock.close()


@pytest.fixture(scope="module")
def hyperd(libvirt, guest, busybox):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        first = min(probe.getsockname()[1], 65000)
    with private(
        guest, busybox, console__port_range=f"{first}:{first + PORTS - 1}", api__threads="8"
    ) as daemon:
        yield daemon


@pytest.fixture
def pod(hyperd):
    """``pod(*argv, **fields)``: the id of a pod that runs it, until the test ends."""
    made = []

    def make(*argv, **fields):
        name = f"c{uuid.uuid4().hex[:8]}"
        container = Container("main", "busybox", command=argv or IDLE, **fields)
        spec = PodSpec(str(uuid.uuid4()), name, (container,), memory_mib=64)
        made.append(spec.id)
        hyperd.client.create_pod(spec)
        hyperd.client.start_pod(spec.id)
        return spec.id

    yield make
    for pod_id in made:
        with contextlib.suppress(PodNotFound):
            hyperd.client.delete_pod(pod_id)


def refused(where):
    """Tell whether nobody listens there."""
    try:
        with socket.create_connection((where.host, where.port), timeout=5):
            return False
    except ConnectionRefusedError:
        return True


def test_a_container_without_terminal_has_a_shell_beside_it(hyperd, pod):
    pod_id = pod()
    with Client(hyperd.client.open_console(pod_id)) as client:
        client.type("echo $((6*7)) $TERM; tty; cat /proc/1/comm\r")
        client.sees("\n42 xterm\r\n")
        client.sees("/dev/pts/")
        client.sees("\nsh\r\n")
        client.type("exit\r")
        assert "[this session has ended]" in client.rest()
    assert hyperd.client.pod(pod_id).state == "running"


def test_a_container_with_terminal_is_typed_into_itself(hyperd, pod):
    pod_id = pod(*ECHO, stdin=True, tty=True)
    where = hyperd.client.open_console(pod_id)
    with Client(where) as client:
        client.type("something\r")
        client.sees("HEARD SOMETHING\r\n")
    # Hanging up ended nothing, and there is a shell for whoever asks for one.
    with Client(hyperd.client.open_console(pod_id, ConsoleKind.SHELL)) as client:
        client.type("echo $((6*7))\r")
        client.sees("\n42\r\n")
    with Client(hyperd.client.open_console(pod_id)) as client:
        client.type("more\r")
        client.sees("HEARD MORE\r\n")
        client.type("\x04")
        client.sees("end of input")
        client.rest()
    wait_for(lambda: refused(where), what="the port's end with that of the container")


def test_a_container_without_input_can_be_watched(hyperd, pod):
    pod_id = pod("sh", "-c", "while :; do echo tick; sleep 0.2; done")
    with Client(hyperd.client.open_console(pod_id, ConsoleKind.ATTACH)) as client:
        client.sees("tick")
        client.type("nobody hears that\r")
        client.sees("tick")
        client.sees("tick")


def test_several_at_once_have_a_shell_each_and_one_too_many_is_told(hyperd, pod):
    where = hyperd.client.open_console(pod())
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(where)) for _ in range(4)]
        for number, client in enumerate(clients):
            client.type(f"me={number}; echo I am $me\r")
        for number, client in enumerate(clients):
            client.sees(f"\nI am {number}\r\n")
        with Client(where) as fifth:
            assert "too many connections" in fifth.rest()
        clients[0].sock.close()
        wait_for(lambda: accepted(where), what="room for another one")


def accepted(where):
    with Client(where) as client:
        client.type("echo $((6*7))\r")
        try:
            client.sees("42")
        except (AssertionError, ConnectionResetError):
            return False
        return True


def test_the_shell_of_a_client_that_vanishes_ends(hyperd, pod):
    pod_id = pod()
    where = hyperd.client.open_console(pod_id)

    def processes():
        return [p.command for p in hyperd.client.top(pod_id).processes]

    before, files = len(processes()), hyperd.open_files()
    for text in ("sleep 4321\r", "yes\r", "cat\r" + "x" * 300_000):
        client = Client(where)
        client.type("echo begin\r")
        client.sees("begin\r\n")
        client.sock.settimeout(2)
        with contextlib.suppress(TimeoutError):
            client.type(text)
        time.sleep(0.3)
        assert len(processes()) > before
        client.sock.close()
        wait_for(lambda: len(processes()) <= before, what=f"the end after {text[:8]!r}")
    wait_for(lambda: hyperd.open_files() <= files, what="that no file stays open")


def test_a_client_that_reads_nothing_costs_no_memory(hyperd, pod):
    where = hyperd.client.open_console(pod())
    with Client(where) as client, Client(where) as other:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.type("echo begin; cat /dev/zero | tr '\\0' x\r")
        client.sees("begin\r\n")
        time.sleep(2)
        before = hyperd.rss_kib()
        time.sleep(3)
        assert hyperd.rss_kib() < before + 2048
        other.type("echo $((6*7))\r")  # and holds up nobody
        other.sees("\n42\r\n")
        for _ in range(64):
            assert client.sock.recv(65536)


def test_a_console_ends_with_its_pod_which_keeps_its_port(hyperd, pod):
    pod_id = pod()
    where = hyperd.client.open_console(pod_id)
    with Client(where) as client:
        client.type("echo $((6*7))\r")
        client.sees("42")
        hyperd.client.stop_pod(pod_id, grace_s=1)
        client.rest()
    assert refused(where)
    with pytest.raises(Conflict, match="does not run"):
        hyperd.client.open_console(pod_id)
    hyperd.client.start_pod(pod_id)
    assert hyperd.client.open_console(pod_id) == where
    with Client(where) as client:
        client.type("echo $((6*7))\r")
        client.sees("42")
        hyperd.client.suspend_pod(pod_id)
        client.rest()
    assert refused(where)
    hyperd.client.resume_pod(pod_id)
    assert hyperd.client.open_console(pod_id) == where
    assert accepted(where)
    hyperd.client.delete_pod(pod_id)
    assert refused(where)
    with pytest.raises(PodNotFound):
        hyperd.client.open_console(pod_id)


def test_a_connection_outlives_a_pause(hyperd, pod):
    pod_id = pod()
    where = hyperd.client.open_console(pod_id)
    with Client(where) as client:
        client.type("echo $((6*7))\r")
        client.sees("42")
        hyperd.client.pause_pod(pod_id)
        assert hyperd.client.open_console(pod_id) == where
        with Client(where) as second:
            assert "is paused; unpause it first" in second.rest()
        client.type("echo $((7*7))\r")
        hyperd.client.unpause_pod(pod_id)
        client.sees("49")


@pytest.mark.parametrize("way", ["kill", "stop"])
def test_the_port_comes_back_with_hyperd(hyperd, pod, way):
    first, second = pod(), pod()
    where, other = hyperd.client.open_console(first), hyperd.client.open_console(second)
    with Client(where) as client:
        client.type("echo $((6*7))\r")
        client.sees("42")
        getattr(hyperd, way)()
        client.rest()
    hyperd.start()
    assert refused(where)
    # The other way round: a port is not given to the first that comes.
    assert wait_for(lambda: opened(hyperd, second), what="the pod") == other
    assert hyperd.client.open_console(first) == where
    assert accepted(where) and accepted(other)


def opened(hyperd, pod_id):
    try:
        return hyperd.client.open_console(pod_id)
    except HyperError:
        return None


def test_without_a_free_port_it_says_so_and_one_of_a_stopped_pod_is_used(hyperd, pod):
    pods = [pod() for _ in range(PORTS + 1)]
    ports = [hyperd.client.open_console(pod_id).port for pod_id in pods[:-1]]
    assert len(set(ports)) == PORTS
    with pytest.raises(PortsExhausted, match="all ports for consoles are in use"):
        hyperd.client.open_console(pods[-1])
    hyperd.client.stop_pod(pods[0], force=True)
    where = hyperd.client.open_console(pods[-1])
    assert where.port == ports[0] and accepted(where)


def test_who_is_not_on_the_list_is_hung_up_on(libvirt, guest, busybox):
    with private(
        guest, busybox, console__allowed_clients="192.0.2.0/28", console__port_range="21111:21119"
    ) as daemon:
        container = Container("main", "busybox", command=IDLE)
        spec = PodSpec(str(uuid.uuid4()), "closed", (container,), memory_mib=64)
        daemon.client.create_pod(spec)
        daemon.client.start_pod(spec.id)
        with Client(daemon.client.open_console(spec.id)) as client:
            assert client.rest() == ""
        assert "127.0.0.1 may not connect to consoles" in daemon.log.read_text()


# Nova's proxy, all of it but the token's check, which needs a database and a message bus.
PROXY = """
import sys
from nova import monkey_patch
monkey_patch.patch("threading")
from nova import objects
from nova.cmd import serialproxy
from nova.console import websocketproxy

def connect_info(self, context, token):
    assert token == "secret"
    return objects.ConsoleAuthToken(host="127.0.0.1", port=console, token=token)

websocketproxy.NovaProxyRequestHandler._get_connect_info = connect_info
port, console = int(sys.argv[1]), int(sys.argv[2])
sys.argv[1:] = []
serialproxy.CONF.set_override("serialproxy_host", "127.0.0.1", "serial_console")
serialproxy.CONF.set_override("serialproxy_port", port, "serial_console")
serialproxy.main()
"""


@pytest.fixture
def proxied(tmp_path):
    """``proxied(where)``: the URL of Nova's proxy for a console."""
    started = []

    def start(where):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        log = (tmp_path / "proxy.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-c", PROXY, str(port), str(where.port)],
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "OS_NOVA_DISABLE_EVENTLET_PATCHING": "true"},
            cwd=tmp_path,
        )
        started.append(process)

        def listens():
            assert process.poll() is None, (tmp_path / "proxy.log").read_text()[-3000:]
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                return True
            return False

        wait_for(listens, what="the proxy")
        return f"ws://127.0.0.1:{port}/?token=secret"

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_novas_own_proxy_passes_it_on_to_a_websocket(hyperd, pod, proxied):
    pod_id = pod()
    url = proxied(hyperd.client.open_console(pod_id))
    with ConsoleClient(url) as client:
        client.type("echo $((6*7))\r")
        client.sees("\n42\r\n")
        client.type("head -c 300000 /dev/zero | tr '\\0' x; echo; echo $((7*7))\r")
        assert client.sees("\n49\r\n").count(b"x") >= 300_000
        hyperd.client.stop_pod(pod_id, grace_s=1)
        client.rest()
