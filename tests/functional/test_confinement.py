"""Hostile images and guests meet a real hyperd, libvirt and QEMU: what they do not reach."""

from __future__ import annotations

import gzip
import io
import os
import pwd
import signal
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest

from tests.functional.archives import remade
from tests.functional.daemon import private, qemu_processes, wait_for

MIB = 1 << 20
DEVICES = (("sda", tarfile.BLKTYPE, 8, 0), ("mem", tarfile.CHRTYPE, 1, 1))
ODD_NAMES = (b"new\nline", b"\xff\xfe", b"caf\xe9", "é".encode(), b"tab\t", b" ", b"-rf", b"$(id)")


@pytest.fixture(scope="module")
def hyperd(libvirt, guest, busybox):
    """A hyperd with the image ``busybox``; nothing of it is left after."""
    with private(guest, busybox) as daemon:
        yield daemon


def image_files(daemon):
    """Return the names of all files of its image store."""
    return {path.name for path in (daemon.state / "images").rglob("*") if path.is_file()}


def status(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def workers(daemon):
    """Return the pids of the processes in which *daemon* reads images."""
    children = Path(f"/proc/{daemon.pid}/task").glob("*/children")
    pids = [pid for each in children for pid in each.read_text().split()]
    return [pid for pid in pids if b"image.worker" in read(f"/proc/{pid}/cmdline")]


def read(path):
    """Return what a file has, nothing where it is that of a process that has ended."""
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


# Images


def tar_of(name, content):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def bomb(path):
    """A layer of 64 MiB of zeros, again and again: 80 GiB in 80 MB, and what comes is more."""
    tar = tar_of("zeros", b"")
    header = bytearray(tar[:512])
    header[124:136] = b"\x80" + (1 << 40).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    layer = gzip.compress(bytes(header)) + gzip.compress(bytes(64 * MIB), 1) * 8
    path.write_bytes(tar_of("layer.tar", layer))


def nested(path):
    path.write_bytes(tar_of("manifest.json", b"[" * 100_000))


def huge_document(path):
    with path.open("wb") as file:
        header = bytearray(tar_of("manifest.json", b"x" * (100 * MIB))[:512])
        file.write(header + b'{"a":"' + b"x" * (100 * MIB - 6))


def cut(path):
    path.write_bytes(tar_of("layer.tar", os.urandom(MIB))[: MIB // 2])


HOSTILE = {
    "a decompression bomb": (bomb, "the image unpacks to more than 64 GiB; raise [image]"),
    "JSON nested 100,000 deep": (nested, "manifest.json is not valid JSON"),
    "a document of 100 MB": (huge_document, "it is a JSON document of more than 4 MiB"),
    "half an archive": (cut, "the archive is truncated"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_image_is_refused_in_one_line_and_leaves_nothing(kind, hyperd, tmp_path):
    make, words = HOSTILE[kind]
    make(tmp_path / "image.tar")
    before = image_files(hyperd)
    memory = hyperd.rss_kib()
    done = hyperd.ctl("load", str(tmp_path / "image.tar"), check=False)
    assert done.returncode != 0
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert image_files(hyperd) == before
    assert workers(hyperd) == []
    assert hyperd.rss_kib() < memory + 16 * 1024


def test_an_import_that_is_killed_is_said_and_can_be_repeated(hyperd, busybox, tmp_path):
    archive = tmp_path / "large.tar"
    with tarfile.open(busybox) as small, tarfile.open(archive, "w") as large:
        junk = tarfile.TarInfo("first.tar")
        content = tar_of("random", os.urandom(192 * MIB))
        junk.size = len(content)
        large.addfile(junk, io.BytesIO(content))
        for member in small:
            large.addfile(member, small.extractfile(member) if member.isreg() else None)
    before = image_files(hyperd)
    results = []

    def load():
        results.append(hyperd.ctl("load", str(archive), "--name", "large", check=False))

    thread = threading.Thread(target=load)
    thread.start()
    (pid,) = wait_for(
        lambda: [p for p in workers(hyperd) if b"Seccomp:\t2" in read(f"/proc/{p}/status")],
        what="an import",
    )
    os.kill(int(pid), signal.SIGKILL)
    thread.join()
    assert results[0].returncode != 0
    assert "the import was killed, perhaps because this host has no memory left" in (
        results[0].stderr
    )
    assert image_files(hyperd) == before
    hyperd.ctl("load", str(archive), "--name", "large")
    hyperd.ctl("rmi", "large")


@pytest.mark.skipif(
    "hyper-import" not in {entry.pw_name for entry in pwd.getpwall()},
    reason="tools/test.sh makes the user hyper-import",
)
def test_images_are_read_by_a_user_that_owns_nothing(hyperd, busybox):
    seen = []
    stop = threading.Event()

    def watch():
        while not stop.is_set():
            for pid in workers(hyperd):
                try:
                    seen.append(status(pid))
                except OSError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(3):
        hyperd.ctl("load", str(busybox), "--name", "again")
    stop.set()
    watcher.join()
    user = str(pwd.getpwnam("hyper-import").pw_uid)
    confined = [each for each in seen if each.get("Seccomp") == "2"]
    assert confined
    for each in confined:
        assert each["Uid"].split() == [user] * 4
        assert each["CapEff"] == "0" * 16


def odd_image(busybox, path):
    """Add a layer with odd names, devices and a setuid file to the image *busybox*."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ODD_NAMES:
            entry = tarfile.TarInfo("odd/" + name.decode("utf-8", "surrogateescape"))
            archive.addfile(entry)
        deep = tarfile.TarInfo("deep/" + "d/" * 256 + "file")
        archive.addfile(deep)
        for name, kind, major, minor in DEVICES:
            entry = tarfile.TarInfo(f"devices/{name}")
            entry.type, entry.devmajor, entry.devminor = kind, major, minor
            archive.addfile(entry)
        setuid = tarfile.TarInfo("su")
        setuid.mode = 0o4755
        archive.addfile(setuid)
        for name, target in (("a", "b"), ("b", "a")):
            entry = tarfile.TarInfo(f"circle/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    remade(busybox, path, top=out.getvalue())


def test_what_is_odd_but_allowed_is_in_the_guest_and_nowhere_on_the_host(
    hyperd, busybox, tmp_path
):
    odd_image(busybox, tmp_path / "odd.tar")
    hyperd.ctl("load", str(tmp_path / "odd.tar"), "--name", "odd")
    script = (
        "cd /odd; for f in *; do printf '%s/' \"$f\"; done | od -An -v -tx1 | tr -d ' \\n'; "
        "echo; find /deep -name file | wc -c; stat -c '%a %n' /su; "
        "stat -c '%F %t:%T' /devices/sda /devices/mem; readlink /circle/a; readlink /circle/b"
    )
    done = hyperd.ctl("run", "--rm", "-m", "64", "odd", "sh", "-c", script)
    names, *rest = done.stdout.splitlines()
    assert set(ODD_NAMES) <= set(bytes.fromhex(names).split(b"/"))
    assert rest == [
        str(len("/deep/" + "d/" * 256 + "file\n")),
        "4755 /su",
        "block special file 8:0",
        "character special file 1:1",
        "b",
        "a",
    ]
    for path in (hyperd.state / "images").rglob("*"):
        assert path.is_dir() or path.is_file()
        assert not path.stat().st_mode & 0o6000


# Guests


@pytest.fixture(scope="module")
def running(hyperd):
    """The pid of the QEMU of a pod that runs."""
    hyperd.ctl("run", "-d", "--name", "running", "-m", "64", "busybox", "sleep", "1000")
    (pid,) = qemu_processes(hyperd.prefix)
    return int(pid)


def test_qemu_runs_without_privileges_and_in_a_sandbox(running):
    said = status(running)
    assert "0" not in said["Uid"].split()
    assert "0" not in said["Gid"].split()
    assert said["CapEff"] == said["CapPrm"] == said["CapInh"] == said["CapAmb"] == "0" * 16
    assert said["NoNewPrivs"] == "1"
    assert said["Seccomp"] == "2"
    words = read(f"/proc/{running}/cmdline").split(b"\0")
    sandbox = words[words.index(b"-sandbox") + 1].decode().split(",")
    assert sandbox[0] == "on"
    assert {"obsolete=deny", "elevateprivileges=deny", "spawn=deny"} <= set(sandbox)


def test_qemu_sees_its_own_dev_only(running):
    assert os.readlink(f"/proc/{running}/ns/mnt") != os.readlink("/proc/self/ns/mnt")
    devices = {path.name for path in Path(f"/proc/{running}/root/dev").iterdir()}
    assert not devices & {"mem", "kmsg", "sda", "vda", "mapper", "loop-control"}


def test_qemu_has_open_what_its_pod_needs_and_layers_for_reading_only(hyperd, running):
    pod_id = hyperd.json("inspect", "running")["spec"]["id"]
    opened = {}
    for each in Path(f"/proc/{running}/fd").iterdir():
        target = os.readlink(each)
        if target.startswith("/"):
            flags = Path(f"/proc/{running}/fdinfo/{each.name}").read_text()
            opened[target] = int(flags.partition("flags:")[2].split()[0], 8) & os.O_ACCMODE
    layers = [path for path in opened if path.endswith(".squashfs")]
    assert layers
    assert all(opened[path] == os.O_RDONLY for path in layers)
    ours = [path for path in opened if path.startswith(str(hyperd.state)) and path not in layers]
    assert all(f"/pods/{pod_id}/" in path or "/guest/" in path for path in ours), ours


def test_qemus_user_reads_nothing_of_other_pods_and_no_secrets(hyperd, running):
    said = status(running)
    ids = [f"--re{kind.lower()}={said[kind].split()[0]}" for kind in ("Uid", "Gid")]
    secrets = [
        hyperd.state / "images" / "images.json",
        hyperd.state / "images" / "layers",
        hyperd.state / "images" / "tmp",
        hyperd.state / "pods",
        hyperd.state / "events.jsonl",
        hyperd.socket,
    ]
    for path in secrets:
        assert path.exists(), path
        done = subprocess.run(
            ["setpriv", *ids, "--clear-groups", "test", "-r", str(path)], check=False
        )
        assert done.returncode == 1, path
