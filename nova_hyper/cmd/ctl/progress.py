"""How far a transfer is: bars on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from nova_hyper.cmd.ctl import output

if TYPE_CHECKING:
    import rich.progress

_REPORT_S = 1.0


class Progress(Protocol):
    """Several things that grow; to be used in a with statement."""

    def __enter__(self) -> Progress: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def update(self, label: str, done: int, total: int, note: str = "") -> None:
        """Tell that of *label* there are *done* of *total* bytes (0: nobody knows)."""


def progress() -> Progress:
    """Return what suits standard error."""
    return _Bars() if sys.stderr.isatty() else _Lines()


class _Lines:
    def __init__(self) -> None:
        self._told = time.monotonic()

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_exc: object) -> None:
        """Nothing is left to clear."""

    def update(self, label: str, done: int, total: int, note: str = "") -> None:
        if not note and time.monotonic() - self._told < _REPORT_S:
            return
        self._told = time.monotonic()
        share = f" ({100 * done // total} %)" if total and not note else ""
        output.progress(f"{label}: {note or output.size(done)}{share}")


class _Bars:
    def __init__(self) -> None:
        # Here, because it takes longer to import than most verbs take.
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TransferSpeedColumn,
        )

        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, rich.progress.TaskID] = {}

    def __enter__(self) -> _Bars:
        self._bars.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._bars.stop()

    def update(self, label: str, done: int, total: int, note: str = "") -> None:
        if label not in self._tasks:
            self._tasks[label] = self._bars.add_task(label, note=note, total=total or None)
        self._bars.update(self._tasks[label], completed=done, total=total or None, note=note)
