"""Streams of bytes between this host and programs in one guest.

Both ways there is a window: what may be under way before the other side says
that it took some.  A guest that sends beyond what it was given, or on a stream
that nobody opened, breaks the protocol, so that no more than a window for each
stream is ever held here.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from nova_hyper.daemon.guest import frame
from nova_hyper.daemon.guest.answer import sentence
from nova_hyper.daemon.guest.frame import FrameError
from nova_hyper.daemon.ports import AgentError
from nova_hyper.spec.errors import GuestFailed

WINDOW = 64 * 1024
"""Bytes that each side may send on a stream at first."""
MAX_STREAMS = 32
"""Streams that an agent serves at once."""
_STEP = WINDOW // 4
_MANY = 256
_SMALL = 1024
_STDIN = 0
_CHANNELS = (0, 1)


Tell = Callable[[str, dict[str, Any]], None]
"""Sends a request without waiting for its answer."""


class AgentStream:
    """One stream, which one thread may read while another one writes.

    Implements :class:`nova_hyper.daemon.ports.GuestStream`.
    """

    def __init__(
        self,
        stream_id: int,
        send: Callable[[bytes], None],
        tell: Tell,
    ) -> None:
        """Make a stream that *send* takes frames of, and *tell* requests."""
        self.id = stream_id
        self.answer: dict[str, Any] = {}
        self.exit_code: int | None = None
        self.error: str | None = None
        self._send = send
        self._tell = tell
        self._changed = threading.Condition()
        self._received: deque[tuple[int, bytes]] = deque()
        self._allowed = WINDOW  # of the agent: what it may send now
        self._taken = 0  # by readers, since the agent was told
        self._window = WINDOW  # ours
        self._input_ended = False
        self._ended = False
        self._closed = False
        self._failure = ""

    def read(self, timeout: float | None) -> tuple[int, bytes] | None:
        """Return the next bytes and their channel (0 stdout, 1 stderr), None after the last ones.

        :raises TimeoutError: when nothing came in *timeout* seconds.
        :raises GuestFailed: when the guest is lost, or the stream was closed here.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._received:
                self._check()
                if self._ended:
                    return None
                self._wait(deadline)
            channel, data = self._received.popleft()
            self._taken += len(data)
            more = self._taken
            if self._ended or (more < _STEP and self._received):
                return channel, data
            self._taken = 0
            self._allowed += more
        self._send(frame.encode_window(self.id, more))
        return channel, data

    def write(self, data: bytes, timeout: float | None) -> None:
        """Send *data*, as soon as the agent takes it; what nobody reads in the guest is lost.

        :raises TimeoutError: when not all of it could be sent in *timeout* seconds.
        :raises GuestFailed: when the guest is lost, or the stream was closed here.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        rest = memoryview(data)
        while rest:
            with self._changed:
                while not self._window and not self._ended:
                    self._check()
                    self._wait(deadline)
                self._check()
                if self._ended or self._input_ended:
                    return
                count = min(len(rest), self._window, frame.MAX_DATA)
                self._window -= count
                self._send(frame.encode_data(self.id, _STDIN, bytes(rest[:count]), end=False))
            rest = rest[count:]

    def end_input(self) -> None:
        """Say that nothing more is written; idempotent."""
        with self._changed:
            if not (self._input_ended or self._ended or self._closed or self._failure):
                self._input_ended = True
                self._send(frame.encode_data(self.id, _STDIN, b"", end=True))

    def resize(self, rows: int, cols: int) -> None:
        """Tell the size of the terminal, where it has one."""
        self._tell("stream.resize", {"stream": self.id, "rows": rows, "cols": cols})

    def signal(self, name: str) -> None:
        """Send a signal (``SIGINT``) to the process."""
        self._tell("stream.signal", {"stream": self.id, "signal": name})

    def close(self) -> None:
        """End the stream, and the program if it is a command's; idempotent, does not wait."""
        with self._changed:
            first = not self._closed
            self._closed = True
            self._received.clear()
            self._changed.notify_all()
            over = self._ended or bool(self._failure)
        if first and not over:
            self._tell("stream.close", {"stream": self.id})

    def _check(self) -> None:
        if self._failure:
            raise GuestFailed(self._failure)
        if self._closed:
            raise GuestFailed("the stream was closed")

    def _wait(self, deadline: float | None) -> None:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError("the guest neither sends nor takes anything")
        self._changed.wait(left)

    # What follows is called by the reactor's thread, through the streams of the channel.

    def take_data(self, flags: int, payload: bytes) -> None:
        """Keep what came for a reader.

        :raises FrameError: when it is more than the agent may send.
        """
        channel = flags & frame.CHANNEL
        if channel not in _CHANNELS or flags & ~(frame.CHANNEL | frame.END):
            raise FrameError(f"data of a stream has flags {flags}")
        if not payload and not flags & frame.END:
            raise FrameError("a stream has empty data")
        with self._changed:
            self._allowed -= len(payload)
            if self._allowed < 0:
                raise FrameError("a stream has more data than its window")
            if payload and not self._closed:
                self._keep(channel, payload)
                self._changed.notify_all()

    def _keep(self, channel: int, payload: bytes) -> None:
        # A window of single bytes would take a hundred times its size. Where a guest goes from one
        # channel to the other with each, their order among each other is given up.
        last = 2 if len(self._received) >= _MANY else 1
        for index in range(-1, -1 - min(last, len(self._received)), -1):
            before, data = self._received[index]
            if before == channel and len(data) < _SMALL:
                self._received[index] = channel, data + payload
                return
        self._received.append((channel, payload))

    def take_window(self, payload: bytes) -> None:
        """Let more be written.

        :raises FrameError: when that is more than was ever sent.
        """
        with self._changed:
            self._window += frame.decode_window(payload)
            if self._window > WINDOW:
                raise FrameError("a stream's window is too large")
            self._changed.notify_all()

    def take_end(self, event: dict[str, Any]) -> None:
        """Remember how it ended: the fields of ``stream.closed``."""
        error = event.get("error")
        with self._changed:
            self.exit_code = _code(event.get("exit_code"))
            self.error = None if error is None else sentence(error) or "the agent gave no reason"
            self._ended = True
            self._changed.notify_all()

    def fail(self, reason: str) -> None:
        """Have readers and writers fail: the guest is lost."""
        with self._changed:
            if not self._ended:
                self._failure = reason
                self._changed.notify_all()


class Streams:
    """The streams of one connection, from before they are asked for until their last event."""

    def __init__(self, send: Callable[[bytes], None], tell: Tell) -> None:
        self._send = send
        self._tell = tell
        self._lock = threading.Lock()
        self._open: dict[int, AgentStream] = {}
        self._next_id = 1

    def add(self) -> AgentStream:
        """Return a new stream.

        :raises AgentError: when there are as many as an agent serves.
        """
        with self._lock:
            if len(self._open) >= MAX_STREAMS:
                raise AgentError(
                    "state",
                    f"its pod has {MAX_STREAMS} sessions and transfers already; end one of them",
                )
            while self._next_id in self._open:
                self._next_id = self._next_id % (2**32 - 1) + 1
            stream = AgentStream(self._next_id, self._send, self._tell)
            self._next_id = self._next_id % (2**32 - 1) + 1
            self._open[stream.id] = stream
            return stream

    def remove(self, stream: AgentStream) -> None:
        """Forget a stream that the agent has refused."""
        with self._lock:
            self._open.pop(stream.id, None)

    def fail_all(self, reason: str) -> None:
        """The connection is lost."""
        with self._lock:
            streams = list(self._open.values())
            self._open.clear()
        for stream in streams:
            stream.fail(reason)

    def take_data(self, found: frame.Frame) -> None:
        """Give on data from the agent.

        :raises FrameError: when it breaks the protocol.
        """
        self._of(found.id).take_data(found.flags, found.payload)

    def take_window(self, found: frame.Frame) -> None:
        """Give on a window.

        :raises FrameError: when it breaks the protocol.
        """
        self._of(found.id).take_window(found.payload)

    def take_end(self, event: dict[str, Any]) -> None:
        """Take the last event of a stream.

        :raises FrameError: when there is no such stream.
        """
        stream = self._of(event.get("stream"))
        self.remove(stream)
        stream.take_end(event)

    def _of(self, stream_id: object) -> AgentStream:
        with self._lock:
            stream = self._open.get(stream_id) if type(stream_id) is int else None
        if stream is None:
            raise FrameError("there is something of a stream that is not open")
        return stream


def _code(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31:
        return value
    return None
