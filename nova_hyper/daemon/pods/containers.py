"""The agent's requests that make volumes and containers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from nova_hyper.daemon.pods import features, mounts, probing, process, rescue_mounts
from nova_hyper.daemon.pods.layout import Disks, Original
from nova_hyper.spec.container import Container, Resources
from nova_hyper.spec.image import Image
from nova_hyper.spec.pod import PodSpec, RestartPolicy

Seccomp = Callable[[str, tuple[str, ...] | None], str | None]
"""Gives the filter of a profile and capabilities in base64, None for no filter."""

_MS = 1000
_QUOTA_US_OF_MILLI = 100


def requests(
    spec: PodSpec,
    images: Sequence[Image],
    supported: Collection[str],
    seccomp: Seccomp,
    original: Original | None = None,
) -> list[mounts.Request]:
    """Return the operations from a configured guest to created containers, in their order.

    *images* are those of ``spec.all_containers``; *supported* are the agent's
    features: what only an image asks for is left out where the agent cannot do it.
    *original* is the pod that a rescue repairs.
    """
    made: list[mounts.Request] = []
    disks = Disks(spec, images, original)
    first = 0
    if original is not None:
        first = len(original.images)
        made += rescue_mounts.volume_requests(original, disks.original)
    if features.VOLUMES in supported:
        made += mounts.volume_requests(spec, images, disks.of_volumes(), first)
    for index, (container, image) in enumerate(zip(spec.all_containers, images, strict=True)):
        layers, upper = disks.of_container(index)
        wanted = process.resolve(container, image.config)
        request: dict[str, Any] = {
            "name": container.name,
            "layers": layers,
            "upper": upper,
            "argv": list(wanted.argv),
            "env": list(wanted.env),
            "user": wanted.user,
            "cwd": wanted.cwd,
            "stop_signal": wanted.stop_signal,
        }
        if features.SUPERVISE in supported:
            request |= _supervision(spec, container, image, init=index < len(spec.init_containers))
        if features.VOLUMES in supported:
            mounted = mounts.mount_requests(container, image, first + index)
            mounted += [] if original is None else rescue_mounts.mount_requests(original)
            request |= {"mounts": mounted} if mounted else {}
        request |= _limits(container.resources)
        if features.has_security(container):
            request["security"] = _security(container, seccomp)
        request |= {name: True for name in ("stdin", "tty") if getattr(container, name)}
        made.append(("container.create", request))
    return made


def _supervision(
    spec: PodSpec, container: Container, image: Image, *, init: bool
) -> dict[str, Any]:
    found: dict[str, Any] = {"init": True} if init else {}
    if spec.restart_policy is not RestartPolicy.NEVER:
        found["restart"] = {"policy": spec.restart_policy.value}
    if spec.termination_grace_s is not None:
        found["grace_ms"] = round(spec.termination_grace_s * _MS)
    probes = probing.requests(container.probes, None if init else image.config.healthcheck)
    return found | ({"probes": probes} if probes else {})


def _limits(resources: Resources) -> dict[str, Any]:
    given = {
        "memory_max": resources.memory_bytes,
        "cpu_quota_us": resources.cpu_millis and resources.cpu_millis * _QUOTA_US_OF_MILLI,
        "cpu_weight": resources.cpu_weight,
        "pids_max": resources.pids,
    }
    limits = {name: value for name, value in given.items() if value is not None}
    return {"resources": limits} if limits else {}


def _security(container: Container, seccomp: Seccomp) -> dict[str, Any]:
    wanted = container.security
    return {
        "readonly_root": wanted.read_only_root,
        "capabilities": None if wanted.capabilities is None else list(wanted.capabilities),
        "no_new_privs": wanted.no_new_privileges,
        "seccomp": seccomp(wanted.seccomp, wanted.capabilities),
        "groups": list(wanted.groups),
    }
