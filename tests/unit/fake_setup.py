"""What the pods of a hyperd in memory are given."""

from __future__ import annotations

from typing import Any

from nova_hyper.spec.errors import Conflict, InvalidRequest, PodPaused
from nova_hyper.spec.pod import PodState
from nova_hyper.spec.setup import Setup, SetupDone

ISO = bytes(32769) + b"CD001"
"""The least that is taken for a config drive."""


class FakeSetup:
    """As hyperd; every image has root, in ``/etc/shadow`` too, and no other user."""

    _called: Any
    pod: Any

    def __init__(self) -> None:
        self.given: dict[str, list[Setup]] = {}
        self.drives: dict[str, bytes] = {}

    def setup_pod(self, ref: str, setup: Setup) -> SetupDone:
        self._called("setup_pod")
        pod = self.pod(ref)
        if pod.state is PodState.PAUSED:
            raise PodPaused(f"pod {ref} is paused; unpause it first")
        if pod.state not in (PodState.READY, PodState.RUNNING):
            raise Conflict(f"pod {ref} can be given nothing (it is {pod.state})")
        for file in setup.files:
            if file.path == "/etc/hosts":
                raise InvalidRequest(f"{file.path} cannot be injected: the pod makes it itself")
        self.given.setdefault(pod.spec.id, []).append(setup)
        known = setup.user == "root"
        return SetupDone(keys=known and bool(setup.keys), password=known and bool(setup.password))

    def store_config_drive(self, ref: str, image: bytes) -> None:
        self._called("store_config_drive")
        if image[32769:32774] != b"CD001":
            raise InvalidRequest("the config drive is no image of a file system of type iso9660")
        self.drives[ref] = image

    def _require_drive(self, spec: Any) -> None:
        if spec.config_drive and spec.id not in self.drives:
            raise InvalidRequest("the pod's config drive is missing: store it before")
