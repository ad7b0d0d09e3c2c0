"""Disks of a pod beside its root."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class EphemeralDisk:
    """An ext4 disk of its own that every container sees at ``path``.

    It lives as long as the pod.
    """

    size_gib: int
    path: str = "/mnt"
