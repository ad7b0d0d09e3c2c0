"""What an agent says of itself in its answer to ``hello``."""

from __future__ import annotations

import dataclasses
from typing import Any

from nova_hyper.daemon.guest.frame import FrameError

VERSION = 2
"""The highest version of the protocol that this daemon speaks; it speaks all before it too."""

_STATES = ("sandbox", "pod")
_MAX_FEATURES = 64
_MAX_TEXT = 64


@dataclasses.dataclass(frozen=True)
class Hello:
    """``uptime_ns`` is the guest's monotonic clock, memory is in KiB.

    ``state`` is ``sandbox`` before the pod was configured, ``pod`` after.
    """

    version: int
    agent: str
    features: frozenset[str]
    state: str
    uptime_ns: int
    mem_total_kib: int
    mem_available_kib: int


def parse(answer: dict[str, Any]) -> Hello:
    """Return the typed answer.

    :raises FrameError: when a field is missing, or not what the protocol says.
    """
    features = answer.get("features")
    if not isinstance(features, list) or len(features) > _MAX_FEATURES:
        raise FrameError("the agent's hello has no proper features")
    hello = Hello(
        version=_number(answer, "version"),
        agent=_text(answer.get("agent")),
        features=frozenset(_text(f) for f in features),
        state=_text(answer.get("state")),
        uptime_ns=_number(answer, "uptime_ns"),
        mem_total_kib=_number(answer, "mem_total_kib"),
        mem_available_kib=_number(answer, "mem_available_kib"),
    )
    if not 1 <= hello.version <= VERSION:
        raise FrameError(f"the agent speaks version {hello.version} of the protocol")
    if hello.state not in _STATES:
        raise FrameError("the agent's hello has no proper state")
    return hello


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise FrameError("the agent's hello has something else for a text")
    return value


def _number(answer: dict[str, Any], key: str) -> int:
    value = answer.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise FrameError(f"the agent's hello has no proper {key}")
    return value
