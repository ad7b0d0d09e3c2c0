"""The event stream of hyperd, which goes on after a break where it was."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator

from nova_hyper.client.protocol import Hyperd
from nova_hyper.spec.errors import HyperError
from nova_hyper.spec.event import Event

_POLL_SECONDS = 20.0
_PAUSE_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class Lost:
    """Events between the last one and the next have been dropped: list the pods instead."""


class EventStream:
    """Events of a host, in order, each once, over restarts of the daemon.

    Iterating yields :class:`~nova_hyper.spec.event.Event`, and :class:`Lost`
    where some are gone for good.  It blocks, and ends after :meth:`stop`.

    :param after: number of the event to go on after; -1 is "from now on".
    :param on_state: called with None whenever the daemon answers, and with the
        error when it does not.
    """

    def __init__(
        self,
        hyperd: Hyperd,
        after: int = -1,
        on_state: Callable[[HyperError | None], None] = lambda error: None,
    ) -> None:
        self._hyperd = hyperd
        self._after = after
        self._on_state = on_state
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the iteration at the next answer, or when a poll is over."""
        self._stopped.set()

    def __iter__(self) -> Iterator[Event | Lost]:
        """Yield events until :meth:`stop`."""
        while not self._stopped.is_set():
            try:
                page = self._hyperd.events(self._after, _POLL_SECONDS)
            except HyperError as error:
                self._on_state(error)
                self._stopped.wait(_PAUSE_SECONDS)
                continue
            self._on_state(None)
            if page.lost:
                yield Lost()
            yield from page.events
            self._after = page.last
