"""From an instance to a pod."""

from __future__ import annotations

import dataclasses

from nova_hyper.spec.container import Container
from nova_hyper.spec.nic import Dns
from nova_hyper.spec.pod import Pod, PodSpec, PodState
from nova_hyper.vif import nics
from nova_hyper.virt import podspec
from tests.unit.vif.ports import port, subnet
from tests.unit.virt.instances import IMAGE_ID, UUID, flavor, instance

IMAGE = "sha256:" + "a" * 64


def test_a_server_is_a_pod_of_one_container_with_its_flavors_size():
    ports = [port(subnet(dns=("10.0.0.2",)))]
    assert podspec.build(instance(), IMAGE, ports) == PodSpec(
        id=UUID,
        name="instance-00000007",
        containers=(Container(name="main", image=IMAGE),),
        vcpus=1,
        memory_mib=256,
        root_gib=2,
        hostname="web",
        nics=nics.to_nics(ports),
        dns=Dns(("10.0.0.2",)),
        labels={
            "creator": "nova",
            "nova.display_name": "web",
            "nova.flavor": "hyper.small",
            "nova.image": IMAGE_ID,
            "nova.project": "project",
            "nova.user": "user",
        },
    )


def test_a_flavor_without_a_disk_is_a_pod_in_memory():
    spec = podspec.build(instance(flavor=flavor(root_gb=0)), IMAGE, [])
    assert spec.root_gib == 0
    assert spec.nics == ()


def test_a_server_without_a_host_name_has_its_instance_name():
    assert podspec.build(instance(hostname=None), IMAGE, []).hostname == "instance-00000007"


def test_a_name_that_linux_would_not_take_is_cut_to_its_first_label():
    long = "web." + "x" * 60 + ".example.org"
    assert podspec.build(instance(hostname=long), IMAGE, []).hostname == "web"
    assert podspec.build(instance(hostname="web.example.org"), IMAGE, []).hostname == (
        "web.example.org"
    )


def test_the_same_server_is_the_same_pod_again():
    assert podspec.build(instance(), IMAGE, [port()]) == podspec.build(
        instance(), IMAGE, iter([port()])
    )


def test_tells_novas_pods_from_an_operators():
    spec = podspec.build(instance(), IMAGE, [])
    assert podspec.is_novas(Pod(spec, PodState.READY, ()))
    assert not podspec.is_novas(
        Pod(dataclasses.replace(spec, labels={"creator": "me"}), PodState.READY, ())
    )
