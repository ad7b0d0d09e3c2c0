"""Instances that stand still: pause, suspend and back, and crash dumps.

Source: the methods of the same names of ``LibvirtDriver``, and what
``nova.compute.manager`` does with their errors: a failed suspend or resume puts
the server into ERROR unless it comes as InstanceFaultRollback, which leaves the
server as it was, with the fault.
"""

from __future__ import annotations

from typing import Any

from nova import exception as nova_exception
from oslo_log import log as logging

from nova_hyper.client import Hyperd
from nova_hyper.spec.errors import Conflict
from nova_hyper.vif import nics, plugging, wiring
from nova_hyper.virt import errors

LOG = logging.getLogger(__name__)

# A port of a suspended pod is down.  Whoever resumes a pod wants it to run even with its L2 agent
# dead, so this is the most that a resume waits for the network.
_WIRING_SECONDS = 15.0


class Power:
    """Operations on instances; the compute manager serializes those of one instance."""

    def __init__(self, hyperd: Hyperd, virtapi: Any, wiring_timeout: float) -> None:
        """*wiring_timeout* is ``[DEFAULT] vif_plugging_timeout`` in seconds."""
        self._hyperd = hyperd
        self._virtapi = virtapi
        self._wiring_timeout = min(wiring_timeout, _WIRING_SECONDS)

    def pause(self, instance: Any) -> None:
        """Stop the CPUs of the instance."""
        with errors.operating(instance):
            self._hyperd.pause_pod(instance.uuid)

    def unpause(self, instance: Any) -> None:
        """Let the CPUs of the instance run; its clock is set."""
        with errors.operating(instance):
            self._hyperd.unpause_pod(instance.uuid)

    def suspend(self, instance: Any) -> None:
        """Save the instance's memory and end its micro-VM.

        :raises InstanceFaultRollback: around hyperd's reason; the instance runs on.
        """
        with errors.rolling_back(), errors.operating(instance):
            self._hyperd.suspend_pod(instance.uuid)

    def resume(self, instance: Any, network_info: Any) -> None:
        """Bring a suspended instance back; it does not run before its network is ready.

        :raises InstanceFaultRollback: around the reason; the instance is suspended as before.
        """
        ports = list(network_info or [])
        with errors.rolling_back(), errors.operating(instance):
            plugging.plug(instance, ports)
            awaited = wiring.awaited_ports(ports)
            with wiring.wired(self._virtapi, instance, awaited, self._wiring_timeout, fatal=False):
                self._hyperd.resume_pod(
                    instance.uuid, nics.to_nics(ports), nics.to_dns(ports), paused=True
                )
            self._hyperd.unpause_pod(instance.uuid)

    def trigger_crash_dump(self, instance: Any) -> None:
        """Have the instance's kernel panic; hyperd keeps its memory.

        :raises InstanceNotRunning: when there is no kernel that could.
        """
        with errors.operating(instance):
            try:
                self._hyperd.crash_pod(instance.uuid)
            except Conflict as error:
                LOG.warning("No crash dump: %s", error.message, instance=instance)
                if self._hyperd.pod(instance.uuid).qemu_pid is None:
                    raise nova_exception.InstanceNotRunning(instance_id=instance.uuid) from error
                raise
