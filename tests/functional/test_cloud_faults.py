"""What cannot be a pod: one clear sentence for the user, and nothing left on the host."""

from __future__ import annotations

import gzip
import hashlib

import pytest

from tests.functional import archives

pytestmark = pytest.mark.usefixtures("no_leaks")

SHELL = {"Cmd": ["/bin/sh"]}


@pytest.fixture
def fault_of(cloud, make_server, wait_status):
    """``fault_of(image=..., flavor=...)``: the message of a server that must fail."""

    def boot(**wishes):
        server = wait_status(make_server(wait=False, **wishes), "ERROR", timeout_s=150)
        return cloud.compute.get_server(server).fault["message"]

    return boot


@pytest.fixture
def small_layer():
    return archives.layer({"bin/sh": b"#!"})


def test_something_that_is_no_archive(upload, fault_of, tmp_path):
    file = tmp_path / "noise"
    file.write_bytes(bytes(range(256)) * 1000)
    assert "not" in fault_of(image=upload(file))


def test_an_archive_that_is_cut_off(upload, fault_of, busybox, tmp_path):
    file = tmp_path / "cut.tar"
    whole = busybox.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    message = fault_of(image=upload(file))
    assert "truncated" in message or "ends" in message or "incomplete" in message


def test_a_layer_that_is_not_what_its_digest_says(upload, fault_of, small_layer, tmp_path):
    wrong = ["sha256:" + "0" * 64]
    file = archives.write(tmp_path / "wrong.tar", [small_layer], SHELL, diff_ids=wrong)
    message = fault_of(image=upload(file))
    assert "digest" in message or "sha256:000000" in message


def test_an_image_without_a_command(upload, fault_of, small_layer, tmp_path):
    file = archives.write(tmp_path / "mute.tar", [small_layer], {})
    assert "command" in fault_of(image=upload(file))


def test_a_command_that_is_not_in_the_image(upload, fault_of, small_layer, tmp_path):
    file = archives.write(tmp_path / "gone.tar", [small_layer], {"Cmd": ["/no/such/command"]})
    assert "/no/such/command" in fault_of(image=upload(file))


def test_an_image_for_another_architecture(upload, fault_of, small_layer, tmp_path):
    file = archives.write(tmp_path / "s390x.tar", [small_layer], SHELL, architecture="s390x")
    assert "s390x" in fault_of(image=upload(file))


def test_an_image_that_does_not_fit_the_flavors_disk(upload, fault_of, tmp_path):
    """Nova compares with the archive, which is small here: what counts is what it unpacks to."""
    big = archives.layer({"big": bytes(1100 << 20)})
    file = archives.write(
        tmp_path / "big.tar",
        [gzip.compress(big, compresslevel=1)],
        SHELL,
        diff_ids=[f"sha256:{hashlib.sha256(big).hexdigest()}"],
    )
    del big
    message = fault_of(image=upload(file), flavor="hyper.small")
    assert "1 GiB" in message
    assert "disk" in message


def test_a_path_that_leads_out_of_the_image(upload, fault_of, tmp_path):
    file = archives.write(tmp_path / "out.tar", [archives.layer({"../../etc/evil": b"x"})], SHELL)
    assert "../../etc/evil" in fault_of(image=upload(file))


def test_less_memory_than_a_guest_needs(cloud, fault_of):
    flavor = cloud.compute.create_flavor(name="hyper.test-tiny", vcpus=1, ram=16, disk=0)
    cloud.compute.create_flavor_extra_specs(flavor, {"trait:CUSTOM_HYPER": "required"})
    try:
        message = fault_of(flavor="hyper.test-tiny")
    finally:
        cloud.compute.delete_flavor(flavor)
    assert "16 MB" in message
    assert "32 MB" in message


def test_more_memory_than_the_host_has(cloud, fault_of):
    flavor = cloud.compute.create_flavor(name="hyper.test-huge", vcpus=1, ram=1 << 22, disk=0)
    cloud.compute.create_flavor_extra_specs(flavor, {"trait:CUSTOM_HYPER": "required"})
    try:
        assert "No valid host" in fault_of(flavor="hyper.test-huge")
    finally:
        cloud.compute.delete_flavor(flavor)


def test_a_network_that_cannot_be_plugged(site, cloud, fault_of):
    """Without its agent, nobody wires the port, and Neutron never says that it is up."""
    from cloud import neutron, service

    (agent,) = (d for d in neutron.agents(site) if "openvswitch" in d.name)
    service.stop(site, agent.name)
    try:
        message = fault_of()
    finally:
        service.bring_up(site, agent)
        neutron.wait_for_agents(site, cloud)
    assert "port" in message or "network" in message.lower()
