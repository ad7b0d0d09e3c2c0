"""The client's calls for rescue."""

from __future__ import annotations

from nova_hyper.client.calls import Caller, quote
from nova_hyper.spec import codec
from nova_hyper.spec.pod import Pod


class RescueCalls:
    """What a client can do about a pod that is to be repaired."""

    def rescue_pod(self: Caller, ref: str, image: str | None = None) -> Pod:
        """Have *image* boot in place of a stopped pod, with the pod's disks mounted in it.

        Without, it is the image of the pod's first container.

        :raises Conflict: for a pod that is up, or has its root in memory.
        """
        body = {} if image is None else {"image": image}
        return codec.decode(Pod, self._json("POST", f"/v1/pods/{quote(ref)}/rescue", body))

    def unrescue_pod(self: Caller, ref: str) -> Pod:
        """Have a stopped pod be itself again; one that is not in rescue stays as it is.

        :raises Conflict: for a rescue that is up.
        """
        return codec.decode(Pod, self._json("POST", f"/v1/pods/{quote(ref)}/unrescue", {}))
