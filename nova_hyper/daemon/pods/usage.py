"""What an agent says of a pod's use of things, checked: the guest is hostile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nova_hyper.spec.errors import GuestFailed
from nova_hyper.spec.stats import ContainerStats, NicStats, PodStats, Process

_MAX = 2**63 - 1
_MAX_NICS = 64
_MAX_PROCESSES = 500
_MAX_TEXT = 4096


def stats(answer: Mapping[str, Any], containers: Sequence[str]) -> PodStats:
    """Return what the answer to ``pod.stats`` says, of the known *containers* only.

    :raises GuestFailed: when it does not fit the protocol.
    """
    listed = _objects(answer, "containers", len(containers) + 64)
    found = {c["name"]: c for c in listed if isinstance(c.get("name"), str)}
    nics = _objects(answer, "nics", _MAX_NICS)
    return PodStats(
        uptime_ns=_count(answer, "uptime_ns"),
        cpu_ns=_count(answer, "cpu_ns"),
        mem_total_kib=_count(answer, "mem_total_kib"),
        mem_available_kib=_count(answer, "mem_available_kib"),
        nics=tuple(_nic(nic) for nic in nics),
        containers=tuple(_container(name, found[name]) for name in containers if name in found),
    )


def _nic(said: Mapping[str, Any]) -> NicStats:
    counters = ("bytes", "packets", "errors", "dropped")
    names = [f"{way}_{counter}" for way in ("rx", "tx") for counter in counters]
    return NicStats(mac=_text(said, "mac"), **{name: _count(said, name) for name in names})


def _container(name: str, said: Mapping[str, Any]) -> ContainerStats:
    return ContainerStats(
        name=name,
        cpu_ns=_count(said, "cpu_ns"),
        memory_bytes=_count(said, "memory_bytes"),
        memory_max=None if said.get("memory_max") is None else _count(said, "memory_max"),
        memory_peak=_count(said, "memory_peak"),
        oom_kills=_count(said, "oom_kills"),
        pids=_count(said, "pids"),
        read_bytes=_count(said, "read_bytes"),
        write_bytes=_count(said, "write_bytes"),
    )


def processes(answer: Mapping[str, Any]) -> tuple[Process, ...]:
    """Return what the answer to ``container.top`` says.

    :raises GuestFailed: when it does not fit the protocol.
    """
    return tuple(
        Process(
            pid=_count(said, "pid"),
            ppid=_count(said, "ppid"),
            user=_text(said, "user"),
            rss_kib=_count(said, "rss_kib"),
            cpu_ns=_count(said, "cpu_ns"),
            state=_text(said, "state"),
            command=_text(said, "command"),
        )
        for said in _objects(answer, "processes", _MAX_PROCESSES)
    )


def _objects(answer: Mapping[str, Any], key: str, most: int) -> list[dict[str, Any]]:
    listed = answer.get(key)
    if not isinstance(listed, list) or len(listed) > most:
        raise GuestFailed(f"the agent's answer has no usable {key!r}")
    if not all(isinstance(item, dict) for item in listed):
        raise GuestFailed(f"the agent's answer has no usable {key!r}")
    return listed


def _count(said: Mapping[str, Any], key: str) -> int:
    value = said.get(key)
    if type(value) is not int or not 0 <= value <= _MAX:
        raise GuestFailed(f"the agent's answer has no usable {key!r}")
    return value


def _text(said: Mapping[str, Any], key: str) -> str:
    """Return a text that may go to a terminal: no control characters."""
    value = said.get(key)
    if not isinstance(value, str):
        raise GuestFailed(f"the agent's answer has no usable {key!r}")
    return "".join(c if c.isprintable() else "?" for c in value[:_MAX_TEXT])
