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
from nova_hyper.daemon.hypervisor.saved import SavedDomain
from nova_hyper.spec.diagnostics import Diagnostics
from nova_hyper.spec.image import Image


class DomainState(enum.StrEnum):
    """What the hypervisor says of a domain of ours; one that it does not know is absent."""

    RUNNING = "running"
    PAUSED = "paused"
    SAVING = "saving"
    """It stands still while its memory is written to a file."""
    PANICKED = "panicked"
    """Its kernel has panicked; it is kept until it is dumped or destroyed."""
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

    # What follows raises HypervisorFailed when there is no such domain.

    def pause(self, pod_id: str) -> None:
        """Stop the domain's CPUs; idempotent."""

    def unpause(self, pod_id: str) -> None:
        """Let the CPUs of a paused domain run; idempotent."""

    def save(self, pod_id: str, path: Path) -> None:
        """Write the domain's memory to *path* and end it; it runs on where that fails.

        Its definition stays until it is destroyed.
        Nothing is left at *path* on failure, and what is there is complete.

        :raises DiskFull: when there is no room for it.
        :raises HypervisorFailed: with the hypervisor's own reason.
        """

    def load(self, saved: SavedDomain) -> int:
        """Make a saved domain again, paused; return QEMU's process id.

        No domain is left on failure; the file stays in any case.

        :raises SavedStateUnusable: when it is damaged, or not for this host.
        :raises NetworkFailed: when an interface could not be connected.
        :raises InsufficientMemory: when the host cannot give the guest its memory.
        """

    def inject_nmi(self, pod_id: str) -> None:
        """Send every CPU a non-maskable interrupt."""

    def dump(self, pod_id: str, path: Path) -> None:
        """Write the domain's memory to *path* for debuggers; nothing is left on failure."""

    def diagnostics(self, pod_id: str) -> Diagnostics:
        """Return what the hypervisor has counted of a domain that is up."""


class AgentError(Exception):
    """The agent refused a request; ``code`` is one of the protocol's, ``message`` a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class GuestStream(Protocol):
    """Bytes both ways between one caller and something in a guest.

    ``answer`` is what the agent said when it opened; ``exit_code`` and ``error``
    (a sentence) are known after the end.  One thread may read while another
    writes, and any may :meth:`close`, which ends both.
    """

    answer: dict[str, Any]
    exit_code: int | None
    error: str | None

    def read(self, timeout: float | None) -> tuple[int, bytes] | None:
        """Return what comes next and its channel (0 stdout, 1 stderr), None at the end.

        :raises TimeoutError: when nothing comes in *timeout* seconds.
        :raises GuestFailed: when the guest is lost.
        """

    def write(self, data: bytes, timeout: float | None) -> None:
        """Send all of *data*, as fast as the guest takes it.

        What comes after the stream's end is dropped.

        :raises TimeoutError: when the guest has not taken all in *timeout* seconds.
        :raises GuestFailed: when the guest is lost.
        """

    def end_input(self) -> None:
        """Tell the guest that nothing more is written; idempotent."""

    def resize(self, rows: int, cols: int) -> None:
        """Tell the size of the terminal, where it has one."""

    def signal(self, name: str) -> None:
        """Send a signal (``SIGINT``) to the process."""

    def close(self) -> None:
        """End the stream, and with it what it started in the guest; idempotent."""


class GuestSession(Protocol):
    """A connection to the agent of one guest.

    ``features`` are the names of what the agent can, as it said in its hello.
    """

    features: frozenset[str]

    def open_stream(self, op: str, timeout: float, **args: Any) -> GuestStream:
        """Open a stream with *op*, once the agent has agreed.

        :raises AgentError: what the agent refused, with its code and sentence.
        :raises GuestFailed: when it does not answer in *timeout* seconds or is gone.
        """

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

    def narrow(self, owner: str, image_ids: set[str]) -> None: ...

    def retain(self, owners: set[str]) -> None: ...

    def layer_path(self, diff_id: str) -> Path: ...


class WritableDisks(Protocol):
    """The writable disks of pods."""

    def create(self, path: Path, size_gib: int, owner: str) -> None: ...

    def create_swap(self, path: Path, size_mib: int, owner: str) -> None: ...

    def resize(self, path: Path, size_gib: int) -> None: ...
    def copy(self, source: Path, path: Path, owner: str, tick: Callable[[], None]) -> None: ...


class Platform(Protocol):
    """What a pod needs to know of the host it starts on."""

    def virt_type(self) -> str:
        """Return ``kvm`` or ``qemu``; the first call may boot a guest to find out."""

    def owner(self) -> str:
        """Return ``uid:gid`` of QEMU's processes, empty when libvirt does not say."""

    def memory_mib(self) -> int: ...

    def arch(self) -> str:
        """Return the host's architecture as images name it (``amd64``)."""
