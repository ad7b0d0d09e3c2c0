"""A plan: steps that wait for each other and otherwise run side by side."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import time
from collections.abc import Callable, Sequence

from cloud.failure import CloudError

SILENCE_S = 20.0
"""After this long without a word, the plan says what it is waiting for."""


@dataclasses.dataclass(frozen=True)
class Step:
    """*does* is run once all steps named in *after* are done; *name* is for people."""

    name: str
    does: Callable[[], None]
    after: tuple[str, ...] = ()


class StepError(Exception):
    """The step *name* failed with *cause*."""

    def __init__(self, name: str, cause: BaseException) -> None:
        super().__init__(f"{name}: {cause}")
        self.name = name
        self.cause = cause


class Clock:
    """Says what is done and how long it took, with the time since *ago_s* before it was made."""

    def __init__(self, say: Callable[[str], None], ago_s: float = 0.0) -> None:
        self.begin = time.monotonic() - ago_s
        self._say = say
        self._spoke = time.monotonic()

    def elapsed(self) -> float:
        """Return the seconds since the beginning."""
        return time.monotonic() - self.begin

    def silence(self) -> float:
        """Return the seconds since something was said."""
        return time.monotonic() - self._spoke

    def done(self, what: str, seconds: float) -> None:
        """Say that *what* took *seconds*."""
        self.note(f"{what:<46} {seconds:6.1f} s")

    def note(self, text: str) -> None:
        """Say *text*."""
        self._spoke = time.monotonic()
        self._say(f"[{self.elapsed():6.1f} s] {text}")


def join(*parts: Sequence[Step]) -> list[Step]:
    """Return the steps of all *parts*, without waiting for steps that are in none of them."""
    steps = [step for part in parts for step in part]
    known = {step.name for step in steps}
    return [
        dataclasses.replace(step, after=tuple(name for name in step.after if name in known))
        for step in steps
    ]


def carry_out(steps: Sequence[Step], clock: Clock) -> None:
    """Run *steps*, each as soon as those it comes after are done.

    After a failure nothing new begins; what runs already is waited for.

    :raises StepError: for the first step that failed.
    :raises ValueError: when a step waits for one that does not exist, or for itself.
    """
    _check(steps)
    pending = {step.name: step for step in steps}
    done: set[str] = set()
    failed: StepError | None = None
    running: dict[concurrent.futures.Future[float], str] = {}
    with concurrent.futures.ThreadPoolExecutor(max_workers=len(steps) or 1) as pool:
        while True:
            if failed is None:
                for step in [s for s in pending.values() if done.issuperset(s.after)]:
                    del pending[step.name]
                    running[pool.submit(_timed, step.does)] = step.name
            if not running:
                break
            ended, _ = concurrent.futures.wait(
                running,
                max(SILENCE_S - clock.silence(), 0) + 0.1,
                concurrent.futures.FIRST_COMPLETED,
            )
            if not ended and clock.silence() >= SILENCE_S:
                clock.note(f"waiting for: {', '.join(sorted(running.values()))}")
            for future in ended:
                name = running.pop(future)
                cause = future.exception()
                if cause is None:
                    done.add(name)
                    clock.done(name, future.result())
                elif failed is None:
                    failed = StepError(name, cause)
                    clock.note(f"{name}: FAILED")
    if failed is not None:
        raise failed from failed.cause


def _timed(does: Callable[[], None]) -> float:
    begin = time.monotonic()
    does()
    return time.monotonic() - begin


def _check(steps: Sequence[Step]) -> None:
    known: set[str] = set()
    waiting = list(steps)
    while waiting:
        free = [s for s in waiting if known.issuperset(s.after)]
        if not free:
            stuck = "; ".join(f"{s.name} after {', '.join(s.after)}" for s in waiting)
            raise ValueError(f"these steps never begin: {stuck}")
        known.update(s.name for s in free)
        waiting = [s for s in waiting if s not in free]


def until(what: str, ask: Callable[[], bool], *, timeout_s: float, every_s: float = 0.3) -> None:
    """Return when *ask* returns True.

    :raises CloudError: when it does not within *timeout_s*; *what* finishes the
        sentence "... did not happen".
    """
    deadline = time.monotonic() + timeout_s
    while not ask():
        if time.monotonic() > deadline:
            raise CloudError(f"{what} did not happen within {timeout_s:.0f} s.")
        time.sleep(every_s)
