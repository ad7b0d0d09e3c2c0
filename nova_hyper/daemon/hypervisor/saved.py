"""The saved memory of a micro-VM as a file, and the XML that it is made again from."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from nova_hyper.daemon.hypervisor.domain import NAMESPACE, plug
from nova_hyper.spec.nic import Nic

# QEMU_SAVE_MAGIC of libvirt's src/qemu/qemu_saveimage.h, written last: a file that was not
# written to its end has another one.
_MAGIC = b"LibvirtQemudSave"


@dataclasses.dataclass(frozen=True)
class SavedDomain:
    """A domain that was saved to ``path``, and what of the host may have changed since.

    ``nics`` are where its interfaces are plugged now, found by their MAC
    address; ``kernel`` and ``initramfs`` stand in for the files it was booted
    from where those are gone: QEMU opens them, the guest never reads them again.
    """

    pod_id: str
    path: Path
    nics: tuple[Nic, ...]
    kernel: Path
    initramfs: Path


def is_complete(path: Path) -> bool:
    """Return whether *path* holds a memory that was saved to its end.

    :raises OSError: when it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except FileNotFoundError:
        return False


def make_durable(path: Path) -> None:
    """Write *path*, and that it is there, through to the disk.

    :raises OSError: when the disk fails.
    """
    for place in (path, path.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def updated_xml(xml: str, saved: SavedDomain) -> str:
    """Return the *xml* of a saved domain as it fits the host now.

    Only what the guest does not see is changed: libvirt refuses the rest.
    """
    ET.register_namespace("hyper", NAMESPACE)
    root = ET.fromstring(xml)  # noqa: S314 (libvirt made it)
    for tag, path in (("kernel", saved.kernel), ("initrd", saved.initramfs)):
        element = root.find(f"./os/{tag}")
        if element is not None and not os.path.exists(element.text or ""):
            element.text = str(path)
    _plug(root.findall("./devices/interface"), saved.nics)
    return ET.tostring(root, encoding="unicode")


def _plug(interfaces: Sequence[ET.Element], nics: Sequence[Nic]) -> None:
    known = {nic.mac.lower(): nic for nic in nics}
    for element in interfaces:
        mac = element.find("mac")
        nic = known.get(mac.get("address", "").lower()) if mac is not None else None
        if nic is None:
            continue
        for tag in ("source", "target", "virtualport"):
            for old in element.findall(tag):
                element.remove(old)
        plug(element, nic)
