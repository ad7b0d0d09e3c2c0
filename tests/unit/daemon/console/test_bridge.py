"""One connection to a console, over a real pair of TCP sockets."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from nova_hyper.daemon.console import bridge as module
from nova_hyper.daemon.console.bridge import Bridge
from nova_hyper.spec.errors import ContainerFailed
from tests.unit.daemon.fakes import PATIENCE_S, FakeStream


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "_LOOK_S", 0.02)
    monkeypatch.setattr(module, "_FAREWELL_S", 0.2)


@pytest.fixture
def stream():
    return FakeStream("exec.start", {})


@pytest.fixture
def serve():
    """``serve(terminal)``: the client's socket, the bridge and its thread."""
    made = []

    def start(terminal):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            client = socket.create_connection(listening.getsockname(), timeout=PATIENCE_S)
            ours, _ = listening.accept()
        bridge = Bridge(ours, terminal)
        thread = threading.Thread(target=bridge.serve)
        thread.start()
        made.append((client, thread))
        return client, bridge, thread

    yield start
    for client, thread in made:
        client.close()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def rest(client):
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(4096):
            got += data
    return got.decode()


def test_bytes_go_both_ways_as_they_are(serve, stream):
    client, _, _ = serve(lambda: stream)
    client.sendall(b"\x00\xff\r")
    stream.wait_for(lambda: b"".join(stream.written) == b"\x00\xff\r")
    stream.say(b"\xfe\x00")
    assert client.recv(10) == b"\xfe\x00"


def test_the_end_of_the_terminal_is_told(serve, stream):
    client, _, _ = serve(lambda: stream)
    stream.say(b"logout")
    stream.end()
    assert rest(client) == "logout\r\n[this session has ended]\r\n"
    assert stream.closed.is_set()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (lambda stream: stream.end(None, "the container is gone"), "the container is gone"),
        (lambda stream: stream.lose(), "the guest ended"),
    ],
)
def test_a_failure_is_told(serve, stream, how, said):
    client, _, _ = serve(lambda: stream)
    how(stream)
    assert said in rest(client)


def test_a_terminal_that_cannot_be_opened_is_told_also_to_who_has_typed_already(serve):
    opened = threading.Event()

    def refuse():
        opened.wait(PATIENCE_S)
        raise ContainerFailed("there is no shell")

    client, _, thread = serve(refuse)
    client.sendall(b"x" * 100_000)
    opened.set()
    assert rest(client) == "\r\n[there is no shell]\r\n"
    client.close()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_hangs_up_ends_the_terminal(serve, stream, reset):
    client, _, thread = serve(lambda: stream)
    if reset:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    client.close()
    thread.join(PATIENCE_S)
    assert stream.closed.is_set() and not thread.is_alive()


def test_it_is_noticed_also_while_the_guest_takes_nothing(serve, stream):
    typed, released = threading.Event(), threading.Event()

    def write(_data, _timeout):
        typed.set()
        released.wait(PATIENCE_S)

    stream.write = write
    real, stream.close = stream.close, lambda: (real(), released.set())
    client, _, thread = serve(lambda: stream)
    client.sendall(b"x")
    assert typed.wait(PATIENCE_S)
    client.close()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_what_the_pod_does_is_told_before_the_connection_ends(serve, stream):
    client, bridge, thread = serve(lambda: stream)
    client.sendall(b"x")
    stream.wait_for(lambda: stream.written)
    bridge.end("the pod was stopped")
    assert rest(client) == "\r\n[the pod was stopped]\r\n"
    thread.join(PATIENCE_S)
    assert stream.closed.is_set() and not thread.is_alive()


def test_a_client_that_reads_nothing_is_cut_when_the_pod_ends(serve, stream):
    client, bridge, thread = serve(lambda: stream)
    for _ in range(200):
        stream.say(b"x" * 65536)
    client.recv(1)
    bridge.end("the pod was stopped")
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
