"""Which lines of a log somebody wants."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator

from nova_hyper.daemon.logs.lines import LogLines
from nova_hyper.spec.log import UNKNOWN, LogLine

_NS = 1_000_000_000


@dataclasses.dataclass(frozen=True)
class Selection:
    """``since`` is Unix seconds; ``tail`` counts whole lines from the end; None is all."""

    container: str | None = None
    since: float | None = None
    tail: int | None = None


class Selected:
    """The lines of *log* that *selection* wants; :meth:`read` goes on where it stopped.

    A line without a time is as old as the one before it.  One of no known
    container is everybody's only where the log tells no containers at all,
    which ``one`` says.
    """

    def __init__(self, log: LogLines, selection: Selection, one: bool = False) -> None:
        self._log = log
        self._container = None if one else selection.container
        self._since = None if selection.since is None else _timestamp(selection.since)
        self._recent = True
        self._skip = 0
        if selection.tail is not None:
            self._skip = max(0, self._count() - selection.tail)

    def _count(self) -> int:
        """Return how many whole lines there are now."""
        twin = self._log.twin()
        recent = self._recent
        try:
            return sum(line.whole for line in twin.read() if self._wants(line))
        finally:
            self._recent = recent
            twin.close()

    def read(self) -> Iterator[LogLine]:
        """Yield the wanted ones of what there is now."""
        for line in self._log.read():
            if not self._wants(line):
                continue
            if self._skip:
                self._skip -= line.whole
                continue
            yield line

    def _wants(self, line: LogLine) -> bool:
        if self._since is not None and line.time != UNKNOWN:
            self._recent = line.time >= self._since
        return self._recent and self._container in (None, line.container)


def _timestamp(seconds: float) -> str:
    """Return Unix *seconds* in the form of the log's times, which sorts as they do."""
    try:
        whole, ns = divmod(round(seconds * _NS), _NS)
        at = datetime.datetime.fromtimestamp(whole, datetime.UTC)
    except (OverflowError, ValueError, OSError):  # before or after all that a log can hold
        return "9999" if seconds > 0 else "0000"
    return f"{at:%Y-%m-%dT%H:%M:%S}.{ns:09d}Z"
