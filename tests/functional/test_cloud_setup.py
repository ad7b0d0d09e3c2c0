"""What a server is given at its birth, as its user asks for it and as it is seen in the pod."""

from __future__ import annotations

import base64
import json
import tarfile
import time
import uuid

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from oslo_utils import secretutils

from nova_hyper.client import HyperClient
from tests.functional import archives

pytestmark = pytest.mark.usefixtures("no_leaks")

SERVICE = "http://169.254.169.254/openstack"
# The last microversion with injected files.
PERSONALITY = "2.56"
WAIT = "echo up; trap 'exit 0' TERM; while :; do sleep 0.1; done"
SHADOW = "root:*:19000:0:99999:7:::\nweb:!:19000:0:99999:7:::\n"


@pytest.fixture
def hyperd():
    return HyperClient("/run/hyperd/hyperd.sock", 60, 5)


@pytest.fixture
def sh(hyperd):
    """``sh(server, script)``: what a shell in the server's pod prints."""

    def run(server, script, container=None):
        with hyperd.exec(server.id, ["sh", "-c", script], container=container) as session:
            return b"".join(data for _channel, data in session).decode()

    return run


@pytest.fixture
def image(busybox, upload, tmp_path):
    """The name of an image that has root in ``/etc/shadow``, and waits."""
    shadow = tmp_path / "shadow"
    shadow.write_text(SHADOW)
    with tarfile.open(tmp_path / "layer", "w") as tar:
        entry = tar.gettarinfo(shadow, "etc/shadow")
        entry.mode, entry.uid, entry.gid, entry.uname, entry.gname = 0o640, 0, 0, "", ""
        with shadow.open("rb") as file:
            tar.addfile(entry, file)
    top = (tmp_path / "layer").read_bytes()

    def command(config):
        config["config"]["Cmd"] = ["sh", "-c", WAIT]

    return upload(archives.remade(busybox, tmp_path / "users.tar", command, top))


@pytest.fixture
def key(cloud):
    """A key pair in Nova."""
    public = Ed25519PrivateKey.generate().public_key()
    text = public.public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    ).decode()
    made = cloud.compute.create_keypair(name=f"test-{uuid.uuid4().hex[:8]}", public_key=text)
    yield made
    cloud.compute.delete_keypair(made)


@pytest.fixture
def ask(cloud, no_leaks):
    """``ask(image, ..., version=...)``: a server by the API's own words, gone after the test."""
    made = []

    def make(image, *, flavor="hyper.nano", version=PERSONALITY, port=None, **body):
        server = {
            "name": f"test-{uuid.uuid4().hex[:8]}",
            "imageRef": cloud.image.find_image(image, ignore_missing=False).id,
            "flavorRef": cloud.compute.find_flavor(flavor, ignore_missing=False).id,
            "networks": [
                {"uuid": cloud.network.find_network("private").id, **(port or {})},
            ],
            **body,
        }
        answer = cloud.compute.post("/servers", json={"server": server}, microversion=version)
        assert answer.status_code == 202, answer.text
        found = cloud.compute.get_server(answer.json()["server"]["id"])
        made.append(found)
        found = cloud.compute.wait_for_server(found, wait=120, interval=0.2)
        return found, answer.json()["server"].get("adminPass")

    yield make
    for server in made:
        cloud.compute.delete_server(server, ignore_missing=True)
    for server in made:
        cloud.compute.wait_for_delete(server, interval=0.2, wait=90)


def encoded(data):
    return base64.b64encode(data).decode()


def hash_of_root(sh, server):
    return sh(server, "grep ^root: /etc/shadow | cut -d: -f2").strip()


def is_hash_of(password, text):
    return text.startswith("$6$") and secretutils.crypt_password(password, text) == text


def test_files_key_pair_and_password_are_there_from_the_start(
    cloud, ask, image, key, sh, wait_status
):
    files = [
        {"path": "/etc/motd", "contents": encoded(b"hello\0\xff\n")},
        {"path": "/new/directory/file", "contents": encoded(b"deep\n")},
    ]
    server, password = ask(image, personality=files, key_name=key.name)
    assert sh(server, "base64 /etc/motd; cat /new/directory/file") == (
        encoded(b"hello\0\xff\n") + "\ndeep\n"
    )
    assert sh(server, "stat -c '%a %u %g' /etc/motd") == "644 0 0\n"
    keys = sh(server, "cat /root/.ssh/authorized_keys")
    assert keys.split()[:2] == key.public_key.split()[:2]
    assert sh(server, "stat -c '%a %u' /root/.ssh /root/.ssh/authorized_keys") == "700 0\n600 0\n"
    assert password and is_hash_of(password, hash_of_root(sh, server))
    assert "web:!:19000:0:99999:7:::\n" in sh(server, "cat /etc/shadow")

    # Its files are in memory, which ends here: it is given them again.
    cloud.compute.stop_server(server)
    wait_status(server, "SHUTOFF")
    cloud.compute.start_server(server)
    wait_status(server, "ACTIVE")
    assert sh(server, "cat /new/directory/file; cat /root/.ssh/authorized_keys") == f"deep\n{keys}"
    assert is_hash_of(password, hash_of_root(sh, server))


def test_on_a_disk_what_the_user_changes_stays(cloud, ask, image, sh, wait_status):
    files = [{"path": "/etc/motd", "contents": encoded(b"hello\n")}]
    server, _ = ask(image, flavor="hyper.small", personality=files)
    # At once, before the guest has flushed anything by itself.
    cloud.compute.reboot_server(server, "HARD")
    wait_status(server, "ACTIVE")
    assert sh(server, "cat /etc/motd") == "hello\n"
    sh(server, "echo mine >/etc/motd; sync")
    cloud.compute.reboot_server(server, "SOFT")
    wait_status(server, "ACTIVE")
    assert sh(server, "cat /etc/motd") == "mine\n"


def test_a_file_that_cannot_be_injected_is_the_servers_fault(cloud, image, wait_status):
    body = {
        "name": f"test-{uuid.uuid4().hex[:8]}",
        "imageRef": cloud.image.find_image(image).id,
        "flavorRef": cloud.compute.find_flavor("hyper.nano").id,
        "networks": [{"uuid": cloud.network.find_network("private").id}],
        "personality": [{"path": "/etc/hosts", "contents": encoded(b"x")}],
    }
    answer = cloud.compute.post("/servers", json={"server": body}, microversion=PERSONALITY)
    server = cloud.compute.get_server(answer.json()["server"]["id"])
    try:
        wait_status(server, "ERROR", timeout_s=150)
        fault = cloud.compute.get_server(server).fault["message"]
        assert "/etc/hosts cannot be injected" in fault
    finally:
        cloud.compute.delete_server(server)
        cloud.compute.wait_for_delete(server, interval=0.2, wait=90)


def change_password(cloud, server, password):
    return cloud.compute.post(
        f"/servers/{server.id}/action",
        json={"changePassword": {"adminPass": password}},
        microversion="2.56",
    )


def settled(cloud, server):
    while cloud.compute.get_server(server).task_state is not None:
        time.sleep(0.1)


def test_the_password_of_a_running_server_is_changed(cloud, make_server, image, console, sh):
    server = make_server(image=image)
    console(server, "up")
    assert change_password(cloud, server, "n3w s€cret").status_code == 202
    settled(cloud, server)
    assert is_hash_of("n3w s€cret", hash_of_root(sh, server))
    assert sh(server, "cat /proc/1/comm").strip() == "sh", "the container runs on"


def test_an_image_without_a_shadow_file_does_not_support_it(cloud, make_server, console):
    server = make_server()
    console(server)
    refused = change_password(cloud, server, "secret")
    assert refused.status_code == 409, refused.text
    assert cloud.compute.get_server(server).status == "ACTIVE"


def test_a_config_drive_is_mounted_and_kept(cloud, ask, image, key, sh, wait_status):
    server, password = ask(
        image,
        config_drive=True,
        key_name=key.name,
        metadata={"role": "web"},
        user_data=encoded(b"#!/bin/sh\n"),
        personality=[{"path": "/etc/motd", "contents": encoded(b"hello\n")}],
    )

    def check():
        metadata = json.loads(sh(server, "cat /mnt/config/openstack/latest/meta_data.json"))
        assert metadata["uuid"] == server.id
        assert metadata["meta"] == {"role": "web"}
        assert list(metadata["public_keys"]) == [key.name]
        assert "admin_pass" not in metadata
        (file,) = metadata["files"]
        assert sh(server, f"cat /mnt/config/openstack{file['content_path']}") == "hello\n"
        assert sh(server, "cat /mnt/config/openstack/latest/user_data") == "#!/bin/sh\n"
        everything = sh(server, "grep -r . /mnt/config")
        assert password not in everything
        assert "Read-only" in sh(server, "touch /mnt/config/x 2>&1 || true")
        device = "/dev/disk/by-label/config-2"
        assert sh(server, f"dd if={device} bs=1 skip=32808 count=8 2>/dev/null") == "config-2"

    assert cloud.compute.get_server(server).has_config_drive
    check()
    cloud.compute.reboot_server(server, "HARD")
    wait_status(server, "ACTIVE")
    check()


def fetched(sh, server, path, timeout_s=60):
    """What the metadata service gives to the pod; its proxy may be a moment late."""
    deadline = time.monotonic() + timeout_s
    while True:
        # Not "wget -T": Debian's static busybox 1.35 crashes with it.
        text = sh(server, f"timeout 10 wget -q -O - {SERVICE}/{path} 2>&1 || echo failed")
        if not text.endswith("failed\n"):
            return text
        assert time.monotonic() < deadline, f"no metadata: {text}"
        time.sleep(1)


def test_a_pod_reaches_the_metadata_service(cloud, ask, image, key, sh):
    server, _ = ask(
        image, key_name=key.name, metadata={"role": "web"}, user_data=encoded(b"data\n")
    )
    metadata = json.loads(fetched(sh, server, "latest/meta_data.json"))
    assert metadata["uuid"] == server.id
    assert metadata["meta"] == {"role": "web"}
    assert metadata["public_keys"][key.name].split()[:2] == key.public_key.split()[:2]
    assert fetched(sh, server, "latest/user_data") == "data\n"
    assert "169.254.169.254 via" in sh(server, "ip route")


def test_a_tagged_interface_is_where_the_metadata_say(cloud, ask, image, sh):
    server, _ = ask(image, port={"tag": "storage"}, config_drive=True)
    (port,) = cloud.network.ports(device_id=server.id)
    (device,) = json.loads(fetched(sh, server, "latest/meta_data.json"))["devices"]
    assert (device["type"], device["bus"], device["tags"]) == ("nic", "pci", ["storage"])
    assert device["mac"] == port.mac_address
    place = sh(server, "readlink -f /sys/class/net/eth0/device").strip()
    assert f"/{device['address']}/" in f"{place}/"
    drive = json.loads(sh(server, "cat /mnt/config/openstack/latest/meta_data.json"))
    assert drive["devices"] == [device]


def test_the_hostname_is_the_servers(ask, image, sh):
    server, _ = ask(image, version="2.94", hostname="web.example.org")
    assert sh(server, "hostname; hostname -f; hostname -s") == (
        "web.example.org\nweb.example.org\nweb\n"
    )


def test_all_containers_of_a_manifest_but_init_containers_are_given_it(ask, image, key, sh):
    manifest = f"""\
apiVersion: v1
kind: Pod
spec:
  initContainers:
  - {{name: init, image: 'glance://.', command: [sh, -c, 'test ! -e /etc/motd']}}
  containers:
  - {{name: one, image: 'glance://.', command: [sh, -c, "{WAIT}"]}}
  - {{name: two, image: 'glance://.', command: [sh, -c, "{WAIT}"]}}
"""
    server, password = ask(
        image,
        flavor="hyper.small",
        key_name=key.name,
        user_data=encoded(manifest.encode()),
        personality=[{"path": "/etc/motd", "contents": encoded(b"hello\n")}],
    )
    for name in ("one", "two"):
        assert sh(server, "cat /etc/motd", name) == "hello\n"
        keys = sh(server, "cat /root/.ssh/authorized_keys", name)
        assert keys.split()[:2] == key.public_key.split()[:2]
        root = sh(server, "grep ^root: /etc/shadow | cut -d: -f2", name).strip()
        assert is_hash_of(password, root)
