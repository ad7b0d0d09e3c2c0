"""Nova's conformance suite for drivers, on ours, over a hyperd in memory."""

from __future__ import annotations

import contextlib
from unittest import mock

from nova import exception, objects, test
from nova.tests.unit import utils as test_utils
from nova.tests.unit.virt import test_virt_drivers
from nova.virt import driver as nova_driver
from oslo_utils.fixture import uuidsentinel as uuids

from nova_hyper.vif import plugin
from nova_hyper.virt.driver import HyperDriver
from tests.unit.fake_hyperd import FakeHyperd

# What this driver claims.  The suite passes over NotImplementedError, so that a method that is
# lost would go unnoticed without this list.
IMPLEMENTED = {
    "cache_image",
    "check_instance_shared_storage_cleanup",
    "check_instance_shared_storage_local",
    "check_instance_shared_storage_remote",
    "cleanup",
    "cleanup_host",
    "confirm_migration",
    "delete_instance_files",
    "destroy",
    "finish_migration",
    "finish_revert_migration",
    "get_available_nodes",
    "get_available_resource",
    "get_console_output",
    "get_diagnostics",
    "get_host_ip_addr",
    "get_host_uptime",
    "get_info",
    "get_instance_diagnostics",
    "get_serial_console",
    "init_host",
    "instance_exists",
    "instance_on_disk",
    "list_instance_uuids",
    "list_instances",
    "manage_image_cache",
    "migrate_disk_and_power_off",
    "pause",
    "plug_vifs",
    "power_off",
    "power_on",
    "reboot",
    "rescue",
    "resume",
    "resume_state_on_host_boot",
    "set_admin_password",
    "snapshot",
    "spawn",
    "suspend",
    "trigger_crash_dump",
    "unpause",
    "unplug_vifs",
    "unrescue",
    "update_provider_tree",
}


def _stored(_api, _context, _image_id, info, data=None, purge_props=False):
    size = 0
    while chunk := data.read(4):
        size += len(chunk)
    return {**info, "size": size}


class HyperDriverConformance(test_virt_drivers._VirtDriverTestCase, test.TestCase):
    def setUp(self):
        # The class is loaded by the name that compute_driver has.
        self.driver_module = "nova.virt.hyper.HyperDriver"
        self.hyperd = FakeHyperd()
        self.stub_out("nova_hyper.virt.driver.HyperClient", lambda *args: self.hyperd)
        plugin.install()
        super().setUp()
        self.stub_out("os_vif.plug", lambda vif, instance: None)
        self.stub_out("os_vif.unplug", lambda vif, instance: None)
        self.stub_out("nova.image.glance.API.download", lambda *args, **kwargs: iter([b"tar"]))
        # The suite's own does not read what it is given.
        self.stub_out("nova.image.glance.API.update", _stored)
        self.addCleanup(self.connection.cleanup_host, "myhostname")

    def __delattr__(self, name):
        # Nova's TestCase has dropped all attributes by the time that pytest drops its own.
        with contextlib.suppress(AttributeError):
            super().__delattr__(name)

    def _get_running_instance(self, obj=True):
        """As the suite's own, with an image that is for pods."""
        instance = test_utils.get_test_instance(obj=obj)
        network_info = test_utils.get_test_network_info()
        image_meta = test_utils.get_test_image_object(None, instance)
        image_meta.container_format = "docker"
        self.connection.spawn(
            self.ctxt, instance, image_meta, [], "herp", {}, network_info=network_info
        )
        return instance, network_info

    def test_rescue(self):
        """The suite's own rescues without an image, and an instance that runs."""
        instance, network_info = self._get_running_instance()
        instance.image_ref = uuids.image
        instance.flavor.root_gb = 1
        self.hyperd.stop_pod(instance.uuid)
        meta = objects.ImageMeta.from_dict({"id": uuids.image, "container_format": "docker"})
        self.connection.rescue(self.ctxt, instance, network_info, meta, "", None, None)
        self.assertIsNotNone(self.hyperd.pod(instance.uuid).rescued)

    def test_unrescue_unrescued_instance(self):
        instance, network_info = self._get_running_instance()
        with mock.patch.object(instance, "get_network_info", return_value=network_info):
            self.connection.unrescue(self.ctxt, instance)

    def test_unrescue_rescued_instance(self):
        instance, network_info = self._get_running_instance()
        with mock.patch.object(instance, "get_network_info", return_value=network_info):
            self.hyperd.stop_pod(instance.uuid)
            self.hyperd.rescue_pod(instance.uuid)
            self.connection.unrescue(self.ctxt, instance)
        self.assertIsNone(self.hyperd.pod(instance.uuid).rescued)

    def test_list_instances_gives_what_was_spawned(self):
        instance, _ = self._get_running_instance()
        self.assertEqual([instance.name], self.connection.list_instances())
        self.assertEqual([instance.uuid], self.connection.list_instance_uuids())
        self.assertTrue(self.connection.instance_exists(instance))

    def test_migrate_disk_and_power_off(self):
        """The suite's own moves to another host."""
        instance, network_info = self._get_running_instance()
        flavor = test_utils.get_test_flavor()
        refused = self.assertRaises(
            exception.InstanceFaultRollback,
            self.connection.migrate_disk_and_power_off,
            *(self.ctxt, instance, "dest_host", flavor, network_info),
        )
        self.assertIsInstance(refused.inner_exception, exception.MigrationPreCheckError)

    def test_live_migration(self):
        """The suite's own does not pass over drivers without live migration."""
        instance, _ = self._get_running_instance()
        self.assertRaises(
            NotImplementedError,
            self.connection.live_migration,
            self.ctxt,
            instance,
            "other",
            None,
            None,
        )

    def test_live_migration_force_complete(self):
        """The suite's own reaches into a field of the libvirt driver."""
        instance, _ = self._get_running_instance()
        self.assertRaises(
            NotImplementedError, self.connection.live_migration_force_complete, instance
        )

    def test_unplugged_only_when_asked_to(self):
        instance, network_info = self._get_running_instance()
        with mock.patch("os_vif.unplug") as unplug:
            self.connection.cleanup(self.ctxt, instance, network_info, destroy_vifs=False)
            unplug.assert_not_called()
            self.connection.cleanup(self.ctxt, instance, network_info, destroy_vifs=True)
            unplug.assert_called_once()

    def test_capabilities_are_those_that_nova_knows(self):
        self.assertEqual(
            set(nova_driver.ComputeDriver.capabilities), set(self.connection.capabilities)
        )
        claimed = {name for name, on in self.connection.capabilities.items() if on}
        self.assertEqual(
            {
                "has_imagecache",
                "supports_device_tagging",
                "supports_evacuate",
                "supports_image_type_raw",
                "supports_trusted_certs",
            },
            claimed,
        )

    def test_binds_ports_to_the_instances_host(self):
        instance = objects.Instance(self.ctxt, host="somehost")
        self.assertEqual("somehost", self.connection.network_binding_host_id(None, instance))


def test_implements_what_it_claims_and_nothing_else():
    own = {name for name, value in vars(HyperDriver).items() if callable(value)}
    own = {name for name in own if not name.startswith("_")}
    assert own == IMPLEMENTED
    assert all(hasattr(nova_driver.ComputeDriver, name) for name in own)
