"""Resize and evacuation through Nova's own API, conductor, scheduler and compute manager.

Only hyperd, Glance, Neutron and the ports on the host are fakes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import uuid
import warnings
from pathlib import Path

import nova.conf
import os_vif.objects
from nova.tests.functional import integrated_helpers

from nova_hyper.spec.pod import PodState
from nova_hyper.vif import plugin
from nova_hyper.virt.driver import HyperDriver
from tests.unit.fake_hyperd import FakeHyperd

CONF = nova.conf.CONF
IMAGE = "155d900f-4e14-4e4c-a73d-069cbf4541e6"
SMALL = {"vcpus": 1, "ram": 64, "disk": 1}
OWN_RESOURCE = HyperDriver.get_available_resource
LARGE = {"vcpus": 2, "ram": 128, "disk": 5, "swap": 16, "OS-FLV-EXT-DATA:ephemeral": 2}


class NamedHyperd(FakeHyperd):
    """A hyperd in memory on a host of that name."""

    def __init__(self, name):
        super().__init__()
        self.name = name

    def host(self):
        return dataclasses.replace(super().host(), hostname=self.name)


def _id_of(name):
    """Each host has a node of its own, though all share the file with its id here."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


def _nodes(driver, refresh=False):
    name = driver.get_available_nodes()[0]
    return {_id_of(name): name}


def _resource(driver, name):
    return {**OWN_RESOURCE(driver, name), "uuid": _id_of(name)}


class Moves(integrated_helpers.ProviderUsageBaseTestCase):
    compute_driver = "hyper.HyperDriver"

    def setUp(self):
        plugin.install()
        paste = Path(sys.prefix) / "etc/nova/api-paste.ini"
        self.flags(api_paste_config=str(paste), group="wsgi")
        super().setUp()
        # Nova's own tests make errors of warnings that its own code has.
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        os_vif.objects.register_all()
        self.flags(allow_resize_to_same_host=True, vif_plugging_timeout=0)
        driver = "nova_hyper.virt.driver"
        self.stub_out(f"{driver}.compute_utils.get_machine_ips", lambda: [CONF.my_ip])
        self.stub_out(f"{driver}.HyperDriver.get_host_uptime", lambda _self: "up")
        self.stub_out(f"{driver}.HyperDriver.get_nodenames_by_uuid", _nodes)
        self.stub_out(f"{driver}.HyperDriver.get_available_resource", _resource)
        self.stub_out("os_vif.plug", lambda vif, instance: None)
        self.stub_out("os_vif.unplug", lambda vif, instance: None)
        self.stub_out("nova.image.glance.API.download", lambda *_args, **_kw: iter([b"tar"]))
        for image in self.glance.images.values():
            image["container_format"] = "docker"

    def __delattr__(self, name):
        # Nova's TestCase has dropped all attributes by the time that pytest drops its own.
        with contextlib.suppress(AttributeError):
            super().__delattr__(name)

    def start_host(self, name):
        hyperd = NamedHyperd(name)
        self.stub_out("nova_hyper.virt.driver.HyperClient", lambda *_args: hyperd)
        return self._start_compute(name), hyperd

    def make_flavor(self, number, **size):
        values = {"OS-FLV-EXT-DATA:ephemeral": 0, "swap": 0, **size}
        made = self.admin_api.post_flavor(
            {"flavor": {"name": f"hyper.{number}", "id": str(number), **values}}
        )
        return made.get("flavor", made)["id"]

    def boot(self, flavor):
        port = {"port": self.neutron.port_1["id"]}
        body = self._build_server(image_uuid=IMAGE, flavor_id=flavor, networks=[port])
        return self._wait_for_state_change(self.api.post_server({"server": body}), "ACTIVE")

    def act(self, server, body, status):
        self.admin_api.post_server_action(server["id"], body)
        return self._wait_for_state_change(server, status)

    def resources(self, server):
        (found,) = self._get_allocations_by_server_uuid(server["id"]).values()
        return found["resources"]["VCPU"], found["resources"]["MEMORY_MB"]

    def test_a_server_is_resized_on_its_host(self):
        _, hyperd = self.start_host("hyper-1")
        small, large = self.make_flavor(101, **SMALL), self.make_flavor(102, **LARGE)
        server = self.boot(small)

        def pod():
            found = hyperd.pod(server["id"])
            spec = found.spec
            disks = tuple(disk.size_gib for disk in spec.ephemerals)
            return found.state, spec.vcpus, spec.memory_mib, spec.root_gib, spec.swap_mib, disks

        before = (PodState.RUNNING, 1, 64, 1, 0, ())
        after = (PodState.RUNNING, 2, 128, 5, 16, (2,))
        resize = {"resize": {"flavorRef": large}}
        assert pod() == before
        self.act(server, resize, "VERIFY_RESIZE")
        assert pod() == after
        self.act(server, {"revertResize": None}, "ACTIVE")
        assert (pod(), self.resources(server)) == (before, (1, 64))
        self.act(server, resize, "VERIFY_RESIZE")
        self.act(server, {"confirmResize": None}, "ACTIVE")
        assert (pod(), self.resources(server), hyperd.kept) == (after, (2, 128), {})

        # A smaller disk is refused, and the server runs on.
        smaller = self.make_flavor(103, **{**LARGE, "disk": 3})
        self.admin_api.post_server_action(server["id"], {"resize": {"flavorRef": smaller}})
        self._wait_for_action_fail_completion(server, "resize", "compute_resize_instance")
        shown = self._wait_for_server_parameter(
            server, {"status": "ACTIVE", "OS-EXT-STS:task_state": None}
        )
        assert (pod(), shown["flavor"]["disk"]) == (after, 5)
        assert self.resources(server) == (2, 128)

        # A stopped one stays stopped, whether confirmed or not.
        less = self.make_flavor(104, **{**LARGE, "vcpus": 1, "swap": 0})
        self.act(server, {"os-stop": None}, "SHUTOFF")
        self.act(server, {"resize": {"flavorRef": less}}, "VERIFY_RESIZE")
        assert pod() == (PodState.STOPPED, 1, 128, 5, 0, (2,))
        self.act(server, {"revertResize": None}, "SHUTOFF")
        assert pod() == (PodState.STOPPED, *after[1:])

        self.act(server, {"resize": {"flavorRef": less}}, "VERIFY_RESIZE")
        self.api.delete_server(server["id"])
        self._wait_until_deleted(server)
        assert hyperd.pods() == ()

    def test_a_server_of_a_failed_host_is_made_anew_on_another(self):
        failed, first = self.start_host("hyper-1")
        server = self.boot(self.make_flavor(101, **SMALL))
        _, second = self.start_host("hyper-2")
        service = failed.service_ref.uuid
        failed.stop()
        self.admin_api.put_service_force_down(service, True)
        self.admin_api.post_server_action(server["id"], {"evacuate": {"host": "hyper-2"}})
        server = self._wait_for_server_parameter(
            server, {"OS-EXT-SRV-ATTR:host": "hyper-2", "OS-EXT-STS:task_state": None}
        )
        assert second.pod(server["id"]).spec.vcpus == 1
        assert first.pod(server["id"])
        self.stub_out("nova_hyper.virt.driver.HyperClient", lambda *_args: first)
        self.restart_compute_service(failed)
        assert first.pods() == ()
        assert second.pod(server["id"]).spec.id == server["id"]
