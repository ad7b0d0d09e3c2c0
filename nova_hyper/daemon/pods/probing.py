"""Probes as the agent takes them."""

from __future__ import annotations

from typing import Any

from nova_hyper.spec.image import Healthcheck
from nova_hyper.spec.probe import HttpCheck, Probe, Probes, TcpCheck

_MS = 1000
_SHELL = ("/bin/sh", "-c")
# What an agent takes. Images that want a check never to run write years.
_MOST_MS = 24 * 3600 * _MS
_MOST_FAILURES = 100_000


def requests(probes: Probes, healthcheck: Healthcheck | None) -> dict[str, Any]:
    """Return the ``probes`` of ``container.create``, empty without any."""
    found = {
        kind: _request(probe)
        for kind, probe in (
            ("startup", probes.startup),
            ("liveness", probes.liveness),
            ("readiness", probes.readiness),
        )
        if probe is not None
    }
    health = _health(healthcheck)
    if health is not None:
        found["health"] = health
    return found


def _request(probe: Probe) -> dict[str, Any]:
    request: dict[str, Any] = {}
    if probe.exec is not None:
        request["exec"] = {"argv": list(probe.exec.argv)}
    elif probe.tcp is not None:
        request["tcp"] = _target(probe.tcp)
    elif probe.http is not None:
        request["http"] = {**_target(probe.http), "path": probe.http.path}
        if probe.http.headers:
            request["http"]["headers"] = [[h.name, h.value] for h in probe.http.headers]
    return {
        **request,
        "delay_ms": round(probe.delay_s * _MS),
        "period_ms": max(1, round(probe.period_s * _MS)),
        "timeout_ms": max(1, round(probe.timeout_s * _MS)),
        "successes": probe.successes,
        "failures": probe.failures,
    }


def _target(check: TcpCheck | HttpCheck) -> dict[str, Any]:
    return {"port": check.port} | ({} if check.host is None else {"host": check.host})


def _health(check: Healthcheck | None) -> dict[str, Any] | None:
    """Return an image's HEALTHCHECK as a probe.

    Source: Dockerfile reference, HEALTHCHECK: the first check comes after the
    interval; here after the start period where there is one, so that what fails
    in it does not count.
    """
    if check is None or len(check.test) < 2 or check.test[0] not in ("CMD", "CMD-SHELL"):
        return None
    argv = check.test[1:] if check.test[0] == "CMD" else (*_SHELL, check.test[1])
    return {
        "exec": {"argv": list(argv)},
        "delay_ms": min(_MOST_MS, round((check.start_period_s or check.interval_s) * _MS)),
        "period_ms": min(_MOST_MS, max(1, round(check.interval_s * _MS))),
        "timeout_ms": min(_MOST_MS, max(1, round(check.timeout_s * _MS))),
        "successes": 1,
        "failures": min(_MOST_FAILURES, max(1, check.retries)),
    }
