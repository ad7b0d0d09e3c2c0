"""What the use cases need of the world, as Protocols.

The adapters (libvirt, the agent's channel, the image store) implement these;
tests give fakes that pass the same contract tests.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from nova_hyper.daemon.hypervisor.domain import Domain
from nova_hyper.spec.image import Image


class DomainState(enum.StrEnum):
    """What the hypervisor says of a domain of ours; one that it does not know is absent."""

    RUNNING = "running"
    PAUSED = "paused"
    OFF = "off"


class Hypervisor(Protocol):
    """The micro-VMs of this host.  All methods raise HypervisorUnavailable when it is away."""

    def launch(self, domain: Domain) -> int:
        """Define and start *domain*; return QEMU's process id.

        Nothing is left behind on failure.

        :raises HypervisorFailed: with the hypervisor's own reason.
        :raises NetworkFailed: when an interface could not be connected.
        :raises InsufficientMemory: when the host cannot give the guest its memory.
        """

    def destroy(self, pod_id: str) -> None:
        """Stop the domain at once and forget its definition; idempotent."""

    def states(self) -> dict[str, DomainState]:
        """Return the state of every domain of ours by pod id."""

    def state(self, pod_id: str) -> DomainState | None:
        """Return the state of one domain, None when there is none."""


class AgentError(Exception):
    """The agent refused a request; ``code`` is one of the protocol's, ``message`` a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class GuestSession(Protocol):
    """A connection to the agent of one guest."""

    def request(self, op: str, timeout: float, **args: Any) -> dict[str, Any]:
        """Return the agent's answer.

        :raises AgentError: what the agent refused, with its code and sentence.
        :raises GuestFailed: when it does not answer in *timeout* seconds or is gone.
        """

    def close(self) -> None: ...


class Guests(Protocol):
    """Connections to agents."""

    def connect(
        self,
        path: Path,
        fresh: bool,
        timeout: float,
        on_event: Callable[[dict[str, Any]], None],
        on_lost: Callable[[str], None],
    ) -> GuestSession:
        """Return a session once the agent has said hello.

        *fresh* is True for a guest that was just started, which no daemon has
        talked to before.

        :raises GuestFailed: after *timeout* seconds.
        """


class Images(Protocol):
    """The image store as the pods use it; a lease keeps an image for its owner."""

    def get(self, ref: str) -> Image: ...

    def acquire(self, image_id: str, owner: str) -> None: ...

    def release(self, owner: str) -> None: ...

    def retain(self, owners: set[str]) -> None: ...

    def layer_path(self, diff_id: str) -> Path: ...


class WritableDisks(Protocol):
    """The writable disks of pods."""

    def create(self, path: Path, size_gib: int, owner: str) -> None: ...


class Platform(Protocol):
    """What a pod needs to know of the host it starts on."""

    def virt_type(self) -> str:
        """Return ``kvm`` or ``qemu``; the first call may boot a guest to find out."""

    def owner(self) -> str:
        """Return ``uid:gid`` of QEMU's processes, empty when libvirt does not say."""

    def memory_mib(self) -> int: ...

    def arch(self) -> str:
        """Return the host's architecture as images name it (``amd64``)."""
