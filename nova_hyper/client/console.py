"""The client's call for the interactive console of a pod."""

from __future__ import annotations

from nova_hyper.client.calls import Caller, quote
from nova_hyper.spec import codec
from nova_hyper.spec.console import ConsoleKind, ConsolePort


class ConsoleCalls:
    """What a client can do about interactive consoles."""

    def open_console(self: Caller, ref: str, kind: ConsoleKind = ConsoleKind.AUTO) -> ConsolePort:
        """Have hyperd listen for the console of a pod that runs; return where.

        :raises Conflict: when it does not run.
        :raises PortsExhausted: when hyperd has no port left.
        """
        target = f"/v1/pods/{quote(ref)}/console-port"
        return codec.decode(ConsolePort, self._json("POST", target, {"kind": kind.value}))
