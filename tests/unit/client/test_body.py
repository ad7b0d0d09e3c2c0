"""Answers that last, as they come off the wire: whole, cut, and failing in their middle."""

from __future__ import annotations

import io
import json

import pytest

from nova_hyper.client.body import Body
from nova_hyper.client.session import StreamSession
from nova_hyper.spec.errors import DaemonUnavailable, DiskFull, HyperError
from nova_hyper.spec.stream import FrameKind, pack, pack_json


def body(data):
    released = []
    made = Body(io.BufferedReader(io.BytesIO(data)), lambda: released.append(True))
    made.released = released
    return made


WHOLE = b"5\r\nhello\r\n7;x=y\r\n\nworld\n\r\n0\r\n\r\n"


def test_chunks_are_put_together():
    with body(WHOLE) as whole:
        assert b"".join(whole) == b"hello\nworld\n"
        assert whole.read() == b""
    assert whole.released


def test_reads_are_as_small_as_is_asked_for():
    whole = body(WHOLE)
    assert [whole.read(3), whole.read(3), whole.read(100)] == [b"hel", b"lo", b"\nworld\n"]


def test_lines_go_over_chunks():
    whole = body(WHOLE[:-5] + b"1\r\nx\r\n0\r\n\r\n")
    assert [whole.readline() for _ in range(4)] == [b"hello\n", b"world\n", b"x", b""]


def test_a_line_without_end_comes_in_parts():
    data = b"%x\r\n%b\r\n" % (1 << 20, b"x" * (1 << 20))
    whole = body(data + data + b"0\r\n\r\n")
    assert [len(whole.readline()) for _ in range(3)] == [1 << 20, 1 << 20, 0]


@pytest.mark.parametrize("end", [b"", b"3", b"zz\r\n", b"5\r\nhe", b"5\r\nhelloXX", b"-5\r\n"])
@pytest.mark.parametrize("read", [lambda b: b.read(), lambda b: b.readline()])
def test_what_breaks_off_is_an_error(end, read):
    cut = body(b"2\r\na\n\r\n" + end)
    assert read(cut) == b"a\n"
    with pytest.raises(DaemonUnavailable, match="in the middle of its answer"):
        while read(cut):
            pass


def test_a_failure_in_the_middle_is_its_trailer():
    trailer = json.dumps(DiskFull("no room").to_wire()).encode()
    failed = body(b"2\r\nab\r\n0\r\nHyper-Error: " + trailer + b"\r\n\r\n")
    assert failed.read() == b"ab"
    with pytest.raises(DiskFull, match="no room"):
        failed.read()


class Sock:
    """A socket that is gone."""

    def settimeout(self, seconds):
        assert seconds is None

    def sendall(self, data):
        raise BrokenPipeError

    def shutdown(self, how):
        raise OSError


def session(data):
    return StreamSession(Sock(), io.BufferedReader(io.BytesIO(data)), lambda: None)


def test_a_session_ends_with_its_exit_code():
    one = session(pack(FrameKind.STDERR, b"no") + pack_json(FrameKind.EXIT, {"exit_code": 3}))
    assert list(one) == [(2, b"no")]
    assert one.exit_code == 3


def test_a_session_ends_with_its_error():
    with pytest.raises(DiskFull, match="no room"):
        list(session(pack_json(FrameKind.ERROR, DiskFull("no room").to_wire())))


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x01\0\0\0\x05he", b"\xff\0\0\0\0"])
def test_a_session_that_breaks_off_says_so(data):
    with pytest.raises(DaemonUnavailable, match="the connection to hyperd broke"):
        list(session(data))


def test_what_is_not_for_a_client_is_an_error():
    with pytest.raises(HyperError, match="RESIZE"):
        list(session(pack(FrameKind.RESIZE, b"1234")))


def test_writing_after_the_end_is_no_error():
    one = session(b"")
    one.write(b"x")
    one.end_input()
    one.close()
