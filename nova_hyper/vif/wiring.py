"""Waiting for Neutron to say that a port is wired (``network-vif-plugged``).

Source: ``_create_guest_with_network``, ``_get_neutron_events`` and
``_neutron_failed_callback`` of ``nova.virt.libvirt.driver.LibvirtDriver``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nova import exception as nova_exception
from oslo_log import log as logging

from nova_hyper import exception

LOG = logging.getLogger(__name__)


def awaited_ports(network_info: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the ports that Neutron will report as plugged.

    A port that is active already, or of which nothing is known, makes no
    transition, and nobody would ever report it.
    """
    return [vif["id"] for vif in network_info if vif.get("active", True) is False]


@contextlib.contextmanager
def wired(
    virtapi: Any, instance: Any, ports: list[str], timeout: float, fatal: bool
) -> Iterator[None]:
    """Run the body, then wait until Neutron has reported all of *ports*.

    :param timeout: seconds; 0 waits for nothing (``vif_plugging_timeout``).
    :param fatal: whether to raise, or to log and go on (``vif_plugging_is_fatal``).
    :raises VifNotWired: when a report did not come in time.
    :raises VifWiringFailed: when Neutron reported a failure.
    """
    events = [("network-vif-plugged", port) for port in ports] if timeout else []

    def failed(event: str, instance: Any) -> bool:
        port = event.partition("-vif-plugged-")[2] or event
        LOG.error("Neutron failed to wire the port %s", port, instance=instance)
        if fatal:
            raise exception.VifWiringFailed(port=port)
        return True

    try:
        with virtapi.wait_for_instance_event(
            instance, events, timeout=timeout, error_callback=failed
        ):
            yield
    except nova_exception.InstanceEventTimeout as exc:
        if fatal:
            raise exception.VifNotWired(ports=", ".join(ports), seconds=timeout) from exc
        LOG.warning(
            "Neutron did not report the ports %s in %d seconds; going on",
            ", ".join(ports),
            timeout,
            instance=instance,
        )
