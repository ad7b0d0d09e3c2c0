"""The timeline of a pod's start."""

from __future__ import annotations

import time

from nova_hyper.spec.pod import Mark


class Stopwatch:
    """Collects marks, in nanoseconds of the monotonic clock since it was made."""

    def __init__(self, marks: tuple[Mark, ...] = ()) -> None:
        """Begin at *marks*: time goes on from the last one."""
        self._start = time.monotonic_ns() - (marks[-1].at_ns if marks else 0)
        self._marks = list(marks)

    def mark(self, stage: str) -> None:
        """Note that *stage* is done now; only the first time counts."""
        # A guest decides how often some stages are reported.
        if any(mark.stage == stage for mark in self._marks):
            return
        self._marks.append(Mark(stage, time.monotonic_ns() - self._start))

    @property
    def marks(self) -> tuple[Mark, ...]:
        """What has been noted so far, in order."""
        return tuple(self._marks)
