"""The virt driver: Nova's signatures, and who does the work.

``compute_driver = hyper.HyperDriver`` loads it; see ``nova_hyper.vif.plugin``.
"""

from __future__ import annotations

from typing import Any

import nova.conf
from nova.compute import utils as compute_utils
from nova.image import glance
from nova.virt import driver, hardware
from oslo_concurrency import processutils
from oslo_log import log as logging

from nova_hyper import conf
from nova_hyper.client import HyperClient, Hyperd
from nova_hyper.spec.errors import HyperError, PodNotFound
from nova_hyper.spec.pod import Pod
from nova_hyper.vif import plugging
from nova_hyper.virt import (
    console,
    diagnostics,
    errors,
    inventory,
    podspec,
    requirements,
    rescue,
    storage,
)
from nova_hyper.virt.availability import Availability
from nova_hyper.virt.birth import Birth
from nova_hyper.virt.blueprint import FORMAT_PROPERTY, Blueprints
from nova_hyper.virt.bootfiles import BootFiles
from nova_hyper.virt.events import LifecycleEvents
from nova_hyper.virt.image import ImageCache, image_ids
from nova_hyper.virt.lifecycle import Lifecycle, Wiring
from nova_hyper.virt.power import Power
from nova_hyper.virt.resizing import Resizing
from nova_hyper.virt.snapshot import Snapshots

CONF = nova.conf.CONF
conf.register(CONF, conf.list_nova_opts())
LOG = logging.getLogger(__name__)

_SOFT = "SOFT"


class HyperDriver(driver.ComputeDriver):
    """Runs instances as pods of this host's hyperd."""

    capabilities = {
        **driver.ComputeDriver.capabilities,
        "has_imagecache": True,
        "supports_evacuate": True,
        # Archives of Docker images are uploaded with disk_format=raw.
        "supports_image_type_raw": True,
        "supports_device_tagging": True,
        "supports_trusted_certs": True,
    }

    def __init__(self, virtapi: Any) -> None:
        super().__init__(virtapi)
        self._hyperd: Hyperd = HyperClient(
            CONF.hyper.socket, CONF.hyper.request_timeout, CONF.hyper.connect_timeout
        )
        image_api = glance.API()
        self._images = ImageCache(self._hyperd, image_api)
        self._boot_files = BootFiles(self._hyperd, image_api)
        self._lifecycle = Lifecycle(
            self._hyperd,
            virtapi,
            Blueprints(self._hyperd, self._images, image_api),
            Wiring(CONF.vif_plugging_timeout, CONF.vif_plugging_is_fatal),
        )
        self._birth = Birth(self._hyperd)
        self._rescues = rescue.Rescues(self._hyperd, self._images, self._lifecycle)
        self._snapshots = Snapshots(self._hyperd, image_api)
        self._power = Power(self._hyperd, virtapi, CONF.vif_plugging_timeout)
        self._resizing = Resizing(self._hyperd, self._lifecycle, str(CONF.my_ip))
        self._events: LifecycleEvents | None = None
        self._nodename: str | None = None
        self._host = str(CONF.host)

    # The host

    def init_host(self, host: str) -> None:
        """Check that hyperd answers, and follow its events from now on.

        :raises HyperdUnavailable: when it does not, which ends nova-compute as
            a missing libvirtd does with the libvirt driver.
        """
        self._host = host
        with errors.asking_host():
            version = self._hyperd.version()
            facts = self._hyperd.host()
        self._nodename = facts.hostname
        LOG.info(
            "hyperd %s on %s: %s; guest kernel %s, agent %s",
            version.hyperd,
            facts.hostname,
            facts.virt_reason,
            facts.guest_kernel or "missing (run 'hyperctl guest build')",
            facts.guest_agent or "missing",
        )
        ips = compute_utils.get_machine_ips()
        if CONF.my_ip not in ips:
            LOG.warning("my_ip (%s) is on no interface of this host: %s", CONF.my_ip, ips)
        availability = Availability(self.virtapi, host)
        self._events = LifecycleEvents(self._hyperd, self.emit_event, availability.update)
        self._events.start()

    def cleanup_host(self, host: str) -> None:
        """Stop following events."""
        if self._events is not None:
            self._events.stop()

    def get_available_nodes(self, refresh: bool = False) -> list[str]:
        """Return the one node: the host's name as hyperd gives it."""
        if self._nodename is None:
            with errors.asking_host():
                self._nodename = self._hyperd.host().hostname
        return [self._nodename]

    def get_available_resource(self, nodename: str) -> dict[str, Any]:
        """Return the host's resources; see :mod:`nova_hyper.virt.inventory`."""
        with errors.asking_host():
            return inventory.available_resource(
                self._hyperd.host(), self._hyperd.pods(), self.get_host_uptime()
            )

    def update_provider_tree(
        self, provider_tree: Any, nodename: str, allocations: Any = None
    ) -> None:
        """Set the inventory and the traits of this node's resource provider."""
        with errors.asking_host():
            host = self._hyperd.host()
            pods = self._hyperd.pods()
            cache_gb = (
                inventory.image_cache_gb(self._hyperd.images())
                if CONF.workarounds.reserve_disk_resource_for_image_cache
                else 0
            )
        policy = inventory.Policy(
            reserved_memory_mb=CONF.reserved_host_memory_mb,
            reserved_cpus=CONF.reserved_host_cpus,
            reserved_disk_gb=self._get_reserved_host_disk_gb_from_config() + cache_gb,
            ratios=self._get_allocation_ratios(provider_tree.data(nodename).inventory),
        )
        provider_tree.update_inventory(nodename, inventory.inventory(host, pods, policy))
        provider_tree.add_traits(nodename, *sorted(inventory.traits(host)))

    def get_host_uptime(self) -> str:
        """Return what uptime(1) prints, which clients parse."""
        out, _ = processutils.execute("env", "LANG=C", "uptime")
        return str(out)

    def get_host_ip_addr(self) -> str:
        """Return ``[DEFAULT] my_ip``."""
        return str(CONF.my_ip)

    # The instances

    def list_instances(self) -> list[str]:
        """Return the names of Nova's pods."""
        return [pod.spec.name for pod in self._novas_pods()]

    def list_instance_uuids(self) -> list[str]:
        """Return the UUIDs of Nova's pods."""
        return [pod.spec.id for pod in self._novas_pods()]

    def _novas_pods(self) -> list[Pod]:
        with errors.asking_host():
            return [pod for pod in self._hyperd.pods() if podspec.is_novas(pod)]

    def instance_exists(self, instance: Any) -> bool:
        """Tell whether the instance has a pod here."""
        with errors.operating(instance):
            try:
                self._hyperd.pod(instance.uuid)
            except PodNotFound:
                return False
        return True

    def get_info(self, instance: Any, use_cache: bool = True) -> hardware.InstanceInfo:
        """Return the instance's power state."""
        return self._lifecycle.info(instance)

    def spawn(
        self,
        context: Any,
        instance: Any,
        image_meta: Any,
        injected_files: Any,
        admin_password: Any,
        allocations: Any,
        network_info: Any = None,
        block_device_info: Any = None,
        power_on: bool = True,
        accel_info: Any = None,
    ) -> None:
        """Make and start a pod; see :meth:`Lifecycle.spawn`."""
        self._lifecycle.spawn(
            context,
            instance,
            image_meta,
            injected_files,
            admin_password,
            network_info,
            block_device_info,
            accel_info,
            power_on,
        )

    def destroy(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Any = None,
        destroy_disks: bool = True,
        destroy_secrets: bool = True,
    ) -> None:
        """Remove a pod and unplug its ports; one that is not there is no failure."""
        self._lifecycle.destroy(instance, network_info, destroy_disks)

    def cleanup(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Any = None,
        destroy_disks: bool = True,
        migrate_data: Any = None,
        destroy_vifs: bool = True,
        destroy_secrets: bool = True,
    ) -> None:
        """Remove what an earlier :meth:`destroy` was told to keep."""
        self._lifecycle.cleanup(instance, network_info, destroy_disks, destroy_vifs)

    def power_off(self, instance: Any, timeout: int = 0, retry_interval: int = 0) -> None:
        """Stop the containers within *timeout* seconds.

        *retry_interval* is for guests that miss a power button; a signal is not missed.
        """
        rescue.require_disk(instance)
        if not self._snapshots.refuses_shelving(instance):
            self._lifecycle.power_off(instance, timeout)

    def power_on(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Any = None,
        accel_info: Any = None,
        share_info: Any = None,
    ) -> None:
        """Boot and start a stopped pod."""
        self._lifecycle.power_on(instance, network_info)

    def reboot(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        reboot_type: str,
        block_device_info: Any = None,
        bad_volumes_callback: Any = None,
        accel_info: Any = None,
        share_info: Any = None,
    ) -> None:
        """Stop a pod, softly or not, and start it again."""
        if reboot_type != _SOFT:
            self._resizing.mend(instance)
        self._lifecycle.reboot(instance, network_info, soft=reboot_type == _SOFT)

    def pause(self, instance: Any) -> None:
        """Stop the CPUs of a pod."""
        self._power.pause(instance)

    def unpause(self, instance: Any) -> None:
        """Let the CPUs of a paused pod run."""
        self._power.unpause(instance)

    def suspend(self, context: Any, instance: Any) -> None:
        """Save the memory of a pod to disk, and end its micro-VM."""
        self._power.suspend(instance)

    def resume(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Any = None,
        share_info: Any = None,
    ) -> None:
        """Bring a suspended pod back to where it was."""
        self._power.resume(instance, network_info)

    def set_admin_password(self, instance: Any, new_pass: Any) -> None:
        """Give the administrator in a pod another password; see :meth:`Birth.set_password`."""
        self._birth.set_password(instance, new_pass)

    def rescue(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        image_meta: Any,
        rescue_password: Any,
        block_device_info: Any,
        share_info: Any,
    ) -> None:
        """Boot an image in place of a stopped pod, to repair it; see :mod:`.rescue`."""
        self._rescues.rescue(context, instance, network_info, image_meta)

    def unrescue(self, context: Any, instance: Any) -> None:
        """Boot the pod itself again, as it was repaired."""
        self._rescues.unrescue(instance)

    def trigger_crash_dump(self, instance: Any) -> None:
        """Have the kernel of a pod panic; hyperd keeps the dump."""
        self._power.trigger_crash_dump(instance)

    def get_instance_diagnostics(self, instance: Any) -> Any:
        """Return what the host counts of a pod, as the API gives it since 2.48."""
        with errors.operating(instance):
            return diagnostics.as_object(
                instance,
                self._hyperd.pod(instance.uuid),
                self._hyperd.diagnostics(instance.uuid),
                self._hyperd.host().virt_type,
            )

    def get_diagnostics(self, instance: Any) -> dict[str, int]:
        """Return what the host counts of a pod, as the API gave it before 2.48."""
        with errors.operating(instance):
            return diagnostics.as_dict(self._hyperd.diagnostics(instance.uuid))

    def resume_state_on_host_boot(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        share_info: Any,
        block_device_info: Any = None,
    ) -> None:
        """Bring back a pod that ran before the host was booted."""
        self._lifecycle.resume(instance, network_info)

    def get_console_output(self, context: Any, instance: Any) -> str:
        """Return the end of what the containers wrote."""
        return console.output(self._hyperd, instance)

    def get_serial_console(self, context: Any, instance: Any) -> Any:
        """Return where the console of a pod that runs listens, a ``ConsoleSerial``."""
        return console.serial(self._hyperd, instance, CONF.serial_console)

    # Resize

    def migrate_disk_and_power_off(
        self,
        context: Any,
        instance: Any,
        dest: str,
        flavor: Any,
        network_info: Any,
        block_device_info: Any = None,
        timeout: int = 0,
        retry_interval: int = 0,
    ) -> str:
        """Stop a pod that shall have another flavor; the destination needs to know nothing."""
        self._resizing.begin(instance, dest, flavor, network_info, block_device_info, timeout)
        return ""

    def finish_migration(
        self,
        context: Any,
        migration: Any,
        instance: Any,
        disk_info: str,
        network_info: Any,
        image_meta: Any,
        resize_instance: bool,
        allocations: Any,
        block_device_info: Any = None,
        power_on: bool = True,
        share_info: Any = None,
    ) -> None:
        """Give a stopped pod the size of its new flavor."""
        self._resizing.finish(instance, image_meta, network_info or [], power_on)

    def confirm_migration(
        self, context: Any, migration: Any, instance: Any, network_info: Any
    ) -> None:
        """Remove what a pod was before it was resized."""
        self._resizing.confirm(instance)

    def finish_revert_migration(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        migration: Any,
        block_device_info: Any = None,
        power_on: bool = True,
        share_info: Any = None,
    ) -> None:
        """Make a pod what it was before it was resized."""
        self._resizing.revert(instance, network_info or [], power_on)

    # Where instances are

    def instance_on_disk(self, instance: Any) -> bool:
        """Tell whether what the instance has written is here: only its own host has it."""
        return self.instance_exists(instance)

    def check_instance_shared_storage_local(self, context: Any, instance: Any) -> Any:
        """Return what :meth:`check_instance_shared_storage_remote` is asked on another host."""
        return storage.question(self._host)

    def check_instance_shared_storage_remote(self, context: Any, data: Any) -> bool:
        """Tell whether the host that asks has the disks of this one: only itself has."""
        return storage.is_shared(data, self._host)

    def check_instance_shared_storage_cleanup(self, context: Any, data: Any) -> None:
        """Do nothing: asking has left nothing."""

    def delete_instance_files(self, instance: Any) -> bool:
        """Remove what is left of a deleted instance, and return whether nothing is."""
        return storage.delete(self._hyperd, instance)

    def snapshot(self, context: Any, instance: Any, image_id: str, update_task_state: Any) -> None:
        """Make a Glance image of a pod; see :meth:`Snapshots.take`."""
        self._snapshots.take(context, instance, image_id, update_task_state)

    # Ports

    def plug_vifs(self, instance: Any, network_info: Any) -> None:
        """Make the host ready for the instance's ports."""
        plugging.plug(instance, network_info)

    def unplug_vifs(self, instance: Any, network_info: Any) -> None:
        """Remove the instance's ports from the host."""
        plugging.unplug(instance, network_info)

    # Images

    def cache_image(self, context: Any, image_id: str) -> bool:
        """Fetch an image ahead of its first pod; return whether it had to be fetched.

        A Pod manifest is read anew for every server that is made from it.

        :raises ImageUnacceptable: when it is no image for pods.
        """
        meta = glance.API().get(context, image_id)
        requirements.check_cacheable(meta)
        if (meta.get("properties") or {}).get(FORMAT_PROPERTY):
            return False
        with errors.asking_host():
            _, fetched = self._images.ensure(context, image_id, meta.get("checksum"))
        return fetched

    def manage_image_cache(self, context: Any, all_instances: Any) -> None:
        """Remove Glance images that nothing has used for ``[image_cache]``'s minimum age."""
        if not CONF.image_cache.remove_unused_base_images:
            return
        used = {instance.image_ref for instance in all_instances if instance.image_ref}
        boots = {ref for i in all_instances for ref in (i.kernel_id, i.ramdisk_id) if ref}
        min_age = CONF.image_cache.remove_unused_original_minimum_age_seconds
        try:
            used |= image_ids(self._hyperd.pods())
            self._images.remove_unused(used, min_age)
            self._boot_files.remove_unused(boots, min_age)
        except HyperError as error:
            LOG.warning("Cannot look after the image cache: %s", error)
