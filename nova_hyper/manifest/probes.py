"""Probes of a container."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nova_hyper.manifest.problems import Problems
from nova_hyper.spec.container import Port
from nova_hyper.spec.probe import ExecCheck, HttpCheck, HttpHeader, Probe, Probes, TcpCheck

_CHECKS = ("exec", "tcpSocket", "httpGet")
_MAX_PORT = 65535

Words = Callable[[str, Sequence[str]], tuple[str, ...]]
"""Expands the variables in the words at a path below the container."""


def probes(
    container: Mapping[str, Any],
    ports: tuple[Port, ...],
    words: Words,
    path: str,
    problems: Problems,
) -> Probes:
    """Return the probes of a container that listens on *ports*."""
    found = {
        kind: _probe(_expanded(container[key], key, words), ports, f"{path}.{key}", problems)
        for kind, key in (
            ("startup", "startupProbe"),
            ("liveness", "livenessProbe"),
            ("readiness", "readinessProbe"),
        )
        if key in container
    }
    for kind in ("startup", "liveness"):
        if kind in found and found[kind].successes != 1:
            problems.add(f"{path}.{kind}Probe.successThreshold", "can only be 1")
    return Probes(**found)


def _expanded(probe: Mapping[str, Any], key: str, words: Words) -> Mapping[str, Any]:
    """Return *probe* with the variables in its command, as kubelet expands them."""
    if "exec" not in probe:
        return probe
    command = words(f"{key}.exec.command", probe["exec"]["command"])
    return {**probe, "exec": {"command": command}}


def _probe(
    probe: Mapping[str, Any], ports: tuple[Port, ...], path: str, problems: Problems
) -> Probe:
    given = [key for key in _CHECKS if key in probe]
    if len(given) != 1:
        problems.add(path, f"must have exactly one of {', '.join(_CHECKS)}")
    return Probe(
        exec=ExecCheck(tuple(probe["exec"]["command"])) if "exec" in probe else None,
        tcp=_tcp(probe["tcpSocket"], ports, path, problems) if "tcpSocket" in probe else None,
        http=_http(probe["httpGet"], ports, path, problems) if "httpGet" in probe else None,
        delay_s=float(probe.get("initialDelaySeconds", 0)),
        period_s=float(probe.get("periodSeconds", 10)),
        timeout_s=float(probe.get("timeoutSeconds", 1)),
        successes=probe.get("successThreshold", 1),
        failures=probe.get("failureThreshold", 3),
    )


def _tcp(
    check: Mapping[str, Any], ports: tuple[Port, ...], path: str, problems: Problems
) -> TcpCheck:
    port = _port(check["port"], ports, f"{path}.tcpSocket.port", problems)
    return TcpCheck(port, _host(check, f"{path}.tcpSocket.host", problems))


def _http(
    check: Mapping[str, Any], ports: tuple[Port, ...], path: str, problems: Problems
) -> HttpCheck:
    target = check.get("path", "/")
    return HttpCheck(
        port=_port(check["port"], ports, f"{path}.httpGet.port", problems),
        path=target if target.startswith("/") else f"/{target}",
        host=_host(check, f"{path}.httpGet.host", problems),
        headers=tuple(HttpHeader(h["name"], h["value"]) for h in check.get("httpHeaders", ())),
    )


def _host(check: Mapping[str, Any], path: str, problems: Problems) -> str | None:
    host: str | None = check.get("host")
    if host in (None, "localhost"):
        return host
    try:
        ipaddress.ip_address(host)
    except ValueError:
        problems.add(
            path, f"is {host!r}, but must be an IP address or localhost: a probe asks no DNS"
        )
    return host


def _port(port: int | str, ports: tuple[Port, ...], path: str, problems: Problems) -> int:
    if isinstance(port, str):
        named = {p.name: p.port for p in ports if p.name}
        if port in named:
            return named[port]
        if not port.isdecimal():
            problems.add(path, f"is {port[:60]!r}, which is no name of a port of this container")
            return 0
        port = int(port[:6])
    if not 1 <= port <= _MAX_PORT:
        problems.add(path, f"must be from 1 to {_MAX_PORT}, not {port}")
    return port
