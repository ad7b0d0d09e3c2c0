"""The event log: what happened to pods, kept for clients that were away."""

from __future__ import annotations

import collections
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from nova_hyper.daemon.files import write_atomically
from nova_hyper.spec import codec
from nova_hyper.spec.event import Event, EventKind, EventPage

LOG = logging.getLogger(__name__)


class EventLog:
    """Events of this host in order, on disk before anyone sees them.

    A client asks for what came after the sequence number it saw last, so a
    break of the connection, or of the daemon, loses nothing.  The last *keep*
    events are kept.
    """

    def __init__(self, path: Path, keep: int) -> None:
        self._path = path
        self._keep = keep
        self._events: collections.deque[Event] = collections.deque(maxlen=keep)
        self._changed = threading.Condition()
        self._released = False
        self.on_event: Callable[[Event], None] = lambda _event: None
        """Told of each event when it is on disk; what it does must not take long."""
        # Lines in the file; None when it may not hold every event whole.
        self._lines: int | None = None
        self._load()

    def _load(self) -> None:
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            raw = b""
        for line in raw.split(b"\n"):
            if not line:
                continue
            try:
                self._events.append(codec.decode(Event, json.loads(line)))
            except ValueError:
                # The last line of a daemon that was killed while writing.
                LOG.warning("%s: dropped an event that was not written whole", self._path)
        try:
            # A broken last line must not swallow the next event.
            self._rewrite()
        except OSError as exc:
            LOG.error("cannot write %s: %s", self._path, exc)

    def _rewrite(self) -> None:
        write_atomically(self._path, b"".join(_line(e) for e in self._events))
        self._lines = len(self._events)

    @property
    def last(self) -> int:
        """Sequence number of the newest event, 0 before the first."""
        return self._events[-1].seq if self._events else 0

    def append(
        self,
        kind: EventKind,
        pod_id: str,
        pod_name: str = "",
        exit_code: int | None = None,
        message: str = "",
    ) -> Event:
        """Record an event and wake those who wait for it."""
        with self._changed:
            event = Event(self.last + 1, time.time(), kind, pod_id, pod_name, exit_code, message)
            self._events.append(event)
            try:
                self._write(event)
            except OSError as exc:
                # A full disk must not stop pods from being stopped and deleted. The next event
                # that can be written takes this one along.
                self._lines = None
                LOG.error("cannot write %s: %s", self._path, exc)
            self._changed.notify_all()
        self.on_event(event)
        return event

    def _write(self, event: Event) -> None:
        if self._lines is None or self._lines >= 2 * self._keep:
            self._rewrite()
            return
        with open(self._path, "ab", buffering=0) as file:
            line = _line(event)
            if file.write(line) != len(line):
                self._rewrite()
                return
            os.fdatasync(file.fileno())
        self._lines += 1

    def after(self, seq: int, wait: float = 0.0) -> EventPage:
        """Return the events after *seq*, waiting up to *wait* seconds for the first.

        A negative *seq* means "from now on": no events, only where to go on.
        """
        with self._changed:
            if seq < 0:
                return EventPage((), self.last)
            if seq > self.last:
                # The client's number is from another life of this host: start over.
                return EventPage(tuple(self._events), self.last, lost=True)
            self._changed.wait_for(lambda: self.last > seq or self._released, wait)
            first = self._events[0].seq if self._events else self.last + 1
            found: list[Event] = []
            for event in reversed(self._events):
                if event.seq <= seq:
                    break
                found.append(event)
            return EventPage(tuple(reversed(found)), self.last, lost=seq + 1 < first)

    def release(self) -> None:
        """Let those who wait go, now and from now on: the daemon ends."""
        with self._changed:
            self._released = True
            self._changed.notify_all()


def _line(event: Event) -> bytes:
    return json.dumps(codec.encode(event)).encode() + b"\n"
