"""The client's calls for what a pod is given at its birth."""

from __future__ import annotations

from nova_hyper.client.calls import Caller, quote
from nova_hyper.spec import codec
from nova_hyper.spec.setup import Setup, SetupDone


class SetupCalls:
    """What a client can give to a pod."""

    def setup_pod(self: Caller, ref: str, setup: Setup) -> SetupDone:
        """Give the containers of a pod that is up files, keys and a password.

        They are on the pod's disk then; a pod without one gets them again at each boot.

        :raises Conflict: when it is not up.
        :raises InvalidRequest: for a file that cannot be where it is wanted.
        """
        body = codec.encode(setup)
        return codec.decode(SetupDone, self._json("POST", f"/v1/pods/{quote(ref)}/setup", body))

    def store_config_drive(self: Caller, ref: str, image: bytes) -> None:
        """Keep the config drive, an *image* of ISO 9660, for the pod of the id *ref*.

        The pod need not be made yet; its ``config_drive`` is True.

        :raises InvalidRequest: when it is none, or larger than 64 MiB.
        """
        self._put(f"/v1/pods/{quote(ref)}/config-drive", image)
