"""A pod's log, followed over restarts of the daemon."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from nova_hyper.client.protocol import Hyperd
from nova_hyper.spec.errors import DaemonUnavailable, PodNotFound
from nova_hyper.spec.log import UNKNOWN, LogLine

_PAUSE_SECONDS = 1.0


def follow(
    hyperd: Hyperd,
    ref: str,
    *,
    container: str | None = None,
    since: float | None = None,
    tail: int | None = None,
    on_break: Callable[[DaemonUnavailable], None] = lambda error: None,
) -> Iterator[LogLine]:
    """Yield each line once, until the pod ends, whatever happens to the daemon meanwhile.

    *on_break* is told of each time that the daemon is away after lines have come.

    A pod that is removed has ended, too.

    :raises HyperError: what the daemon answered, and DaemonUnavailable when it was never there.
    """
    after: str | None = None
    answered = False
    while True:
        try:
            lines = hyperd.logs(
                ref,
                container=container,
                since=since,
                tail=tail if after is None else None,
                after=after,
                follow=True,
            )
            answered = True
            for line in lines:
                if line.position != UNKNOWN:
                    after = line.position
                yield line
            return
        except PodNotFound:
            if not answered:
                raise
            return  # it was removed while the daemon was away
        except DaemonUnavailable as error:
            if not answered:
                raise
            on_break(error)
            time.sleep(_PAUSE_SECONDS)
