"""hyperd: from the request to the first line of the container's output."""

from __future__ import annotations

import dataclasses
import re
import time
import uuid
from pathlib import Path

from nova_hyper.client import HyperClient
from nova_hyper.spec.container import Container
from nova_hyper.spec.pod import Pod, PodSpec

_TIMEOUT_S = 60.0
_POLL_S = 0.005
_SCRIPT = "echo up; cat /proc/meminfo; exec sleep 1000"
_KIB_PER_MIB = 1024


@dataclasses.dataclass(frozen=True)
class PodStart:
    """``stages`` are (name, seconds it took); memory figures are in MiB."""

    total_s: float
    stages: tuple[tuple[str, float], ...]
    host_pss_mib: float
    guest_used_mib: float


def run(client: HyperClient, image: str, memory_mib: int) -> PodStart:
    """Start one pod cold, measure it, and remove it."""
    spec = PodSpec(
        id=str(uuid.uuid4()),
        name=f"bootbench-{uuid.uuid4().hex[:8]}",
        containers=(Container("main", image, command=("/bin/sh", "-c", _SCRIPT)),),
        memory_mib=memory_mib,
    )
    try:
        client.create_pod(spec)
        client.start_pod(spec.id)
        pod = wait_for_output(client, spec.id)
        used = _guest_used_mib(client, spec.id)
        pss = pss_mib(pod.qemu_pid or 0)
    finally:
        client.delete_pod(spec.id)
    return PodStart(output_s(pod), stages(pod), pss, used)


def wait_for_output(client: HyperClient, ref: str) -> Pod:
    """Return the pod once its timeline has the first byte of output.

    :raises TimeoutError: when it never comes.
    """
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        pod = client.pod(ref)
        if any(mark.stage == "output" for mark in pod.timeline):
            return pod
        time.sleep(_POLL_S)
    raise TimeoutError(f"pod {ref} printed nothing")


def stages(pod: Pod) -> tuple[tuple[str, float], ...]:
    """Return each stage of the pod's start with the seconds it took."""
    found, before = [], 0
    for mark in pod.timeline:
        found.append((mark.stage, (mark.at_ns - before) / 1e9))
        before = mark.at_ns
    return tuple(found)


def output_s(pod: Pod) -> float:
    """Return the seconds from the request to the first byte of output."""
    return next(mark.at_ns for mark in pod.timeline if mark.stage == "output") / 1e9


def _guest_used_mib(client: HyperClient, ref: str) -> float:
    """Return what kernel, agent and the idle container use: all but what is available."""
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        text = client.console(ref, 1 << 16).decode(errors="replace")
        found = dict(re.findall(r"^(MemTotal|MemAvailable|SwapTotal):\s+(\d+) kB", text, re.M))
        if "SwapTotal" in found:
            return (int(found["MemTotal"]) - int(found["MemAvailable"])) / _KIB_PER_MIB
        time.sleep(_POLL_S)
    raise TimeoutError(f"pod {ref} did not print its memory")


def pss_mib(pid: int) -> float:
    """Return the proportional set size of a process in MiB, 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.M)
    return int(found[1]) / _KIB_PER_MIB if found else 0.0
