"""The connection to the agent of one guest.

Everything that the guest sends is bounded and checked; whatever does not fit
the protocol ends the connection, and :meth:`AgentChannel.request` never waits
longer than it was told.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nova_hyper.daemon.guest import frame, hello
from nova_hyper.daemon.guest.answer import checked
from nova_hyper.daemon.guest.budget import Budget
from nova_hyper.daemon.guest.frame import Frame, FrameError, FrameType
from nova_hyper.daemon.guest.hello import Hello
from nova_hyper.daemon.guest.reactor import READ, WRITE, Reactor
from nova_hyper.daemon.guest.stream import AgentStream, Streams
from nova_hyper.daemon.ports import AgentError
from nova_hyper.spec.errors import GuestFailed

LOG = logging.getLogger(__name__)

_RETRY_S = 0.005
_CHUNK = 64 * 1024
# What may come before the answer to hello: whatever an agent had under way for another daemon.
_MAX_STALE = 4 * 1024 * 1024
_MAX_ABANDONED = 1024
# The frames of streams are bounded by their windows already: this is for many small ones.
_STREAM_FRAMES = 4000.0
_OF_STREAMS = (FrameType.DATA, FrameType.WINDOW)
# BlockingIOError: QEMU serves one client, and another one (of a daemon that ends) is waiting.
_NOBODY = (FileNotFoundError, ConnectionRefusedError)
_NOT_YET = (*_NOBODY, TimeoutError, BlockingIOError)


@dataclasses.dataclass
class _Call:
    """A request under way; *done* is set when one of the other two is."""

    done: threading.Event = dataclasses.field(default_factory=threading.Event)
    answer: dict[str, Any] | None = None
    failure: str = ""
    stream: AgentStream | None = None  # that the request asks for


class AgentChannel:
    """A connection to one agent; safe to use from several threads."""

    def __init__(
        self,
        path: Path,
        reactor: Reactor,
        on_event: Callable[[dict[str, Any]], None],
        on_lost: Callable[[str], None],
    ) -> None:
        """Make a channel that is not connected yet.

        *path* is the unix socket that QEMU listens on.  *on_event* gets every
        event, *on_lost* the reason when the connection ends by itself after
        :meth:`connect`; both are called from the reactor's thread and must
        not block.
        """
        self._path = path
        self._reactor = reactor
        self._on_event = on_event
        self._on_lost = on_lost
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._calls: dict[int, _Call] = {}
        self._abandoned: dict[int, AgentStream | None] = {}
        self._streams = Streams(self._send_frame, self._tell)
        self.features: frozenset[str] = frozenset()
        self._next_id = secrets.randbelow(2**31) + 1
        self._out = bytearray()
        self._greeted = False
        # Only the reactor's thread uses these.
        self._decoder = frame.Decoder()
        self._budget = Budget(time.monotonic())
        self._stream_budget = Budget(time.monotonic(), _STREAM_FRAMES, _STREAM_FRAMES)
        self._mark = b""
        self._stale = 0
        self._paused = False

    def connect(self, fresh: bool, timeout: float) -> Hello:
        """Connect, resynchronise unless the guest is *fresh*, and say hello.

        :raises GuestFailed: when no agent has answered after *timeout* seconds,
            or the guest ended.
        """
        deadline = time.monotonic() + timeout
        nonce = secrets.token_hex(16)
        sock = self._open(fresh, deadline, timeout)
        sock.setblocking(False)
        with self._lock:
            self._socket = sock
            request_id, call = self._begin()
            self._mark = frame.response_mark(request_id)
            self._out += b"" if fresh else frame.RESYNC
            self._out += frame.encode_request(
                request_id, {"op": "hello", "nonce": nonce, "version": hello.VERSION}
            )
        self._reactor.call(self._update)
        try:
            answer = self._wait(request_id, call, "hello", deadline, timeout)
            if answer.get("nonce") != nonce:
                raise FrameError("the agent's hello has another nonce")
            greeting = hello.parse(answer)
        except FrameError as exc:
            self.close()
            raise GuestFailed(f"the guest does not keep to the agent's protocol: {exc}") from None
        except AgentError as exc:
            self.close()
            raise GuestFailed(f"the agent refused to talk: {exc.message}") from exc
        except GuestFailed:
            self.close()
            raise
        self.features = greeting.features
        return greeting

    def request(self, op: str, timeout: float, **args: Any) -> dict[str, Any]:
        """Return the agent's answer to *op* with *args*, without its ``ok``.

        :raises AgentError: what the agent refused, with its code and sentence;
            also a request that is too large for it.
        :raises GuestFailed: when there is no answer after *timeout* seconds, or
            the connection is lost.
        """
        deadline = time.monotonic() + timeout
        request_id, call = self._ask(op, args, None)
        return self._wait(request_id, call, op, deadline, timeout)

    def open_stream(self, op: str, timeout: float, **args: Any) -> AgentStream:
        """Return the stream that *op* with *args* opens, once the agent has answered.

        :raises AgentError: what the agent refused, with its code and sentence, and when
            there are too many streams.
        :raises GuestFailed: when there is no answer after *timeout* seconds, or the
            connection is lost.
        """
        deadline = time.monotonic() + timeout
        stream = self._streams.add()
        try:
            request_id, call = self._ask(op, args | {"stream": stream.id}, stream)
        except (AgentError, GuestFailed):
            self._streams.remove(stream)
            raise
        try:
            stream.answer = self._wait(request_id, call, op, deadline, timeout)
        except AgentError:
            self._streams.remove(stream)
            raise
        except GuestFailed:
            # Its answer may still come.
            stream.close()
            raise
        return stream

    def close(self) -> None:
        """End the connection; requests under way fail.  Idempotent."""
        self._end("the connection to the agent was closed")

    def _open(self, fresh: bool, deadline: float, timeout: float) -> socket.socket:
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.settimeout(max(0.001, deadline - time.monotonic()))
                sock.connect(str(self._path))
                return sock
            except _NOT_YET as exc:
                sock.close()
                # A QEMU that was there once and does not listen has ended.
                ended = not fresh and isinstance(exc, _NOBODY)
                if ended or time.monotonic() + _RETRY_S >= deadline:
                    raise GuestFailed(
                        "the guest has ended: nobody listens on its agent's socket"
                        if ended
                        else f"the guest's agent socket did not open within {timeout:g} s"
                    ) from exc
                time.sleep(_RETRY_S)
            except OSError as exc:
                sock.close()
                raise GuestFailed(f"the guest's agent socket does not open: {exc}") from exc

    def _begin(self, stream: AgentStream | None = None) -> tuple[int, _Call]:
        request_id = self._next_id
        self._next_id = request_id % (2**32 - 1) + 1
        call = self._calls[request_id] = _Call(stream=stream)
        return request_id, call

    def _ask(self, op: str, args: dict[str, Any], stream: AgentStream | None) -> tuple[int, _Call]:
        with self._lock:
            if self._socket is None:
                raise GuestFailed("the connection to the agent is closed")
            request_id, call = self._begin(stream)
            try:
                self._out += frame.encode_request(request_id, {"op": op, **args})
            except FrameError as exc:
                del self._calls[request_id]
                raise AgentError("invalid", str(exc)) from None
        self._reactor.call(self._update)
        return request_id, call

    def _send_frame(self, data: bytes) -> None:
        """Queue a frame of a stream; a lost connection is told to its readers and writers."""
        with self._lock:
            if self._socket is None:
                return
            self._out += data
        self._reactor.call(self._update)

    def _tell(self, op: str, args: dict[str, Any]) -> None:
        """Send a request without waiting for its answer."""
        with contextlib.suppress(AgentError, GuestFailed):
            request_id, _call = self._ask(op, args, None)
            with self._lock:
                if self._calls.pop(request_id, None) is not None:
                    self._abandon(request_id, None)

    def _abandon(self, request_id: int, stream: AgentStream | None) -> None:
        """Nobody waits for an answer any more; it may still come, and is not an error then."""
        self._abandoned[request_id] = stream
        if len(self._abandoned) > _MAX_ABANDONED:
            del self._abandoned[next(iter(self._abandoned))]

    def _wait(
        self, request_id: int, call: _Call, op: str, deadline: float, timeout: float
    ) -> dict[str, Any]:
        call.done.wait(max(0.0, deadline - time.monotonic()))
        with self._lock:
            self._calls.pop(request_id, None)
            if not call.done.is_set():
                self._abandon(request_id, call.stream)
        if call.answer is not None:
            return checked(call.answer)
        raise GuestFailed(call.failure or f"the agent did not answer to {op} within {timeout:g} s")

    def _end(self, reason: str) -> bool:
        """Close and fail what is under way; True for whoever really ended it."""
        with self._lock:
            sock, self._socket = self._socket, None
            calls = list(self._calls.values())
            self._calls.clear()
            self._out.clear()
        for call in calls:
            call.failure = reason
            call.done.set()
        self._streams.fail_all(reason)
        if sock is None:
            return False

        def release() -> None:
            self._reactor.watch(sock, 0, self._ready)
            sock.close()

        # The peer sees the end at once, also where the reactor has been stopped.
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        self._reactor.call(release)
        return True

    # What follows runs in the reactor's thread.

    def _update(self) -> None:
        with self._lock:
            sock = self._socket
            events = (0 if self._paused else READ) | (WRITE if self._out else 0)
        if sock is not None:
            self._reactor.watch(sock, events, self._ready)

    def _ready(self, events: int) -> None:
        try:
            if events & WRITE:
                self._write()
            if events & READ:
                self._read()
        except FrameError as exc:
            self._lose(f"the guest does not keep to the agent's protocol: {exc}")
        except OSError as exc:
            self._lose(f"the guest ended, or closed its connection ({exc})")
        else:
            self._update()

    def _lose(self, reason: str) -> None:
        greeted = self._greeted
        if self._end(reason) and greeted:
            self._on_lost(reason)

    def _write(self) -> None:
        with self._lock:
            if self._socket is None or not self._out:
                return
            with contextlib.suppress(BlockingIOError):
                sent = self._socket.send(self._out)
                del self._out[:sent]

    def _read(self) -> None:
        sock = self._socket
        if sock is None:
            return
        try:
            data = sock.recv(_CHUNK)
        except BlockingIOError:
            return
        if not data:
            raise ConnectionResetError("end of file")
        self._decoder.feed(data)
        if self._mark and not self._find_hello(len(data)):
            return
        self._serve()

    def _find_hello(self, more: int) -> bool:
        self._stale += more
        if self._stale > _MAX_STALE:
            raise FrameError("there is no answer to hello in all that it sends")
        if not self._decoder.skip_to(self._mark):
            return False
        self._mark = b""
        return True

    def _serve(self) -> None:
        while self._socket is not None and not self._paused:
            found = self._decoder.next()
            if found is None:
                return
            if found.type in _OF_STREAMS:
                pause = self._take_of_stream(found)
            else:
                pause = self._take_object(found)
            if pause > 0:
                self._paused = True
                self._reactor.call_later(pause, self._resume)

    def _take_object(self, found: Frame) -> float:
        self._budget.spend(len(found.payload), time.monotonic())
        body = frame.decode_object(found.payload)
        if found.type is FrameType.RESPONSE:
            self._take_answer(found.id, body)
        elif self._greeted:
            self._take_event(body)
        return self._budget.pause()

    def _take_of_stream(self, found: Frame) -> float:
        self._stream_budget.spend(0, time.monotonic())
        if found.type is FrameType.DATA:
            self._streams.take_data(found)
        else:
            self._streams.take_window(found)
        return self._stream_budget.pause()

    def _resume(self) -> None:
        self._paused = False
        if self._socket is not None:
            # Frames that were read before the pause wait in the decoder, not in the socket.
            try:
                self._serve()
            except FrameError as exc:
                self._lose(f"the guest does not keep to the agent's protocol: {exc}")
                return
        self._update()

    def _take_answer(self, request_id: int, body: dict[str, Any]) -> None:
        with self._lock:
            call = self._calls.pop(request_id, None)
            known = call is not None or request_id in self._abandoned
            stream = self._abandoned.pop(request_id, None)
            if call is not None:
                call.answer = body
                self._greeted = True
        if not known:
            raise FrameError("there is an answer to nothing")
        if stream is not None and body.get("ok") is not True:
            self._streams.remove(stream)
        if call is not None:
            call.done.set()

    def _take_event(self, body: dict[str, Any]) -> None:
        if not isinstance(body.get("event"), str):
            raise FrameError("an event has no name")
        if body["event"] == "stream.closed":
            self._streams.take_end(body)
        else:
            self._on_event(body)
