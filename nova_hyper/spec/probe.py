"""Probes: how the agent finds out whether a container works."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class ExecCheck:
    """A command in the container; it passes by exiting with code 0."""

    argv: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class TcpCheck:
    """A TCP connection that is accepted; ``host`` None is the pod itself."""

    port: int
    host: str | None = None


@dataclasses.dataclass(frozen=True)
class HttpHeader:
    name: str
    value: str


@dataclasses.dataclass(frozen=True)
class HttpCheck:
    """An HTTP GET that is answered with a status from 200 to 399."""

    port: int
    path: str = "/"
    host: str | None = None
    headers: tuple[HttpHeader, ...] = ()


@dataclasses.dataclass(frozen=True)
class Probe:
    """One check, repeated; exactly one of ``exec``, ``tcp`` and ``http`` is there.

    Times are in seconds; ``successes`` and ``failures`` say how many in a row
    change the verdict.  Source of the defaults: Kubernetes, Probe v1 core.
    """

    exec: ExecCheck | None = None
    tcp: TcpCheck | None = None
    http: HttpCheck | None = None
    delay_s: float = 0.0
    period_s: float = 10.0
    timeout_s: float = 1.0
    successes: int = 1
    failures: int = 3


@dataclasses.dataclass(frozen=True)
class Probes:
    """The probes of a container.

    Until ``startup`` passes the others wait; a failed ``startup`` or
    ``liveness`` kills the container, ``readiness`` marks it.
    """

    startup: Probe | None = None
    liveness: Probe | None = None
    readiness: Probe | None = None
