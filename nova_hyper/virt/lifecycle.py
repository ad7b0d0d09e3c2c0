"""The life of an instance: made, started, stopped, removed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

from nova import exception as nova_exception
from nova.compute import power_state
from nova.virt import hardware
from oslo_log import log as logging
from oslo_utils import excutils

from nova_hyper.client import Hyperd
from nova_hyper.spec.errors import HyperError, PodNotFound
from nova_hyper.spec.pod import Pod, PodSpec, PodState
from nova_hyper.vif import metadata_route, nics, plugging, wiring
from nova_hyper.virt import errors, podspec, requirements, rescue, tailoring
from nova_hyper.virt.birth import Birth
from nova_hyper.virt.blueprint import Blueprints

LOG = logging.getLogger(__name__)

# A pod that is up without its containers is what libvirt's driver has paused while it waits for
# the network.  A crashed pod is down, not CRASHED: nova-compute takes a "stopped" event only
# from an instance that says it is SHUTDOWN.
_POWER_STATES = {
    PodState.CREATING: power_state.NOSTATE,
    PodState.READY: power_state.PAUSED,
    PodState.RUNNING: power_state.RUNNING,
    PodState.PAUSED: power_state.PAUSED,
    PodState.SUSPENDED: power_state.SUSPENDED,
    PodState.STOPPED: power_state.SHUTDOWN,
    PodState.CRASHED: power_state.SHUTDOWN,
    PodState.DELETING: power_state.NOSTATE,
}
# A port of a stopped pod is down, and is reported when the pod has its tap again.  Whoever starts
# a pod wants it to run even with its L2 agent dead, so this is the most that a start waits.
_RESTART_WIRING_SECONDS = 15.0
# The default of [libvirt] wait_soft_reboot_seconds: a manifest may ask for a day of grace.
_REBOOT_GRACE_SECONDS = 120


@dataclasses.dataclass(frozen=True)
class Wiring:
    """``[DEFAULT] vif_plugging_timeout`` (seconds) and ``vif_plugging_is_fatal``."""

    timeout: float
    fatal: bool


def power_state_of(pod: Pod) -> int:
    """Return Nova's power state of *pod*."""
    return _POWER_STATES[pod.state]


class Lifecycle:
    """Operations on instances; the compute manager serializes those of one instance."""

    def __init__(
        self, hyperd: Hyperd, virtapi: Any, blueprints: Blueprints, wiring: Wiring
    ) -> None:
        self._hyperd = hyperd
        self._virtapi = virtapi
        self._blueprints = blueprints
        self._wiring = wiring
        self._birth = Birth(hyperd)
        self._never_made: set[str] = set()

    def info(self, instance: Any) -> hardware.InstanceInfo:
        """Return the instance's power state, and QEMU's process id as its internal id.

        :raises InstanceNotFound: when there is no such pod.
        """
        with errors.operating(instance):
            pod = self._hyperd.pod(instance.uuid)
        return hardware.InstanceInfo(state=power_state_of(pod), internal_id=pod.qemu_pid)

    def spawn(
        self,
        context: Any,
        instance: Any,
        image_meta: Any,
        injected_files: Sequence[Any],
        admin_password: str | None,
        network_info: Any,
        block_device_info: dict[str, Any] | None,
        accel_info: Sequence[Any] | None,
        power_on: bool,
    ) -> None:
        """Make the pod of *instance* and start its containers.

        The sandbox boots while Neutron wires the ports; the containers start
        when it has.  A failure leaves neither pod nor port behind.

        :raises BuildAbortException: for what no host can help.
        :raises NovaException: for what another host may do.
        """
        network_info = network_info if network_info is not None else []
        # Until the pod is asked for, nothing of this instance is on the host.
        self._never_made.add(instance.uuid)
        with errors.building(instance):
            reason = requirements.problem(
                instance, image_meta, block_device_info, accel_info
            ) or requirements.too_small(
                instance.flavor.memory_mb, self._hyperd.host().min_memory_mib
            )
            if reason is not None:
                raise errors.abort(instance, reason)
            blueprint = self._blueprints.draw(context, instance, image_meta)
            try:
                ports = metadata_route.added(network_info)
                spec = blueprint.complete(podspec.build(instance, blueprint.images[0], ports))
                spec = tailoring.complete(
                    spec,
                    instance,
                    image_meta,
                    block_device_info,
                    blueprint.boot,
                    of_manifest=blueprint.manifest is not None,
                )
                drive = self._birth.drive(context, instance, network_info, injected_files)
                spec = dataclasses.replace(spec, config_drive=drive is not None)

                def give() -> None:
                    self._birth.give(instance, image_meta, injected_files, admin_password)

                self._make(instance, spec, drive, give, network_info, power_on)
            except Exception:
                with excutils.save_and_reraise_exception():
                    self._undo(instance, network_info)

    def _make(
        self,
        instance: Any,
        spec: PodSpec,
        drive: bytes | None,
        give: Callable[[], None],
        network_info: Any,
        power_on: bool,
    ) -> None:
        ports = wiring.awaited_ports(network_info) if power_on else []
        with wiring.wired(
            self._virtapi, instance, ports, self._wiring.timeout, self._wiring.fatal
        ):
            plugging.plug(instance, network_info)
            self._never_made.discard(instance.uuid)
            if drive is not None:
                self._hyperd.store_config_drive(instance.uuid, drive)
            self._hyperd.create_pod(spec)
            give()
        if power_on:
            self._hyperd.start_pod(instance.uuid)
        else:
            self._hyperd.stop_pod(instance.uuid, force=True)

    def _undo(self, instance: Any, network_info: Any) -> None:
        """Remove what a failed spawn made.

        The manager calls ``destroy`` too, which reports what this cannot do.
        """
        if instance.uuid not in self._never_made:
            try:
                self._hyperd.delete_pod(instance.uuid)
            except PodNotFound:
                pass
            except HyperError as error:
                LOG.warning("Cannot remove the failed pod yet: %s", error, instance=instance)
        self._unplug(instance, network_info)

    def destroy(self, instance: Any, network_info: Any, destroy_disks: bool) -> None:
        """Remove the pod, or only stop it where its disks are kept, and unplug its ports.

        :raises NovaException: when the pod may still be there.
        """
        if instance.uuid in self._never_made:
            # A build that failed because hyperd is away must not fail again here: the manager
            # would give up instead of trying another host.
            self._never_made.discard(instance.uuid)
        else:
            self._remove(instance, destroy_disks)
        self._unplug(instance, network_info)

    def cleanup(
        self, instance: Any, network_info: Any, destroy_disks: bool, destroy_vifs: bool
    ) -> None:
        """Remove what :meth:`destroy` was told to keep.

        :raises NovaException: when the pod may still be there.
        """
        if destroy_disks:
            self._remove(instance, destroy_disks=True)
        if destroy_vifs:
            self._unplug(instance, network_info)

    def _remove(self, instance: Any, destroy_disks: bool) -> None:
        with errors.operating(instance, nova_exception.InstanceTerminationFailure):
            try:
                if destroy_disks:
                    self._hyperd.delete_pod(instance.uuid)
                else:
                    self._hyperd.stop_pod(instance.uuid, force=True)
            except PodNotFound:
                LOG.warning("There is no pod of this instance to remove", instance=instance)

    def _unplug(self, instance: Any, network_info: Any) -> None:
        """Unplug every port; a failure must not keep an instance from being deleted."""
        try:
            plugging.unplug(instance, network_info or [])
        except nova_exception.NovaException as error:
            LOG.warning("Going on all the same: %s", error, instance=instance)

    def power_off(self, instance: Any, timeout: int) -> None:
        """Stop the containers: their stop signal, *timeout* seconds, SIGKILL; 0 is at once.

        A pod that is not there is as good as stopped: Nova stops a server before
        it rebuilds it, also one that has no pod since a rebuild that failed.

        :raises InstancePowerOffFailure: with hyperd's reason.
        """
        with errors.operating(instance, nova_exception.InstancePowerOffFailure):
            try:
                if timeout:
                    self._hyperd.stop_pod(instance.uuid, grace_s=timeout)
                else:
                    self._hyperd.stop_pod(instance.uuid, force=True)
            except PodNotFound:
                LOG.warning("There is no pod of this instance to stop", instance=instance)

    def power_on(self, instance: Any, network_info: Any) -> None:
        """Boot and start a stopped instance; one that runs stays as it is.

        One that stands still, of which Nova knows nothing, goes on.

        :raises InstancePowerOnFailure: with hyperd's reason.
        """
        with errors.operating(instance, nova_exception.InstancePowerOnFailure):
            if self._runs(instance, network_info):
                return
            self.start(instance, network_info, in_rescue=rescue.is_rescued(instance))

    def start(self, instance: Any, network_info: Any, *, in_rescue: bool) -> None:
        """Boot a pod that is down, and start its containers when its network is ready.

        :raises HyperError: hyperd's own.
        """
        timeout = min(self._wiring.timeout, _RESTART_WIRING_SECONDS)
        ports = wiring.awaited_ports(network_info)
        with wiring.wired(self._virtapi, instance, ports, timeout, fatal=False):
            self._boot(instance, network_info, in_rescue)
        self._hyperd.start_pod(instance.uuid)

    def resume(self, instance: Any, network_info: Any) -> None:
        """Bring back an instance that ran before the host was booted.

        One whose memory was saved just before goes on where it was.  One that
        is paused stays so, as with ``LibvirtDriver.resume_state_on_host_boot``:
        somebody wanted it.  Nova gets no events from Neutron while nova-compute
        starts, so this waits for none.

        :raises InstancePowerOnFailure: with hyperd's reason.
        """
        with errors.operating(instance, nova_exception.InstancePowerOnFailure):
            if self._hyperd.pod(instance.uuid).state is PodState.PAUSED:
                return
            if self._runs(instance, network_info):
                return
            self._boot(instance, network_info, rescue.is_rescued(instance))
            self._hyperd.start_pod(instance.uuid)

    def reboot(self, instance: Any, network_info: Any, soft: bool) -> None:
        """Stop (*soft*: with the image's stop signal and the pod's grace) and start again.

        Nothing is waited for: an agent that sees the tap go and come at once
        reports no change.  ``LibvirtDriver._hard_reboot`` does not wait either.

        :raises InstanceRebootFailure: with hyperd's reason.
        """
        with errors.operating(instance, nova_exception.InstanceRebootFailure):
            grace = self._soft_grace(instance) if soft else None
            self._hyperd.stop_pod(instance.uuid, grace_s=grace, force=not soft)
            self._boot(instance, network_info, rescue.is_rescued(instance))
            self._hyperd.start_pod(instance.uuid)

    def _soft_grace(self, instance: Any) -> int | None:
        """Return the pod's own grace, as far as a reboot waits; None is hyperd's."""
        own = self._hyperd.pod(instance.uuid).spec.termination_grace_s
        return None if own is None else math.ceil(min(own, _REBOOT_GRACE_SECONDS))

    def _runs(self, instance: Any, network_info: Any) -> bool:
        """Return whether the instance runs, having let one that stands still go on."""
        state = self._hyperd.pod(instance.uuid).state
        if state is PodState.PAUSED:
            self._hyperd.unpause_pod(instance.uuid)
        elif state is PodState.SUSPENDED:
            ports = list(network_info)
            plugging.plug(instance, ports)
            self._hyperd.resume_pod(instance.uuid, nics.to_nics(ports), nics.to_dns(ports))
        return state in (PodState.RUNNING, PodState.PAUSED, PodState.SUSPENDED)

    def _boot(self, instance: Any, network_info: Any, in_rescue: bool) -> None:
        """Boot the sandbox with the ports as they are now: Neutron may have changed them.

        As with libvirt's driver, any start of an instance that is not *in_rescue*
        for Nova ends its rescue: one that failed, or that an administrator has
        reset.
        """
        if not in_rescue and self._hyperd.pod(instance.uuid).rescued is not None:
            self._hyperd.unrescue_pod(instance.uuid)
        ports = list(network_info)
        plugging.plug(instance, ports)
        routed = metadata_route.added(ports)
        self._hyperd.boot_pod(instance.uuid, nics.to_nics(routed), nics.to_dns(ports))
