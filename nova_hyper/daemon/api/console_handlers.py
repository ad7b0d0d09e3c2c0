"""The handler of interactive consoles; see :mod:`.handlers`."""

from __future__ import annotations

from typing import Any

from nova_hyper.daemon.console.consoles import Consoles
from nova_hyper.spec import codec
from nova_hyper.spec.console import ConsoleKind

_Answer = tuple[int, Any]


class ConsoleHandlers:
    """The operation that needs :class:`Consoles` only."""

    def __init__(self, consoles: Consoles) -> None:
        self._consoles = consoles

    def open_console(self, ref: str, body: dict[str, Any]) -> _Answer:
        kind = ConsoleKind(body.get("kind", ConsoleKind.AUTO))
        return 200, codec.encode(self._consoles.open(ref, kind))
