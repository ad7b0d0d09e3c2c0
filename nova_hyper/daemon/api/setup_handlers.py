"""The handlers of what a pod is given at its birth; see :mod:`.handlers`."""

from __future__ import annotations

from typing import Any

from nova_hyper.daemon.api import bodies
from nova_hyper.daemon.api.connection import Upload
from nova_hyper.daemon.pods.setup import Setups
from nova_hyper.spec import codec
from nova_hyper.spec.setup import Setup

_Answer = tuple[int, Any]


class SetupHandlers:
    """The operations that need :class:`Setups` only."""

    def __init__(self, setups: Setups) -> None:
        self._setups = setups

    def setup_pod(self, ref: str, body: dict[str, Any]) -> _Answer:
        return 200, codec.encode(self._setups.apply(ref, bodies.decode(Setup, body)))

    def store_config_drive(self, ref: str, stream: Upload) -> _Answer:
        self._setups.store_config_drive(ref, stream)
        return 204, None
