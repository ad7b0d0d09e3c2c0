"""The handlers of power states, diagnostics and crash dumps; see :mod:`.handlers`."""

from __future__ import annotations

from typing import Any

from nova_hyper.daemon.api import bodies
from nova_hyper.daemon.pods.power import Power
from nova_hyper.spec import codec

_Answer = tuple[int, Any]


class PowerHandlers:
    """The operations that need :class:`Power` only."""

    def __init__(self, power: Power) -> None:
        self._power = power

    def pause_pod(self, ref: str) -> _Answer:
        return 200, codec.encode(self._power.pause(ref))

    def unpause_pod(self, ref: str) -> _Answer:
        return 200, codec.encode(self._power.unpause(ref))

    def suspend_pod(self, ref: str) -> _Answer:
        return 200, codec.encode(self._power.suspend(ref))

    def resume_pod(self, ref: str, body: dict[str, Any]) -> _Answer:
        nics, dns = bodies.network(body)
        pod = self._power.resume(ref, nics, dns, bool(body.get("paused", False)))
        return 200, codec.encode(pod)

    def crash_pod(self, ref: str) -> _Answer:
        return 202, codec.encode(self._power.crash(ref))

    def read_diagnostics(self, ref: str) -> _Answer:
        return 200, codec.encode(self._power.diagnostics(ref))
