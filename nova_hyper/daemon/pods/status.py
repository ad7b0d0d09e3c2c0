"""What an agent says of its containers, checked: the guest is hostile."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from nova_hyper.spec.container import ContainerState, ContainerStatus

_MAX_EXIT_CODE = 255
_MAX_RESTARTS = 2**31
_REASON = 64
_MESSAGE = 512
_HEALTH = ("starting", "healthy", "unhealthy")


def exit_code(answer: Mapping[str, Any]) -> int | None:
    """Return the ``exit_code`` in what the agent says, None where there is no usable one."""
    code = answer.get("exit_code")
    usable = type(code) is int and 0 <= code <= _MAX_EXIT_CODE
    return code if usable else None


def is_finished(status: Mapping[str, Any], containers: Sequence[ContainerStatus]) -> bool:
    """Tell whether a pod's containers have ended for good.

    An agent that restarts containers says so; an older one knows no other end.
    """
    said = status.get("finished")
    if isinstance(said, bool):
        return said
    return {c.state for c in containers} == {ContainerState.EXITED}


def containers(
    status: Mapping[str, Any], known: Sequence[ContainerStatus]
) -> tuple[ContainerStatus, ...]:
    """Return *known* with what the answer to ``pod.status`` says; the rest stays as it is."""
    listed = status.get("containers")
    found = {
        c["name"]: c
        for c in (listed if isinstance(listed, list) else [])
        if isinstance(c, dict) and isinstance(c.get("name"), str)
    }
    return tuple(_updated(c, found.get(c.name, {})) for c in known)


def _updated(container: ContainerStatus, said: Mapping[str, Any]) -> ContainerStatus:
    try:
        state = ContainerState(str(said.get("state")))
    except ValueError:
        return container
    restarts = _count(said, "restarts", container.restarts)
    # An agent without probes has nothing but whether it runs.
    runs = state is ContainerState.RUNNING
    code = exit_code(said)
    if code is None and restarts > 0 and state is not ContainerState.EXITED:
        code = container.exit_code  # an agent forgets how the run before ended
    health = said.get("health")
    return dataclasses.replace(
        container,
        state=state,
        exit_code=code if state is ContainerState.EXITED or restarts > 0 else None,
        restarts=restarts,
        ready=_flag(said, "ready", runs),
        started=_flag(said, "started", runs),
        health=health if health in _HEALTH else None,
        oom_killed=_flag(said, "oom_killed", False),
        reason=_text(said, "reason", _REASON),
        message=_text(said, "message", _MESSAGE),
    )


def _count(said: Mapping[str, Any], name: str, default: int) -> int:
    value = said.get(name)
    return value if type(value) is int and 0 <= value <= _MAX_RESTARTS else default


def _flag(said: Mapping[str, Any], name: str, default: bool) -> bool:
    value = said.get(name)
    return value if isinstance(value, bool) else default


def _text(said: Mapping[str, Any], name: str, length: int) -> str:
    """Return a text that goes to terminals: without control characters, and short."""
    value = said.get(name)
    if not isinstance(value, str):
        return ""
    return "".join(c for c in value[: 2 * length] if c.isprintable())[:length]
