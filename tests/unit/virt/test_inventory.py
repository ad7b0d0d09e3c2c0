"""The host as Nova and Placement see it."""

from __future__ import annotations

import dataclasses
import json

import pytest
from nova import objects

from nova_hyper.spec.container import Container
from nova_hyper.spec.image import Image, ImageConfig, Layer
from nova_hyper.spec.pod import Pod, PodSpec, PodState
from nova_hyper.virt import inventory
from tests.unit.fake_hyperd import HOST

POLICY = inventory.Policy(
    reserved_memory_mb=512,
    reserved_cpus=1,
    reserved_disk_gb=5,
    ratios={"VCPU": 4.0, "MEMORY_MB": 1.0, "DISK_GB": 1.5},
)


def pod(state=PodState.RUNNING, novas=True, vcpus=2, memory=256):
    spec = PodSpec(
        id="p",
        name="p",
        containers=(Container("main", "i"),),
        vcpus=vcpus,
        memory_mib=memory,
        labels={"creator": "nova"} if novas else {},
    )
    return Pod(spec, state, ())


def image(*layers):
    return Image("sha256:i", (), "amd64", "linux", "", layers, ImageConfig())


def test_resources_are_hyperds_figures_in_novas_words():
    resource = inventory.available_resource(HOST, [pod(), pod(PodState.STOPPED)], "up 1 day")
    cpu_info = json.loads(resource.pop("cpu_info"))
    assert resource == {
        "vcpus": 4,
        "memory_mb": 8192,
        "local_gb": 100,
        "vcpus_used": 2,
        "memory_mb_used": 1024,
        "local_gb_used": 20,
        "hypervisor_type": "hyper",
        "hypervisor_version": 7002000,
        "hypervisor_hostname": "hyper-1",
        "disk_available_least": 80,
        "supported_instances": [("x86_64", "docker", "exe")],
        "numa_topology": None,
        "stats": {"uptime": "up 1 day"},
    }
    assert cpu_info["topology"] == {"sockets": 1, "cores": 4, "threads": 1}
    assert cpu_info["model"] == "Skylake" and cpu_info["features"] == ["avx"]


def test_nova_takes_what_is_supported():
    (spec,) = inventory.available_resource(HOST, [], "")["supported_instances"]
    assert objects.HVSpec.from_list(spec).to_list() == ["x86_64", "docker", "exe"]


def test_the_architecture_has_novas_name():
    host = dataclasses.replace(HOST, cpu=dataclasses.replace(HOST.cpu, arch="amd64"))
    (spec,) = inventory.available_resource(host, [], "")["supported_instances"]
    assert spec[0] == "x86_64"
    assert "HW_ARCH_X86_64" in inventory.traits(host)


def test_inventory_has_totals_reserves_and_ratios():
    assert inventory.inventory(HOST, [], POLICY) == {
        "VCPU": {
            "total": 4,
            "reserved": 1,
            "min_unit": 1,
            "max_unit": 4,
            "step_size": 1,
            "allocation_ratio": 4.0,
        },
        "MEMORY_MB": {
            "total": 8192,
            "reserved": 512 + 4 * 96,
            "min_unit": 1,
            "max_unit": 8192,
            "step_size": 1,
            "allocation_ratio": 1.0,
        },
        "DISK_GB": {
            "total": 100,
            "reserved": 5,
            "min_unit": 1,
            "max_unit": 100,
            "step_size": 1,
            "allocation_ratio": 1.5,
        },
    }


@pytest.mark.parametrize(("pods", "reserved_for"), [(0, 4), (2, 4), (3, 4), (4, 8), (8, 12)])
def test_the_overhead_of_every_pod_and_of_the_next_is_reserved_four_at_a_time(pods, reserved_for):
    assert inventory.reserved_memory_mb(HOST, [pod()] * pods) == reserved_for * 96


def test_a_pod_that_is_not_novas_takes_its_memory_too():
    assert inventory.reserved_memory_mb(HOST, [pod(novas=False, memory=64)]) == 4 * 96 + 64


def test_placement_never_sees_more_reserved_than_there_is_nor_a_total_of_zero():
    host = dataclasses.replace(HOST, memory_mib=300, disk_gib=0)
    found = inventory.inventory(host, [pod()] * 9, POLICY)
    assert found["MEMORY_MB"]["reserved"] == found["MEMORY_MB"]["total"] == 300
    assert "DISK_GB" not in found


def test_traits_are_what_is_true_of_every_pod():
    assert inventory.traits(HOST) == {
        "CUSTOM_HYPER",
        "COMPUTE_NET_VIF_MODEL_VIRTIO",
        "COMPUTE_STORAGE_BUS_VIRTIO",
        "HW_ARCH_X86_64",
        "COMPUTE_ARCH_X86_64",
    }


def test_the_image_cache_counts_a_shared_layer_once_and_rounds_up():
    gib = 1 << 30
    shared, own = Layer("sha256:a", gib, 0), Layer("sha256:b", 1, 0)
    assert inventory.image_cache_gb([image(shared), image(shared, own)]) == 2
    assert inventory.image_cache_gb([]) == 0
