"""Fuzzer of hyperd's side of the agent's protocol: a guest that says anything, at any time."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris

from tests.fuzz.json_values import json_value, json_word

with atheris.instrument_imports(
    include=[
        "nova_hyper.daemon.guest",
        "nova_hyper.daemon.pods.status",
        "nova_hyper.daemon.pods.usage",
    ]
):
    from nova_hyper.daemon.guest import frame
    from nova_hyper.daemon.guest.channel import AgentChannel
    from nova_hyper.daemon.guest.reactor import READ, WRITE
    from nova_hyper.daemon.guest.stream import MAX_STREAMS, WINDOW
    from nova_hyper.daemon.pods import status, usage
    from nova_hyper.daemon.ports import AgentError
    from nova_hyper.spec.container import ContainerState, ContainerStatus
    from nova_hyper.spec.errors import GuestFailed

_HEADER = struct.Struct(">2sBBII")
_WORDS = (
    *("event", "stream.closed", "stream", "exit_code", "signal", "error", "code", "message"),
    *("ok", "nonce", "version", "agent", "features", "state", "uptime_ns", "mem_total_kib"),
    *("mem_available_kib", "container.exited", "container.output", "pod.changed", "pod.finished"),
    *("name", "containers", "web", "running", "waiting", "exited", "created", "restarts", "ready"),
    *("started", "health", "healthy", "oom_killed", "reason", "finished", "nics", "mac"),
    *("cpu_ns", "memory_bytes", "memory_max", "memory_peak", "oom_kills", "pids", "read_bytes"),
    *("write_bytes", "processes", "pid", "ppid", "user", "rss_kib", "command", "rx_bytes"),
    *("tx_bytes", "rx_packets", "tx_packets", "rx_errors", "tx_errors", "rx_dropped"),
)
_HELLO = {
    "ok": True,
    "version": 2,
    "agent": "1",
    "features": ["streams"],
    "state": "pod",
    "uptime_ns": 1,
    "mem_total_kib": 1,
    "mem_available_kib": 1,
}


class _Guest:
    """Both the socket to the guest, and the reactor that serves it at once."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.coming: list[bytes] = []
        self._events = 0
        self._ready: Callable[[int], None] | None = None
        self._serving = False

    # The socket.

    def setblocking(self, flag: bool) -> None: ...

    def send(self, data: bytes) -> int:
        self.sent += data
        return len(data)

    def recv(self, size: int) -> bytes:
        if not self.coming:
            raise BlockingIOError
        data, rest = self.coming[0][:size], self.coming[0][size:]
        self.coming[:1] = [rest] if rest else []
        return data

    def shutdown(self, how: int) -> None: ...

    def close(self) -> None: ...

    # The reactor.

    def call(self, callback: Callable[[], None]) -> None:
        callback()
        if not self._serving:
            self.serve()

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        callback()

    def watch(self, sock: Any, events: int, ready: Callable[[int], None]) -> None:
        self._events, self._ready = events, ready

    def serve(self) -> None:
        """Let the channel do what it can."""
        self._serving = True
        while self._ready and (
            now := (self._events & WRITE) | (self._events & READ if self.coming else 0)
        ):
            self._ready(now)
        self._serving = False


def _requests(sent: bytearray) -> list[tuple[int, dict[str, Any]]]:
    """Return the requests in what the host sent, with their ids; what was sent is used up."""
    found = []
    while sent:
        magic, kind, _, number, length = _HEADER.unpack_from(sent)
        assert magic == b"HV"
        payload = bytes(sent[_HEADER.size : _HEADER.size + length])
        assert len(payload) == length
        del sent[: _HEADER.size + length]
        if kind == 1:
            found.append((number, json.loads(payload)))
    return found


def _frame(kind: int, number: int, payload: bytes, flags: int = 0) -> bytes:
    return _HEADER.pack(b"HV", kind, flags, number, len(payload)) + payload


def _object(data: atheris.FuzzedDataProvider) -> dict[str, Any]:
    return {
        json_word(data, _WORDS): json_value(data, _WORDS, 3)
        for _ in range(data.ConsumeIntInRange(0, 6))
    }


def _body(data: atheris.FuzzedDataProvider, **fields: Any) -> bytes:
    if data.ConsumeIntInRange(0, 9) == 0:
        return json.dumps(json_value(data, _WORDS)).encode()
    return json.dumps({**fields, **_object(data)}).encode()


def _greet(data: atheris.FuzzedDataProvider, guest: _Guest, channel: AgentChannel) -> bool:
    """Have the channel say hello, and answer; tell whether it is content."""
    original = guest.send

    def answer(sent: bytes) -> int:
        guest.sent += sent
        if guest.sent.endswith(b"}"):
            for number, request in _requests(guest.sent):
                said = {**_HELLO, "nonce": request["nonce"]}
                if data.ConsumeBool():
                    said.update(_object(data))
                guest.coming.append(_frame(2, number, json.dumps(said).encode()))
        return len(sent)

    guest.send = answer  # type: ignore[method-assign]
    try:
        channel.connect(fresh=True, timeout=0.0)
    except GuestFailed:
        return False
    finally:
        guest.send = original  # type: ignore[method-assign]
    return True


def one_input(raw: bytes) -> None:
    """Let host and guest talk as *raw* says: the host never fails in a way it does not know."""
    data = atheris.FuzzedDataProvider(raw)
    guest = _Guest()
    lost: list[str] = []

    def on_event(event: dict[str, Any]) -> None:
        assert isinstance(event["event"], str)
        status.exit_code(event)

    channel = AgentChannel(Path("/nowhere"), guest, on_event, lost.append)  # type: ignore[arg-type]
    channel._open = lambda *_: guest  # type: ignore[assignment,method-assign,return-value]
    if not _greet(data, guest, channel):
        return
    streams = []
    pending: list[int] = []
    while data.remaining_bytes() and not lost:
        action = data.ConsumeIntInRange(0, 11)
        stream = streams[data.ConsumeIntInRange(0, len(streams) - 1)] if streams else None
        try:
            if action == 0:
                number = pending.pop(0) if pending else data.ConsumeInt(4) & 0xFFFFFFFF
                guest.coming.append(_frame(2, number, _body(data, ok=data.ConsumeBool())))
            elif action == 1:
                guest.coming.append(_frame(3, 0, _body(data, event=json_word(data, _WORDS))))
            elif action == 2 and stream:
                size = data.ConsumeIntInRange(0, 33_000)
                flags = data.ConsumeIntInRange(0, 255) if data.ConsumeBool() else 0
                guest.coming.append(_frame(4, stream.id, bytes(size), flags))
            elif action == 3 and stream:
                count = data.ConsumeIntInRange(0, 70_000)
                guest.coming.append(_frame(5, stream.id, struct.pack(">I", count)))
            elif action == 4:
                guest.coming.append(bytes(data.ConsumeBytes(data.ConsumeIntInRange(0, 60))))
            elif action == 5 and stream:
                closed = {"event": "stream.closed", "stream": stream.id}
                guest.coming.append(_frame(3, 0, json.dumps({**closed, **_object(data)}).encode()))
            elif action == 6:
                made = channel._streams.add()
                streams.append(made)
            elif action == 7:
                _check_answer(channel.request("pod.status", 0.0))
            elif action == 8 and stream:
                stream.read(0.0)
            elif action == 9 and stream:
                stream.write(bytes(data.ConsumeIntInRange(0, 70_000)), 0.0)
            elif action == 10 and stream:
                stream.close()
            elif action == 11:
                guest.serve()
        except (AgentError, GuestFailed, TimeoutError) as exc:
            assert "Traceback" not in str(exc)
        pending += [number for number, _ in _requests(guest.sent)]
        _check_bounds(channel, streams)
    guest.serve()
    channel.close()
    _check_answer(_answer(data))


_COUNTERS = dict.fromkeys(
    (
        *("cpu_ns", "memory_bytes", "memory_peak", "oom_kills", "pids", "read_bytes"),
        *("write_bytes", "rx_bytes", "tx_bytes", "rx_packets", "tx_packets", "rx_errors"),
        *("tx_errors", "rx_dropped", "tx_dropped", "pid", "ppid", "rss_kib", "uptime_ns"),
        *("mem_total_kib", "mem_available_kib", "restarts"),
    ),
    1,
)
_TEXTS = dict.fromkeys(("name", "mac", "user", "state", "command", "reason", "message"), "web")


def _answer(data: atheris.FuzzedDataProvider) -> dict[str, Any]:
    """Return an answer that is mostly right, so that all of it is read."""
    lists = {
        key: [
            {**_COUNTERS, **_TEXTS, **_object(data)} for _ in range(data.ConsumeIntInRange(0, 3))
        ]
        for key in ("containers", "nics", "processes")
    }
    return {**_COUNTERS, **lists, **(_object(data) if data.ConsumeBool() else {})}


def _check_answer(answer: dict[str, Any]) -> None:
    known = (ContainerStatus("web", "", "", ContainerState.RUNNING),)
    status.is_finished(answer, status.containers(answer, known))
    for parse in (lambda: usage.stats(answer, ("web",)), lambda: usage.processes(answer)):
        try:
            parse()
        except GuestFailed:
            continue


def _check_bounds(channel: AgentChannel, streams: list[Any]) -> None:
    assert len(channel._streams._open) <= MAX_STREAMS
    assert channel._decoder.buffered <= frame.MAX_ANSWER + frame.HEADER_SIZE + 64 * 1024
    for stream in streams:
        assert sum(len(data) for _, data in stream._received) <= WINDOW
        assert len(stream._received) <= WINDOW


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
