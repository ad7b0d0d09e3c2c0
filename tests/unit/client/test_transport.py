"""The transport against real servers on real unix sockets, and none."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from nova_hyper.client import HyperClient
from nova_hyper.client.transport import Transport
from nova_hyper.spec.errors import DaemonUnavailable, HyperError, ImageInvalid, PodNotFound
from tests.unit.unix_server import Handler, UnixServer


@pytest.fixture
def path(tmp_path):
    return tmp_path / "hyperd.sock"


@pytest.fixture
def serve(path):
    """Start a server whose requests are answered by a function of the handler."""
    servers = []

    def start(answer):
        class Answering(Handler):
            def do_GET(self):  # noqa: N802
                answer(self)

            do_POST = do_DELETE = do_GET  # noqa: N815

        servers.append(UnixServer(path, Answering))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def client(path, **options):
    return HyperClient(str(path), **{"request_timeout": 5.0, "connect_timeout": 0.0, **options})


def cut(handler):
    """Close the connection without an answer, as a daemon that is killed does."""
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def test_a_daemon_that_is_not_there_is_named_with_what_to_do(path):
    with pytest.raises(DaemonUnavailable, match=rf"{path} \(No such file.*\); start it"):
        client(path).version()


def test_a_stale_socket_is_a_daemon_that_is_not_there(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    with pytest.raises(DaemonUnavailable, match="Connection refused"):
        client(path).version()


def test_a_restarting_daemon_is_waited_for(path, serve):
    timer = threading.Timer(
        0.3, lambda: serve(lambda h: h.answer(200, b'{"api": "1", "hyperd": "2"}'))
    )
    timer.start()
    assert client(path, connect_timeout=5.0).version().hyperd == "2"
    timer.join()


def test_waiting_for_a_daemon_ends_with_the_connect_timeout(path):
    start = time.monotonic()
    with pytest.raises(DaemonUnavailable):
        client(path, connect_timeout=0.3).version()
    assert 0.3 <= time.monotonic() - start < 5


@pytest.mark.skipif(os.geteuid() != 0, reason="drops privileges")
def test_a_socket_of_another_group_is_named_at_once(path, serve):
    serve(lambda h: h.answer(200, b"{}"))
    path.chmod(0o600)
    for parent in path.parents[:-2]:
        parent.chmod(0o755)
    script = (
        "import os, sys; os.setgid(65534); os.setuid(65534)\n"
        "from nova_hyper.client import HyperClient\n"
        f"HyperClient({str(path)!r}, connect_timeout=30).version()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False
    )
    assert "socket_group" in done.stderr


def test_a_request_that_was_cut_is_sent_again_once(path, serve):
    seen = []

    def answer(handler):
        seen.append(handler.rfile.read(int(handler.headers["Content-Length"])))
        if len(seen) == 1:
            cut(handler)
        else:
            handler.answer(200, b"{}")

    serve(answer)
    response = Transport(str(path), 5, 0).request("POST", "/v1/pods", b"body")
    assert response.retried and response.status == 200
    assert seen == [b"body", b"body"]


def test_a_request_that_is_always_cut_fails(path, serve):
    serve(cut)
    with pytest.raises(DaemonUnavailable, match="twice"):
        client(path).version()


def test_a_delete_that_was_carried_out_before_the_cut_has_worked(path, serve):
    seen = []

    def answer(handler):
        seen.append(handler.path)
        if len(seen) == 1:
            cut(handler)
        else:
            handler.answer(404, b'{"error": {"code": "pod_not_found", "message": "no"}}')

    serve(answer)
    client(path).delete_pod("p")
    assert len(seen) == 2
    with pytest.raises(PodNotFound):
        client(path).delete_pod("p")


def test_a_daemon_that_does_not_answer_in_time_is_given_up(path, serve):
    done = threading.Event()
    serve(lambda h: done.wait(5))
    with pytest.raises(DaemonUnavailable, match=r"did not answer .* in 0\.2 seconds"):
        client(path, request_timeout=0.2).version()
    done.set()


def test_a_long_stop_has_its_grace_beside_the_timeout(path, serve):
    def answer(handler):
        handler.rfile.read(int(handler.headers["Content-Length"]))
        time.sleep(0.5)
        handler.answer(404, b'{"error": {"code": "pod_not_found", "message": "no"}}')

    serve(answer)
    with pytest.raises(PodNotFound):
        client(path, request_timeout=0.2).stop_pod("p", grace_s=2)


def test_a_refusal_in_the_middle_of_a_stream_is_what_the_caller_sees(path, serve):
    def answer(handler):
        handler.rfile.read(10)
        handler.answer(422, b'{"error": {"code": "image_invalid", "message": "not a tar"}}')

    serve(answer)
    sent = []

    def chunks():
        for _ in range(10000):
            sent.append(1)
            yield b"x" * 65536

    with pytest.raises(ImageInvalid, match="not a tar"):
        client(path).import_image("n", chunks())
    assert len(sent) < 10000


def test_what_the_source_of_a_stream_raises_is_passed_on_and_cuts_the_request(path, serve):
    ended = threading.Event()
    whole = []

    def answer(handler):
        try:
            whole.append(b"".join(handler.chunks()))
        except ValueError:
            ended.set()

    serve(answer)

    def chunks():
        yield b"first"
        raise OSError("Glance went away")

    with pytest.raises(OSError, match="Glance went away"):
        client(path).import_image("n", chunks())
    assert ended.wait(5) and not whole


def test_a_stream_that_is_cut_is_not_sent_again(path, serve):
    seen = []

    def answer(handler):
        seen.append(1)
        cut(handler)

    serve(answer)
    with pytest.raises(DaemonUnavailable, match="while it received data"):
        client(path).import_image("n", iter([b"x"] * 100))
    assert seen == [1]


def test_a_stream_arrives_as_it_was_sent(path, serve):
    got = []

    def answer(handler):
        got.append(b"".join(handler.chunks()))
        handler.answer(422, b'{"error": {"code": "image_invalid", "message": "x"}}')

    serve(answer)
    with pytest.raises(ImageInvalid):
        client(path).import_image("n", [b"a" * 70000, b"", b"b"])
    assert got == [b"a" * 70000 + b"b"]


def test_an_answer_that_is_not_hyperds_is_an_error_with_its_status(path, serve):
    serve(lambda h: h.answer(502, b"<html>bad gateway</html>"))
    with pytest.raises(HyperError, match="502"):
        client(path).version()


def test_ids_and_names_are_quoted(path, serve):
    seen = []

    def answer(handler):
        seen.append(handler.path)
        handler.answer(404, b'{"error": {"code": "pod_not_found", "message": "no"}}')

    serve(answer)
    with pytest.raises(PodNotFound):
        client(path).pod("a/b?c#d e")
    assert seen == ["/v1/pods/a%2Fb%3Fc%23d%20e"]
