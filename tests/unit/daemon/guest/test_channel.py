from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nova_hyper.daemon.guest import frame, hello
from nova_hyper.daemon.guest.channel import AgentChannel
from nova_hyper.daemon.guest.reactor import Reactor
from nova_hyper.daemon.ports import AgentError
from nova_hyper.spec.errors import GuestFailed
from tests.unit.daemon.guest.fake_agent import HEADER, FakeAgent, Serve, hello_fields

LONG = 10.0


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    made = Reactor()
    made.start()
    yield made
    made.stop()


class Bench:
    """A fake agent, a channel to it, and what the channel has told."""

    def __init__(self, path: Path, reactor: Reactor) -> None:
        self.path = path
        self.reactor = reactor
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self.lost: queue.Queue[str] = queue.Queue()
        self.channel = AgentChannel(path, reactor, self.events.put, self.lost.put)
        self.agent: FakeAgent | None = None

    def listen(self, serve: Serve | None = None) -> FakeAgent:
        self.agent = FakeAgent(self.path, serve)
        return self.agent

    def connected(self, serve: Serve | None = None) -> FakeAgent:
        agent = self.listen(serve)
        self.channel.connect(fresh=True, timeout=LONG)
        return agent


@pytest.fixture
def bench(tmp_path: Path, reactor: Reactor) -> Iterator[Bench]:
    made = Bench(tmp_path / "agent.sock", reactor)
    yield made
    made.channel.close()
    if made.agent is not None:
        made.agent.stop()


def test_hello_is_typed(bench: Bench) -> None:
    bench.listen()
    hello = bench.channel.connect(fresh=True, timeout=LONG)
    assert (hello.version, hello.agent, hello.state) == (1, "0.0.1", "sandbox")
    assert hello.features == {"clock"}
    assert (hello.uptime_ns, hello.mem_total_kib, hello.mem_available_kib) == (5, 1000, 900)


def test_connect_waits_for_the_socket_to_appear(bench: Bench) -> None:
    timer = threading.Timer(0.2, bench.listen)
    timer.start()
    assert bench.channel.connect(fresh=True, timeout=LONG).agent == "0.0.1"
    timer.join()


def test_connect_gives_up_after_its_timeout_when_there_is_no_socket(bench: Bench) -> None:
    started = time.monotonic()
    with pytest.raises(GuestFailed, match=r"did not open within 0\.2 s"):
        bench.channel.connect(fresh=True, timeout=0.2)
    assert time.monotonic() - started < 2


def test_connect_gives_up_after_its_timeout_when_nobody_answers(bench: Bench) -> None:
    agent = bench.listen()
    release = threading.Event()

    def hold(request: dict[str, Any]) -> dict[str, Any]:
        release.wait(LONG)
        return hello_fields(request)

    agent.hello = hold
    with pytest.raises(GuestFailed, match=r"did not answer to hello within 0\.2 s"):
        bench.channel.connect(fresh=True, timeout=0.2)
    release.set()
    assert bench.lost.empty()


def test_connect_fails_at_once_when_the_guest_ends(bench: Bench) -> None:
    agent = bench.listen()

    def leave(request: dict[str, Any]) -> dict[str, Any]:
        agent.hang_up()
        return hello_fields(request)

    agent.hello = leave
    started = time.monotonic()
    with pytest.raises(GuestFailed, match="guest ended"):
        bench.channel.connect(fresh=True, timeout=LONG)
    assert time.monotonic() - started < 5


def test_a_fresh_guest_gets_no_zeros_and_another_one_enough(bench: Bench) -> None:
    agent = bench.listen()
    bench.channel.connect(fresh=True, timeout=LONG)
    assert agent.zeros == 0
    bench.channel.close()
    again = AgentChannel(bench.path, bench.reactor, bench.events.put, bench.lost.put)
    again.connect(fresh=False, timeout=LONG)
    again.close()
    assert agent.zeros == 256 * 1024 + 12


@pytest.mark.parametrize(
    "stale",
    [
        b"HV\x02\x00\x00\x00\x00\x09\x00\x00\xff\xff{",
        b"xx",
        b"HV\x02",
        HEADER.pack(b"HV", 3, 0, 0, 2) + b"{}",
        bytes(100_000),
    ],
)
def test_what_was_meant_for_another_daemon_is_discarded(bench: Bench, stale: bytes) -> None:
    agent = bench.listen()
    agent.greeting = stale
    bench.channel.connect(fresh=False, timeout=LONG)
    assert bench.channel.request("pod.status", LONG) == {}
    assert bench.events.empty()


def test_a_guest_that_only_sends_garbage_is_given_up(bench: Bench) -> None:
    agent = bench.listen()
    agent.greeting = b"x" * (5 * 1024 * 1024)
    with pytest.raises(GuestFailed, match="no answer to hello in all that it sends"):
        bench.channel.connect(fresh=False, timeout=LONG)


@pytest.mark.parametrize(
    "wrong",
    [
        {"nonce": "another"},
        {"version": hello.VERSION + 1},
        {"version": "1"},
        {"version": True},
        {"features": "clock"},
        {"features": [1]},
        {"features": ["x"] * 100},
        {"agent": None},
        {"agent": "x" * 1000},
        {"state": "odd"},
        {"uptime_ns": -1},
        {"mem_total_kib": 2**63},
        {"mem_available_kib": 1.5},
    ],
)
def test_a_hello_that_is_not_one_fails_the_guest(bench: Bench, wrong: dict[str, Any]) -> None:
    agent = bench.listen()
    agent.hello = lambda request: hello_fields(request) | wrong
    with pytest.raises(GuestFailed, match="does not keep to the agent's protocol"):
        bench.channel.connect(fresh=True, timeout=LONG)


def test_arguments_reach_the_agent_and_its_fields_come_back(bench: Bench) -> None:
    agent = bench.connected(lambda agent, number, _request: agent.answer(number, pid=3))
    assert bench.channel.request("container.start", LONG, name="web") == {"pid": 3}
    assert agent.requests[-1] == {"op": "container.start", "name": "web"}


def test_a_refusal_has_code_and_sentence(bench: Bench) -> None:
    bench.connected(lambda agent, number, _request: agent.refuse(number, "exec", "no\x1b such"))
    with pytest.raises(AgentError) as caught:
        bench.channel.request("container.start", LONG)
    assert (caught.value.code, caught.value.message) == ("exec", "no  such")


@pytest.mark.parametrize(("code", "message"), [("odd", "x"), (7, None), (None, "\n")])
def test_a_strange_refusal_is_an_internal_one(bench: Bench, code: Any, message: Any) -> None:
    bench.connected(lambda agent, number, _request: agent.refuse(number, code, message))
    with pytest.raises(AgentError) as caught:
        bench.channel.request("x", LONG)
    assert caught.value.code == "internal"
    assert caught.value.message


def test_a_request_that_is_too_large_is_refused_here(bench: Bench) -> None:
    bench.connected()
    with pytest.raises(AgentError, match="too long") as caught:
        bench.channel.request("container.create", LONG, env=["x" * 300_000])
    assert caught.value.code == "invalid"
    assert bench.channel.request("pod.status", LONG) == {}


def test_requests_of_several_threads_get_their_own_answers(bench: Bench) -> None:
    held: list[tuple[int, dict[str, Any]]] = []

    def serve(agent: FakeAgent, number: int, request: dict[str, Any]) -> None:
        held.append((number, request))
        if len(held) == 8:
            for earlier, asked in reversed(held):
                agent.answer(earlier, mine=asked["value"])

    bench.connected(serve)
    results: dict[int, Any] = {}

    def ask(value: int) -> None:
        results[value] = bench.channel.request("echo", LONG, value=value)["mine"]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {i: i for i in range(8)}


def test_a_late_answer_is_no_error(bench: Bench) -> None:
    late: list[int] = []
    agent = bench.connected(lambda _agent, number, _request: late.append(number))
    with pytest.raises(GuestFailed, match=r"did not answer to slow within 0\.1 s"):
        bench.channel.request("slow", 0.1)
    agent.answer(late[0])
    agent._serve = lambda agent, number, _request: agent.answer(number)
    assert bench.channel.request("pod.status", LONG) == {}
    assert bench.lost.empty()


def test_events_are_given_on_in_order(bench: Bench) -> None:
    agent = bench.connected()
    for number in range(50):
        agent.event(event="container.output", name=str(number))
    assert [bench.events.get(timeout=LONG)["name"] for _ in range(50)] == [
        str(n) for n in range(50)
    ]


def test_a_callback_that_fails_does_not_end_the_connection(bench: Bench) -> None:
    def fail(event: dict[str, Any]) -> None:
        bench.events.put(event)
        raise ValueError("a bug")

    bench.channel = AgentChannel(bench.path, bench.reactor, fail, bench.lost.put)
    agent = bench.connected()
    agent.event(event="container.output", name="web")
    bench.events.get(timeout=LONG)
    assert bench.channel.request("pod.status", LONG) == {}


@pytest.mark.parametrize(
    "data",
    [
        b"garbage in place of a frame",
        HEADER.pack(b"HV", 2, 0, 99, 2**20),
        HEADER.pack(b"HV", 2, 0, 99, 2) + b"{}",
        HEADER.pack(b"HV", 3, 0, 0, 2) + b"[]",
        HEADER.pack(b"HV", 3, 0, 0, 2) + b"{}",
        HEADER.pack(b"HV", 3, 0, 0, 30000) + b"[" * 30000,
    ],
)
def test_a_guest_that_breaks_the_protocol_is_lost(bench: Bench, data: bytes) -> None:
    agent = bench.connected(lambda agent, _number, _request: agent.raw(data))
    with pytest.raises(GuestFailed, match="does not keep to the agent's protocol"):
        bench.channel.request("pod.status", LONG)
    assert "protocol" in bench.lost.get(timeout=LONG)
    with pytest.raises(GuestFailed, match="closed"):
        bench.channel.request("pod.status", LONG)
    assert len(agent.requests) == 2


def test_the_end_of_the_guest_fails_requests_at_once_and_is_told_once(bench: Bench) -> None:
    agent = bench.connected(lambda agent, _number, _request: agent.hang_up())
    started = time.monotonic()
    with pytest.raises(GuestFailed, match="guest ended"):
        bench.channel.request("power.off", LONG)
    assert time.monotonic() - started < 5
    assert "guest ended" in bench.lost.get(timeout=LONG)
    bench.channel.close()
    assert bench.lost.empty()
    assert agent.requests[-1]["op"] == "power.off"


def test_closing_fails_what_is_under_way_and_is_not_a_loss(bench: Bench) -> None:
    bench.connected(lambda _agent, _number, _request: None)
    threading.Timer(0.1, bench.channel.close).start()
    with pytest.raises(GuestFailed, match="was closed"):
        bench.channel.request("pod.status", LONG)
    bench.channel.close()
    assert bench.lost.empty()


def test_a_flooding_guest_is_slowed_down_and_holds_up_nobody(bench: Bench, tmp_path: Path) -> None:
    calm = Bench(tmp_path / "calm.sock", bench.reactor)
    calm.connected()
    agent = bench.connected()
    stop = threading.Event()

    def flood() -> None:
        while not stop.is_set():
            try:
                agent.event(event="flood", padding="x" * 1000)
            except OSError:
                return

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        time.sleep(1)
        slowest = 0.0
        for _ in range(20):
            started = time.monotonic()
            calm.channel.request("pod.status", LONG)
            slowest = max(slowest, time.monotonic() - started)
        assert bench.events.qsize() < 1500
        assert slowest < 1.0
    finally:
        stop.set()
        bench.channel.close()
        thread.join()
        calm.channel.close()
        assert calm.agent is not None
        calm.agent.stop()


def test_an_answer_larger_than_one_read_is_put_together(bench: Bench) -> None:
    text = "x" * (frame.MAX_ANSWER - 100)
    bench.connected(lambda agent, number, _request: agent.answer(number, text=text))
    assert bench.channel.request("pod.status", LONG) == {"text": text}


def test_many_channels_need_one_thread(tmp_path: Path, reactor: Reactor) -> None:
    benches = [Bench(tmp_path / f"{i}.sock", reactor) for i in range(20)]
    agents = [bench.connected() for bench in benches]
    names = [t.name for t in threading.enumerate() if "agents" in t.name]
    assert names == ["agents"]
    assert all(bench.channel.request("pod.status", LONG) == {} for bench in benches)
    for bench, agent in zip(benches, agents, strict=True):
        bench.channel.close()
        agent.stop()
