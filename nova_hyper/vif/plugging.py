"""Connecting ports to the host and disconnecting them, with os-vif.

Source: ``plug`` and ``unplug`` of ``nova.virt.libvirt.vif.LibvirtGenericVIFDriver``.
For an OVS port os-vif ensures the bridge and libvirt adds the tap at the start
of the pod; at unplug os-vif removes the port from the bridge by its name, which
works without QEMU and without libvirt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import nova.privsep.linux_net
import os_vif
from nova.network import model, os_vif_util
from os_vif import exception as os_vif_exception
from oslo_concurrency import processutils
from oslo_log import log as logging

from nova_hyper import exception
from nova_hyper.vif import nics

LOG = logging.getLogger(__name__)


def plug(instance: Any, network_info: Iterable[Mapping[str, Any]]) -> None:
    """Make the host ready for the ports of *instance*; idempotent.

    :raises VifUnsupported: for a port that a pod cannot have.
    :raises VifPlugFailed: when os-vif failed.
    """
    for vif in network_info:
        nics.check(vif)
        if vif["type"] == model.VIF_TYPE_TAP:
            _plug_tap(vif)
            continue
        try:
            os_vif.plug(
                os_vif_util.nova_to_osvif_vif(vif), os_vif_util.nova_to_osvif_instance(instance)
            )
        except os_vif_exception.ExceptionBase as exc:
            raise exception.VifPlugFailed(port=vif["id"], reason=_reason(exc)) from exc


def unplug(instance: Any, network_info: Iterable[Mapping[str, Any]]) -> None:
    """Disconnect the ports of *instance*; idempotent, and all are tried.

    A port that :func:`plug` would refuse was never plugged: it is passed over.

    :raises VifUnplugFailed: of the first port that failed.
    """
    failed: exception.VifUnplugFailed | None = None
    for vif in network_info:
        try:
            _unplug(instance, vif)
        except exception.VifUnsupported as exc:
            LOG.debug("Not unplugging: %s", exc, instance=instance)
        except (
            os_vif_exception.ExceptionBase,
            processutils.ProcessExecutionError,
        ) as exc:
            error = exception.VifUnplugFailed(port=vif["id"], reason=_reason(exc))
            LOG.error("%s", error, instance=instance)
            failed = failed or error
    if failed is not None:
        raise failed


def _unplug(instance: Any, vif: Mapping[str, Any]) -> None:
    nics.check(vif)
    if vif["type"] == model.VIF_TYPE_TAP:
        nova.privsep.linux_net.delete_net_dev(nics.device_name(vif))
        return
    os_vif.unplug(os_vif_util.nova_to_osvif_vif(vif), os_vif_util.nova_to_osvif_instance(instance))


def _reason(exc: Exception) -> str:
    """Return what went wrong without os-vif's dump of the whole VIF around it."""
    return str(getattr(exc, "kwargs", {}).get("err") or exc)


def _plug_tap(vif: Mapping[str, Any]) -> None:
    """Make the tap of a port whose agent connects it by itself (Calico and its kind)."""
    device = nics.device_name(vif)
    try:
        nova.privsep.linux_net.create_tap_dev(device)
        nova.privsep.linux_net.set_device_mtu(device, vif["network"].get_meta("mtu"))
    except processutils.ProcessExecutionError as exc:
        raise exception.VifPlugFailed(port=vif["id"], reason=str(exc)) from exc
