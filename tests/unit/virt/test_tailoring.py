"""What flavor, image and block devices make of a pod, together."""

from __future__ import annotations

import pytest
from nova import objects

from nova_hyper.spec.boot import Boot
from nova_hyper.spec.container import Container
from nova_hyper.spec.disk import EphemeralDisk
from nova_hyper.spec.pod import PodSpec, RestartPolicy
from nova_hyper.virt import tailoring
from tests.unit.virt.instances import UUID, flavor, image_meta, instance

POD = PodSpec(UUID, "web", (Container("main", "i"),), restart_policy=RestartPolicy.NEVER)
DISKS = {
    "ephemerals": [
        {"size": 2, "guest_format": None, "encrypted": False, "device_name": "/dev/vdb"},
        {"size": 3, "guest_format": "ext4", "encrypted": False, "device_name": "/dev/vdc"},
    ],
    "swap": {"device_name": "/dev/vdd", "swap_size": 64},
    "block_device_mapping": [],
}


def complete(specs=None, metadata=None, disks=None, of_manifest=False, pod=POD, **kwargs):
    server = instance(flavor=flavor(extra_specs=specs or {}), system_metadata=metadata or {})
    boot = kwargs.get("boot", Boot())
    return tailoring.complete(pod, server, image_meta(), disks, boot, of_manifest)


def test_disks_and_swap_are_those_that_nova_passes():
    pod = complete(disks=DISKS)
    assert pod.ephemerals == (EphemeralDisk(2, "/mnt"), EphemeralDisk(3, "/mnt1"))
    assert pod.swap_mib == 64
    assert complete().ephemerals == ()
    assert complete().swap_mib == 0


def test_swap_that_has_no_device_is_none():
    assert complete(disks={"swap": {"device_name": None, "swap_size": 64}}).swap_mib == 0


def test_the_flavor_says_where_the_first_disk_is():
    pod = complete({"hyper:ephemeral_path": "/data"}, disks=DISKS)
    assert [disk.path for disk in pod.ephemerals] == ["/data", "/data1"]


def test_what_is_booted_and_limited_is_in_the_pod():
    boot = Boot("sha256:k", "", "quiet")
    pod = complete({"quota:cpu_shares": "99"}, boot=boot)
    assert pod.boot == boot
    assert pod.tuning.cpu.shares == 99


@pytest.mark.parametrize(
    ("flavors", "images", "policy"),
    [
        (None, None, RestartPolicy.NEVER),
        ("always", None, RestartPolicy.ALWAYS),
        (None, "on-failure", RestartPolicy.ON_FAILURE),
        ("always", "never", RestartPolicy.ALWAYS),
    ],
)
def test_the_flavor_says_how_containers_are_restarted_or_else_the_image(flavors, images, policy):
    specs = {"hyper:restart_policy": flavors} if flavors else {}
    metadata = {"image_hyper_restart_policy": images} if images else {}
    assert complete(specs, metadata).restart_policy is policy
    # A manifest says so itself.
    assert complete(specs, metadata, of_manifest=True).restart_policy is RestartPolicy.NEVER


@pytest.mark.parametrize(
    ("flavors", "images", "has_terminal"),
    [
        (None, None, False),
        ("shell", "attach", False),
        ("auto", None, False),
        ("attach", None, True),
        (None, "attach", True),
    ],
)
def test_a_console_that_is_the_containers_own_gives_it_a_terminal(flavors, images, has_terminal):
    specs = {"hyper:console": flavors} if flavors else {}
    metadata = {"image_hyper_console": images} if images else {}
    (container,) = complete(specs, metadata).containers
    assert (container.stdin, container.tty) == (has_terminal, has_terminal)
    # A manifest says so itself.
    assert complete(specs, metadata, of_manifest=True).containers == POD.containers


def test_the_time_to_stop_is_the_flavors():
    assert complete({"hyper:termination_grace": "0"}).termination_grace_s == 0.0
    assert complete().termination_grace_s is None


@pytest.mark.parametrize(
    ("server", "image", "disks", "sentence"),
    [
        (instance(flavor=flavor(extra_specs={"hw:pmu": "1"})), image_meta(), None, "hw:pmu"),
        (
            instance(),
            image_meta(properties=objects.ImageMetaProps(hw_disk_bus="ide")),
            None,
            "hw_disk_bus=ide",
        ),
        (
            instance(system_metadata={"image_hyper_restart_policy": "x"}),
            image_meta(),
            None,
            "hyper_restart_policy=x",
        ),
        (
            instance(system_metadata={"image_hyper_console": "vnc"}),
            image_meta(),
            None,
            "hyper_console=vnc",
        ),
        (instance(), image_meta(), {"ephemerals": [{"guest_format": "vfat"}]}, "not vfat"),
        (instance(), image_meta(), {"ephemerals": [{"encrypted": True}]}, "not encrypted"),
    ],
)
def test_whatever_cannot_be_is_said(server, image, disks, sentence):
    (problem,) = tailoring.problems(server, image, disks)
    assert sentence in problem


def test_an_ordinary_server_has_no_problem():
    assert list(tailoring.problems(instance(), image_meta(), DISKS)) == []
