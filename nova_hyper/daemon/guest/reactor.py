"""One thread that waits for all agents' sockets."""

from __future__ import annotations

import functools
import heapq
import itertools
import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable

LOG = logging.getLogger(__name__)

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE

Callback = Callable[[], None]


class Reactor:
    """Calls back when sockets are ready, from one thread.

    All methods but :meth:`start` and :meth:`stop` only take effect in that
    thread, in the order of the calls; callbacks must not block.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._calls: deque[Callback] = deque()
        self._timers: list[tuple[float, int, Callback]] = []
        self._order = itertools.count()
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._selector.register(self._wake_in, READ, None)

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="agents", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; sockets stay open and are their owners' to close."""
        self._stopped = True
        self._wake()
        if self._thread is not None:
            self._thread.join(timeout=5)
            self._thread = None
        while self._calls:  # sockets that are to be closed
            _guarded(self._calls.popleft())
        self._selector.close()
        self._wake_in.close()
        self._wake_out.close()

    def call(self, callback: Callback) -> None:
        """Call *callback* in the reactor's thread."""
        self._calls.append(callback)
        self._wake()

    def call_later(self, delay: float, callback: Callback) -> None:
        """Call *callback* after *delay* seconds; only from the reactor's own thread."""
        heapq.heappush(self._timers, (time.monotonic() + delay, next(self._order), callback))

    def watch(self, sock: socket.socket, events: int, ready: Callable[[int], None]) -> None:
        """Call *ready* with what *sock* is ready for of *events* (0: not at all).

        Only from the reactor's own thread.
        """
        try:
            self._selector.get_key(sock)
        except KeyError:
            if events:
                self._selector.register(sock, events, ready)
            return
        if events:
            self._selector.modify(sock, events, ready)
        else:
            self._selector.unregister(sock)

    def _wake(self) -> None:
        try:
            self._wake_out.send(b"\0")
        except BlockingIOError:
            pass  # it has been woken already
        except OSError:
            LOG.debug("the reactor is stopped")

    def _run(self) -> None:
        while not self._stopped:
            timeout = None
            if self._timers:
                timeout = max(0.0, self._timers[0][0] - time.monotonic())
            for key, events in self._selector.select(timeout):
                if key.data is None:
                    self._drain()
                else:
                    _guarded(functools.partial(key.data, events))
            while self._calls:
                _guarded(self._calls.popleft())
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                _guarded(heapq.heappop(self._timers)[2])

    def _drain(self) -> None:
        try:
            while self._wake_in.recv(4096):
                pass
        except BlockingIOError:
            pass


def _guarded(callback: Callback) -> None:
    # One guest's failure must not end the thread that serves all of them.
    try:
        callback()
    except Exception:
        LOG.exception("a callback of the agents' reactor failed")
