"""What a flavor makes of a pod that there is already: pure functions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from nova_hyper.spec.disk import EphemeralDisk
from nova_hyper.spec.pod import PodSpec
from nova_hyper.spec.shape import Shape
from nova_hyper.virt import flavor as flavors
from nova_hyper.virt import podspec, tailoring

_MIB = 1024**2
_MILLIS = 1000


def problems(spec: PodSpec, flavor: Any) -> Iterator[str]:
    """Yield why *flavor* is too small for the pod that there is."""
    ephemeral_gib = sum(disk.size_gib for disk in spec.ephemerals)
    if flavor.root_gb < spec.root_gib:
        size = f"{flavor.root_gb} GB" if flavor.root_gb else "one in memory"
        yield (
            f"the root disk of {spec.root_gib} GB cannot become {size}; choose a flavor with at "
            f"least {spec.root_gib} GB"
        )
    if flavor.ephemeral_gb < ephemeral_gib:
        yield (
            f"the ephemeral disks of {ephemeral_gib} GB cannot become {flavor.ephemeral_gb} GB; "
            f"choose a flavor with at least {ephemeral_gib} GB"
        )
    for container in spec.all_containers:
        limits = container.resources
        if (limits.memory_bytes or 0) > flavor.memory_mb * _MIB:
            yield (
                f"container {container.name} may use {(limits.memory_bytes or 0) // _MIB} MiB of "
                f"memory, the flavor has {flavor.memory_mb}; choose a larger one"
            )
        if (limits.cpu_millis or 0) > flavor.vcpus * _MILLIS:
            yield (
                f"container {container.name} may use {(limits.cpu_millis or 0) / _MILLIS:g} CPUs, "
                f"the flavor has {flavor.vcpus}; choose a larger one"
            )


def resized(spec: PodSpec, instance: Any, image_meta: Any, old: Any, new: Any) -> Shape:
    """Return the shape of a pod whose instance goes from flavor *old* to *new*.

    The ephemeral disk that the old flavor gave has the new one's size; those of
    a size that the user chose stay.  Swap follows the flavor where that changes,
    as in ``ComputeManager._update_bdm_for_swap_to_finish_resize``.
    """
    return dataclasses.replace(
        _sized(spec, instance, image_meta, new),
        root_gib=new.root_gb,
        ephemerals=_ephemerals(spec.ephemerals, old, new),
        swap_mib=spec.swap_mib if old.swap == new.swap else new.swap,
    )


def mended(spec: PodSpec, instance: Any, image_meta: Any) -> Shape:
    """Return the shape nearest to the instance's flavor for a pod that has another one.

    No disk becomes smaller or goes away.
    """
    wanted = instance.flavor
    return dataclasses.replace(
        _sized(spec, instance, image_meta, wanted), root_gib=max(spec.root_gib, wanted.root_gb)
    )


def fits(spec: PodSpec, flavor: Any) -> bool:
    """Tell whether a pod has the size that *flavor* says."""
    size = (spec.vcpus, spec.memory_mib, spec.root_gib)
    return size == (flavor.vcpus, flavor.memory_mb, flavor.root_gb)


def _sized(spec: PodSpec, instance: Any, image_meta: Any, flavor: Any) -> Shape:
    restart_policy, grace = tailoring.supervision(spec, instance, flavor)
    return dataclasses.replace(
        Shape.of(spec),
        vcpus=flavor.vcpus,
        memory_mib=flavor.memory_mb,
        tuning=flavors.tuning(flavor, image_meta),
        labels=podspec.labels_of_flavor(spec.labels, flavor),
        restart_policy=restart_policy,
        termination_grace_s=grace,
    )


def _ephemerals(
    existing: tuple[EphemeralDisk, ...], old: Any, new: Any
) -> tuple[EphemeralDisk, ...]:
    path = flavors.ephemeral_path(new)
    sizes = [disk.size_gib for disk in existing]
    if (not sizes and not old.ephemeral_gb) or sizes == [old.ephemeral_gb]:
        sizes = [new.ephemeral_gb] if new.ephemeral_gb else []
    return tuple(EphemeralDisk(size, f"{path}{index or ''}") for index, size in enumerate(sizes))
