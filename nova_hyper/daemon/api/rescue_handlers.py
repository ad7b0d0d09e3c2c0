"""The handlers of rescue; see :mod:`.handlers`."""

from __future__ import annotations

from typing import Any

from nova_hyper.daemon.pods.rescue import Rescues
from nova_hyper.spec import codec

_Answer = tuple[int, Any]


class RescueHandlers:
    """The operations that need :class:`Rescues` only."""

    def __init__(self, rescues: Rescues) -> None:
        self._rescues = rescues

    def rescue_pod(self, ref: str, body: dict[str, Any]) -> _Answer:
        return 200, codec.encode(self._rescues.rescue(ref, body.get("image")))

    def unrescue_pod(self, ref: str) -> _Answer:
        return 200, codec.encode(self._rescues.unrescue(ref))
