"""The client's calls for power states, diagnostics and crash dumps."""

from __future__ import annotations

from typing import Any

from nova_hyper.client.calls import Caller, quote
from nova_hyper.spec import codec
from nova_hyper.spec.diagnostics import Diagnostics
from nova_hyper.spec.nic import Dns, Nic
from nova_hyper.spec.pod import Pod

# Memory goes to a disk and back: a large pod takes minutes.
_MEMORY_S = 1800.0


class PowerCalls:
    """What a client can do about the power state of a pod."""

    def pause_pod(self: Caller, ref: str) -> Pod:
        """Stop the CPUs of a pod that runs; a paused pod stays as it is.

        :raises Conflict: when it does not run.
        """
        return codec.decode(Pod, self._json("POST", _target(ref, "pause"), {}))

    def unpause_pod(self: Caller, ref: str) -> Pod:
        """Let the CPUs of a paused pod run, with the right time; one that runs stays as it is.

        :raises Conflict: when it is neither.
        """
        return codec.decode(Pod, self._json("POST", _target(ref, "unpause"), {}))

    def suspend_pod(self: Caller, ref: str) -> Pod:
        """Save the memory of a pod that runs and end its micro-VM; a suspended one stays so.

        :raises DiskFull: when there may be no room; the pod runs on.
        :raises Conflict: when it does not run.
        """
        data = self._json("POST", _target(ref, "suspend"), {}, extra_seconds=_MEMORY_S)
        return codec.decode(Pod, data)

    def resume_pod(
        self: Caller,
        ref: str,
        nics: tuple[Nic, ...] | None = None,
        dns: Dns | None = None,
        paused: bool = False,
    ) -> Pod:
        """Bring a suspended pod back, with its interfaces where *nics* say; one that runs stays.

        With *paused* it does not run before :meth:`unpause_pod`.

        :raises SavedStateUnusable: when its saved memory is damaged, or not for this host.
        :raises Conflict: when it is not suspended.
        """
        body: dict[str, Any] = {"paused": paused}
        if nics is not None:
            body["nics"] = codec.encode(nics)
        if dns is not None:
            body["dns"] = codec.encode(dns)
        data = self._json("POST", _target(ref, "resume"), body, extra_seconds=_MEMORY_S)
        return codec.decode(Pod, data)

    def crash_pod(self: Caller, ref: str) -> Pod:
        """Have the kernel of a pod that runs panic; its memory is dumped on the host.

        :raises Conflict: when it does not run, or the host keeps no such dump.
        :raises DiskFull: when there is no room for the dump.
        """
        return codec.decode(Pod, self._json("POST", _target(ref, "crash-dump"), {}))

    def diagnostics(self: Caller, ref: str) -> Diagnostics:
        """Return what the host counts of a pod that is up.

        :raises Conflict: when it is not.
        """
        return codec.decode(Diagnostics, self._json("GET", _target(ref, "diagnostics")))


def _target(ref: str, what: str) -> str:
    return f"/v1/pods/{quote(ref)}/{what}"
