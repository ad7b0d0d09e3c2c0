"""The process that reads images: what it may do, how it dies, and what its lies do."""

import dataclasses
import io
import os
import pwd
import signal
import threading
import time
import zlib
from pathlib import Path

import pytest

from nova_hyper.daemon.image import import_worker
from nova_hyper.daemon.image.import_worker import ImportWorker, WorkerSettings
from nova_hyper.daemon.image.limits import Limits
from nova_hyper.daemon.image.store import ImageStore
from nova_hyper.spec.errors import HyperError, ImageInvalid
from tests.unit.daemon.image.archives import LAYER, D, F, docker_archive, sha256, tar_of
from tests.unit.daemon.image.hostile import END, MIB, Endless, header, layer_first

LIMITS = Limits(unpacked=64 * MIB)
QUICK = WorkerSettings(stall_s=1.0)


def open_store(path, workers=None, most=64 * MIB):
    return ImageStore(
        path / "images", max_image_bytes=most, max_layers=16, arch="x86_64", workers=workers
    )


def leftovers(path):
    found = {each.name for each in (path / "images").rglob("*") if each.is_file()}
    return found - {"images.json", "leases.json"}


@pytest.fixture
def worker(tmp_path):
    made = ImportWorker(WorkerSettings(), tmp_path, LIMITS)
    yield made
    made.close()


def status(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


# What it may do


def test_it_has_no_privileges_no_network_and_no_files(worker, tmp_path):
    said = status(worker.pid)
    assert said["CapEff"] == said["CapPrm"] == said["CapBnd"] == said["CapAmb"] == "0" * 16
    assert said["NoNewPrivs"] == "1"
    assert said["Seccomp"] == "2"
    process = Path(f"/proc/{worker.pid}")
    assert os.readlink(process / "ns" / "net") != os.readlink("/proc/self/ns/net")
    assert os.readlink(process / "root") == str(tmp_path)
    open_files = {os.readlink(each) for each in (process / "fd").iterdir()}
    assert len(open_files) == 2
    assert "/dev/null" in open_files


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_it_runs_as_its_own_user_or_as_nobody(worker):
    try:
        expected = pwd.getpwnam("hyper-import").pw_uid
    except KeyError:
        expected = 65534
    assert status(worker.pid)["Uid"].split() == [str(expected)] * 4
    assert status(worker.pid)["Groups"].strip() == ""


def test_a_missing_user_is_said_and_the_rest_still_holds(tmp_path, caplog):
    settings = WorkerSettings(user="nobody-has-this-name")
    worker = ImportWorker(settings, tmp_path, LIMITS)
    try:
        assert status(worker.pid)["Uid"].split()[0] not in ("0",)
        assert status(worker.pid)["Seccomp"] == "2"
    finally:
        worker.close()
    if os.geteuid() == 0:
        assert "There is no user nobody-has-this-name ([image] import_user)" in caplog.text


ATTEMPT = """
import ctypes, errno, json, os, socket, sys, threading, time
from nova_hyper.daemon.image import wire
from nova_hyper.daemon.image.confine import Confinement, confine
sock = socket.socket(fileno=int(sys.argv[2]))
to = Confinement(**json.loads(sys.argv[1]))
libc = ctypes.CDLL(None, use_errno=True)
wire.send(sock, {"lost": confine(to)})
wire.receive_with_files(sock)
def outcome(act):
    try:
        act()
    except OSError as exc:
        return errno.errorcode[exc.errno]
    except Exception as exc:
        return type(exc).__name__
    return "done"
def call(name, *args):
    def act():
        if getattr(libc, name)(*args) < 0:
            raise OSError(ctypes.get_errno(), name)
    return act
attempts = {
    "open": lambda: open("/etc/passwd"),
    "list": lambda: os.listdir("/"),
    "socket": lambda: socket.socket(socket.AF_INET),
    "unix socket": lambda: socket.socketpair(),
    "fork": os.fork,
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "kill": lambda: os.kill(1, 0),
    "ptrace": call("ptrace", 16, 1, 0, 0),
    "unshare": call("unshare", 0x10000000),
    "mount": call("mount", b"none", b"/", b"tmpfs", 0, 0),
    "setuid": lambda: os.setuid(0),
    "bpf": call("syscall", 321, 0, 0, 0),
    "io_uring": call("syscall", 425, 1, 0),
    "userfaultfd": call("syscall", 323, 0),
    "keyctl": call("syscall", 250, 0, 0),
    "executable memory": lambda: __import__("mmap").mmap(-1, 4096, prot=7),
    "memory": lambda: bytearray(2 << 30),
    "thread": lambda: [t.start() or t.join() for t in [threading.Thread(target=time.time)]],
}
wire.send(sock, {"done": {name: outcome(act) for name, act in attempts.items()}})
"""


def test_what_it_may_not_do_fails(tmp_path, monkeypatch):
    start = "import sys; sys.path[1:1] = sys.argv.pop(1).split(':'); import mmap\n"
    monkeypatch.setattr(import_worker, "_START", start + ATTEMPT)
    worker = ImportWorker(WorkerSettings(), tmp_path, LIMITS)
    try:
        result = worker.run({"order": "x"}, io.BytesIO(b"").read, LIMITS, None)
    finally:
        worker.close()
    assert result.pop("thread") == "done"
    assert result.pop("memory") == "MemoryError"
    assert set(result.values()) == {"EPERM"}, result


# How it dies


def import_in_thread(store, source):
    """Start an import; return what it raises, later, as a list."""
    caught = []

    def work():
        try:
            store.import_archive(source)
        except HyperError as exc:
            caught.append(exc)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, caught


def worker_of_this_process():
    """Return the pid of the process that reads an image for this one, once it is confined."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                said = status(entry.name)
            except OSError:
                continue
            if said["PPid"] == str(os.getpid()) and said.get("Seccomp") == "2":
                return int(entry.name)
        time.sleep(0.01)
    raise AssertionError("no worker started")


class Held:
    """A stream whose middle is held back until it is released."""

    def __init__(self, data):
        self._data = io.BytesIO(data)
        self._half = len(data) // 2
        self.free = threading.Event()

    def read(self, size):
        if self._data.tell() >= self._half:
            assert self.free.wait(30)
        return self._data.read(min(size, 4096))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGKILL, "the import was killed, perhaps because this host has no memory left"),
        (signal.SIGSEGV, "the image is refused: the program that reads it failed on it"),
        (signal.SIGXCPU, "s of processor time to import; raise [image] import_cpu_seconds"),
    ],
)
def test_a_worker_that_dies_gives_one_sentence_and_leaves_nothing(number, words, tmp_path):
    store = open_store(tmp_path)
    archive = docker_archive([LAYER, tar_of(("big", F, os.urandom(MIB)))])
    source = Held(archive)
    thread, caught = import_in_thread(store, source)
    os.kill(worker_of_this_process(), number)
    source.free.set()
    thread.join(30)
    assert words in caught[0].message
    assert leftovers(tmp_path) == set()
    assert store.import_archive(io.BytesIO(archive))[1]


def test_a_worker_that_is_stuck_is_ended(tmp_path):
    store = open_store(tmp_path, QUICK)
    source = Held(docker_archive([tar_of(("big", F, os.urandom(4 * MIB)))]))
    thread, caught = import_in_thread(store, source)
    pid = worker_of_this_process()
    os.kill(pid, signal.SIGSTOP)
    source.free.set()
    thread.join(30)
    assert "its import made no progress for 1 s" in caught[0].message
    assert not Path(f"/proc/{pid}").exists()
    assert leftovers(tmp_path) == set()


def test_a_sender_that_pauses_is_not_stuck(tmp_path):
    store = open_store(tmp_path, WorkerSettings(stall_s=0.5))
    source = Held(docker_archive([LAYER]))
    thread, caught = import_in_thread(store, source)
    time.sleep(1.2)
    source.free.set()
    thread.join(30)
    assert caught == []
    assert len(store.list()) == 1


def test_more_processor_time_than_allowed_ends_the_import(tmp_path):
    store = open_store(tmp_path, WorkerSettings(cpu_s=1), most=1 << 40)
    packer = zlib.compressobj(1, wbits=31)
    block = packer.compress(header(b"zeros", 1 << 33)) + packer.compress(bytes(64 * MIB))
    block += packer.flush(zlib.Z_FULL_FLUSH)
    # The same compressed zeros again and again: cheap to send, dear to read.
    again = packer.compress(bytes(64 * MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    parts = [block, *[again] * 120]
    source = Endless(layer_first(parts, sum(map(len, parts))))
    with pytest.raises(ImageInvalid, match="takes more than 1 s of processor time"):
        store.import_archive(source)
    assert leftovers(tmp_path) == set()


def test_more_memory_than_allowed_is_said_with_the_option(tmp_path):
    store = open_store(tmp_path, WorkerSettings(memory_mib=256))
    entries = (header(b"%d/" % n + b"n" * 80, kind=b"5") for n in range(900_000))
    source = Endless(layer_first(entries, 900_000 * 512))
    with pytest.raises(ImageInvalid) as caught:
        store.import_archive(source)
    assert caught.value.message == (
        "the image takes more than 256 MiB of memory to import; give it fewer files, or raise "
        "[image] import_memory_mib of hyperd"
    )
    assert leftovers(tmp_path) == set()


def test_a_sender_that_fails_ends_the_worker(tmp_path):
    store = open_store(tmp_path)

    class Broken:
        def read(self, size):
            raise ConnectionResetError("the client went away")

    with pytest.raises(ConnectionResetError):
        store.import_archive(Broken())
    assert leftovers(tmp_path) == set()
    assert not [p for p in Path("/proc").glob("[0-9]*") if _is_child(p)]


def _is_child(process):
    try:
        said = status(process.name)
    except OSError:
        return False
    return said["PPid"] == str(os.getpid()) and said.get("Seccomp") == "2"


def test_a_worker_ends_when_hyperd_does(tmp_path):
    worker = ImportWorker(WorkerSettings(), tmp_path, LIMITS)
    worker._socket.close()
    assert worker._process.wait(20) == 0
    worker.close()


def test_one_worker_serves_a_whole_image(tmp_path, monkeypatch):
    started = []
    start = ImportWorker.__init__

    def counted(self, *args):
        started.append(self)
        start(self, *args)

    monkeypatch.setattr(ImportWorker, "__init__", counted)
    store = open_store(tmp_path)
    # The second layer needs the directories of the first: three orders in all.
    base = tar_of(("srv", D, "", {"mode": 0o700}), ("srv/f", F, ""))
    store.import_archive(io.BytesIO(docker_archive([base, tar_of(("srv/g", F, ""))])))
    assert len(started) == 1


# What it may say

LIAR = """
import json, os, socket, sys, time
sys.path[1:1] = sys.argv.pop(1).split(':')
from nova_hyper.daemon.image import wire
sock = socket.socket(fileno=int(sys.argv[2]))
wire.send(sock, {"lost": []})
order, files = wire.receive_with_files(sock)
def ask(**message):
    wire.send(sock, message)
    return wire.receive_with_files(sock)
LAYER = {"ask": "layer", "what": "w", "compression": "", "diff_id": DIGEST, "blob": DIGEST,
         "tar_size": 1, "size": 4096, "unpacked_size": 1, "entries": 1, "implied": False,
         "opaque": False, "dropped_xattrs": []}
CONFIG = {"architecture": "amd64", "os": "linux", "variant": "", "created": "", "config": {}}
IMAGE = {"id": DIGEST, "names": [], "document": "x", "config": {**CONFIG, "diff_ids": [DIGEST]}}
"""
LIES = {
    "a message of 4 GiB": "sock.sendall(b'\\xff\\xff\\xff\\xff')",
    "a message that is not JSON": "sock.sendall(b'\\0\\0\\0\\x03abc')",
    "a message nested deeply": "sock.sendall(b'\\0\\1\\x86\\xa0' + b'[' * 100000)",
    "a message that is no object": "sock.sendall(b'\\0\\0\\0\\x02[]')",
    "a message that does not end": "sock.sendall(b'\\0\\0\\0\\x09abc'); time.sleep(30)",
    "a message in drips": "[(sock.sendall(b'\\0'), time.sleep(0.3)) for _ in range(90)]",
    "nothing": "time.sleep(30)",
    "an end": "pass",
    "an unknown question": "ask(ask='root password')",
    "no question": "ask()",
    "questions without end": "[ask(ask='known', digest=DIGEST) for _ in range(100)]",
    "a question about a path": "ask(ask='known', digest='sha256:../../../etc/passwd')",
    "a layer without files": "ask(**LAYER)",
    "a layer of another size": "ask(ask='files'); ask(**LAYER)",
    "a layer twice": "ask(ask='files'); ask(**{**LAYER, 'size': 0}); ask(**{**LAYER, 'size': 0})",
    "a layer with a path for its digest": "ask(ask='files'); ask(**{**LAYER, 'diff_id': '../x'})",
    "a layer with half a report": "ask(ask='files'); ask(ask='layer', diff_id=DIGEST)",
    "a layer of negative size": "ask(ask='files'); ask(**{**LAYER, 'entries': -1})",
    "a layer larger than allowed": "ask(ask='files'); "
    "ask(**{**LAYER, 'unpacked_size': 1 << 50, 'size': 0})",
    "an image of nothing": "wire.send(sock, {'done': None}); time.sleep(30)",
    "an image that is a number": "wire.send(sock, {'done': 7}); time.sleep(30)",
    "an image with a path for its id": "wire.send(sock, {'done': {**IMAGE, 'id': '../../x'}})",
    "an image whose document is another one": "wire.send(sock, {'done': IMAGE})",
    "a refusal of a strange kind": "wire.send(sock, {'failed': ['x'], 'message': {'a': 1}})",
}


@pytest.mark.parametrize("lie", LIES)
def test_hyperd_believes_nothing_that_the_worker_says(lie, tmp_path, monkeypatch):
    digest = f"DIGEST = {sha256(b'nothing')!r}\n"
    monkeypatch.setattr(import_worker, "_START", digest + LIAR + LIES[lie])
    store = open_store(tmp_path, QUICK)
    store._limits = dataclasses.replace(LIMITS, members=10)
    with pytest.raises(HyperError) as caught:
        store.import_archive(io.BytesIO(docker_archive([LAYER])))
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300
    assert store.list() == []
    assert leftovers(tmp_path) == set()


def test_what_the_worker_says_of_an_image_is_one_printable_line(tmp_path, monkeypatch):
    words = "wire.send(sock, {'failed': 'image_invalid', 'message': 'a\\nb\\x1b[2J' + 'x' * 9999})"
    monkeypatch.setattr(import_worker, "_START", "DIGEST = ''\n" + LIAR + words)
    with pytest.raises(ImageInvalid) as caught:
        open_store(tmp_path).import_archive(io.BytesIO(docker_archive([LAYER])))
    assert caught.value.message.startswith("a b [2Jxxx")
    assert len(caught.value.message) == 1000


def test_a_worker_that_does_not_start_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(import_worker, "_START", "raise SystemExit(3)")
    with pytest.raises(HyperError, match="the import process does not start: it ended"):
        open_store(tmp_path).import_archive(io.BytesIO(docker_archive([LAYER])))


def test_memory_does_not_grow_with_the_image(tmp_path):
    peaks = []
    for size in (8, 48):
        store = open_store(tmp_path / str(size), most=1 << 30)
        tar = [header(b"big", size * MIB), *([os.urandom(MIB)] * size), END]
        source = _Watched(Endless(layer_first(tar, sum(map(len, tar)))))
        with pytest.raises(ImageInvalid, match="the archive is truncated"):
            store.import_archive(source)
        peaks.append(source.peak_kib)
    assert peaks[1] < peaks[0] * 1.3, peaks


class _Watched:
    """A stream that looks at the worker's memory while it is read."""

    def __init__(self, stream):
        self._stream = stream
        self._pid = 0
        self.peak_kib = 0

    def read(self, size):
        self._pid = self._pid or worker_of_this_process()
        self.peak_kib = int(status(self._pid)["VmHWM"].split()[0])
        return self._stream.read(size)
