"""Makes a pod what its server's flavor, image and block devices say beside its size."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from nova_hyper.spec.boot import Boot
from nova_hyper.spec.console import ConsoleKind
from nova_hyper.spec.pod import PodSpec, RestartPolicy
from nova_hyper.virt import flavor, image_properties, local_disks, podspec


def problems(
    instance: Any, image_meta: Any, block_device_info: dict[str, Any] | None
) -> Iterator[str]:
    """Yield why this server cannot be a pod."""
    yield from flavor.problems(instance.flavor, image_meta)
    yield from image_properties.problems(image_meta)
    try:
        image_properties.restart_policy(instance)
        image_properties.console(instance)
    except flavor.Wrong as exc:
        yield f"the image's property {exc}"
    yield from local_disks.problems(block_device_info)


def complete(
    pod: PodSpec,
    instance: Any,
    image_meta: Any,
    block_device_info: dict[str, Any] | None,
    boot: Boot,
    of_manifest: bool,
) -> PodSpec:
    """Return *pod* as it shall be, for a server without :func:`problems`.

    A manifest (*of_manifest*) says itself how its containers are restarted and
    stopped, and which have a terminal.  For an image, its flavor does, or else the image.
    """
    wanted = instance.flavor
    path = flavor.ephemeral_path(wanted)
    pod = dataclasses.replace(
        pod,
        tuning=flavor.tuning(wanted, image_meta),
        ephemerals=local_disks.ephemerals(block_device_info, path),
        swap_mib=local_disks.swap_mib(block_device_info),
        boot=boot,
    )
    if of_manifest:
        return pod
    policy, grace = supervision(pod, instance, wanted)
    pod = dataclasses.replace(pod, restart_policy=policy, termination_grace_s=grace)
    return _with_console(pod, instance, wanted)


def supervision(pod: PodSpec, instance: Any, wanted: Any) -> tuple[RestartPolicy, float | None]:
    """Return restart policy and grace of *pod* with the flavor *wanted*."""
    if podspec.MANIFEST_LABEL in pod.labels:
        return pod.restart_policy, pod.termination_grace_s
    policy = flavor.restart_policy(wanted) or image_properties.restart_policy(instance)
    return policy or RestartPolicy.NEVER, flavor.termination_grace(wanted)


def _with_console(pod: PodSpec, instance: Any, wanted: Any) -> PodSpec:
    """Return *pod* with a terminal where its console is its container's own."""
    kind = flavor.console(wanted) or image_properties.console(instance)
    if kind is not ConsoleKind.ATTACH:
        return pod
    (container,) = pod.containers
    return dataclasses.replace(
        pod, containers=(dataclasses.replace(container, stdin=True, tty=True),)
    )
