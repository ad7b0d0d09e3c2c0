"""The server on its unix socket."""

from __future__ import annotations

import grp
import http.client
import os
import socket
import stat
import threading
import time

import pytest

from nova_hyper.client import HyperClient
from nova_hyper.daemon.api.server import Server
from nova_hyper.spec.errors import ImageInvalid
from tests.unit.daemon import fakes
from tests.unit.daemon.fakes import PATIENCE_S, POD_ID

GROUP = grp.getgrgid(os.getgid()).gr_name


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("nova_hyper.daemon.api.server._FINISH_S", 0.2)
    monkeypatch.setattr("cheroot.server.HTTPServer.expiration_interval", 0.02)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "api" / "hyperd.sock"


@pytest.fixture
def server(app, path):
    made = Server(app, path, GROUP, 4)
    made.start()
    yield made
    made.stop()


def raw(path, data=b""):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(PATIENCE_S)
    sock.connect(str(path))
    sock.sendall(data)
    return sock


def read_all(sock):
    with sock, sock.makefile("rb") as file:
        return file.read()


def version(path):
    return HyperClient(str(path), PATIENCE_S, 0).version().api


def test_the_socket_is_for_its_group(server, path):
    status = path.stat()
    assert stat.S_IMODE(status.st_mode) == 0o660
    assert status.st_gid == os.getgid()
    assert [p.name for p in path.parent.iterdir()] == ["hyperd.sock"]


def test_the_group_may_be_another_than_ours(app, path):
    if os.getuid():
        pytest.skip("only root gives a file to another group")
    other = next(g for g in grp.getgrall() if g.gr_gid != os.getgid())
    server = Server(app, path, other.gr_name, 4)
    server.start()
    try:
        assert path.stat().st_gid == other.gr_gid
    finally:
        server.stop()


def test_without_the_group_the_socket_is_only_for_the_owner(app, path, caplog):
    server = Server(app, path, "no-such-group", 4)
    server.start()
    try:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert "no group no-such-group" in caplog.text
        assert version(path) == "1.0"
    finally:
        server.stop()


def test_a_socket_that_a_killed_daemon_left_is_replaced(app, path):
    path.parent.mkdir()
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    (path.parent / ".hyperd.sock.new").touch()
    server = Server(app, path, GROUP, 4)
    server.start()
    try:
        assert version(path) == "1.0"
    finally:
        server.stop()


def test_the_socket_of_a_server_that_answers_is_not_taken(server, path, app):
    """Two daemons with a state of their own and one socket."""
    with pytest.raises(OSError, match="another server answers on this socket"):
        Server(app, path, GROUP, 4).start()
    assert version(path) == "1.0"


def test_it_starts_again_after_a_stop(app, path):
    for _ in range(2):
        server = Server(app, path, GROUP, 4)
        server.start()
        assert version(path) == "1.0"
        server.stop()
        assert not path.exists()


def test_a_socket_that_cannot_be_made_is_an_error(app, tmp_path):
    too_long = tmp_path / ("x" * 120)
    with pytest.raises(OSError, match="AF_UNIX path too long"):
        Server(app, too_long, GROUP, 4).start()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET /v1/ver",
        b"POST /v1/pods HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"POST /v1/images HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n7\r\narch",
        b"GET /v1/events?wait=0.01 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x00\xff" * 100 + b"\r\n",
    ],
)
def test_it_survives_clients_that_go_away(server, path, core, data):
    for _ in range(8):  # more than there are threads
        raw(path, data).close()
    assert version(path) == "1.0"


def test_headers_are_bounded(server, path):
    sock = raw(path)
    with sock:
        try:
            sock.sendall(b"GET /v1/version HTTP/1.1\r\nX: " + b"a" * (1 << 20))
            answer = sock.recv(100)
        except (BrokenPipeError, ConnectionResetError):
            answer = b"HTTP/1.1 413"
    assert answer.startswith(b"HTTP/1.1 413")


def test_one_request_a_connection(server, path):
    request = b"GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = read_all(raw(path, request + request))
    assert answer.count(b"HTTP/1.1 200") == 1
    assert b"Connection: close" in answer


def test_an_archive_that_is_refused_early_is_not_read_to_its_end(server, path):
    """With a length: what cheroot does for the next request on the connection."""
    head = b"POST /v1/images?colour=red HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    answer = read_all(raw(path, head % (1 << 40)))
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"unknown query parameter colour" in answer


def test_an_archive_is_streamed_in_chunks(server, path, images):
    client = HyperClient(str(path), PATIENCE_S, 0)
    image = client.import_image("web:2", [b"archive", b"", b"x" * 3_000_000])
    assert image.names == ("web:2",)
    assert images.imported == [("web:2", 3_000_007)]


def test_a_refused_archive_gives_its_reason(server, path):
    client = HyperClient(str(path), PATIENCE_S, 0)
    with pytest.raises(ImageInvalid, match="not an image archive"):
        client.import_image("web:2", [b"no"])


def test_encoded_slashes_reach_the_handler(server, path, images):
    images.images.append(fakes.image(id="sha256:" + "b" * 64, names=("registry:5000/a b/web:1",)))
    client = HyperClient(str(path), PATIENCE_S, 0)
    assert client.image("registry:5000/a b/web:1").id.startswith("sha256:b")


def test_the_client_and_the_server_understand_each_other(server, path, core):
    client = HyperClient(str(path), PATIENCE_S, 0)
    made = client.create_pod(fakes.spec())
    assert made == core.pods.get(POD_ID)
    assert client.start_pod("web").state == "running"
    core.repository.console(POD_ID).write_bytes(b"hello\n")
    assert client.console("web", 100) == b"hello\n"
    assert [e.kind for e in client.events(0, 0).events] == ["created", "started"]
    assert client.stop_pod("web", grace_s=1).exit_code == 143
    client.delete_pod("web")
    assert client.pods() == ()


def test_stopping_does_not_wait_for_a_call_that_takes_long(app, path, core):
    core.guests.hang = True
    server = Server(app, path, GROUP, 4)
    server.start()
    connection = http.client.HTTPConnection("hyperd")
    connection.sock = raw(path)
    body = b'{"id": "%s", "name": "web", "containers": [{"name": "main", "image": "web:1"}]}'
    connection.request("POST", "/v1/pods", body % POD_ID.encode())
    assert core.guests.hanging.wait(PATIENCE_S)
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 2
    assert not path.exists()
    core.hypervisor.destroy(POD_ID)  # let the call go
    connection.close()


def test_no_descriptor_and_no_thread_is_left(app, path):
    def cycle():
        server = Server(app, path, GROUP, 4)
        server.start()
        for _ in range(20):
            version(path)
        server.stop()
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    first = cycle()
    assert cycle() == first
