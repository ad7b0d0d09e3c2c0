"""What a server may ask for that a pod cannot have."""

from __future__ import annotations

import pytest
from nova import exception, objects

from nova_hyper.virt import requirements
from tests.unit.virt.instances import flavor, image_meta, instance


def problem(server=None, image=None, disks=None, accelerators=()):
    return requirements.problem(
        server or instance(), image or image_meta(), disks, list(accelerators)
    )


def test_an_ordinary_server_has_no_problem():
    disks = {"root_device_name": "/dev/vda", "ephemerals": [], "block_device_mapping": []}
    assert problem() is None
    assert problem(disks=disks) is None
    assert problem(server=instance(pci_requests=objects.InstancePCIRequests(requests=[]))) is None


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"image": image_meta(container_format="bare")}, "container_format 'bare'"),
        ({"image": image_meta(container_format=None)}, "container_format 'None'"),
        ({"image": image_meta(id=None)}, "cannot boot from a volume"),
        (
            {"server": instance(flavor=flavor(extra_specs={"hw:cpu_policy": "dedicated"}))},
            "no NUMA",
        ),
        (
            {"server": instance(flavor=flavor(extra_specs={"hw:mem_page_size": "large"}))},
            "huge pages",
        ),
        ({"image": image_meta(properties=objects.ImageMetaProps(hw_numa_nodes=1))}, "no NUMA"),
        (
            {
                "server": instance(
                    pci_requests=objects.InstancePCIRequests(
                        requests=[objects.InstancePCIRequest()]
                    )
                )
            },
            "no PCI devices",
        ),
        ({"disks": {"block_device_mapping": [{"x": 1}]}}, "volumes cannot be attached"),
        ({"disks": {"ephemerals": [{"size": 1, "guest_format": "xfs"}]}}, "is ext4, not xfs"),
        ({"server": instance(flavor=flavor(extra_specs={"hw:pmu": "true"}))}, "hw:pmu"),
        ({"image": image_meta(properties=objects.ImageMetaProps(hw_disk_bus="scsi"))}, "scsi"),
        ({"accelerators": [{"uuid": "a"}]}, "no accelerators"),
    ],
)
def test_what_a_pod_cannot_have_is_refused_by_name(request_, sentence):
    assert sentence in problem(**request_)


def test_a_flavor_below_the_least_memory_is_told_both_figures():
    assert requirements.too_small(32, 32) is None
    assert "16 MB of memory are less than the 32 MB" in requirements.too_small(16, 32)


def test_an_image_that_is_not_for_pods_is_not_cached():
    requirements.check_cacheable({"id": "i", "container_format": "docker"})
    with pytest.raises(exception.ImageUnacceptable, match="container_format 'bare'"):
        requirements.check_cacheable({"id": "i", "container_format": "bare"})
