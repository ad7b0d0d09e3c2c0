"""A pod's log as a stream of bytes for a client, to its end or for as long as the pod lives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from nova_hyper.daemon.logs.lines import LogLines
from nova_hyper.daemon.logs.rotated import RotatedFile
from nova_hyper.daemon.logs.selection import Selected, Selection
from nova_hyper.spec.log import UNKNOWN, LogLine, format_line

_PIECE = 32 * 1024
_LOST = LogLine(
    UNKNOWN,
    UNKNOWN,
    UNKNOWN,
    "stderr",
    True,
    b"hyperd: lines are missing here: the log was rotated away before they were read",
)


class PodLog:
    """The log of one pod, opened at ``after`` or at its beginning; close it.

    :param raw: *path* is a console, which knows no containers and no times.
    :param after: the position to go on behind, of a line that was read before.
    """

    def __init__(
        self, path: Path, selection: Selection, after: str | None = None, raw: bool = False
    ) -> None:
        self._file = RotatedFile(path)
        self._missing = after is not None and not self._file.seek(after)
        self._lines = LogLines(self._file, raw)
        self._selected = Selected(self._lines, selection, one=raw)

    def close(self) -> None:
        """Close the files; idempotent."""
        self._lines.close()

    def read(self) -> Iterator[bytes]:
        """Yield what there is now, in pieces of whole lines of some 32 KiB."""
        piece = bytearray()
        for line in self._selected.read():
            piece += self._note()
            piece += format_line(line)
            if len(piece) >= _PIECE:
                yield bytes(piece)
                piece.clear()
        piece += self._note()
        if piece:
            yield bytes(piece)

    def _note(self) -> bytes:
        if not (self._missing or self._file.lost):
            return b""
        self._missing = self._file.lost = False
        return format_line(_LOST)

    def follow(self, alive: Callable[[], bool], pause: Callable[[], bool]) -> Iterator[bytes]:
        """Yield what there is, and what comes until the pod ends.

        *alive* tells whether the pod may still print; *pause* waits a moment and
        returns False when nobody reads any more.
        """
        while True:
            went_on = alive()
            yield from self.read()
            if not pause():
                return
            if not went_on:
                # virtlogd may have had the last bytes of a pod that has just ended in its hands.
                yield from self.read()
                return
