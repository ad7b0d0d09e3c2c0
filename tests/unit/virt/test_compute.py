"""Nova itself around the driver: API, scheduler and compute manager in this process.

The hyperd is one in memory, and so are Neutron and Glance.  What is asserted is
what the user is told, and what became of the pod.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import sys
import warnings
from unittest import mock

from nova.tests.functional import integrated_helpers
from nova.tests.functional.api.client import OpenStackApiException
from oslo_utils import uuidutils
from sqlalchemy.exc import SADeprecationWarning

from nova_hyper.spec.errors import ContainerFailed
from nova_hyper.spec.pod import PodState
from nova_hyper.vif import plugin
from tests.unit.fake_hyperd import NOT_AN_ARCHIVE, FakeHyperd

_MADE = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


class ServerActions(integrated_helpers.ProviderUsageBaseTestCase):
    compute_driver = "hyper.HyperDriver"

    def setUp(self):
        plugin.install()
        self.hyperd = FakeHyperd()
        self.data = {}
        self.plugged = set()
        self.stub_out("nova_hyper.virt.driver.HyperClient", lambda *args: self.hyperd)
        self.stub_out("nova.compute.utils.get_machine_ips", lambda: [])
        self.stub_out("nova_hyper.vif.plugging.plug", self._plug)
        self.stub_out("nova_hyper.vif.plugging.unplug", self._unplug)
        self.flags(api_paste_config=f"{sys.prefix}/etc/nova/api-paste.ini", group="wsgi")
        super().setUp()
        # Nova's tests make errors of warnings, this one of its own and a newer SQLAlchemy's too.
        warnings.filterwarnings("ignore", message="The noload", category=SADeprecationWarning)
        self.stub_out("nova.image.glance.API.download", self._download)
        self.compute = self._start_compute("hyper-1")

    def __delattr__(self, name):
        # Nova's TestCase has dropped all attributes by the time that pytest drops its own.
        with contextlib.suppress(AttributeError):
            super().__delattr__(name)

    def _plug(self, instance, vifs):
        self.plugged |= {vif["id"] for vif in vifs}

    def _unplug(self, instance, vifs):
        self.plugged -= {vif["id"] for vif in vifs}

    def _download(self, _api, context, image_id, **_options):
        return iter([self.data[image_id]])

    def _image(self, data=b"archive", **properties):
        image_id = uuidutils.generate_uuid()
        self.data[image_id] = data
        self.glance.create(
            None,
            {
                "id": image_id,
                "name": "web",
                "created_at": _MADE,
                "updated_at": _MADE,
                "status": "active",
                "container_format": "docker",
                "disk_format": "raw",
                "size": 10 << 20,
                "min_ram": 0,
                "min_disk": 0,
                "visibility": "public",
                "properties": properties,
            },
        )
        return image_id

    def _server(self, root_gb=1, expected_state="ACTIVE", **options):
        flavor_id = self._create_flavor(vcpu=1, memory_mb=64, disk=root_gb)
        return self._create_server(
            flavor_id=flavor_id,
            image_uuid=options.pop("image", None) or self._image(),
            networks=options.pop("networks", "none"),
            expected_state=expected_state,
        )

    def _act(self, server, action, body=None, status="ACTIVE"):
        self.api.post_server_action(server["id"], {action: body})
        return self._wait_for_state_change(server, status)

    def _pod(self, server):
        return self.hyperd.pod(server["id"])

    def _fault(self, server):
        return self.api.get_server(server["id"])["fault"]["message"]

    # Rescue

    def test_a_server_is_rescued_with_its_own_image_or_another_and_is_itself_afterwards(self):
        server = self._server()
        spec = self._pod(server).spec
        for image in (None, self._image(b"tools")):
            body = {} if image is None else {"rescue_image_ref": image}
            self._act(server, "rescue", body, "RESCUE")
            pod = self._pod(server)
            self.assertEqual((PodState.RUNNING, spec), (pod.state, pod.rescued.spec))
            own = pod.rescued.containers[0].image_id == pod.containers[0].image_id
            self.assertEqual(image is None, own)
            self._act(server, "unrescue")
            pod = self._pod(server)
            self.assertEqual((PodState.RUNNING, None), (pod.state, pod.rescued))
            self.assertEqual(spec.containers, pod.spec.containers)

    def test_a_stopped_server_is_rescued(self):
        server = self._server(image=self._image(os_shutdown_timeout="7"))
        with mock.patch.object(self.hyperd, "stop_pod", wraps=self.hyperd.stop_pod) as stop:
            self._act(server, "os-stop", status="SHUTOFF")
        # As the image says.
        stop.assert_called_once_with(server["id"], grace_s=7)
        self._act(server, "rescue", {}, "RESCUE")
        self.assertIs(PodState.RUNNING, self._pod(server).state)
        self._act(server, "unrescue")

    def test_a_rescue_that_exits_leaves_the_server_in_rescue(self):
        server = self._server()
        self._act(server, "rescue", {}, "RESCUE")
        self.hyperd.exit(server["id"], 1)
        self.compute.manager._sync_power_states(self._context())
        self.assertEqual("RESCUE", self.api.get_server(server["id"])["status"])
        self._act(server, "unrescue")
        self.assertIs(PodState.RUNNING, self._pod(server).state)

    def test_a_server_with_its_root_in_memory_is_refused_and_runs_on(self):
        server = self._server(root_gb=0)
        server = self._act(server, "rescue", {}, "ERROR")
        self.assertIn("its root is in memory", self._fault(server))
        pod = self._pod(server)
        self.assertEqual((PodState.RUNNING, None), (pod.state, pod.rescued))
        self.assertNotIn("stop_pod", self.hyperd.calls)
        self._act(server, "os-resetState", {"state": "active"})

    def test_an_image_that_does_not_start_is_the_fault_and_a_reboot_the_way_out(self):
        server = self._server()
        broken = self._image(b"broken")
        self.hyperd.fail_next["start_pod"] = ContainerFailed("container rescue: /x is missing")
        self._act(server, "rescue", {"rescue_image_ref": broken}, "ERROR")
        self.assertIn("container rescue: /x is missing", self._fault(server))
        pod = self._pod(server)
        self.assertEqual((PodState.STOPPED, None), (pod.state, pod.rescued))
        self._act(server, "reboot", {"type": "HARD"})
        self.assertIs(PodState.RUNNING, self._pod(server).state)
        # In ERROR, another rescue is a way out as well.
        self.hyperd.fail_next["start_pod"] = ContainerFailed("container rescue: /x is missing")
        self._act(server, "rescue", {"rescue_image_ref": broken}, "ERROR")
        self._act(server, "rescue", {}, "RESCUE")
        self._act(server, "unrescue")

    def test_a_server_in_rescue_is_deleted_whole(self):
        server = self._server(networks=[{"port": self.neutron.port_1["id"]}])
        self._act(server, "rescue", {}, "RESCUE")
        self.assertEqual({self.neutron.port_1["id"]}, self.plugged)
        self._delete_server(server)
        self.assertEqual(((), set()), (self.hyperd.pods(), self.plugged))

    def test_a_server_in_rescue_stays_so_over_a_boot_of_the_host(self):
        server = self._server()
        self._act(server, "rescue", {}, "RESCUE")
        self.compute.stop()
        self.hyperd.stop_pod(server["id"], force=True)
        self.flags(resume_guests_state_on_host_boot=True)
        self.restart_compute_service(self.compute)
        pod = self._pod(server)
        self.assertEqual("RESCUE", self.api.get_server(server["id"])["status"])
        self.assertEqual((PodState.RUNNING, "rescue"), (pod.state, pod.spec.containers[0].name))

    def test_a_rescue_that_an_administrator_resets_ends_with_a_hard_reboot(self):
        server = self._server()
        self._act(server, "rescue", {}, "RESCUE")
        self._act(server, "os-resetState", {"state": "active"})
        self._act(server, "reboot", {"type": "HARD"})
        pod = self._pod(server)
        self.assertEqual((PodState.RUNNING, None), (pod.state, pod.rescued))

    # Rebuild

    def test_a_rebuilt_server_has_its_port_and_id_and_what_was_given(self):
        port_id = self.neutron.port_1["id"]
        server = self._server(networks=[{"port": port_id}])
        before = self._pod(server)
        text = base64.b64encode(MANIFEST).decode()
        for body in ({"imageRef": self._image(b"new")}, {"user_data": text}):
            body = {"imageRef": server["image"]["id"], **body}
            self.api.post_server_action(server["id"], {"rebuild": body})
            self._wait_for_state_change(server, "ACTIVE")
            pod = self._pod(server)
            self.assertEqual((before.spec.id, before.spec.name), (pod.spec.id, pod.spec.name))
            self.assertEqual(before.spec.nics, pod.spec.nics)
            self.assertEqual({port_id}, self.plugged)
            if "user_data" in body:
                self.assertEqual(["a", "b"], [c.name for c in pod.spec.containers])
            else:
                self.assertNotEqual(before.containers[0].image_id, pod.containers[0].image_id)

    def test_a_server_in_error_after_a_bad_image_is_rebuilt_with_a_good_one(self):
        port_id = self.neutron.port_1["id"]
        server = self._server(networks=[{"port": port_id}])
        bad = self._image(NOT_AN_ARCHIVE)
        self.api.post_server_action(server["id"], {"rebuild": {"imageRef": bad}})
        self._wait_for_state_change(server, "ERROR")
        self.assertIn(f"image {bad} cannot be used", self._fault(server))
        self.assertEqual((), self.hyperd.pods())
        good = self._image(b"good")
        self.api.post_server_action(server["id"], {"rebuild": {"imageRef": good}})
        self._wait_for_state_change(server, "ACTIVE")
        pod = self._pod(server)
        self.assertEqual(PodState.RUNNING, pod.state)
        self.assertEqual([port_id], [nic.interface_id for nic in pod.spec.nics])

    def test_a_stopped_server_is_stopped_after_a_rebuild(self):
        server = self._server()
        self._act(server, "os-stop", status="SHUTOFF")
        body = {"rebuild": {"imageRef": self._image(b"new")}}
        self.api.post_server_action(server["id"], body)
        self._wait_for_state_change(server, "SHUTOFF")
        self.assertIs(PodState.STOPPED, self._pod(server).state)

    def test_ephemeral_disks_cannot_be_preserved_in_a_rebuild(self):
        server = self._server()
        image = self._image(b"new")
        body = {"rebuild": {"imageRef": image, "preserve_ephemeral": True}}
        self.api.post_server_action(server["id"], body)
        self._wait_for_state_change(server, "ERROR")
        self.assertIn("does not support preserving ephemeral partitions", self._fault(server))
        # It was refused before anything was done.
        self.assertIs(PodState.RUNNING, self._pod(server).state)

    # Deleting softly

    def test_a_server_that_is_deleted_softly_is_stopped_and_runs_again_when_it_is_restored(self):
        self.flags(reclaim_instance_interval=300)
        server = self._server(networks=[{"port": self.neutron.port_1["id"]}])
        self.api.delete_server(server["id"])
        self._wait_for_state_change(server, "SOFT_DELETED")
        self.assertIs(PodState.STOPPED, self._pod(server).state)
        self._act(server, "restore")
        self.assertIs(PodState.RUNNING, self._pod(server).state)
        self.api.delete_server(server["id"])
        self._wait_for_state_change(server, "SOFT_DELETED")
        self.api.post_server_action(server["id"], {"forceDelete": {}})
        self._wait_until_deleted(server)
        self.assertEqual(((), set()), (self.hyperd.pods(), self.plugged))

    # States

    def test_a_server_whose_state_an_administrator_sets_is_rebooted(self):
        server = self._server()
        (found,) = self.api.api_get("/os-hypervisors/detail").body["hypervisors"]
        self.assertEqual("hyper", found["hypervisor_type"])
        self.assertRegex(found["uptime"], "up .*load average")
        self.api.post_server_action(server["id"], {"os-resetState": {"state": "error"}})
        self.assertEqual("ERROR", self.api.get_server(server["id"])["status"])
        self.assertIs(PodState.RUNNING, self._pod(server).state)
        self._act(server, "reboot", {"type": "HARD"})
        self.assertIs(PodState.RUNNING, self._pod(server).state)

    def test_a_locked_server_is_not_touched_by_its_user(self):
        server = self._server()
        self.api.post_server_action(server["id"], {"lock": {"locked_reason": "mine"}})
        user = self.api_fixture.api
        user.microversion = "latest"
        refused = self.assertRaises(
            OpenStackApiException, user.post_server_action, server["id"], {"os-stop": None}
        )
        self.assertEqual(409, refused.response.status_code)
        self.assertIs(PodState.RUNNING, self._pod(server).state)
        self.api.post_server_action(server["id"], {"unlock": None})
        user.post_server_action(server["id"], {"os-stop": None})
        self._wait_for_state_change(server, "SHUTOFF")

    @staticmethod
    def _context():
        from nova import context

        return context.get_admin_context()


MANIFEST = b"""\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - {name: a}
  - {name: b}
"""
