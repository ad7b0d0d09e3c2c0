"""What a pod is given at its birth, seen inside it: a real hyperd, QEMU and guest, no cloud."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import subprocess
import tarfile
import uuid

import pytest

from nova_hyper.spec.container import Container, Security
from nova_hyper.spec.disk import EphemeralDisk
from nova_hyper.spec.errors import Conflict, InvalidRequest, PodNotFound
from nova_hyper.spec.pod import PodSpec
from nova_hyper.spec.setup import InjectedFile, Setup
from nova_hyper.spec.volume import Medium, Mount, Volume
from tests.functional.archives import remade
from tests.functional.daemon import private, wait_for

HASH = "$6$saltsalt$" + "x" * 86
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me@example.org"
FOREVER = "echo up; trap 'exit 0' TERM; while :; do sleep 0.1; done"
USERS = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001::/home/web:/bin/sh\n",
    "etc/shadow": b"root:*:19000:0:99999:7:::\nweb:!:19000:0:99999:7:::\n",
}


def layer(path, files=USERS, links=()):
    """Write a layer with *files* and links by name to *path*; return its bytes."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o640 if name == "etc/shadow" else 0o644
            file = path.with_name("content")
            file.write_bytes(content)
            with file.open("rb") as stream:
                tar.addfile(entry, stream)
        for name, target in links:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return path.read_bytes()


@pytest.fixture(scope="module")
def hyperd(libvirt, guest, busybox, tmp_path_factory):
    """A hyperd with the images ``busybox``, ``users`` and ``hostile``."""
    place = tmp_path_factory.mktemp("images")
    with private(guest, busybox) as daemon:
        users = remade(busybox, place / "users.tar", top=layer(place / "users"))
        hostile = layer(
            place / "hostile",
            links=(
                ("etc/motd", "../../../../../../outside"),
                ("root", "/../../../../etc/over"),
                ("escape", "/proc/1/root"),
                ("up", "../../../.."),
            ),
        )
        for name, archive in (
            ("users", users),
            ("hostile", remade(busybox, place / "hostile.tar", top=hostile)),
        ):
            daemon.ctl("load", str(archive), "--name", name)
        yield daemon


@pytest.fixture
def make(hyperd):
    """``make(image=..., ...)``: a pod that is ready, and gone after the test."""
    made = []

    def create(image="users", **changes):
        container = Container("main", image, command=("sh", "-c", FOREVER))
        pod_id = str(uuid.uuid4())
        wanted = PodSpec(pod_id, f"s-{pod_id[:8]}", (container,), memory_mib=64)
        made.append(pod_id)
        return hyperd.client.create_pod(dataclasses.replace(wanted, **changes)).spec.id

    yield create
    for pod_id in made:
        with contextlib.suppress(PodNotFound):
            hyperd.client.delete_pod(pod_id)


@pytest.fixture
def sh(hyperd):
    """``sh(pod, script)``: what a shell in the pod prints."""

    def run(pod_id, script, container="main"):
        return hyperd.ctl("exec", "-c", container, pod_id, "sh", "-c", script).stdout

    return run


def injected(path, content=b"hello\n", **more):
    return InjectedFile(path, base64.b64encode(content).decode(), **more)


def everything(content=b"hello\n"):
    return Setup(
        files=(injected("/etc/motd", content), injected("/new/deep/file", mode=0o600)),
        keys=(KEY,),
        password=HASH,
    )


LOOK = "stat -c '%n %a %u %g' {} 2>&1"


def test_files_keys_and_password_are_there_when_the_container_starts(hyperd, make, sh):
    pod = make(root_gib=1)
    done = hyperd.client.setup_pod(pod, everything())
    assert (done.keys, done.password) == (True, True)
    hyperd.client.start_pod(pod)
    assert sh(pod, "cat /etc/motd /new/deep/file") == "hello\nhello\n"
    assert sh(pod, LOOK.format("/etc/motd /new /new/deep /new/deep/file")) == (
        "/etc/motd 644 0 0\n/new 755 0 0\n/new/deep 755 0 0\n/new/deep/file 600 0 0\n"
    )
    assert sh(pod, "cat /root/.ssh/authorized_keys") == f"{KEY}\n"
    assert sh(pod, LOOK.format("/root/.ssh /root/.ssh/authorized_keys")) == (
        "/root/.ssh 700 0 0\n/root/.ssh/authorized_keys 600 0 0\n"
    )
    root, web = sh(pod, "cat /etc/shadow").splitlines()
    fields = root.split(":")
    assert (fields[1], fields[3:]) == (HASH, ["0", "99999", "7", "", "", ""])
    assert int(fields[2]) > 20000
    assert web == "web:!:19000:0:99999:7:::"
    assert sh(pod, LOOK.format("/etc/shadow")) == "/etc/shadow 640 0 0\n"
    assert sh(pod, "ls -A /etc").count("shadow") == 1


def test_on_a_disk_they_are_given_once_and_survive_even_a_kill(hyperd, make, sh):
    pod = make(root_gib=1)
    hyperd.client.setup_pod(pod, everything())
    # Nothing of the guest is flushed here that was not before.
    hyperd.client.stop_pod(pod, force=True)
    hyperd.client.start_pod(pod)
    assert sh(pod, "cat /etc/motd; cat /root/.ssh/authorized_keys") == f"hello\n{KEY}\n"
    sh(pod, "rm /etc/motd; echo mine >/new/deep/file; sync")
    hyperd.client.stop_pod(pod)
    hyperd.client.start_pod(pod)
    assert sh(pod, "ls /etc/motd 2>&1; cat /new/deep/file") == (
        "ls: /etc/motd: No such file or directory\nmine\n"
    )
    assert not (hyperd.state / "pods" / pod / "setup.json").exists()


def test_in_memory_they_are_given_again_at_each_boot(hyperd, make, sh):
    pod = make()
    hyperd.client.setup_pod(pod, everything())
    hyperd.client.start_pod(pod)
    hyperd.client.setup_pod(pod, Setup(password=HASH.replace("x", "y")))
    hyperd.kill()
    hyperd.start()
    hyperd.client.stop_pod(pod)
    hyperd.client.start_pod(pod)
    assert sh(pod, "cat /etc/motd; cat /root/.ssh/authorized_keys") == f"hello\n{KEY}\n"
    assert HASH.replace("x", "y") in sh(pod, "cat /etc/shadow")
    kept = hyperd.state / "pods" / pod / "setup.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    hyperd.client.delete_pod(pod)
    assert not kept.exists()


def test_a_running_container_gets_a_new_password(hyperd, make, sh):
    pod = make(root_gib=1)
    hyperd.client.start_pod(pod)
    sh(pod, "echo more:x:1:::::: >>/etc/shadow")
    done = hyperd.client.setup_pod(pod, Setup(user="web", password=HASH))
    assert (done.keys, done.password) == (False, True)
    assert sh(pod, "grep -c . /etc/shadow; grep ^web /etc/shadow | cut -d: -f2") == f"3\n{HASH}\n"
    hyperd.client.pause_pod(pod)
    with pytest.raises(Conflict, match="paused"):
        hyperd.client.setup_pod(pod, Setup(password=HASH))
    hyperd.client.unpause_pod(pod)
    hyperd.client.stop_pod(pod)
    with pytest.raises(Conflict, match="stopped"):
        hyperd.client.setup_pod(pod, Setup(password=HASH))


def test_an_image_without_users_gets_files_only(hyperd, make, sh):
    pod = make("busybox")
    sh_before = Setup(files=(injected("/file"),), user="nobody-here", keys=(KEY,), password=HASH)
    done = hyperd.client.setup_pod(pod, sh_before)
    assert (done.keys, done.password) == (False, False)
    hyperd.client.start_pod(pod)
    assert sh(pod, "cat /file") == "hello\n"


def test_another_user_gets_keys_at_home(hyperd, make, sh):
    pod = make()
    assert hyperd.client.setup_pod(pod, Setup(user="web", keys=(KEY, KEY))).keys
    hyperd.client.setup_pod(pod, Setup(user="web", keys=(KEY,)))
    hyperd.client.start_pod(pod)
    assert sh(pod, "cat /home/web/.ssh/authorized_keys") == f"{KEY}\n"
    assert sh(pod, LOOK.format("/home/web /home/web/.ssh /home/web/.ssh/authorized_keys")) == (
        "/home/web 700 1000 1001\n/home/web/.ssh 700 1000 1001\n"
        "/home/web/.ssh/authorized_keys 600 1000 1001\n"
    )


def test_no_link_of_a_hostile_image_leads_out_of_its_root(hyperd, make, sh):
    pod = make("hostile")
    setup = Setup(
        files=(injected("/etc/motd"), injected("/up/tmp/inside"), injected("/root/file")),
        keys=(KEY,),
        password=HASH,
    )
    # /root leads to a directory that is not there, in the container: that is an error, told so.
    with pytest.raises(InvalidRequest, match="root"):
        hyperd.client.setup_pod(pod, setup)
    with pytest.raises(InvalidRequest):
        hyperd.client.setup_pod(pod, Setup(files=(injected("/escape/file"),)))
    done = hyperd.client.setup_pod(
        pod, Setup(files=(injected("/etc/motd"), injected("/up/tmp/inside")), password=HASH)
    )
    assert done.password
    hyperd.client.start_pod(pod)
    # The link gave way to the file; what leads up ends at the container's own root.
    assert sh(
        pod, "cat /etc/motd; readlink /etc/motd; cat /tmp/inside; ls /outside 2>&1 || true"
    ) == ("hello\nhello\nls: /outside: No such file or directory\n")


def test_all_containers_but_init_containers_are_given_it(hyperd, make, sh):
    command = ("sh", "-c", FOREVER)
    sealed = Security(read_only_root=True)
    pod = make(
        containers=(
            Container("one", "users", command=command, security=sealed),
            Container("two", "busybox", command=command),
        ),
        init_containers=(
            Container("init", "users", command=("sh", "-c", "test ! -e /file && echo none")),
        ),
        memory_mib=128,
        root_gib=1,
    )
    setup = Setup(files=(injected("/file"),), keys=(KEY,), password=HASH)
    assert hyperd.client.setup_pod(pod, setup).keys
    hyperd.client.start_pod(pod)
    wait_for(lambda: hyperd.ctl("logs", "-c", "two", pod).stdout, what="the second container")
    assert hyperd.ctl("logs", "-c", "init", pod).stdout == "none\n"
    assert sh(pod, "cat /file; cat /root/.ssh/authorized_keys", "one") == f"hello\n{KEY}\n"
    assert sh(pod, "cat /file", "two") == "hello\n"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/etc/hosts", "makes it itself"),
        ("/proc/x", "cannot be injected at"),
        ("/", "cannot be injected at"),
        ("/a/../b", "absolute path"),
        ("/mnt/x", "would hide it"),
        ("/data/x", "would hide it"),
        ("/etc", "is a directory|Is a directory|not empty"),
    ],
)
def test_a_file_that_would_not_be_there_is_refused(hyperd, make, path, words):
    mounted = Container(
        "main", "users", command=("sh", "-c", FOREVER), mounts=(Mount("data", "/data"),)
    )
    pod = make(
        containers=(mounted,),
        volumes=(Volume("data", Medium.MEMORY),),
        ephemerals=(EphemeralDisk(1),),
    )
    with pytest.raises(InvalidRequest, match=words):
        hyperd.client.setup_pod(pod, Setup(files=(injected(path),)))


def test_the_hostname_may_have_a_domain(hyperd, make, sh):
    pod = make("busybox", hostname="web.example.org")
    hyperd.client.start_pod(pod)
    assert sh(pod, "hostname; hostname -f; hostname -s") == (
        "web.example.org\nweb.example.org\nweb\n"
    )


def drive(tmp_path, **files):
    """An image of a config drive, as Nova makes it."""
    tree = tmp_path / f"drive-{uuid.uuid4().hex[:6]}"
    (tree / "openstack/latest").mkdir(parents=True)
    for name, content in files.items():
        (tree / "openstack/latest" / name).write_text(content)
    image = tmp_path / f"{tree.name}.iso"
    subprocess.run(
        [
            *("genisoimage", "-o", image, "-ldots", "-allow-lowercase", "-allow-multidot", "-l"),
            *("-quiet", "-J", "-r", "-V", "config-2", tree),
        ],
        check=True,
    )
    return image.read_bytes()


def test_a_config_drive_is_mounted_and_goes_with_the_pod(hyperd, make, sh, tmp_path):
    pod_id = str(uuid.uuid4())
    data = {"meta_data.json": json.dumps({"uuid": pod_id}), "user_data": "hello"}
    hyperd.client.store_config_drive(pod_id, drive(tmp_path, **data))
    pod = make(id=pod_id, config_drive=True, ephemerals=(EphemeralDisk(1),), root_gib=1)
    hyperd.client.start_pod(pod)
    for _ in range(2):
        latest = "/mnt/config/openstack/latest"
        assert sh(pod, f"ls {latest}; cat {latest}/user_data") == (
            "meta_data.json\nuser_data\nhello"
        )
        assert json.loads(sh(pod, f"cat {latest}/meta_data.json")) == {"uuid": pod_id}
        assert "Read-only" in sh(pod, "touch /mnt/config/x 2>&1 || true")
        # Block devices have their label behind the first 32 KiB (ECMA-119, 8.4).
        device = "/dev/disk/by-label/config-2"
        read = f"dd if={device} bs=1 skip=32808 count=8 2>/dev/null; echo; readlink -f {device}"
        label, path = sh(pod, read).split()
        assert (label, path[:7]) == ("config-2", "/dev/vd")
        hyperd.client.stop_pod(pod)
        hyperd.client.start_pod(pod)
    hyperd.client.delete_pod(pod)
    assert not (hyperd.state / "pods" / pod).exists()


def test_a_config_drive_that_is_none_or_of_no_pod_is_not_kept(hyperd, make, tmp_path):
    pod_id = str(uuid.uuid4())
    directory = hyperd.state / "pods" / pod_id
    with pytest.raises(InvalidRequest, match="iso9660"):
        hyperd.client.store_config_drive(pod_id, b"no image")
    assert not directory.exists()
    with pytest.raises(InvalidRequest, match="64 MiB"):
        hyperd.client.store_config_drive(pod_id, bytes((64 << 20) + 1))
    assert not directory.exists()
    with pytest.raises(InvalidRequest, match="store it before"):
        make(id=pod_id, config_drive=True)
    assert not directory.exists()
    for forget in (
        lambda: hyperd.client.delete_pod(pod_id),
        lambda: (hyperd.kill(), hyperd.start()),
    ):
        hyperd.client.store_config_drive(pod_id, drive(tmp_path))
        assert directory.exists()
        with contextlib.suppress(PodNotFound):
            forget()
        assert not directory.exists()
