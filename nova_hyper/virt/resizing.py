"""Resize of an instance on its own host, confirmed or reverted.

What ``nova.compute.manager`` does around it (``_resize_instance``,
``_finish_resize``, ``_confirm_resize``, ``_finish_revert_resize``): an
InstanceFaultRollback of the first step leaves the server as it was, with the
fault; what the second raises puts it into ERROR with its old flavor.  The pod
keeps its id; hyperd keeps what it was before until the resize is confirmed or
reverted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nova import exception as nova_exception
from oslo_log import log as logging
from oslo_utils import excutils

from nova_hyper.client import Hyperd
from nova_hyper.spec.errors import Conflict, HyperError, PodNotFound
from nova_hyper.spec.pod import Pod, PodState
from nova_hyper.virt import errors, requirements, shape
from nova_hyper.virt.lifecycle import Lifecycle

LOG = logging.getLogger(__name__)

_DOWN = (PodState.STOPPED, PodState.CRASHED)


class Resizing:
    """Operations on instances; the compute manager serializes those of one instance."""

    def __init__(self, hyperd: Hyperd, lifecycle: Lifecycle, host_ip: str) -> None:
        """*host_ip* is what Nova calls this host by as the destination of a resize."""
        self._hyperd = hyperd
        self._lifecycle = lifecycle
        self._host_ip = host_ip

    def begin(
        self,
        instance: Any,
        dest: str,
        flavor: Any,
        network_info: Any,
        block_device_info: dict[str, Any] | None,
        timeout: int,
    ) -> None:
        """Stop the instance, and keep it as it is; *flavor* is the one that it shall have.

        :raises InstanceFaultRollback: around the reason; the instance runs as before.
        """
        with errors.rolling_back(), errors.operating(instance, nova_exception.ResizeError):
            if dest != self._host_ip:
                raise nova_exception.MigrationPreCheckError(
                    reason=f"a pod cannot move to another host ({dest}) yet; with "
                    "allow_resize_to_same_host = True it is resized where it is"
                )
            pod = self._hyperd.pod(instance.uuid)
            self._check(instance, pod, flavor, block_device_info)
            # Of a resize that never came to its end.
            self._hyperd.drop_restore_point(instance.uuid)
            try:
                self._lifecycle.power_off(instance, timeout)
                self._hyperd.make_restore_point(instance.uuid)
            except (nova_exception.NovaException, HyperError):
                with excutils.save_and_reraise_exception():
                    if pod.state not in _DOWN:
                        self._start_again(instance, network_info)

    def _check(
        self, instance: Any, pod: Pod, flavor: Any, block_device_info: dict[str, Any] | None
    ) -> None:
        for problem in self._problems(instance, pod, flavor, block_device_info):
            raise nova_exception.ResizeError(reason=problem)
        wanted = shape.resized(pod.spec, instance, instance.image_meta, instance.flavor, flavor)
        self._hyperd.reshape_pod(instance.uuid, wanted, dry_run=True)

    def _problems(
        self, instance: Any, pod: Pod, flavor: Any, block_device_info: dict[str, Any] | None
    ) -> Iterator[str]:
        yield from shape.problems(pod.spec, flavor)
        resized = instance.obj_clone()
        resized.flavor = flavor
        found = requirements.problem(
            resized, instance.image_meta, block_device_info, None
        ) or requirements.too_small(flavor.memory_mb, self._hyperd.host().min_memory_mib)
        if found is not None:
            yield found

    def _start_again(self, instance: Any, network_info: Any) -> None:
        try:
            self._lifecycle.power_on(instance, network_info)
        except nova_exception.NovaException as error:
            LOG.warning("Cannot start it again: %s", error, instance=instance)

    def finish(self, instance: Any, image_meta: Any, network_info: Any, power_on: bool) -> None:
        """Give the instance the size of its flavor, and start it where it ran.

        :raises NovaException: with hyperd's reason; the instance is as before, and stopped.
        """
        try:
            with errors.operating(instance, nova_exception.ResizeError):
                spec = self._hyperd.pod(instance.uuid).spec
                wanted = shape.resized(
                    spec, instance, image_meta, instance.old_flavor, instance.flavor
                )
                self._hyperd.reshape_pod(instance.uuid, wanted)
            if power_on:
                self._lifecycle.power_on(instance, network_info)
        except nova_exception.NovaException:
            with excutils.save_and_reraise_exception():
                self._give_back(instance)

    def _give_back(self, instance: Any) -> None:
        try:
            self._hyperd.stop_pod(instance.uuid, force=True)
            self._hyperd.restore_pod(instance.uuid)
        except HyperError as error:
            LOG.warning("A hard reboot restores its size: %s", error, instance=instance)

    def confirm(self, instance: Any) -> None:
        """Remove what the instance was before."""
        with errors.operating(instance):
            try:
                self._hyperd.drop_restore_point(instance.uuid)
            except PodNotFound:
                LOG.warning("There is no pod of this instance", instance=instance)

    def revert(self, instance: Any, network_info: Any, power_on: bool) -> None:
        """Make the instance what it was before, if it is not, and start it where it ran.

        :raises NovaException: with hyperd's reason.
        """
        with errors.operating(instance, nova_exception.ResizeError):
            self._restore(instance)
        if power_on:
            self._lifecycle.power_on(instance, network_info)

    def _restore(self, instance: Any) -> None:
        try:
            self._hyperd.restore_pod(instance.uuid)
        except Conflict:  # it is up with its new size
            self._hyperd.stop_pod(instance.uuid, force=True)
            self._hyperd.restore_pod(instance.uuid)

    def mend(self, instance: Any) -> None:
        """Give an instance that is about to be rebooted the size of its flavor, if it has another.

        That is what a nova-compute that was killed in a resize leaves.  When
        there is something to go back to, the flavor says whether to.

        :raises InstanceRebootFailure: with hyperd's reason.
        """
        uuid = instance.uuid
        with errors.operating(instance, nova_exception.InstanceRebootFailure):
            pod = self._hyperd.pod(uuid)
            if not shape.fits(pod.spec, instance.flavor):
                LOG.info("The pod has not the size of its flavor", instance=instance)
                self._hyperd.stop_pod(uuid, force=True)
                spec = self._hyperd.restore_pod(uuid).spec
                self._hyperd.reshape_pod(uuid, shape.mended(spec, instance, instance.image_meta))
            self._hyperd.drop_restore_point(uuid)
