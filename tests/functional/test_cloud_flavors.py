"""What flavors and image properties say, with its effect in the pod and on the host."""

from __future__ import annotations

import json
import subprocess
import uuid

import pytest

from tests.functional import archives

HYPER = {"trait:CUSTOM_HYPER": "required"}
SPECS = {
    "quota:cpu_shares": "300",
    "quota:cpu_period": "40000",
    "quota:cpu_quota": "30000",
    "quota:disk_read_bytes_sec": "83886080",
    "quota:disk_total_iops_sec": "4000",
    "quota:vif_inbound_average": "9000",
    "quota:vif_inbound_burst": "3000",
    "quota:vif_outbound_average": "8000",
    "hw:cpu_sockets": "1",
    "hw:vif_multiqueue_enabled": "true",
    "hw_rng:rate_bytes": "65536",
    "hw_rng:rate_period": "1000",
    "hyper:restart_policy": "always",
    "hyper:ephemeral_path": "/scratch",
}
SCRIPT = """
echo cpus $(nproc) $(cat /sys/devices/system/cpu/cpu0/topology/core_siblings_list)
echo queues $(ls -d /sys/class/net/eth0/queues/rx-* | wc -l)
echo ephemeral $(df -k /scratch | tail -n 1 | awk '{print $2}')
echo swap $(awk 'NR == 2 {print $3}' /proc/swaps)
echo x >> /scratch/runs; sync
echo runs $(wc -l < /scratch/runs)
echo words $(cat /proc/cmdline)
exit 1
"""


def virsh(*arguments):
    done = subprocess.run(
        ["virsh", "-c", "qemu:///system", *arguments], capture_output=True, text=True, check=True
    )
    pairs = (line.partition(":") for line in done.stdout.splitlines())
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


@pytest.fixture
def make_flavor(cloud):
    """``make_flavor(specs, ram=..., ...)``: its name; it is gone after the test."""
    made = []

    def make(specs=None, **size):
        wanted = {"vcpus": 1, "ram": 64, "disk": 0, **size}
        flavor = cloud.compute.create_flavor(name=f"hyper.test-{uuid.uuid4().hex[:8]}", **wanted)
        made.append(flavor)
        cloud.compute.create_flavor_extra_specs(flavor, {**HYPER, **(specs or {})})
        return flavor.name

    yield make
    for flavor in made:
        cloud.compute.delete_flavor(flavor)


@pytest.fixture
def make_image(cloud, busybox, tmp_path):
    """``make_image(command, **properties)``: the name of an image that runs it."""
    from cloud.resources import IMAGE_PROPERTIES

    made = []

    def make(command, **properties):
        archive = archives.with_command(busybox, tmp_path / f"{uuid.uuid4().hex}.tar", command)
        image = store(archive, "docker", "raw", {**IMAGE_PROPERTIES, **properties})
        return image.name

    def store(file, container_format, disk_format, properties):
        image = cloud.create_image(
            f"test-{uuid.uuid4().hex[:8]}",
            filename=str(file),
            container_format=container_format,
            disk_format=disk_format,
            wait=True,
            use_import=False,
            **properties,
        )
        made.append(image)
        return image

    make.store = store
    yield make
    for image in made:
        cloud.image.delete_image(image)


@pytest.fixture
def fault_of(cloud, make_server, wait_status):
    def boot(**wishes):
        server = wait_status(make_server(wait=False, **wishes), "ERROR", timeout_s=150)
        return cloud.compute.get_server(server).fault["message"]

    return boot


def test_a_flavor_is_what_the_guest_and_the_host_have(
    no_leaks, cloud, make_flavor, make_image, make_server, console
):
    flavor = make_flavor(SPECS, vcpus=2, ram=128, disk=1, ephemeral=1, swap=32)
    image = make_image(SCRIPT, os_command_line="hyper.word=spoken")
    server = make_server(image=image, flavor=flavor)

    seen = dict(
        line.split(" ", 1) for line in console(server, "words ").splitlines() if " " in line
    )
    assert seen["cpus"] == "2 0-1"
    assert seen["queues"] == "2"
    assert 0.9 * (1 << 20) < int(seen["ephemeral"]) <= 1 << 20
    assert int(seen["swap"]) == (32 << 10) - 4  # a page for the header
    assert "hyper.word=spoken" in seen["words"].split()

    domain = f"hyper-{server.id}"
    cpu = virsh("schedinfo", domain)
    assert (cpu["cpu_shares"], cpu["vcpu_period"], cpu["vcpu_quota"]) == ("300", "40000", "30000")
    disk = virsh("blkdeviotune", domain, "vda")
    assert (disk["read_bytes_sec"], disk["total_iops_sec"]) == ("83886080", "4000")
    _check_switch(cloud, server)

    # It ended, and its flavor has it restarted, with what it wrote.
    assert "runs 2" in console(server, "runs 2", timeout_s=60)
    assert cloud.compute.get_server(server).status == "ACTIVE"

    cloud.compute.delete_server(server)
    cloud.compute.wait_for_delete(server, interval=0.2, wait=90)
    assert not [r for r in rows("list", "QoS") + rows("list", "Queue") if _is_of(r, server)]


def _check_switch(cloud, server):
    """Open vSwitch's records have the limits: kB/s are bits of queues and kbit/s of policing."""
    (port,) = cloud.network.ports(device_id=server.id)
    (found,) = rows("find", "Interface", f"external_ids:iface-id={port.id}")
    assert found["ingress_policing_rate"] == 8000 * 8  # what the guest sends
    (queue,) = (row for row in rows("list", "Queue") if _is_of(row, server))
    # What the guest receives.
    assert int(queue["other_config"]["min-rate"]) == 9000 * 8000


def _is_of(row, server):
    return row["external_ids"].get("vm-id") == server.id


def rows(*arguments):
    """The records of Open vSwitch's database that ``ovs-vsctl`` gives, by column."""
    done = subprocess.run(
        ["ovs-vsctl", "--db=unix:/run/openvswitch/db.sock", "--format=json", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    return [
        {
            name: dict(value[1]) if isinstance(value, list) and value[0] == "map" else value
            for name, value in zip(answer["headings"], row, strict=True)
        }
        for row in answer["data"]
    ]


@pytest.mark.parametrize(
    "spec",
    [
        {"hyper:restart_policy": "sometimes"},
        {"hyper:termination_grace": "soon"},
        {"hyper:ephemeral_path": "mnt"},
        {"hyper:restart": "always"},
    ],
)
def test_the_api_refuses_a_wrong_extra_spec_of_ours(cloud, make_flavor, spec):
    flavor = cloud.compute.find_flavor(make_flavor())
    answer = cloud.compute.post(
        f"/flavors/{flavor.id}/os-extra_specs", json={"extra_specs": spec}, microversion="2.86"
    )
    assert answer.status_code == 400
    assert "Validation failed" in answer.text


@pytest.mark.parametrize(
    ("specs", "sentence"),
    [
        ({"hw:mem_page_size": "large"}, "huge pages"),
        ({"hw:watchdog_action": "reset"}, "hw:watchdog_action=reset is not for pods"),
        ({"quota:cpu_period": "10"}, "quota:cpu_period=10 is not from 1000 to 1000000"),
    ],
)
def test_a_flavor_that_is_not_for_pods_is_refused_by_name(
    no_leaks, make_flavor, fault_of, specs, sentence
):
    assert sentence in fault_of(flavor=make_flavor(specs))


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("hw_disk_bus", "scsi", "hw_disk_bus=scsi"),
        ("hw_firmware_type", "uefi", "hw_firmware_type=uefi"),
    ],
)
def test_an_image_that_asks_for_other_hardware_is_refused_by_name(
    no_leaks, make_image, fault_of, name, value, sentence
):
    assert sentence in fault_of(image=make_image("true", **{name: value}))


@pytest.fixture
def kernel(site):
    """The host's guest kernel, and its release."""
    image = (site.guest / "current/vmlinux").read_bytes()
    begin = image.index(b"Linux version ") + len(b"Linux version ")
    return image, image[begin : image.index(b" ", begin)]


def test_an_image_brings_its_own_kernel(
    no_leaks, make_image, make_server, console, kernel, tmp_path
):
    image, release = kernel
    other = b"9" + release[1:]
    file = tmp_path / "vmlinux"
    file.write_bytes(image.replace(release, other))
    brought = make_image.store(file, "aki", "aki", {})
    name = make_image("echo runs $(uname -r); sleep 1000", kernel_id=brought.id)
    assert f"runs {other.decode()}" in console(make_server(image=name), "runs")


def test_a_kernel_that_is_none_is_refused_and_one_that_fails_says_its_last_words(
    no_leaks, make_image, fault_of, tmp_path
):
    file = tmp_path / "file"
    file.write_bytes(b"#!/bin/sh\n" * 100)
    script = make_image.store(file, "aki", "aki", {})
    message = fault_of(image=make_image("true", kernel_id=script.id))
    assert "must be a bzImage" in message
    file.write_bytes(b"070701" + b"no header of an archive" * 40)
    ramdisk = make_image.store(file, "ari", "ari", {})
    assert "Kernel panic" in fault_of(image=make_image("true", ramdisk_id=ramdisk.id))
