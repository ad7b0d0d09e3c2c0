"""Pods: what is asked for, and what has become of it."""

from __future__ import annotations

import dataclasses
import enum

from nova_hyper.spec.nic import Dns, Nic


@dataclasses.dataclass(frozen=True)
class Container:
    """One container of a pod.

    ``image`` is an image id or name known to the host.  The other fields
    override the image's configuration where they are not None: ``command``
    replaces Entrypoint and ``args`` replaces Cmd (and as in Kubernetes and
    Docker, ``command`` without ``args`` drops the image's Cmd).  ``env`` items
    are ``KEY=value`` and come on top of the image's.
    """

    name: str
    image: str
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    user: str | None = None
    working_dir: str | None = None
    stop_signal: str | None = None


@dataclasses.dataclass(frozen=True)
class PodSpec:
    """What a pod shall be.

    ``id`` is a UUID (the Nova instance's, under Nova); ``root_gib`` is the size
    of the writable layer, 0 for a tmpfs; an image that unpacks to more than a
    ``root_gib`` above 0 is refused.  ``labels`` are the creator's own.
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

    def replaced(self, nics: tuple[Nic, ...] | None, dns: Dns | None) -> PodSpec:
        """Return this pod with other interfaces or resolver, where given."""
        return dataclasses.replace(
            self,
            nics=self.nics if nics is None else nics,
            dns=self.dns if dns is None else dns,
        )


class PodState(enum.StrEnum):
    """The life of a pod: CREATING, READY, RUNNING, then STOPPED or CRASHED, and again."""

    CREATING = "creating"
    """Its disks and domain are being made; hyperd finishes or removes it after a restart."""
    READY = "ready"
    """The micro-VM is up and its agent answers; no container has started yet."""
    RUNNING = "running"
    STOPPED = "stopped"
    """It was stopped, or its last container exited; ``exit_code`` says how."""
    CRASHED = "crashed"
    """The micro-VM died: a guest panic, or QEMU was killed."""
    DELETING = "deleting"


class ContainerState(enum.StrEnum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclasses.dataclass(frozen=True)
class ContainerStatus:
    """``exit_code`` is 128 + signal number for a container that a signal ended."""

    name: str
    image: str
    image_id: str
    state: ContainerState
    exit_code: int | None = None


@dataclasses.dataclass(frozen=True)
class Mark:
    """One stage of a pod's start: it was done ``at_ns`` after the request came in."""

    stage: str
    at_ns: int


@dataclasses.dataclass(frozen=True)
class Pod:
    """A pod as it is now.

    ``message`` says in one sentence why it is stopped or crashed; ``timeline``
    is of its latest start; ``created_at`` and ``started_at`` are Unix seconds.
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
