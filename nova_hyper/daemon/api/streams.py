"""Calls that last: each in a thread of its own, so that none holds one of the server's few."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from nova_hyper.daemon.api import failure
from nova_hyper.daemon.api.connection import ClientGone, Connection
from nova_hyper.spec.errors import TooManyStreams

LOG = logging.getLogger(__name__)

_FINISH_S = 3.0

Serve = Callable[[Connection], None]


class Streams:
    """At most *limit* calls at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._running: dict[threading.Thread, Connection] = {}
        self._stopped = False

    def __len__(self) -> int:
        return len(self._running)

    def start(self, take: Callable[[], Connection], serve: Serve, name: str) -> None:
        """Have *serve* called with the connection that *take* gives, in a thread of its own.

        What it raises becomes the answer, and the connection is closed when it
        returns.

        :raises TooManyStreams: when the limit is reached; nothing has been taken.
        """
        with self._lock:
            if self._stopped:
                raise TooManyStreams("hyperd ends and starts nothing new; try again soon")
            if len(self._running) >= self._limit:
                raise TooManyStreams(
                    f"{self._limit} streams (exec, attach, logs, copies, pulls) are open, as many "
                    "as [api] max_streams allows; end one, or raise it in hyperd.conf"
                )
            connection = take()
            thread = threading.Thread(
                target=self._run, args=(connection, serve, name), name="stream", daemon=True
            )
            self._running[thread] = connection
            try:
                thread.start()
            except BaseException:
                del self._running[thread]
                connection.close()
                raise

    def stop(self) -> None:
        """Hang up on all clients, and wait a little for what serves them."""
        with self._lock:
            self._stopped = True
            running = dict(self._running)
        for connection in running.values():
            connection.cut()
        deadline = time.monotonic() + _FINISH_S
        for thread in running:
            thread.join(timeout=max(0.0, deadline - time.monotonic()))

    def _run(self, connection: Connection, serve: Serve, name: str) -> None:
        try:
            self._serve(connection, serve, name)
        except ClientGone:
            LOG.debug("%s: the client hung up", name)
        finally:
            # No connection may be cut once it is closed: its number is another one's then.
            with self._lock:
                del self._running[threading.current_thread()]
            connection.close()

    def _serve(self, connection: Connection, serve: Serve, name: str) -> None:
        try:
            serve(connection)
        except ClientGone:
            raise
        except Exception as exc:
            connection.fail(failure.told(exc, name))
