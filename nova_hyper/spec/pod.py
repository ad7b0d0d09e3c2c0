"""Pods: what is asked for, and what has become of it."""

from __future__ import annotations

import dataclasses
import enum

from nova_hyper.spec.boot import Boot
from nova_hyper.spec.container import Container, ContainerStatus
from nova_hyper.spec.disk import EphemeralDisk
from nova_hyper.spec.nic import Dns, Nic
from nova_hyper.spec.tuning import Tuning
from nova_hyper.spec.volume import Volume


class RestartPolicy(enum.StrEnum):
    """What becomes of a container that ended by itself."""

    ALWAYS = "always"
    ON_FAILURE = "on-failure"
    NEVER = "never"


@dataclasses.dataclass(frozen=True)
class HostAlias:
    """A line of ``/etc/hosts``."""

    ip: str
    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class PodSpec:
    """What a pod shall be.

    ``id`` is a UUID (the Nova instance's, under Nova); ``root_gib`` is the size
    of what all containers write, 0 for a tmpfs; an image that unpacks to more
    than a ``root_gib`` above 0 is refused.  ``init_containers`` run one after
    the other, each to its end, before ``containers`` start.
    ``termination_grace_s`` is the time between the stop signal and SIGKILL,
    None is the host's.  ``labels`` are the creator's own.  ``ephemerals`` are
    disks beside the root, and ``swap_mib`` is the size of a disk for swap.
    With ``config_drive`` the one that was stored for the pod is attached.
    """

    id: str
    name: str
    containers: tuple[Container, ...]
    vcpus: int = 1
    memory_mib: int = 256
    root_gib: int = 0
    hostname: str = ""
    nics: tuple[Nic, ...] = ()
    dns: Dns = dataclasses.field(default_factory=Dns)
    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    init_containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    restart_policy: RestartPolicy = RestartPolicy.NEVER
    termination_grace_s: float | None = None
    sysctls: dict[str, str] = dataclasses.field(default_factory=dict)
    host_aliases: tuple[HostAlias, ...] = ()
    tuning: Tuning = dataclasses.field(default_factory=Tuning)
    ephemerals: tuple[EphemeralDisk, ...] = ()
    swap_mib: int = 0
    boot: Boot = dataclasses.field(default_factory=Boot)
    config_drive: bool = False

    @property
    def all_containers(self) -> tuple[Container, ...]:
        """All containers in the order in which they start."""
        return self.init_containers + self.containers

    def replaced(self, nics: tuple[Nic, ...] | None, dns: Dns | None) -> PodSpec:
        """Return this pod with other interfaces or resolver, where given."""
        return dataclasses.replace(
            self,
            nics=self.nics if nics is None else nics,
            dns=self.dns if dns is None else dns,
        )


class PodState(enum.StrEnum):
    """The life of a pod: CREATING, READY, RUNNING, then STOPPED or CRASHED, and again.

    A pod that runs may be PAUSED or SUSPENDED, and runs again afterwards.
    """

    CREATING = "creating"
    """Its disks and domain are being made; hyperd finishes or removes it after a restart."""
    READY = "ready"
    """The micro-VM is up and its agent answers; no container has started yet."""
    RUNNING = "running"
    PAUSED = "paused"
    """The micro-VM's CPUs stand still, its memory is where it was."""
    SUSPENDED = "suspended"
    """The micro-VM's memory is a file, there is no micro-VM."""
    STOPPED = "stopped"
    """It was stopped, or its last container exited; ``exit_code`` says how."""
    CRASHED = "crashed"
    """The micro-VM died: a guest panic, or QEMU was killed."""
    DELETING = "deleting"


@dataclasses.dataclass(frozen=True)
class Mark:
    """One stage of a pod's start: it was done ``at_ns`` after the request came in."""

    stage: str
    at_ns: int


@dataclasses.dataclass(frozen=True)
class Rescued:
    """A pod as it was, while an image that repairs it boots in its place.

    ``containers`` are those of ``spec.all_containers``, as they ended.
    """

    spec: PodSpec
    containers: tuple[ContainerStatus, ...]


@dataclasses.dataclass(frozen=True)
class Pod:
    """A pod as it is now.

    ``containers`` has those of ``spec.all_containers``, in their order.
    ``exit_code`` is that of the first container that failed, or else 0.
    ``message`` says in one sentence why it is stopped or crashed; ``timeline``
    is of its latest start; ``created_at`` and ``started_at`` are Unix seconds.
    ``rescued`` is there while the pod is in rescue: ``spec`` and ``containers``
    are of the rescue then.
    """

    spec: PodSpec
    state: PodState
    containers: tuple[ContainerStatus, ...]
    exit_code: int | None = None
    message: str = ""
    created_at: float = 0.0
    started_at: float | None = None
    stopped_at: float | None = None
    timeline: tuple[Mark, ...] = ()
    qemu_pid: int | None = None
    rescued: Rescued | None = None

    @property
    def own_spec(self) -> PodSpec:
        """What the pod is when it is not in rescue: its disks are those of this."""
        return self.spec if self.rescued is None else self.rescued.spec
