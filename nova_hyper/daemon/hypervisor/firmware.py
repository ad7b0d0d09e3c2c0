"""The firmware, where libvirt's AppArmor driver lets a micro-VM have it."""

from __future__ import annotations

import os
from pathlib import Path


def placed(firmware: Path, directory: Path) -> Path | None:
    """Return a copy of *firmware* in *directory*, made when it is not there, and QEMU can read.

    libvirt's virt-aa-helper refuses files below ``/usr`` but for a list of other
    firmwares (``valid_path()`` of its source), so that on a host with AppArmor
    no pod would start with a firmware there.

    :returns: None where there is no such firmware.
    :raises OSError: when it cannot be copied.
    """
    try:
        content = firmware.read_bytes()
    except FileNotFoundError:
        return None
    path = directory / firmware.name
    if path.is_file() and path.read_bytes() == content:
        return path
    directory.mkdir(mode=0o711, parents=True, exist_ok=True)
    temporary = directory / f".{firmware.name}.{os.getpid()}"
    temporary.write_bytes(content)
    temporary.chmod(0o444)
    temporary.rename(path)
    return path
