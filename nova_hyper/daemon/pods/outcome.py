"""How a pod ended, and what happened to its containers on the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from nova_hyper.spec.container import ContainerState, ContainerStatus
from nova_hyper.spec.event import EventKind

_KILLED = 137


def fresh(container: ContainerStatus) -> ContainerStatus:
    """Return *container* as it is before its first start."""
    return ContainerStatus(
        container.name,
        container.image,
        container.image_id,
        ContainerState.CREATED,
        init=container.init,
    )


def ended(container: ContainerStatus, code: int | None) -> ContainerStatus:
    """Return *container* as it is without a micro-VM; *code* None is an exit code not known."""
    if container.state is ContainerState.EXITED:
        return container if code is None else dataclasses.replace(container, exit_code=code)
    return dataclasses.replace(
        container,
        state=ContainerState.EXITED,
        exit_code=code,
        ready=False,
        started=False,
        health=None,
        reason="",
        message="",
    )


def failed(containers: Sequence[ContainerStatus]) -> ContainerStatus | None:
    """Return the first container that ended otherwise than with code 0, None without any."""
    return next((c for c in containers if c.exit_code), None)


def exit_code(containers: Sequence[ContainerStatus]) -> int | None:
    """Return the pod's exit code: of the first container that failed, or 0 when all ended well.

    None when nothing failed, but nobody knows how one of them ended.
    """
    first = failed(containers)
    if first is not None:
        return first.exit_code
    return None if any(c.exit_code is None for c in containers) else 0


def message(containers: Sequence[ContainerStatus]) -> str:
    """Return one sentence on how a pod ended by itself."""
    first = failed(containers)
    if first is None:
        return "exited" if exit_code(containers) is None else "exited with code 0"
    who = f"container {first.name} " if len(containers) > 1 else ""
    why = f": {first.message}" if first.message else ""
    if first.oom_killed and first.exit_code == _KILLED:
        return f"{who}was killed because it used more memory than it may have{why}"
    return f"{who}exited with code {first.exit_code}{why}"


def changes(
    before: Sequence[ContainerStatus], after: Sequence[ContainerStatus]
) -> Iterator[tuple[EventKind, int | None, str]]:
    """Yield what is worth an event: its kind, an exit code and a sentence."""
    for old, new in zip(before, after, strict=True):
        again = new.restarts > old.restarts
        if new.oom_killed and (again or not old.oom_killed):
            said = f"container {new.name} used more memory than it may have and was killed"
            yield EventKind.OOM, new.exit_code, said
        if again:
            reason = f" ({new.reason})" if new.reason else ""
            said = f"container {new.name} was started again, {_times(new.restarts)} by now{reason}"
            yield EventKind.RESTARTED, new.exit_code, said
        if new.health != old.health and new.health is not None:
            yield EventKind.HEALTH, None, f"container {new.name} is {new.health}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
