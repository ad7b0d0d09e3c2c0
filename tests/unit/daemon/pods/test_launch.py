"""What a micro-VM and its agent are asked for; what is refused is in test_create."""

from __future__ import annotations

import base64
import dataclasses
import time

import pytest

from nova_hyper.daemon.hypervisor.domain import max_devices
from nova_hyper.daemon.pods import launch
from nova_hyper.spec.container import Container, Security
from nova_hyper.spec.errors import ImageUnsuitable, InvalidRequest
from nova_hyper.spec.image import Layer
from nova_hyper.spec.nic import Dns, Nic, NicKind, Route
from nova_hyper.spec.pod import HostAlias
from nova_hyper.spec.volume import Volume, VolumeFile
from tests.unit.daemon.fakes import image, spec

LIMITS = {"arch": "amd64", "memory": (32, 1024)}


def layered(names):
    return dataclasses.replace(image(), layers=tuple(Layer(name, 1, 2) for name in names))


@pytest.mark.parametrize("memory", [32, 33, 1024])
def test_memory_within_the_limits_is_accepted(memory):
    launch.check(spec(memory_mib=memory), [image()], **LIMITS)


def test_an_image_for_another_architecture_is_refused_by_name():
    with pytest.raises(ImageUnsuitable, match="web:1 is for arm64, this host is amd64"):
        launch.check(spec(), [dataclasses.replace(image(), architecture="arm64")], **LIMITS)


def test_an_image_of_exactly_the_disks_size_is_accepted():
    layer = Layer("sha256:1", 1, 1 << 30)
    fits = dataclasses.replace(image(), layers=(layer,))
    launch.check(spec(root_gib=1), [fits], **LIMITS)


def test_without_a_disk_the_images_size_does_not_matter():
    layer = Layer("sha256:1", 1, 1 << 40)
    launch.check(spec(), [dataclasses.replace(image(), layers=(layer,))], **LIMITS)


def test_more_devices_than_a_micro_vm_has_room_for_are_refused():
    nic = Nic("52:54:00:00:00:01", NicKind.BRIDGE, bridge="br0")
    fits = layered([f"l{i}" for i in range(max_devices(1) - 2)])
    launch.check_devices(spec(root_gib=1, nics=(nic,)), [fits])
    too_many = layered([f"l{i}" for i in range(max_devices(1) - 1)])
    with pytest.raises(ImageUnsuitable, match="images with fewer layers"):
        launch.check_devices(spec(root_gib=1, nics=(nic,)), [too_many])


@pytest.mark.parametrize("data", ["abc", "\u00e9"])
def test_a_file_that_is_no_base64_is_refused_before_anything_is_made(data):
    made = spec(volumes=(Volume("v", files=(VolumeFile("a/b", data),)),))
    with pytest.raises(InvalidRequest, match="the data of file a/b in volume v are not base64"):
        launch.check(made, [image()], **LIMITS)


def test_a_pod_request_has_network_clock_and_entropy():
    nic = Nic(
        "52:54:00:00:00:01",
        NicKind.OVS,
        bridge="br-int",
        interface_id="x",
        mtu=1450,
        addresses=("10.0.0.5/24",),
        routes=(Route("0.0.0.0/0", "10.0.0.1"),),
    )
    before = time.time_ns()
    request = launch.pod_request(
        spec(hostname="web-1", nics=(nic,), dns=Dns(("9.9.9.9",), ("x",)))
    )
    assert before <= request.pop("time_ns") <= time.time_ns()
    assert len(base64.b64decode(request.pop("entropy"))) == 64
    assert request == {
        "hostname": "web-1",
        "nics": [
            {
                "mac": "52:54:00:00:00:01",
                "mtu": 1450,
                "addresses": ["10.0.0.5/24"],
                "routes": [{"destination": "0.0.0.0/0", "gateway": "10.0.0.1"}],
            }
        ],
        "dns": {"nameservers": ["9.9.9.9"], "search": ["x"]},
    }


def test_a_pod_request_has_sysctls_and_hosts_only_where_there_are_any():
    request = launch.pod_request(
        spec(sysctls={"net.core.somaxconn": "9"}, host_aliases=(HostAlias("10.0.0.9", ("db",)),))
    )
    assert request["sysctls"] == {"net.core.somaxconn": "9"}
    assert request["hosts"] == [{"ip": "10.0.0.9", "names": ["db"]}]
    assert not {"sysctls", "hosts"} & set(launch.pod_request(spec()))


@pytest.mark.parametrize(
    ("user", "fine"),
    [
        ("5", True),
        ("5:0", True),
        ("", False),
        ("0", False),
        ("00", False),
        ("root", False),
        ("www-data", False),
        (":5", False),
        ("-1", False),
    ],
)
def test_a_container_that_must_not_be_root_needs_the_number_of_another_user(user, fine):
    made = spec(
        containers=(Container("main", "web:1", user=user, security=Security(non_root=True)),)
    )
    if fine:
        launch.check(made, [image()], **LIMITS)
    else:
        with pytest.raises(ImageUnsuitable, match="container main must not run as root"):
            launch.check(made, [image()], **LIMITS)


def test_init_containers_are_checked_like_the_others():
    made = spec(init_containers=(Container("main", "web:1"),))
    with pytest.raises(InvalidRequest, match="two containers of the pod have one name"):
        launch.check(made, [image()] * 2, **LIMITS)
    arm = dataclasses.replace(image(), architecture="arm64")
    with pytest.raises(ImageUnsuitable, match="init:1 is for arm64"):
        launch.check(spec(init_containers=(Container("a", "init:1"),)), [arm, image()], **LIMITS)


def test_entropy_is_new_every_time():
    assert launch.entropy() != launch.entropy()


@pytest.mark.parametrize(
    ("name", "hostname"),
    [
        ("web", "web"),
        ("instance-00000001", "instance-00000001"),
        ("My Pod: 1", "My-Pod-1"),
        ("-x-", "x"),
        ("äöü", "pod"),
        ("a" * 100, "a" * 63),
        ("a" * 62 + "--b", "a" * 62),
    ],
)
def test_a_name_becomes_a_host_name_that_linux_takes(name, hostname):
    assert launch.pod_request(spec(name=name))["hostname"] == hostname


def test_a_host_route_is_as_neutron_writes_it():
    """Neutron takes a destination with host bits set, and so do we."""
    routes = (Route("10.1.0.5/16", "10.0.0.1"), Route("2001:db8::/32", "fe80::1"))
    nic = Nic("52:54:00:00:00:01", NicKind.BRIDGE, bridge="br0", routes=routes)
    launch.check_devices(spec(nics=(nic,)), [image()])
