from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nova_hyper.daemon.guest.channel import AgentChannel
from nova_hyper.daemon.guest.reactor import Reactor
from nova_hyper.daemon.guest.stream import MAX_STREAMS, WINDOW, AgentStream
from nova_hyper.daemon.ports import AgentError
from nova_hyper.spec.errors import GuestFailed
from tests.unit.daemon.guest.fake_agent import FakeAgent

LONG = 10.0
DATA, GRANT = 4, 5
END = 0x80


class Bench:
    """A channel to an agent made of Python that agrees to everything."""

    def __init__(self, path: Path, reactor: Reactor) -> None:
        self.refusal: tuple[str, str] | None = None
        self.silent = False
        self.agent = FakeAgent(path, self._serve)
        self.lost: queue.Queue[str] = queue.Queue()
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self.channel = AgentChannel(path, reactor, self.events.put, self.lost.put)
        self.channel.connect(fresh=True, timeout=LONG)
        self.unanswered: list[int] = []

    def _serve(self, agent: FakeAgent, number: int, _request: dict[str, Any]) -> None:
        if self.silent:
            self.unanswered.append(number)
        elif self.refusal is not None:
            agent.refuse(number, *self.refusal)
        else:
            agent.answer(number, pid=7)

    def open(self, **args: Any) -> AgentStream:
        return self.channel.open_stream("exec.start", LONG, **args)

    def sent(self, kind: int) -> tuple[int, int, bytes]:
        """Return flags, stream and payload of the next frame, which must be of *kind*."""
        found, flags, stream, payload = self.agent.of_streams.get(timeout=LONG)
        assert found == kind
        return flags, stream, payload

    def asked(self, op: str) -> dict[str, Any]:
        """Wait for a request that nobody waits for, and return it."""
        self.channel.request("pod.status", LONG)  # served in order
        return next(r for r in reversed(self.agent.requests) if r["op"] == op)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    reactor = Reactor()
    reactor.start()
    made = Bench(tmp_path / "agent.sock", reactor)
    yield made
    made.channel.close()
    made.agent.stop()
    reactor.stop()


def test_a_stream_has_the_answer_and_an_id_of_its_own(bench: Bench) -> None:
    first, second = bench.open(name="web"), bench.open(name="web")
    assert first.answer == {"pid": 7}
    assert first.id != second.id
    assert bench.agent.requests[-1] == {"op": "exec.start", "name": "web", "stream": second.id}


def test_the_features_are_those_of_the_hello(bench: Bench) -> None:
    assert bench.channel.features == {"clock"}


def test_what_comes_is_read_with_its_channel_until_the_end(bench: Bench) -> None:
    stream = bench.open()
    bench.agent.data(stream.id, b"out")
    bench.agent.data(stream.id, b"err", 1)
    assert [stream.read(LONG) for _ in range(2)] == [(0, b"out"), (1, b"err")]
    bench.agent.data(stream.id, b"", END)
    bench.agent.data(stream.id, b"last", 1 | END)
    bench.agent.end(stream.id, exit_code=3, signal=0, error=None)
    assert [stream.read(LONG) for _ in range(2)] == [(1, b"last"), None]
    assert (stream.exit_code, stream.error) == (3, None)
    assert stream.read(LONG) is None


def test_an_error_of_the_guest_is_one_printable_line(bench: Bench) -> None:
    stream = bench.open()
    bench.agent.end(stream.id, exit_code=None, signal=None, error="no\x1b[31m space\n")
    assert stream.read(LONG) is None
    assert stream.error == "no [31m space"
    assert stream.exit_code is None


@pytest.mark.parametrize("code", [True, "0", -1, 2**40, 1.5, None])
def test_an_exit_code_that_is_none_is_not_believed(bench: Bench, code: Any) -> None:
    stream = bench.open()
    bench.agent.end(stream.id, exit_code=code)
    assert stream.read(LONG) is None
    assert stream.exit_code is None


def test_the_agent_may_send_more_as_soon_as_something_was_read(bench: Bench) -> None:
    stream = bench.open()
    half = WINDOW // 2
    bench.agent.data(stream.id, bytes(half))
    bench.agent.data(stream.id, bytes(half))
    granted = 0
    for _ in range(2):
        assert stream.read(LONG) is not None
        granted += int.from_bytes(bench.sent(GRANT)[2], "big")
    assert granted == WINDOW
    bench.agent.data(stream.id, bytes(half))
    assert stream.read(LONG) is not None
    assert bench.lost.empty()


def test_nothing_is_granted_to_a_stream_that_nobody_reads(bench: Bench) -> None:
    stream = bench.open()
    bench.agent.data(stream.id, bytes(100))
    bench.channel.request("pod.status", LONG)
    assert bench.agent.of_streams.empty()


def test_writing_waits_for_the_window_and_keeps_the_order(bench: Bench) -> None:
    stream = bench.open()
    data = bytes(range(256)) * (WINDOW // 256) + b"rest"
    writer = threading.Thread(target=stream.write, args=(data, LONG))
    writer.start()
    got = b""
    while len(got) < WINDOW:
        got += bench.sent(DATA)[2]
    assert writer.is_alive()
    bench.agent.window(stream.id, 2)
    got += bench.sent(DATA)[2]
    bench.agent.window(stream.id, 5000)
    got += bench.sent(DATA)[2]
    writer.join(LONG)
    assert got == data


def test_a_write_that_nobody_takes_ends_with_a_timeout(bench: Bench) -> None:
    stream = bench.open()
    with pytest.raises(TimeoutError):
        stream.write(bytes(WINDOW + 1), 0.1)
    with pytest.raises(TimeoutError):
        stream.read(0.1)


def test_the_end_of_input_is_told_once(bench: Bench) -> None:
    stream = bench.open()
    stream.end_input()
    stream.end_input()
    assert bench.sent(DATA) == (END, stream.id, b"")
    stream.write(b"too late", LONG)
    bench.channel.request("pod.status", LONG)
    assert bench.agent.of_streams.empty()


def test_what_is_written_after_the_end_is_dropped(bench: Bench) -> None:
    stream = bench.open()
    bench.agent.end(stream.id, exit_code=0)
    assert stream.read(LONG) is None
    stream.write(b"x" * 10 * WINDOW, LONG)
    stream.end_input()
    bench.channel.request("pod.status", LONG)
    assert bench.agent.of_streams.empty()


def test_sizes_and_signals_are_sent_on(bench: Bench) -> None:
    stream = bench.open()
    stream.resize(50, 132)
    assert bench.asked("stream.resize") == {
        **{"op": "stream.resize", "stream": stream.id, "rows": 50, "cols": 132}
    }
    stream.signal("SIGINT")
    assert bench.asked("stream.signal")["signal"] == "SIGINT"


def test_closing_tells_the_agent_once_and_what_still_comes_is_discarded(bench: Bench) -> None:
    stream = bench.open()
    stream.close()
    stream.close()
    assert bench.asked("stream.close")["stream"] == stream.id
    assert sum(r["op"] == "stream.close" for r in bench.agent.requests) == 1
    bench.agent.data(stream.id, bytes(1000))
    bench.agent.window(stream.id, 0)
    bench.agent.end(stream.id, exit_code=137)
    with pytest.raises(GuestFailed, match="the stream was closed"):
        stream.read(LONG)
    with pytest.raises(GuestFailed, match="the stream was closed"):
        stream.write(b"x", LONG)
    bench.channel.request("pod.status", LONG)
    assert bench.lost.empty()


def test_closing_wakes_a_reader_in_another_thread(bench: Bench) -> None:
    stream = bench.open()
    caught: list[str] = []

    def read() -> None:
        with pytest.raises(GuestFailed) as error:
            stream.read(None)
        caught.append(str(error.value))

    reader = threading.Thread(target=read)
    reader.start()
    stream.close()
    reader.join(LONG)
    assert caught == ["the stream was closed"]


def test_a_refused_stream_is_free_again(bench: Bench) -> None:
    bench.refusal = ("state", "container main does not run")
    for _ in range(MAX_STREAMS + 5):
        with pytest.raises(AgentError, match="does not run"):
            bench.open()
    bench.refusal = None
    assert bench.open().answer == {"pid": 7}


def test_there_are_only_so_many_streams(bench: Bench) -> None:
    streams = [bench.open() for _ in range(MAX_STREAMS)]
    with pytest.raises(AgentError, match="32 sessions and transfers already"):
        bench.open()
    bench.agent.end(streams[0].id, exit_code=0)
    assert streams[0].read(LONG) is None
    assert bench.open().answer == {"pid": 7}


def test_an_agent_that_agrees_too_late_is_told_to_close(bench: Bench) -> None:
    bench.silent = True
    with pytest.raises(GuestFailed, match=r"did not answer to exec\.start"):
        bench.channel.open_stream("exec.start", 0.1)
    bench.silent = False
    stream_id = bench.asked("stream.close")["stream"]
    bench.agent.answer(bench.unanswered[0], pid=7)
    bench.agent.data(stream_id, b"late")
    bench.agent.end(stream_id, exit_code=137)
    bench.channel.request("pod.status", LONG)
    assert bench.lost.empty()


def test_an_agent_that_refuses_too_late_leaves_no_stream(bench: Bench) -> None:
    for _ in range(2):
        bench.silent = True
        with pytest.raises(GuestFailed):
            bench.channel.open_stream("exec.start", 0.1)
    bench.silent = False
    for number in bench.unanswered:
        bench.agent.refuse(number, "exec", "no such command")
    streams = [bench.open() for _ in range(MAX_STREAMS)]
    assert len(streams) == MAX_STREAMS


def test_a_lost_guest_fails_readers_and_writers(bench: Bench) -> None:
    stream = bench.open()
    bench.agent.data(stream.id, b"before")
    assert stream.read(LONG) == (0, b"before")
    bench.agent.hang_up()
    with pytest.raises(GuestFailed, match="guest ended"):
        stream.read(LONG)
    with pytest.raises(GuestFailed, match="guest ended"):
        stream.write(b"x", LONG)
    stream.close()


@pytest.mark.parametrize(
    "act",
    [
        lambda agent, stream: agent.data(stream + 1, b"x"),
        lambda agent, stream: agent.window(stream + 1, 1),
        lambda agent, stream: agent.end(stream + 1, exit_code=0),
        lambda agent, _stream: agent.event(event="stream.closed", stream="1"),
        lambda agent, _stream: agent.event(event="stream.closed"),
        lambda agent, stream: agent.data(stream, b""),
        lambda agent, stream: agent.data(stream, b"x", 2),
        lambda agent, stream: agent.data(stream, b"x", 0x40),
        lambda agent, stream: agent.window(stream, 1),
        lambda agent, stream: agent.window(stream, 2**32 - 1),
        lambda agent, stream: [agent.data(stream, bytes(32 * 1024)) for _ in range(3)],
    ],
    ids=[
        *("data of no stream", "window of no stream", "end of no stream", "odd id", "no id"),
        *("empty data", "unknown channel", "unknown flag", "window never used", "huge window"),
        "data beyond the window",
    ],
)
def test_a_guest_that_breaks_the_protocol_is_lost(
    bench: Bench, act: Callable[[FakeAgent, int], object]
) -> None:
    stream = bench.open()
    act(bench.agent, stream.id)
    assert "does not keep to the agent's protocol" in bench.lost.get(timeout=LONG)
    with pytest.raises(GuestFailed, match="protocol"):
        while stream.read(LONG) is not None:
            pass


def test_the_end_of_a_stream_is_no_event_for_others(bench: Bench) -> None:
    stream = bench.open()
    bench.agent.end(stream.id, exit_code=0)
    bench.agent.event(event="container.output", name="main")
    assert bench.events.get(timeout=LONG) == {"event": "container.output", "name": "main"}
