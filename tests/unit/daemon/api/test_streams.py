"""Calls that last, over a real socket; the guests are fakes."""

from __future__ import annotations

import http.client
import json
import os
import socket
import struct
import threading
import time

import pytest

from nova_hyper.daemon.api.server import Server
from nova_hyper.spec.errors import GuestFailed, from_wire
from nova_hyper.spec.stream import FrameKind, FrameReader, Terminal, pack, pack_resize
from tests.unit.daemon import fakes
from tests.unit.daemon.fakes import PATIENCE_S, POD_ID

UPGRADE = {"Connection": "Upgrade", "Upgrade": "hyper-stream"}
LIMIT = 4


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("nova_hyper.daemon.api.duplex.LOOK_S", 0.02)
    monkeypatch.setattr("nova_hyper.daemon.api.stream_handlers._FOLLOW_S", 0.02)
    monkeypatch.setattr("nova_hyper.daemon.api.server._FINISH_S", 0.2)
    monkeypatch.setattr("cheroot.server.HTTPServer.expiration_interval", 0.02)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s"


@pytest.fixture
def server(app, streams, path):
    made = Server(app, path, "", 2)
    made.start()
    yield made
    streams.stop()
    made.stop()


@pytest.fixture
def pod(core, server):
    core.monitor.reconcile()
    core.pods.create(fakes.spec())
    core.pods.start(POD_ID)
    return core.agent()


class Call:
    """One request on a connection of its own."""

    def __init__(self, path, method, target, body=None, headers=None):
        self.http = http.client.HTTPConnection("hyperd")
        self.sock = self.http.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(str(path))
        body = json.dumps(body).encode() if isinstance(body, dict) else body
        self.http.request(method, target, body, headers or {})

    def answer(self):
        self.response = self.http.getresponse()
        self.frames = FrameReader(self.response.fp.read1 if self.response.fp else None)
        return self.response.status

    def error(self):
        assert self.answer() >= 400
        return from_wire(json.loads(self.response.read()), self.response.status)

    def close(self):
        self.response = self.frames = None
        self.http.close()
        self.sock.close()


@pytest.fixture
def call(path):
    made = []

    def start(*arguments, **options):
        made.append(Call(path, *arguments, **options))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def execute(call, pod):
    """Start a command; return the client's side and the guest's."""

    def start(**body):
        one = call("POST", "/v1/pods/web/exec", {"argv": ["sh"], **body}, headers=UPGRADE)
        assert one.answer() == 101
        return one, pod.streams.get(timeout=PATIENCE_S)

    return start


def until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# exec and attach


def test_a_command_runs_as_asked_for_and_tells_its_exit_code(execute):
    client, guest = execute(
        argv=["ls", "-l"],
        env=["A=b"],
        user="app",
        working_dir="/tmp",
        tty={"rows": 24, "cols": 80},
        stdin=True,
    )
    assert (guest.op, guest.args) == (
        "exec.start",
        {
            "name": "main",
            "argv": ["ls", "-l"],
            "env": ["A=b"],
            "user": "app",
            "cwd": "/tmp",
            "tty": {"rows": 24, "cols": 80},
            "stdin": True,
        },
    )
    assert client.response.getheader("Upgrade") == "hyper-stream"
    guest.say(b"out")
    guest.say(b"err", channel=1)
    guest.end(3)
    assert client.frames.next() == (FrameKind.STDOUT, b"out")
    assert client.frames.next() == (FrameKind.STDERR, b"err")
    assert client.frames.next() == (FrameKind.EXIT, b'{"exit_code": 3}')
    assert client.frames.next() is None


def test_what_the_client_sends_reaches_the_command(execute):
    client, guest = execute()
    client.sock.sendall(pack(FrameKind.STDIN, b"in") + pack_resize(Terminal(50, 132)))
    client.sock.sendall(pack(FrameKind.SIGNAL, b"SIGINT") + pack(FrameKind.END))
    guest.wait_for(lambda: len(guest.written) == 4)
    assert guest.written == [b"in", (50, 132), "SIGINT", None]


def test_large_output_comes_in_frames(execute):
    client, guest = execute()
    guest.say(b"x" * 200_000)
    guest.end()
    sizes = []
    while (frame := client.frames.next())[0] is FrameKind.STDOUT:
        sizes.append(len(frame[1]))
    assert sum(sizes) == 200_000 and max(sizes) <= 65536


def test_a_client_that_hangs_up_ends_its_command(execute, streams):
    client, guest = execute()
    client.close()
    assert guest.closed.wait(PATIENCE_S)
    until(lambda: len(streams) == 0)


def test_a_guest_that_is_lost_is_an_error(execute):
    client, guest = execute()
    guest.lose()
    kind, payload = client.frames.next()
    assert kind is FrameKind.ERROR
    assert isinstance(from_wire(json.loads(payload)), GuestFailed)


def test_an_end_with_an_error_tells_it(execute):
    client, guest = execute()
    guest.end(None, "the container was stopped")
    assert b"the container was stopped" in client.frames.next()[1]


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">BI", 99, 0),
        struct.pack(">BI", 0, 1 << 30),
        pack(FrameKind.STDOUT, b"x"),
        pack(FrameKind.RESIZE, b"123"),
        pack(FrameKind.SIGNAL, b"\xff"),
    ],
)
def test_frames_that_are_none_end_the_command_with_a_reason(execute, data):
    client, guest = execute()
    client.sock.sendall(data)
    kind, payload = client.frames.next()
    assert kind is FrameKind.ERROR and b"does not keep to the protocol" in payload
    assert guest.closed.wait(PATIENCE_S)


def test_attach_joins_a_container(call, pod):
    client = call("POST", "/v1/pods/web/attach", {"stdin": True}, headers=UPGRADE)
    assert client.answer() == 101
    guest = pod.streams.get(timeout=PATIENCE_S)
    assert (guest.op, guest.args) == ("container.attach", {"name": "main", "stdin": True})
    guest.end(None)
    assert client.frames.next() == (FrameKind.EXIT, b'{"exit_code": null}')


def test_refusals_are_answers_as_of_every_call(call, pod):
    error = call("POST", "/v1/pods/web/exec", {"argv": ["ls"]}).error()
    assert error.code == "invalid_request" and "Upgrade: hyper-stream" in error.message
    body = {"argv": ["ls"], "container": "db"}
    error = call("POST", "/v1/pods/web/exec", body, headers=UPGRADE).error()
    assert error.message == "pod web has no container db; it has main"
    error = call("POST", "/v1/pods/gone/exec", {"argv": ["ls"]}, headers=UPGRADE).error()
    assert error.code == "pod_not_found"
    pod.fail("exec.start", fakes.AgentError("exec", "lz: no such file"))
    error = call("POST", "/v1/pods/web/exec", {"argv": ["lz"]}, headers=UPGRADE).error()
    assert (error.code, error.message) == (
        "container_failed",
        "container main: lz: no such file",
    )
    error = call("POST", "/v1/pods/web/exec", {"argv": []}, headers=UPGRADE).error()
    assert error.code == "invalid_request"


def test_an_old_agent_is_told_with_what_to_do(call, pod, core, monkeypatch):
    monkeypatch.setattr(core.session(), "features", frozenset(("clock",)), raising=False)
    error = call("POST", "/v1/pods/web/exec", {"argv": ["ls"]}, headers=UPGRADE).error()
    assert "the guest's agent is too old for exec: build the guest again" in error.message


def test_a_pod_that_does_not_run_has_no_commands(call, pod, core):
    core.pods.stop(POD_ID)
    error = call("POST", "/v1/pods/web/exec", {"argv": ["ls"]}, headers=UPGRADE).error()
    assert (error.code, error.status) == ("conflict", 409)


# How many, and who waits for whom


def test_calls_that_last_leave_the_servers_threads_free(execute, call):
    """Two threads, and as many commands as are allowed."""
    for _ in range(LIMIT):
        execute()
    assert call("GET", "/v1/version").answer() == 200


def test_beyond_the_limit_a_call_is_refused_until_one_ends(execute, call, streams):
    guests = [execute()[1] for _ in range(LIMIT)]
    error = call("POST", "/v1/pods/web/exec", {"argv": ["ls"]}, headers=UPGRADE).error()
    assert (error.code, error.status) == ("too_many_streams", 503)
    assert "max_streams" in error.message
    guests[0].end()
    until(lambda: len(streams) < LIMIT)
    execute()


def test_a_client_that_does_not_read_slows_only_itself(execute):
    _idle, stuck = execute()
    for _ in range(100):
        stuck.say(b"x" * 65536)
    client, guest = execute()
    guest.say(b"quick")
    assert client.frames.next() == (FrameKind.STDOUT, b"quick")


def test_stopping_hangs_up_on_clients(execute, streams):
    client, guest = execute()
    _stuck, flood = execute()
    for _ in range(100):
        flood.say(b"x" * 65536)
    streams.stop()
    assert guest.closed.is_set() and flood.closed.is_set()
    assert len(streams) == 0
    while client.frames.next() is not None:
        pass


def test_nothing_is_left_of_calls_that_lasted(execute, streams, call, path):
    def cycle():
        for _ in range(LIMIT):
            client, guest = execute()
            guest.end()
            assert client.frames.next()[0] is FrameKind.EXIT
            client.close()
        until(lambda: len(streams) == 0)
        time.sleep(0.05)
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    first = cycle()
    assert cycle() == first


# Archives


def test_a_file_is_read_as_it_comes(call, pod):
    client = call("GET", "/v1/pods/web/archive?path=/etc/hosts")
    guest = pod.streams.get(timeout=PATIENCE_S)
    assert (guest.op, guest.args) == ("archive.get", {"name": "main", "path": "/etc/hosts"})
    guest.say(b"tar" * 1000)
    guest.say(b"end")
    guest.end(None)
    assert client.answer() == 200
    assert client.response.getheader("Content-Type") == "application/x-tar"
    assert client.response.read() == b"tar" * 1000 + b"end"


def test_a_failure_in_the_middle_of_an_answer_is_its_trailer(path, pod):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(PATIENCE_S)
    sock.connect(str(path))
    sock.sendall(b"GET /v1/pods/web/archive?path=/x HTTP/1.1\r\nHost: x\r\n\r\n")
    guest = pod.streams.get(timeout=PATIENCE_S)
    guest.say(b"tar")
    guest.end(None, "the disk is broken")
    with sock, sock.makefile("rb") as file:
        answer = file.read()
    assert b"Trailer: Hyper-Error\r\n" in answer
    trailer = answer.partition(b"\r\n0\r\nHyper-Error: ")[2]
    assert from_wire(json.loads(trailer)).message == "the disk is broken"


def test_an_archive_is_written_as_it_comes(call, pod):
    client = call("PUT", "/v1/pods/web/archive?path=/tmp&container=main", body=iter([b"a", b"b"]))
    guest = pod.streams.get(timeout=PATIENCE_S)
    guest.wait_for(lambda: None in guest.written)
    assert (guest.op, guest.args) == ("archive.put", {"name": "main", "path": "/tmp"})
    guest.end(None)
    assert client.answer() == 204
    assert b"".join(guest.written[:-1]) == b"ab"


def test_an_archive_that_does_not_fit_is_refused_with_the_guests_reason(call, pod):
    client = call("PUT", "/v1/pods/web/archive?path=/tmp", body=iter([b"a"]))
    pod.streams.get(timeout=PATIENCE_S).end(None, "no space left on device")
    error = client.error()
    assert (error.code, error.message) == ("invalid_request", "no space left on device")


def test_a_client_that_stops_in_the_middle_ends_the_guests_side(path, pod, caplog):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(path))
    head = b"PUT /v1/pods/web/archive?path=/tmp HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked"
    sock.sendall(head + b"\r\n\r\n3\r\nabc\r\n7\r\nar")
    guest = pod.streams.get(timeout=PATIENCE_S)
    sock.close()
    assert guest.closed.wait(PATIENCE_S)
    assert None not in guest.written
    assert "Traceback" not in caplog.text


# Logs


def line(number, container="main"):
    return b"2026-01-01T00:00:%02d.000000000Z %b stdout F %d\n" % (
        number,
        container.encode(),
        number,
    )


def test_logs_are_what_there_is(call, pod, core):
    core.repository.log(POD_ID).write_bytes(line(1) + line(2) + line(3))
    client = call("GET", "/v1/pods/web/logs?tail=2&container=main&since=1767225602.5")
    assert client.answer() == 200
    (only,) = client.response.read().splitlines()
    assert only.endswith(b" 2026-01-01T00:00:03.000000000Z main stdout F 3")


def test_following_shows_what_comes_and_ends_with_the_pod(call, pod, core):
    log = core.repository.log(POD_ID)
    log.write_bytes(line(1))
    client = call("GET", "/v1/pods/web/logs?follow=true")
    assert client.answer() == 200
    assert client.response.readline().endswith(b"F 1\n")
    with log.open("ab") as file:
        file.write(line(2))
    assert client.response.readline().endswith(b"F 2\n")
    core.pods.stop(POD_ID)
    assert client.response.read() == b""


def test_a_follower_that_hangs_up_is_noticed(call, pod, core, streams):
    client = call("GET", "/v1/pods/web/logs?follow=1")
    assert client.answer() == 200
    assert len(streams) == 1
    client.close()
    until(lambda: len(streams) == 0)


def test_an_old_agents_pod_has_its_console(call, pod, core, monkeypatch):
    monkeypatch.setattr(core.session(), "features", frozenset(), raising=False)
    core.repository.console(POD_ID).write_bytes(b"hello\n")
    client = call("GET", "/v1/pods/web/logs?container=main")
    assert client.answer() == 200
    assert client.response.read().endswith(b" - - stdout F hello\n")


def test_logs_of_nobody_are_refused(call, pod):
    assert call("GET", "/v1/pods/gone/logs").error().code == "pod_not_found"
    assert call("GET", "/v1/pods/web/logs?container=db").error().code == "container_not_found"
    assert call("GET", "/v1/pods/web/logs?follow=maybe").error().code == "invalid_request"


# What does not last


def test_stats_and_processes(call, pod):
    pod.answers["pod.stats"] = {
        "uptime_ns": 5,
        "cpu_ns": 4,
        "mem_total_kib": 3,
        "mem_available_kib": 2,
        "nics": [],
        "containers": [
            {key: 1 for key in ("cpu_ns", "memory_bytes", "memory_peak", "oom_kills")}
            | {"pids": 2, "read_bytes": 3, "write_bytes": 4, "name": "main", "memory_max": None},
            {"name": "an intruder"},
        ],
    }
    client = call("GET", "/v1/pods/web/stats")
    assert client.answer() == 200
    (container,) = json.loads(client.response.read())["containers"]
    assert (container["name"], container["pids"]) == ("main", 2)
    process = {"pid": 1, "ppid": 0, "user": "root", "rss_kib": 9, "cpu_ns": 8, "state": "S"}
    pod.answers["container.top"] = {"processes": [{**process, "command": "sh\x1b[2J"}]}
    client = call("GET", "/v1/pods/web/top")
    assert client.answer() == 200
    assert json.loads(client.response.read())["processes"][0]["command"] == "sh?[2J"


@pytest.mark.parametrize("processes", [None, {}, ["x"], [{}], [{"pid": -1}], [{"pid": True}]])
def test_an_agent_that_tells_nonsense_is_an_error(call, pod, processes):
    pod.answers["container.top"] = {"processes": processes}
    assert call("GET", "/v1/pods/web/top").error().code == "guest_failed"


def test_kill_signals_every_container_that_runs(call, pod):
    pod.answers["container.signal"] = {}
    assert call("POST", "/v1/pods/web/kill", {"signal": "HUP"}).answer() == 204
    assert pod.requests[-1] == ("container.signal", {"name": "main", "signal": "HUP"})
    pod.fail("container.signal", fakes.AgentError("state", "it has ended"))
    error = call("POST", "/v1/pods/web/kill", {"signal": "HUP", "container": "main"}).error()
    assert (error.code, error.message) == ("conflict", "container main: it has ended")
