"""What a client of hyperd can do, as a Protocol: the real client and the fake pass one test."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from nova_hyper.spec.event import EventPage
from nova_hyper.spec.host import Host, Version
from nova_hyper.spec.image import Image
from nova_hyper.spec.nic import Dns, Nic
from nova_hyper.spec.pod import Pod, PodSpec


class Hyperd(Protocol):
    """The REST API of hyperd; *ref* is an id or a name.

    Every method raises a :class:`~nova_hyper.spec.errors.HyperError`: what
    hyperd answered, or DaemonUnavailable.
    """

    def version(self) -> Version: ...

    def host(self) -> Host: ...

    def openapi(self) -> dict[str, Any]: ...

    def import_image(self, name: str, chunks: Iterable[bytes]) -> Image:
        """Import the archive that *chunks* make up, streamed, as *name*."""

    def images(self) -> tuple[Image, ...]: ...

    def image(self, ref: str) -> Image: ...

    def delete_image(self, ref: str) -> None: ...

    def create_pod(self, spec: PodSpec) -> Pod:
        """Boot the sandbox and return the pod, READY; nothing is left of one that fails."""

    def pods(self) -> tuple[Pod, ...]: ...

    def pod(self, ref: str) -> Pod: ...

    def boot_pod(
        self, ref: str, nics: tuple[Nic, ...] | None = None, dns: Dns | None = None
    ) -> Pod:
        """Bring a stopped or crashed pod to READY, with new NICs where given."""

    def start_pod(self, ref: str) -> Pod:
        """Start the containers of a pod, booting it first when it is stopped."""

    def stop_pod(self, ref: str, grace_s: int | None = None, force: bool = False) -> Pod:
        """Stop a pod: signal, *grace_s* seconds, SIGKILL; *force* is at once."""

    def delete_pod(self, ref: str) -> None:
        """Remove a pod, also a half-made one.

        :raises PodNotFound: when there is none.
        """

    def console(self, ref: str, max_bytes: int) -> bytes:
        """Return the last *max_bytes* bytes of the containers' output."""

    def events(self, after: int, wait: float) -> EventPage:
        """Return the events after *after*, waiting up to *wait* seconds for one."""
