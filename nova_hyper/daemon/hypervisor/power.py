"""Power operations on libvirt's domains: each on one handle, errors as libvirt raises them."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import libvirt

from nova_hyper.daemon.hypervisor import openvswitch
from nova_hyper.daemon.hypervisor import saved as saved_file
from nova_hyper.daemon.hypervisor.saved import SavedDomain
from nova_hyper.spec.errors import DiskFull

_MIB = 1024**2
_PAUSED = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PMSUSPENDED)
_CHANGED_ALREADY = libvirt.VIR_ERR_OPERATION_INVALID


def pause(handle: libvirt.virDomain) -> None:
    """Stop the CPUs; those of a paused domain stand still already."""
    if handle.state()[0] not in _PAUSED:
        handle.suspend()


def unpause(handle: libvirt.virDomain) -> None:
    """Let the CPUs run; libvirt refuses for a domain that runs already."""
    try:
        handle.resume()
    except libvirt.libvirtError as exc:
        running = (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED)
        if exc.get_error_code() != _CHANGED_ALREADY or handle.state()[0] not in running:
            raise


def save(handle: libvirt.virDomain, path: Path) -> None:
    """Write the memory to *path* and end the domain, which stays defined."""
    with _writing(path):
        handle.save(str(path))


def load(connection: libvirt.virConnect, saved: SavedDomain) -> libvirt.virDomain:
    """Make the domain again, paused, and return it."""
    secure = libvirt.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE
    stored = connection.saveImageGetXMLDesc(str(saved.path), secure)
    xml = saved_file.updated_xml(stored, saved)
    # Defined first, so that it is no transient domain, whose end forgets it.
    handle = connection.defineXML(xml)
    try:
        connection.restoreFlags(str(saved.path), xml, libvirt.VIR_DOMAIN_SAVE_PAUSED)
    except libvirt.libvirtError:
        with contextlib.suppress(libvirt.libvirtError):
            handle.undefine()
        openvswitch.forget_limits(saved.pod_id, xml)
        raise
    return handle


def dump(handle: libvirt.virDomain, path: Path) -> None:
    """Write the memory to *path*, compressed, in the format of kdump."""
    with _writing(path):
        handle.coreDumpWithFormat(
            str(path),
            libvirt.VIR_DOMAIN_CORE_DUMP_FORMAT_KDUMP_ZLIB,
            libvirt.VIR_DUMP_MEMORY_ONLY,
        )


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Remove what a failed write has left.

    :raises DiskFull: when it failed because the disk is full.
    """
    try:
        yield
    except libvirt.libvirtError as exc:
        # Asked before it is removed: libvirt names the cause only sometimes.
        full = "No space left on device" in str(exc) or _free(path.parent) < _MIB
        path.unlink(missing_ok=True)
        if full:
            raise DiskFull(
                f"no room in {path.parent} for the pod's memory; free space on the host"
            ) from exc
        raise


def _free(directory: Path) -> int:
    """Return the free bytes of a file system; some, where it does not say."""
    with contextlib.suppress(OSError):
        return shutil.disk_usage(directory).free
    return _MIB
