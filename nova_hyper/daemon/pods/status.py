"""What an agent says of its containers, checked: the guest is hostile."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from nova_hyper.spec.pod import ContainerState, ContainerStatus

_MAX_EXIT_CODE = 255


def exit_code(answer: Mapping[str, Any]) -> int | None:
    """Return the ``exit_code`` in what the agent says, None where there is no usable one."""
    code = answer.get("exit_code")
    usable = type(code) is int and 0 <= code <= _MAX_EXIT_CODE
    return code if usable else None


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
    code = exit_code(said) if state is ContainerState.EXITED else None
    return dataclasses.replace(container, state=state, exit_code=code)
