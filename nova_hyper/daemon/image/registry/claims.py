"""Pulls beside each other: who downloads what, and who has given up."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator

_LOOK_S = 0.25


class Cancelled(Exception):
    """Nobody waits for this any more."""


class Claims:
    """Who downloads what: a layer that two pulls need is downloaded by one of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._users: Counter[str] = Counter()

    @contextlib.contextmanager
    def of(self, digest: str, cancelled: threading.Event) -> Iterator[None]:
        """Be the only one for *digest*; waits for who is."""
        with self._lock:
            lock = self._locks.setdefault(digest, threading.Lock())
            self._users[digest] += 1
        try:
            while not lock.acquire(timeout=_LOOK_S):
                if cancelled.is_set():
                    raise Cancelled
            try:
                yield
            finally:
                lock.release()
        finally:
            with self._lock:
                self._users[digest] -= 1
                if not self._users[digest]:
                    del self._users[digest], self._locks[digest]


class Either(threading.Event):
    """Set when one of two events is."""

    def __init__(self, one: threading.Event, other: threading.Event) -> None:
        super().__init__()
        self._events = (one, other)

    def is_set(self) -> bool:
        return any(event.is_set() for event in self._events)

    def wait(self, timeout: float | None = None) -> bool:
        end = time.monotonic() + (timeout if timeout is not None else float("inf"))
        while not self.is_set() and (left := end - time.monotonic()) > 0:
            self._events[0].wait(min(left, _LOOK_S))
        return self.is_set()
