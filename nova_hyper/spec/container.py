"""Containers of a pod: what is asked for, and what has become of them."""

from __future__ import annotations

import dataclasses
import enum

from nova_hyper.spec.probe import Probes
from nova_hyper.spec.volume import Mount


@dataclasses.dataclass(frozen=True)
class Port:
    """A port that the container listens on: for people, nothing is opened or closed by it."""

    port: int
    protocol: str = "TCP"
    name: str = ""


@dataclasses.dataclass(frozen=True)
class Resources:
    """Limits within the pod; None is the pod's own.

    ``cpu_millis`` is in thousandths of a CPU, ``cpu_weight`` as in cgroup v2's
    cpu.weight (1 to 10000, 100 is the default).
    """

    memory_bytes: int | None = None
    cpu_millis: int | None = None
    cpu_weight: int | None = None
    pids: int | None = None


SECCOMP_UNCONFINED = "unconfined"
SECCOMP_DEFAULT = "runtime/default"


@dataclasses.dataclass(frozen=True)
class Security:
    """What a container may do within its micro-VM.

    ``capabilities`` (``CAP_...``) None is all; ``non_root`` refuses a user that
    is root, or whose number the image alone knows; ``groups`` are
    supplementary; ``seccomp`` is ``unconfined`` or ``runtime/default``.
    """

    read_only_root: bool = False
    capabilities: tuple[str, ...] | None = None
    no_new_privileges: bool = False
    non_root: bool = False
    groups: tuple[int, ...] = ()
    seccomp: str = SECCOMP_UNCONFINED


@dataclasses.dataclass(frozen=True)
class Container:
    """One container of a pod.

    ``image`` is an image id or name known to the host.  The other fields
    override the image's configuration where they are not None: ``command``
    replaces Entrypoint and ``args`` replaces Cmd (and as in Kubernetes and
    Docker, ``command`` without ``args`` drops the image's Cmd).  ``env`` items
    are ``KEY=value`` and come on top of the image's.  With ``stdin`` its input
    can be written to, with ``tty`` it has a terminal.
    """

    name: str
    image: str
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    user: str | None = None
    working_dir: str | None = None
    stop_signal: str | None = None
    resources: Resources = dataclasses.field(default_factory=Resources)
    mounts: tuple[Mount, ...] = ()
    security: Security = dataclasses.field(default_factory=Security)
    probes: Probes = dataclasses.field(default_factory=Probes)
    ports: tuple[Port, ...] = ()
    stdin: bool = False
    tty: bool = False


class ContainerState(enum.StrEnum):
    CREATED = "created"
    RUNNING = "running"
    WAITING = "waiting"
    """It ended and will be started again."""
    EXITED = "exited"


@dataclasses.dataclass(frozen=True)
class ContainerStatus:
    """One container as it is now.

    ``exit_code`` is 128 + signal number for a container that a signal ended;
    while it waits or runs again, it is that of the run before.  ``started``
    and ``ready`` are what the probes say, or that it runs where there is no
    probe; ``health`` (``starting``, ``healthy``, ``unhealthy``) is of the
    image's healthcheck, None without one.  ``reason`` is a word (``OOMKilled``,
    ``CrashLoopBackOff``), ``message`` a sentence.
    """

    name: str
    image: str
    image_id: str
    state: ContainerState
    exit_code: int | None = None
    init: bool = False
    restarts: int = 0
    ready: bool = False
    started: bool = False
    health: str | None = None
    oom_killed: bool = False
    reason: str = ""
    message: str = ""
