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
from nova_hyper.daemon.guest.budget import Budget
from nova_hyper.daemon.guest.frame import FrameError, FrameType
from nova_hyper.daemon.guest.hello import Hello
from nova_hyper.daemon.guest.reactor import READ, WRITE, Reactor
from nova_hyper.daemon.ports import AgentError
from nova_hyper.spec.errors import GuestFailed

LOG = logging.getLogger(__name__)

_RETRY_S = 0.005
_CHUNK = 64 * 1024
# What may come before the answer to hello: whatever an agent had under way for another daemon.
_MAX_STALE = 4 * 1024 * 1024
_MAX_ABANDONED = 1024
_CODES = frozenset(("unknown_op", "invalid", "state", "disk", "network", "exec", "internal"))
_MAX_MESSAGE = 1024
# BlockingIOError: QEMU serves one client, and another one (of a daemon that ends) is waiting.
_NOBODY = (FileNotFoundError, ConnectionRefusedError)
_NOT_YET = (*_NOBODY, TimeoutError, BlockingIOError)


@dataclasses.dataclass
class _Call:
    """A request under way; *done* is set when one of the other two is."""

    done: threading.Event = dataclasses.field(default_factory=threading.Event)
    answer: dict[str, Any] | None = None
    failure: str = ""


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
        self._abandoned: dict[int, None] = {}
        self._next_id = secrets.randbelow(2**31) + 1
        self._out = bytearray()
        self._greeted = False
        # Only the reactor's thread uses these.
        self._decoder = frame.Decoder()
        self._budget = Budget(time.monotonic())
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
        return greeting

    def request(self, op: str, timeout: float, **args: Any) -> dict[str, Any]:
        """Return the agent's answer to *op* with *args*, without its ``ok``.

        :raises AgentError: what the agent refused, with its code and sentence;
            also a request that is too large for it.
        :raises GuestFailed: when there is no answer after *timeout* seconds, or
            the connection is lost.
        """
        deadline = time.monotonic() + timeout
        with self._lock:
            if self._socket is None:
                raise GuestFailed("the connection to the agent is closed")
            request_id, call = self._begin()
            try:
                self._out += frame.encode_request(request_id, {"op": op, **args})
            except FrameError as exc:
                del self._calls[request_id]
                raise AgentError("invalid", str(exc)) from None
        self._reactor.call(self._update)
        return self._wait(request_id, call, op, deadline, timeout)

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

    def _begin(self) -> tuple[int, _Call]:
        request_id = self._next_id
        self._next_id = request_id % (2**32 - 1) + 1
        call = self._calls[request_id] = _Call()
        return request_id, call

    def _wait(
        self, request_id: int, call: _Call, op: str, deadline: float, timeout: float
    ) -> dict[str, Any]:
        call.done.wait(max(0.0, deadline - time.monotonic()))
        with self._lock:
            self._calls.pop(request_id, None)
            if not call.done.is_set():
                # Its answer may still come, and is not an error then.
                self._abandoned[request_id] = None
                if len(self._abandoned) > _MAX_ABANDONED:
                    del self._abandoned[next(iter(self._abandoned))]
        if call.answer is not None:
            return _checked(call.answer)
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
            self._budget.spend(len(found.payload), time.monotonic())
            body = frame.decode_object(found.payload)
            if found.type is FrameType.RESPONSE:
                self._take_answer(found.id, body)
            elif self._greeted:
                self._take_event(body)
            pause = self._budget.pause()
            if pause > 0:
                self._paused = True
                self._reactor.call_later(pause, self._resume)

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
            self._abandoned.pop(request_id, None)
            if call is not None:
                call.answer = body
                self._greeted = True
        if not known:
            raise FrameError("there is an answer to nothing")
        if call is not None:
            call.done.set()

    def _take_event(self, body: dict[str, Any]) -> None:
        if not isinstance(body.get("event"), str):
            raise FrameError("an event has no name")
        self._on_event(body)


def _checked(body: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an answer.

    :raises AgentError: when the agent refused.
    """
    if body.get("ok") is True:
        return {key: value for key, value in body.items() if key != "ok"}
    error = body.get("error")
    if not isinstance(error, dict):
        error = {}
    code, message = error.get("code"), error.get("message")
    raise AgentError(
        code if isinstance(code, str) and code in _CODES else "internal",
        _one_line(message) if isinstance(message, str) else "the agent gave no reason",
    )


def _one_line(message: str) -> str:
    text = "".join(c if c.isprintable() else " " for c in message[:_MAX_MESSAGE])
    return text.strip() or "the agent gave no reason"
