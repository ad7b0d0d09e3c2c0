"""What a server may ask for that a pod cannot have: refused by name, never ignored.

The exceptions are the administrator password, which Nova generates for every
server whether somebody wants one or not, and a key pair: where the image has no
such user, nobody gets them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nova import exception
from nova.virt import driver, hardware

from nova_hyper.virt import tailoring

CONTAINER_FORMAT = "docker"


def problem(
    instance: Any,
    image_meta: Any,
    block_device_info: dict[str, Any] | None,
    accel_info: Sequence[Any] | None,
) -> str | None:
    """Return the first reason why this server cannot be a pod here, None when it can."""
    reasons = (
        *of_image(image_meta),
        *_of_disks(block_device_info),
        *_of_hardware(instance, image_meta, accel_info),
        *tailoring.problems(instance, image_meta, block_device_info),
    )
    return reasons[0] if reasons else None


def too_small(memory_mb: int, min_memory_mib: int) -> str | None:
    """Return why a flavor of *memory_mb* cannot boot, None when it can."""
    if memory_mb >= min_memory_mib:
        return None
    return (
        f"the flavor's {memory_mb} MB of memory are less than the {min_memory_mib} MB that a pod "
        "needs; choose a larger flavor"
    )


def check_cacheable(image: Mapping[str, Any]) -> None:
    """Refuse an image (as Nova's image API describes it) that no pod could boot.

    :raises ImageUnacceptable: saying what is wrong with it.
    """
    reason = _of_format(image["id"], image.get("container_format"))
    if reason is not None:
        raise exception.ImageUnacceptable(image_id=image["id"], reason=reason)


def unusable(image: Mapping[str, Any]) -> str | None:
    """Return why no pod can have *image* (as Nova's image API describes it), None when it can."""
    if image.get("status", "active") != "active":
        return f"image {image['id']} is {image['status']}, not active"
    return _of_format(image["id"], image.get("container_format"))


def of_image(image_meta: Any) -> Iterator[str]:
    """Yield why no pod can boot from the image."""
    if not image_meta.obj_attr_is_set("id") or not image_meta.id:
        yield "a pod cannot boot from a volume; boot it from an image"
        return
    container_format = (
        image_meta.container_format if image_meta.obj_attr_is_set("container_format") else None
    )
    reason = _of_format(image_meta.id, container_format)
    if reason is not None:
        yield reason


def _of_format(image_id: str, container_format: str | None) -> str | None:
    if container_format == CONTAINER_FORMAT:
        return None
    return (
        f"image {image_id} has container_format '{container_format}', a pod needs "
        f"'{CONTAINER_FORMAT}'; upload it with --container-format {CONTAINER_FORMAT}"
    )


def _of_disks(block_device_info: dict[str, Any] | None) -> Iterator[str]:
    if driver.block_device_info_get_mapping(block_device_info):
        yield "volumes cannot be attached to a pod; boot it without volumes"


def _of_hardware(
    instance: Any, image_meta: Any, accel_info: Sequence[Any] | None
) -> Iterator[str]:
    if accel_info:
        yield "a pod has no accelerators; choose a flavor without accel:device_profile"
    # Asked of the flavor and the image: the claim on a host without cells has emptied
    # instance.numa_topology by now.
    if hardware.numa_get_constraints(instance.flavor, image_meta):
        yield (
            "a pod has no NUMA topology, CPU pinning or huge pages; choose a flavor and an image "
            "without hw:numa_*, hw:cpu_policy and hw:mem_page_size"
        )
    if instance.pci_requests and instance.pci_requests.requests:
        yield "a pod has no PCI devices; choose a flavor without pci_passthrough:alias"
