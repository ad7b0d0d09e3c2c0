"""Servers that are rebuilt: another pod with the same id and the same port."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from nova_hyper.client import HyperClient
from tests.functional.daemon import wait_for

pytestmark = pytest.mark.usefixtures("no_leaks")

LOOP = "trap 'exit 0' TERM; while :; do sleep 0.2; done"
OLD = "echo the old one; touch /etc/mark; sync; " + LOOP
NEW = (
    "echo the new one; hostname; ls /etc/mark 2>/dev/null || echo nothing of the old one; "
    "ip addr show eth0; echo end; " + LOOP
)
MANIFEST = """\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - {name: one, command: [sh, -c, 'echo one says hello; sleep 1000']}
  - {name: two, command: [sh, -c, 'echo two says hello; sleep 1000']}
"""


@pytest.fixture
def rebuild(cloud):
    """``rebuild(server, image=None, **changes)``: ask Nova for it; *image* is a name."""

    def ask(server, image=None, **changes):
        found = cloud.image.find_image(image, ignore_missing=False).id if image else None
        body = {"imageRef": found or server.image.id, **changes}
        url = f"/servers/{server.id}/action"
        answer = cloud.compute.post(url, json={"rebuild": body}, microversion="2.57")
        assert answer.status_code == 202, answer.text

    return ask


def without_trait(cloud, image):
    """Return *image*, which requires no trait any more.

    With a rebuild that fails after it was scheduled, Nova drops the server's allocation
    (``delete_allocation_for_evacuated_instance``), and then finds the traits of an image in none
    of the server's providers.
    """
    found = cloud.image.find_image(image, ignore_missing=False)
    answer = cloud.image.patch(
        f"/images/{found.id}",
        json=[{"op": "remove", "path": "/trait:CUSTOM_HYPER"}],
        headers={"Content-Type": "application/openstack-images-v2.1-json-patch"},
    )
    assert answer.status_code == 200, answer.text
    return image


def allocation(cloud, server):
    (taken,) = cloud.placement.get(f"/allocations/{server.id}").json()["allocations"].values()
    return taken["resources"]


def test_rebuild_with_another_image(
    cloud, make_server, image_running, console, wait_status, rebuild
):
    server = make_server("rebuilt-pod", image=image_running(OLD), flavor="hyper.small")
    console(server, "the old one")
    (port,) = cloud.network.ports(device_id=server.id)
    taken = allocation(cloud, server)
    rebuild(server, image_running(NEW))
    wait_status(server, "ACTIVE", timeout_s=120)
    text = console(server, "end\n")
    assert "nothing of the old one" in text
    assert "the old one" not in text.replace("nothing of the old one", "")
    assert "rebuilt-pod\n" in text.replace("\r", "")
    # Inside and in Neutron: the same port.
    assert f"inet {port.fixed_ips[0]['ip_address']}/" in text
    assert f"link/ether {port.mac_address}" in text
    (after,) = cloud.network.ports(device_id=server.id)
    assert (after.id, after.fixed_ips) == (port.id, port.fixed_ips)
    assert allocation(cloud, server) == taken


def test_a_server_in_error_after_a_bad_image_is_rebuilt_with_a_good_one(
    cloud, make_server, image_running, upload, tmp_path, console, wait_status, rebuild
):
    noise = tmp_path / "noise"
    noise.write_bytes(bytes(range(256)) * 1000)
    bad = upload(noise)
    server = make_server(image=image_running(OLD), flavor="hyper.small")
    console(server, "the old one")
    (port,) = cloud.network.ports(device_id=server.id)
    rebuild(server, bad)
    wait_status(server, "ERROR", timeout_s=120)
    assert "cannot be used" in cloud.compute.get_server(server).fault["message"]
    rebuild(server, without_trait(cloud, image_running(NEW)))
    wait_status(server, "ACTIVE", timeout_s=120)
    assert f"inet {port.fixed_ips[0]['ip_address']}/" in console(server, "end\n")


def test_rebuild_with_other_user_data_and_key(cloud, make_server, console, wait_status, rebuild):
    server = make_server()
    console(server, "serving on port 80")
    public = (
        Ed25519PrivateKey.generate()
        .public_key()
        .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    )
    cloud.compute.create_keypair(name="rebuild-test", public_key=public.decode())
    try:
        data = base64.b64encode(MANIFEST.encode()).decode()
        rebuild(server, user_data=data, key_name="rebuild-test")
        wait_status(server, "ACTIVE", timeout_s=120)
        text = console(server, "two says hello")
        wait_for(lambda: "one says hello" in console(server), 30, "the other container")
        assert "serving on port 80" not in text
        assert cloud.compute.get_server(server).key_name == "rebuild-test"
        pod = HyperClient("/run/hyperd/hyperd.sock", 60, 5).pod(server.id)
        assert [c.name for c in pod.spec.containers] == ["one", "two"]
    finally:
        cloud.compute.delete_keypair("rebuild-test")


def test_a_stopped_server_is_stopped_after_a_rebuild_and_starts(
    cloud, make_server, image_running, console, wait_status, rebuild
):
    server = make_server(image=image_running(OLD), flavor="hyper.small")
    console(server, "the old one")
    cloud.compute.stop_server(server)
    wait_status(server, "SHUTOFF")
    rebuild(server, image_running(NEW))
    wait_for(
        lambda: (s := cloud.compute.get_server(server)).status == "SHUTOFF" and not s.task_state,
        120,
        "the rebuild",
    )
    cloud.compute.start_server(server)
    wait_status(server, "ACTIVE")
    console(server, "end\n")


def test_ephemeral_disks_are_not_preserved_and_that_is_refused_before_anything_is_done(
    cloud, make_server, image_running, console, wait_status, rebuild
):
    server = make_server(image=image_running(OLD), flavor="hyper.small")
    console(server, "the old one")
    rebuild(server, preserve_ephemeral=True)
    wait_status(server, "ERROR")
    assert "preserving ephemeral" in cloud.compute.get_server(server).fault["message"]
    assert HyperClient("/run/hyperd/hyperd.sock", 60, 5).pod(server.id).state == "running"
