"""Events: what happened to pods, in order, so that nothing is missed."""

from __future__ import annotations

import dataclasses
import enum


class EventKind(enum.StrEnum):
    CREATED = "created"
    """The sandbox is up; no container runs yet."""
    STARTED = "started"
    EXITED = "exited"
    """The last container ended by itself; ``exit_code`` is the pod's."""
    STOPPED = "stopped"
    """The pod was stopped on request."""
    PAUSED = "paused"
    UNPAUSED = "unpaused"
    SUSPENDED = "suspended"
    """The memory is saved and the micro-VM gone."""
    RESUMED = "resumed"
    """A suspended pod runs again."""
    CRASHED = "crashed"
    DELETED = "deleted"
    RESTARTED = "restarted"
    """A container ended and was, or will be, started again; ``message`` names it."""
    OOM = "oom"
    """A container took more memory than its limit and was killed."""
    HEALTH = "health"
    """A container's readiness or its image's healthcheck says something else than before."""


@dataclasses.dataclass(frozen=True)
class Event:
    """One event.

    ``seq`` grows by one with each event of a host and never goes back, also
    over restarts of the daemon; ``at`` is Unix seconds.
    """

    seq: int
    at: float
    kind: EventKind
    pod_id: str
    pod_name: str = ""
    exit_code: int | None = None
    message: str = ""


@dataclasses.dataclass(frozen=True)
class EventPage:
    """Events after the asked-for one, oldest first.

    ``last`` is what to ask after next.  ``lost`` is True when events between
    the two have already been dropped from the log: list the pods instead.
    """

    events: tuple[Event, ...]
    last: int
    lost: bool = False
