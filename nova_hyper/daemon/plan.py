"""Operations of several steps, undone in reverse when one fails."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence

LOG = logging.getLogger(__name__)


def _nothing() -> None:
    return None


@dataclasses.dataclass(frozen=True)
class Step:
    """``undo`` takes back whatever ``do`` may have done, also when it failed half way."""

    name: str
    do: Callable[[], object]
    undo: Callable[[], object] = _nothing


def run(steps: Sequence[Step], done: Callable[[str], None]) -> None:
    """Do *steps* in order, calling *done* with the name of each.

    When one raises, it and those before it are undone in reverse and the error
    goes on; an undo that fails is logged and does not stop the others.
    """
    started: list[Step] = []
    try:
        for step in steps:
            started.append(step)
            step.do()
            done(step.name)
    except BaseException:
        for step in reversed(started):
            try:
                step.undo()
            except Exception as exc:
                LOG.warning("could not undo %r: %s", step.name, exc)
        raise
