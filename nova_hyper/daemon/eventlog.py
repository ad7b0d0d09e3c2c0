"""The event log: what happened to pods, kept for clients that were away."""

from __future__ import annotations

import collections
import itertools
import json
import logging
import os
import threading
import time
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
        self._closed = False
        self._lines = 0
        self._load()
        self._file = open(path, "ab")  # noqa: SIM115 (open for the life of the log)

    def _load(self) -> None:
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            raw = b""
        for line in raw.splitlines():
            try:
                self._events.append(codec.decode(Event, json.loads(line)))
            except ValueError:
                # The last line of a daemon that was killed while writing.
                LOG.warning("%s: dropped an event that was not written whole", self._path)
        # A broken last line must not swallow the next event.
        self._rewrite()

    def _rewrite(self) -> None:
        lines = [json.dumps(codec.encode(e)).encode() + b"\n" for e in self._events]
        write_atomically(self._path, b"".join(lines))
        self._lines = len(lines)

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
                # A full disk must not stop pods from being stopped and deleted.
                LOG.error("cannot write %s: %s", self._path, exc)
            self._changed.notify_all()
        return event

    def _write(self, event: Event) -> None:
        if self._lines >= 2 * self._keep:
            self._file.close()
            self._rewrite()
            self._file = open(self._path, "ab")  # noqa: SIM115
            return
        self._file.write(json.dumps(codec.encode(event)).encode() + b"\n")
        self._file.flush()
        os.fdatasync(self._file.fileno())
        self._lines += 1

    def after(self, seq: int, wait: float = 0.0) -> EventPage:
        """Return the events after *seq*, waiting up to *wait* seconds for the first.

        A negative *seq* means "from now on": no events, only where to go on.
        """
        deadline = time.monotonic() + wait
        with self._changed:
            if seq < 0:
                return EventPage((), self.last)
            while self.last <= seq and not self._closed:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            if seq > self.last:
                # The client's number is from another life of this host: start over.
                return EventPage(tuple(self._events), self.last, lost=True)
            first = self._events[0].seq if self._events else self.last + 1
            skip = max(0, seq + 1 - first)
            found = tuple(itertools.islice(self._events, skip, None))
            return EventPage(found, self.last, lost=seq + 1 < first)

    def close(self) -> None:
        """Let those who wait go, and close the file."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._file.close()
