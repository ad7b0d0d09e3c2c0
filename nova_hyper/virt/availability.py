"""Taking the compute service out of scheduling while hyperd is away.

Source: ``LibvirtDriver._set_host_enabled``, which does this for libvirt.  A
service that an operator disabled is left alone: ours carry a reason that
starts with ``AUTO:``, and only such a one is enabled again.
"""

from __future__ import annotations

from typing import Any

import nova.context
from nova import exception, objects
from oslo_log import log as logging

from nova_hyper.spec.errors import DaemonUnavailable, HyperError

LOG = logging.getLogger(__name__)

_PREFIX = "AUTO: "


class Availability:
    """The compute service of *host* as enabled as its hyperd is there."""

    def __init__(self, virtapi: Any, host: str) -> None:
        self._virtapi = virtapi
        self._host = host
        self._enabled: bool | None = None

    def update(self, error: HyperError | None) -> None:
        """Note that hyperd answered (None), or what happened instead; cheap when nothing changed.

        An error that hyperd itself reports is no reason: it is there.
        """
        enabled = not isinstance(error, DaemonUnavailable)
        if enabled == self._enabled:
            return
        if not enabled:
            LOG.error("Taking this host out of scheduling: %s", error)
        try:
            self._save(enabled, str(error))
        except exception.ComputeHostNotFound:
            # A new host registers its service after the driver has started.
            LOG.debug("The service of %s is not registered yet", self._host)
        except Exception:
            LOG.warning("Cannot update the service of %s; trying again", self._host, exc_info=True)
            return
        self._enabled = enabled

    def _save(self, enabled: bool, reason: str) -> None:
        context = nova.context.get_admin_context()
        service = objects.Service.get_by_compute_host(context, self._host)
        if service.disabled is not enabled:
            return
        if service.disabled and not (service.disabled_reason or "").startswith(_PREFIX):
            LOG.debug("An operator disabled the service; leaving it so")
            return
        service.disabled = not enabled
        # The column holds 255 characters.
        service.disabled_reason = None if enabled else (_PREFIX + reason)[:255]
        service.save()
        LOG.info("The service of %s is %s", self._host, "enabled" if enabled else "disabled")
        self._update_trait(context, service)

    def _update_trait(self, context: Any, service: Any) -> None:
        try:
            self._virtapi.update_compute_provider_status(
                context, service.compute_node.uuid, enabled=not service.disabled
            )
        except Exception:
            # update_available_resource brings the trait in line later.
            LOG.warning("Cannot update the trait COMPUTE_STATUS_DISABLED", exc_info=True)
