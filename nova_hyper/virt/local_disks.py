"""Ephemeral disks and swap, from what Nova passes for block devices.

Source: ``nova.virt.driver.get_block_device_info``; sizes are GiB of an ephemeral
disk and MiB of swap.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nova.virt import driver

from nova_hyper.spec.disk import EphemeralDisk

_FORMATS = (None, "", "ext4")


def problems(block_device_info: dict[str, Any] | None) -> Iterator[str]:
    """Yield why a pod cannot have these disks."""
    found = driver.block_device_info_get_ephemerals(block_device_info)
    for disk in found:
        if disk.get("guest_format") not in _FORMATS:
            yield (
                f"an ephemeral disk of a pod is ext4, not {disk['guest_format']}; ask for no "
                "other format"
            )
        if disk.get("encrypted"):
            yield "the ephemeral disks of a pod are not encrypted; choose another flavor or image"


def ephemerals(block_device_info: dict[str, Any] | None, path: str) -> tuple[EphemeralDisk, ...]:
    """Return the ephemeral disks: the first at *path*, the others at ``path1``, ``path2``..."""
    found = driver.block_device_info_get_ephemerals(block_device_info)
    return tuple(
        EphemeralDisk(disk["size"], f"{path}{index or ''}")
        for index, disk in enumerate(found)
        if disk["size"]
    )


def swap_mib(block_device_info: dict[str, Any] | None) -> int:
    """Return the MiB of swap, 0 for none."""
    swap = driver.block_device_info_get_swap(block_device_info)
    return int(swap["swap_size"]) if driver.swap_is_usable(swap) else 0
