"""Pods and virtual machines in one cloud: each lands on hosts of its own kind, by default.

The other kind of host is Nova's own fake driver, in a nova-compute of the
test's own: what counts here is where the scheduler sends a server.
"""

from __future__ import annotations

import subprocess
import time
import uuid

import pytest

OTHER = "vm-host"
UP_S = 90
CONFIG = """
[DEFAULT]
host = {host}
compute_driver = fake.FakeDriverWithoutFakeNodes
state_path = {directory}
instances_path = {directory}/instances

[oslo_concurrency]
lock_path = {directory}/lock
"""


@pytest.fixture(scope="module")
def other_host(site, cloud, tmp_path_factory):
    """A host for virtual machines, as long as the tests of this file run."""
    directory = tmp_path_factory.mktemp("vm-host")
    config = directory / "vm.conf"
    config.write_text(CONFIG.format(host=OTHER, directory=directory))
    nova = site.etc / "nova"
    files = (nova / "nova.conf", nova / "nova-compute.conf", config)
    options = [part for file in files for part in ("--config-file", str(file))]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [site.bin("nova-compute"), *options], env=site.environ, stdout=log, stderr=log
        )
    try:
        wait_until(lambda: process.poll() is None and _takes_servers(cloud), directory / "log")
        yield OTHER
    finally:
        process.terminate()
        process.wait(30)
        for service in cloud.compute.services(binary="nova-compute", host=OTHER):
            cloud.compute.delete_service(service)


def _takes_servers(cloud):
    return any(
        node.service_details["host"] == OTHER
        and cloud.placement.get(f"/resource_providers/{node.id}/inventories")
        .json()
        .get("inventories")
        for node in cloud.compute.hypervisors(details=True)
    )


def wait_until(condition, log):
    deadline = time.monotonic() + UP_S
    while not condition():
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.5)


@pytest.fixture
def upload_vm(cloud, tmp_path):
    """``upload_vm(**properties)``: the name of an image of a virtual machine."""
    made = []

    def upload(**properties):
        file = tmp_path / "disk.raw"
        file.write_bytes(bytes(1 << 20))
        image = cloud.create_image(
            f"vm-{uuid.uuid4().hex[:8]}",
            filename=str(file),
            container_format="bare",
            disk_format="raw",
            wait=True,
            use_import=False,
            **properties,
        )
        made.append(image)
        return image.name

    yield upload
    for image in made:
        cloud.image.delete_image(image)


@pytest.fixture
def vm_flavor(cloud):
    """A flavor of virtual machines, which says nothing of hosts either."""
    flavor = cloud.compute.create_flavor(
        name=f"vm-{uuid.uuid4().hex[:8]}", vcpus=1, ram=64, disk=0
    )
    yield flavor.name
    cloud.compute.delete_flavor(flavor)


@pytest.fixture
def boot(cloud, other_host, wait_status):
    """``boot(image, flavor)``: the server, ACTIVE, or ERROR where Nova finds no host."""
    made = []

    def make(image, flavor):
        server = cloud.compute.create_server(
            name=f"test-{uuid.uuid4().hex[:8]}",
            image_id=cloud.image.find_image(image, ignore_missing=False).id,
            flavor_id=cloud.compute.find_flavor(flavor, ignore_missing=False).id,
            networks="none",
        )
        made.append(server)
        deadline = time.monotonic() + 90
        while (server := cloud.compute.get_server(server)).status == "BUILD":
            assert time.monotonic() < deadline
            time.sleep(0.3)
        return server

    yield make
    for server in made:
        cloud.compute.delete_server(server)
    for server in made:
        cloud.compute.wait_for_delete(server, interval=0.2, wait=90)


def test_both_kinds_of_host_are_in_the_cloud(site, cloud, other_host):
    nodes = {
        node.service_details["host"]: node for node in cloud.compute.hypervisors(details=True)
    }
    assert set(nodes) >= {site.host, other_host}
    traits = cloud.placement.get(f"/resource_providers/{nodes[site.host].id}/traits").json()
    claimed = set(traits["traits"])
    assert {
        "CUSTOM_HYPER",
        "HW_ARCH_X86_64",
        "COMPUTE_IMAGE_TYPE_RAW",
        "COMPUTE_NET_VIF_MODEL_VIRTIO",
        "COMPUTE_STORAGE_BUS_VIRTIO",
        "COMPUTE_TRUSTED_CERTS",
    } <= claimed
    assert not claimed & {"COMPUTE_IMAGE_TYPE_QCOW2", "COMPUTE_ACCELERATORS"}


def test_a_virtual_machine_never_lands_on_a_host_of_pods(boot, upload_vm, vm_flavor):
    """Its image and its flavor say nothing of hosts, as people make them."""
    image = upload_vm()
    hosts = {boot(image, vm_flavor).compute_host for _ in range(3)}
    assert hosts == {OTHER}


@pytest.mark.parametrize("flavor", ["hyper.nano", None])
def test_a_pod_never_lands_on_a_host_of_virtual_machines(boot, site, vm_flavor, flavor):
    """Its image says where it belongs, even with a flavor of virtual machines."""
    server = boot("busybox", flavor or vm_flavor)
    assert (server.status, server.compute_host) == ("ACTIVE", site.host)


def test_an_image_that_names_another_hypervisor_is_for_no_host_of_pods(boot, upload_vm):
    server = boot(upload_vm(img_hv_type="kvm"), "hyper.nano")
    assert server.status == "ERROR"
    assert "No valid host" in server.fault["message"]
