"""What every hyperd does for its clients: the real daemon's core, and the fake in memory.

The tests of the driver use the fake; these are what makes that honest.  They run
on the fake itself, on the client with the fake behind a socket, and on the client
with the daemon's own API, pods and image store behind its own server, where only
libvirt and the guests are fakes.
"""

from __future__ import annotations

import dataclasses
import io
import tarfile
import threading
from types import SimpleNamespace

import pytest

from nova_hyper.client import HyperClient, logs
from nova_hyper.daemon.api.app import App
from nova_hyper.daemon.api.handlers import Handlers
from nova_hyper.daemon.api.server import Server
from nova_hyper.daemon.api.stream_handlers import StreamHandlers
from nova_hyper.daemon.api.streams import Streams
from nova_hyper.daemon.image.registry.policy import RegistryPolicy
from nova_hyper.daemon.image.registry.puller import Puller
from nova_hyper.daemon.image.store import ImageStore
from nova_hyper.spec.boot import Boot, BootFileKind
from nova_hyper.spec.console import ConsoleKind
from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import (
    BootFileInUse,
    BootFileInvalid,
    BootFileNotFound,
    Conflict,
    ContainerNotFound,
    DaemonUnavailable,
    GuestFailed,
    ImageInUse,
    ImageInvalid,
    ImageNotFound,
    InvalidRequest,
    PodExists,
    PodNotFound,
    PodPaused,
)
from nova_hyper.spec.event import EventKind
from nova_hyper.spec.nic import Dns, Nic, NicKind, Route
from nova_hyper.spec.pod import PodSpec, PodState
from nova_hyper.spec.setup import InjectedFile, Setup
from nova_hyper.spec.shape import Shape
from nova_hyper.spec.stream import Terminal
from tests.unit import programs
from tests.unit.daemon import fakes
from tests.unit.daemon.core import Core
from tests.unit.daemon.image.archives import LAYER, UPPER, docker_archive
from tests.unit.fake_hyperd import HOST, NOT_AN_ARCHIVE, FakeHyperd
from tests.unit.fake_setup import ISO
from tests.unit.unix_server import UnixServer, api_handler

ARCHIVE = docker_archive([LAYER])
OTHER = docker_archive([LAYER, UPPER])
CPIO = b"070701" + bytes(100)
BZIMAGE = bytes(0x1FE) + b"\x55\xaa\0\0HdrS" + bytes(11) + b"\x01" + bytes(512)
NIC = Nic(
    mac="fa:16:3e:00:00:01",
    kind=NicKind.OVS,
    bridge="br-int",
    interface_id="p1",
    mtu=1442,
    offload=False,
    addresses=("10.0.0.5/24",),
    routes=(Route("0.0.0.0/0", "10.0.0.1"),),
)


STATS = {
    **{"uptime_ns": 4, "cpu_ns": 3, "mem_total_kib": 2, "mem_available_kib": 1, "nics": []},
    "containers": [
        {
            **{"name": "main", "cpu_ns": 1, "memory_bytes": 2, "memory_max": None, "pids": 2},
            **{"memory_peak": 3, "oom_kills": 0, "read_bytes": 0, "write_bytes": 0},
        }
    ],
}
TOP = {
    "processes": [
        {
            **{"pid": 1, "ppid": 0, "user": "root", "rss_kib": 5, "cpu_ns": 6, "state": "S"},
            "command": "web",
        }
    ]
}


class Memory:
    """The fake itself."""

    def __init__(self, directory):
        self.fake = FakeHyperd()
        self.hyperd = self.fake

    def serve(self):
        pass

    def log(self, pod_id, container, content):
        self.fake.log(pod_id, container, content)

    def exit(self, pod_id, code):
        self.fake.exit(pod_id, code)

    def write(self, pod_id, data):
        self.fake.write(pod_id, data)

    def close(self):
        pass


class Socket(Memory):
    """The client, and the fake behind a socket."""

    def __init__(self, directory):
        super().__init__(directory)
        self.server = UnixServer(directory / "s", api_handler(self.fake))
        self.hyperd = HyperClient(str(directory / "s"), request_timeout=5, connect_timeout=0)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Daemon:
    """The client, and the daemon behind its own server; hypervisor and guests are fakes."""

    def __init__(self, directory):
        self.files = dict(programs.FILES)
        hypervisor = fakes.FakeHypervisor()
        store = ImageStore(
            directory / "images", max_image_bytes=1 << 30, max_layers=16, arch="amd64"
        )
        parts = SimpleNamespace(
            hypervisor=hypervisor, guests=fakes.FakeGuests(hypervisor), images=store
        )
        self.core = Core(directory, before=parts)
        self.core.monitor.reconcile()
        self.core.monitor.start()
        handlers = Handlers(
            self.core.pods,
            self.core.sessions,
            store,
            self.core.events,
            lambda n: dataclasses.replace(HOST, pods=n),
            self.core.power,
            self.core.boot_files,
            store.usage,
            self.core.consoles,
            self.core.setups,
            self.core.reshaping,
            self.core.restore_points,
            self.core.rescues,
        )
        puller = Puller(store, RegistryPolicy(), "amd64", 1 << 30)
        self.streams = Streams(8)
        app = App(
            handlers,
            StreamHandlers(self.core.sessions, store, puller, self.core.commits),
            self.streams,
            1 << 20,
        )
        self.server = Server(app, directory / "s", "", threads=4)
        self.server.start()
        self.hyperd = HyperClient(str(directory / "s"), request_timeout=5, connect_timeout=0)

    def serve(self):
        """Have the guests' side of streams played, until the test ends."""
        for agent in self.core.guests.agents.values():
            agent.answers.setdefault("container.signal", {})
            agent.answers.setdefault("pod.stats", STATS)
            agent.answers.setdefault("container.top", TOP)
            threading.Thread(target=self._serve, args=(agent,), daemon=True).start()

    def _serve(self, agent):
        while True:
            programs.serve(agent.streams.get(), self.files)

    def log(self, pod_id, container, content):
        with self.core.repository.log(pod_id).open("ab") as file:
            head = f"2026-01-01T00:00:00.000000000Z {container} stdout F "
            file.write(head.encode() + content + b"\n")

    def exit(self, pod_id, code):
        session = self.core.session(pod_id)
        self.core.agent(pod_id).exit(code)
        session.on_event({"event": "container.exited", "name": "main", "exit_code": code})

    def write(self, pod_id, data):
        with self.core.repository.console(pod_id).open("ab") as file:
            file.write(data)

    def close(self):
        self.core.events.release()
        self.core.consoles.stop()
        self.streams.stop()
        self.server.stop()
        self.core.monitor.stop()


@pytest.fixture(params=[Memory, Socket, Daemon])
def world(request, tmp_path, monkeypatch):
    monkeypatch.setattr("nova_hyper.daemon.pods.service._CUT_S", 0.01)
    monkeypatch.setattr("nova_hyper.daemon.api.stream_handlers._FOLLOW_S", 0.02)
    monkeypatch.setattr("nova_hyper.daemon.pods.sandbox._POWER_OFF_S", 0.05)
    made = request.param(tmp_path)
    yield made
    made.close()


@pytest.fixture
def hyperd(world):
    return world.hyperd


@pytest.fixture
def spec(hyperd):
    hyperd.import_image("glance:1", [ARCHIVE])
    return PodSpec(
        id="d7a5e1f0-0000-4000-8000-000000000001",
        name="instance-00000001",
        containers=(Container("main", "glance:1"),),
        nics=(NIC,),
        dns=Dns(("10.0.0.2",)),
        labels={"creator": "nova"},
    )


def test_tells_version_and_host(hyperd):
    assert hyperd.version().api == "1.0"
    assert hyperd.host().cpu.arch == "x86_64"
    assert hyperd.openapi()["openapi"].startswith("3")


def test_an_imported_image_is_found_by_id_and_by_name(hyperd):
    image = hyperd.import_image("glance:a/b:c d", iter([ARCHIVE[:99], b"", ARCHIVE[99:]]))
    assert hyperd.image(image.id) == image == hyperd.image("glance:a/b:c d")
    assert hyperd.images() == (image,)


def test_one_content_under_two_names_is_one_image(hyperd):
    hyperd.import_image("one", [ARCHIVE])
    hyperd.import_image("two", [ARCHIVE])
    (image,) = hyperd.images()
    assert set(image.names) == {"one", "two"}
    hyperd.delete_image("one")
    assert hyperd.image("two").names == ("two",)


def test_what_is_no_archive_is_refused(hyperd):
    with pytest.raises(ImageInvalid, match="not a docker or OCI archive"):
        hyperd.import_image("bad", [NOT_AN_ARCHIVE])
    assert hyperd.images() == ()


def test_a_deleted_image_is_gone(hyperd):
    image = hyperd.import_image("x", [ARCHIVE])
    hyperd.delete_image("x")
    with pytest.raises(ImageNotFound):
        hyperd.image(image.id)
    with pytest.raises(ImageNotFound):
        hyperd.delete_image("x")


def test_an_image_in_use_stays(hyperd, spec):
    hyperd.create_pod(spec)
    with pytest.raises(ImageInUse):
        hyperd.delete_image("glance:1")
    assert hyperd.image("glance:1")


def test_a_ramdisk_is_kept_once_under_all_its_names(hyperd):
    file = hyperd.import_boot_file("glance:r", BootFileKind.RAMDISK, iter([CPIO[:4], CPIO[4:]]))
    again = hyperd.import_boot_file("mine", BootFileKind.RAMDISK, [CPIO])
    assert again.id == file.id
    assert set(again.names) == {"glance:r", "mine"}
    assert (again.kind, again.format, again.size) == (BootFileKind.RAMDISK, "cpio", len(CPIO))
    assert hyperd.boot_files() == (hyperd.boot_file("mine"),)
    hyperd.delete_boot_file("mine")
    assert hyperd.boot_file(file.id).names == ("glance:r",)
    hyperd.delete_boot_file("glance:r")
    assert hyperd.boot_files() == ()
    with pytest.raises(BootFileNotFound):
        hyperd.delete_boot_file("glance:r")
    with pytest.raises(BootFileNotFound):
        hyperd.boot_file(file.id)


def test_what_does_not_boot_is_refused(hyperd):
    with pytest.raises(BootFileInvalid, match="cpio"):
        hyperd.import_boot_file("bad", BootFileKind.RAMDISK, [NOT_AN_ARCHIVE])
    assert hyperd.boot_files() == ()


def test_what_a_pod_boots_stays(hyperd, spec):
    file = hyperd.import_boot_file("glance:k", BootFileKind.KERNEL, [BZIMAGE])
    hyperd.create_pod(dataclasses.replace(spec, boot=Boot(kernel=file.id)))
    with pytest.raises(BootFileInUse):
        hyperd.delete_boot_file("glance:k")
    with pytest.raises(BootFileInUse):
        hyperd.delete_boot_file(file.id)
    assert hyperd.boot_file("glance:k").id == file.id
    hyperd.delete_pod(spec.id)
    hyperd.delete_boot_file(file.id)


def test_a_created_pod_is_ready_and_has_started_nothing(hyperd, spec):
    pod = hyperd.create_pod(spec)
    assert pod.state is PodState.READY
    assert pod.spec == spec
    assert hyperd.pod(spec.id) == hyperd.pod(spec.name) == pod
    assert hyperd.pods() == (pod,)


def test_creating_again_changes_nothing_and_another_spec_is_refused(hyperd, spec):
    pod = hyperd.create_pod(spec)
    assert hyperd.create_pod(spec) == pod
    other = PodSpec(id=spec.id, name=spec.name, containers=spec.containers, vcpus=2)
    with pytest.raises(PodExists):
        hyperd.create_pod(other)


def test_a_pod_is_given_files_keys_and_a_password_while_it_is_up(world, hyperd, spec):
    setup = Setup((InjectedFile("/etc/motd", "aGVsbG8="),), "root", ("ssh-rsa A",), "$6$s$h")
    hyperd.create_pod(spec)
    world.serve()
    done = hyperd.setup_pod(spec.id, setup)
    assert (done.keys, done.password) == (True, True)
    with pytest.raises(InvalidRequest, match="makes it itself"):
        hyperd.setup_pod(spec.id, Setup((InjectedFile("/etc/hosts", ""),)))
    hyperd.start_pod(spec.id)
    done = hyperd.setup_pod(spec.name, Setup(password="$6$s$g"))
    assert (done.keys, done.password) == (False, True)
    hyperd.pause_pod(spec.id)
    with pytest.raises(PodPaused):
        hyperd.setup_pod(spec.id, setup)
    hyperd.stop_pod(spec.id, force=True)
    with pytest.raises(Conflict):
        hyperd.setup_pod(spec.id, setup)
    with pytest.raises(PodNotFound):
        hyperd.setup_pod("nobody", setup)


def test_a_config_drive_is_stored_before_its_pod_is_made(hyperd, spec):
    wanted = dataclasses.replace(spec, config_drive=True)
    with pytest.raises(InvalidRequest, match="store it before"):
        hyperd.create_pod(wanted)
    with pytest.raises(InvalidRequest, match="iso9660"):
        hyperd.store_config_drive(spec.id, b"none")
    hyperd.store_config_drive(spec.id, ISO)
    assert hyperd.create_pod(wanted).spec.config_drive
    hyperd.delete_pod(spec.id)
    with pytest.raises(InvalidRequest, match="store it before"):
        hyperd.create_pod(wanted)


def test_a_pod_starts_stops_and_starts_again(hyperd, spec):
    hyperd.create_pod(spec)
    assert hyperd.start_pod(spec.id).state is PodState.RUNNING
    assert hyperd.start_pod(spec.id).state is PodState.RUNNING
    assert hyperd.stop_pod(spec.id, grace_s=3).state is PodState.STOPPED
    assert hyperd.stop_pod(spec.id, force=True).state is PodState.STOPPED
    assert hyperd.boot_pod(spec.id).state is PodState.READY
    assert hyperd.start_pod(spec.id).state is PodState.RUNNING


def shaped(spec, **changes):
    return dataclasses.replace(Shape.of(spec), **changes)


def test_a_stopped_pod_takes_another_shape_and_gets_its_own_back(hyperd, spec):
    hyperd.create_pod(spec)
    larger = shaped(spec, vcpus=2, memory_mib=512, root_gib=1, swap_mib=16)
    for call in (
        lambda: hyperd.reshape_pod(spec.id, larger),
        lambda: hyperd.make_restore_point(spec.id),
    ):
        with pytest.raises(Conflict, match="stop it first"):
            call()
    assert hyperd.reshape_pod(spec.id, larger, dry_run=True).spec == spec
    hyperd.stop_pod(spec.id, force=True)
    assert hyperd.make_restore_point(spec.id).spec == spec
    assert hyperd.reshape_pod(spec.name, larger).spec == larger.applied_to(spec)
    assert hyperd.make_restore_point(spec.id).spec.vcpus == 2  # it keeps what it has
    assert hyperd.boot_pod(spec.id).spec.memory_mib == 512
    with pytest.raises(Conflict, match="stop it first"):
        hyperd.restore_pod(spec.id)
    hyperd.stop_pod(spec.id, force=True)
    assert hyperd.restore_pod(spec.id).spec == spec
    assert hyperd.restore_pod(spec.id).spec == spec


def test_what_is_kept_is_dropped_and_there_is_nothing_to_restore(hyperd, spec):
    hyperd.create_pod(spec)
    hyperd.stop_pod(spec.id, force=True)
    hyperd.make_restore_point(spec.id)
    hyperd.reshape_pod(spec.id, shaped(spec, vcpus=3))
    for _ in range(2):
        hyperd.drop_restore_point(spec.id)
    assert hyperd.restore_pod(spec.id).spec.vcpus == 3


@pytest.mark.parametrize("dry_run", [True, False])
def test_disks_do_not_shrink(hyperd, spec, dry_run):
    hyperd.create_pod(dataclasses.replace(spec, root_gib=2))
    hyperd.stop_pod(spec.id, force=True)
    for root_gib in (1, 0):
        with pytest.raises(InvalidRequest, match="smaller"):
            hyperd.reshape_pod(spec.id, shaped(spec, root_gib=root_gib), dry_run=dry_run)
    assert hyperd.pod(spec.id).spec.root_gib == 2
    assert hyperd.start_pod(spec.id).state is PodState.RUNNING


def test_a_pod_that_runs_pauses_and_goes_on(hyperd, spec):
    hyperd.create_pod(spec)
    with pytest.raises(Conflict, match="does not run"):
        hyperd.pause_pod(spec.id)
    with pytest.raises(Conflict, match="not paused"):
        hyperd.unpause_pod(spec.id)
    hyperd.start_pod(spec.id)
    for _ in range(2):
        assert hyperd.pause_pod(spec.id).state is PodState.PAUSED
    for call in (hyperd.start_pod, hyperd.suspend_pod, hyperd.crash_pod):
        with pytest.raises(PodPaused):
            call(spec.id)
    for _ in range(2):
        assert hyperd.unpause_pod(spec.id).state is PodState.RUNNING
    assert [e.kind for e in hyperd.events(2, 5).events] == [EventKind.PAUSED, EventKind.UNPAUSED]


def test_a_pod_that_runs_is_suspended_and_resumes_with_other_nics(hyperd, spec):
    hyperd.create_pod(spec)
    for call in (hyperd.suspend_pod, hyperd.resume_pod):
        with pytest.raises(Conflict):
            call(spec.id)
    hyperd.start_pod(spec.id)
    for _ in range(2):
        pod = hyperd.suspend_pod(spec.id)
        assert (pod.state, pod.qemu_pid) == (PodState.SUSPENDED, None)
    with pytest.raises(Conflict, match="suspended"):
        hyperd.boot_pod(spec.id)
    nic = dataclasses.replace(NIC, bridge="br-other")
    pod = hyperd.resume_pod(spec.id, (nic,), Dns(("10.0.0.9",)), paused=True)
    assert (pod.state, pod.spec.nics) == (PodState.PAUSED, (nic,))
    assert pod.spec.dns.nameservers == ("10.0.0.9",)
    assert hyperd.unpause_pod(spec.id).state is PodState.RUNNING
    hyperd.suspend_pod(spec.id)
    for _ in range(2):
        assert hyperd.resume_pod(spec.id).state is PodState.RUNNING


def test_a_suspended_pod_starts_where_it_was_and_stops_for_good(hyperd, spec):
    hyperd.create_pod(spec)
    hyperd.start_pod(spec.id)
    hyperd.suspend_pod(spec.id)
    assert hyperd.start_pod(spec.id).state is PodState.RUNNING
    hyperd.suspend_pod(spec.id)
    assert hyperd.stop_pod(spec.id).state is PodState.STOPPED
    with pytest.raises(Conflict, match="not suspended"):
        hyperd.resume_pod(spec.id)


def test_a_stopped_pod_is_rescued_with_an_image_and_is_itself_afterwards(hyperd, spec):
    spec = dataclasses.replace(spec, root_gib=1)
    tools = hyperd.import_image("glance:2", [OTHER])
    hyperd.create_pod(spec)
    for call in (hyperd.rescue_pod, hyperd.start_pod, hyperd.rescue_pod):
        if call == hyperd.start_pod:
            call(spec.id)
            continue
        with pytest.raises(Conflict, match="stop it"):
            call(spec.id)
    before = hyperd.stop_pod(spec.id)
    assert hyperd.unrescue_pod(spec.id) == before
    for _ in range(2):
        pod = hyperd.rescue_pod(spec.id, "glance:2")
        assert (pod.state, pod.rescued.spec) == (PodState.STOPPED, spec)
        assert [(c.name, c.image_id) for c in pod.containers] == [("rescue", tools.id)]
    with pytest.raises(ImageNotFound):
        hyperd.rescue_pod(spec.id, "none")
    with pytest.raises(ImageInUse):
        hyperd.delete_image("glance:1")
    assert hyperd.rescue_pod(spec.id).containers[0].image == "glance:1"
    hyperd.stop_pod(spec.id)
    for _ in range(2):
        pod = hyperd.unrescue_pod(spec.id)
        assert (pod.state, pod.spec, pod.rescued) == (PodState.STOPPED, spec, None)
        assert pod.containers == before.containers


def test_a_pod_without_a_disk_is_not_rescued(hyperd, spec):
    hyperd.create_pod(spec)
    hyperd.stop_pod(spec.id)
    with pytest.raises(Conflict, match="has its root in memory"):
        hyperd.rescue_pod(spec.id)


def test_a_pod_that_is_made_to_panic_crashes(hyperd, spec):
    hyperd.create_pod(spec)
    hyperd.start_pod(spec.id)
    last = hyperd.events(-1, 0).last
    hyperd.crash_pod(spec.id)
    # libvirt would tell; nobody does here.
    hyperd.stop_pod(spec.id, force=True)
    with pytest.raises(Conflict, match="does not run"):
        hyperd.crash_pod(spec.id)
    assert hyperd.events(last, 5).events


def test_a_pod_that_is_up_is_counted(hyperd, spec):
    hyperd.create_pod(spec)
    hyperd.start_pod(spec.id)
    found = hyperd.diagnostics(spec.id)
    assert [cpu.time_ns for cpu in found.cpus] == [5_000_000]
    assert found.memory.maximum_mib == 64
    assert (found.disks[0].serial, found.disks[0].read_bytes) == ("l0", 4096)
    assert (found.nics[0].mac, found.nics[0].tx_bytes) == (NIC.mac, 200)
    hyperd.stop_pod(spec.id, force=True)
    with pytest.raises(Conflict, match="is not up"):
        hyperd.diagnostics(spec.id)


def test_booting_replaces_the_nics_of_a_stopped_pod(hyperd, spec):
    hyperd.create_pod(spec)
    hyperd.stop_pod(spec.id, force=True)
    nic = Nic(mac="fa:16:3e:00:00:02", kind=NicKind.TAP, device="tap1")
    pod = hyperd.boot_pod(spec.id, (nic,), Dns(("10.0.0.9",)))
    assert pod.spec.nics == (nic,)
    assert pod.spec.dns.nameservers == ("10.0.0.9",)
    assert hyperd.boot_pod(spec.id).spec.nics == (nic,)


def test_a_deleted_pod_is_gone(hyperd, spec):
    hyperd.create_pod(spec)
    assert hyperd.delete_pod(spec.id) is None
    for call in (hyperd.pod, hyperd.delete_pod, hyperd.start_pod, hyperd.stop_pod):
        with pytest.raises(PodNotFound):
            call(spec.id)
    with pytest.raises(PodNotFound):
        hyperd.console(spec.id, 10)


def test_the_console_is_the_end_of_the_output_byte_for_byte(hyperd, world, spec):
    hyperd.create_pod(spec)
    hyperd.start_pod(spec.id)
    world.write(spec.id, b"\xff\x00end")
    assert hyperd.console(spec.id, 5) == b"\xff\x00end"


@pytest.fixture
def running(hyperd, world, spec):
    hyperd.create_pod(spec)
    hyperd.start_pod(spec.id)
    world.serve()
    return spec.id


def output(session):
    with session:
        return list(session), session.exit_code


def test_a_command_gives_its_output_and_its_exit_code(hyperd, running):
    assert output(hyperd.exec(running, ["echo", "a", "b"])) == ([(1, b"a b\n")], 0)
    assert output(hyperd.exec(running, ["complain"])) == ([(2, b"no\n")], 3)


def test_a_command_takes_input_sizes_and_signals(hyperd, running):
    session = hyperd.exec(running, ["cat"], container="main", stdin=True)
    session.write(b"x" * 70_000)
    session.write(b"y")
    session.end_input()
    parts, code = output(session)
    assert b"".join(data for _to, data in parts) == b"x" * 70_000 + b"y"
    assert code == 0
    session = hyperd.exec(running, ["size"], terminal=Terminal(24, 80))
    session.resize(Terminal(50, 132))
    assert b"".join(data for _to, data in output(session)[0]) == b"24 80\n50 132\n"
    session = hyperd.exec(running, ["trap"])
    session.signal("SIGTERM")
    assert output(session) == ([(1, b"SIGTERM")], 143)


def test_a_command_in_a_guest_that_is_lost_is_an_error(hyperd, running):
    with pytest.raises(GuestFailed):
        output(hyperd.exec(running, ["die"]))


def test_hanging_up_may_be_done_twice(hyperd, running):
    session = hyperd.exec(running, ["sleep"])
    session.close()
    session.close()


def test_attach_gives_what_the_container_prints(hyperd, running):
    assert output(hyperd.attach(running)) == ([(1, b"hello\n")], 4)


@pytest.mark.parametrize(
    "call",
    [
        lambda hyperd, ref, name: hyperd.exec(ref, ["echo"], container=name),
        lambda hyperd, ref, name: hyperd.attach(ref, name),
        lambda hyperd, ref, name: hyperd.read_archive(ref, "/etc/hosts", name),
        lambda hyperd, ref, name: hyperd.write_archive(ref, "/tmp", [b""], name),
        lambda hyperd, ref, name: hyperd.top(ref, name),
        lambda hyperd, ref, name: hyperd.kill_pod(ref, "HUP", name),
        lambda hyperd, ref, name: hyperd.logs(ref, container=name),
    ],
)
def test_a_container_that_is_not_there_is_named(hyperd, running, call):
    with pytest.raises(ContainerNotFound, match="has no container db; it has main"):
        call(hyperd, running, "db")
    with pytest.raises(PodNotFound):
        call(hyperd, "no-such-pod", None)


def test_what_needs_a_running_pod_says_so(hyperd, running):
    hyperd.stop_pod(running)
    for call in (
        lambda: hyperd.exec(running, ["echo"]),
        lambda: hyperd.attach(running),
        lambda: hyperd.stats(running),
        lambda: hyperd.top(running),
        lambda: hyperd.kill_pod(running, "HUP"),
        lambda: hyperd.read_archive(running, "/etc/hosts"),
        lambda: hyperd.write_archive(running, "/tmp", []),
    ):
        with pytest.raises(Conflict, match="start it first"):
            call()


def test_logs_are_lines_and_go_on_after_one(hyperd, world, running):
    for number in range(5):
        world.log(running, "main", b"%d" % number)
    every = [line for line in hyperd.logs(running) if line.content != b"hello"]
    assert [line.content for line in every] == [b"0", b"1", b"2", b"3", b"4"]
    rest = list(hyperd.logs(running, after=every[2].position))
    assert rest == every[3:]
    assert list(hyperd.logs(running, tail=2)) == every[3:]
    assert list(hyperd.logs(running, container="main", tail=1)) == every[4:]


def test_following_ends_with_the_pod(hyperd, world, running):
    lines = hyperd.logs(running, follow=True, tail=0)
    timer = threading.Timer(0.1, lambda: world.log(running, "main", b"late"))
    timer.start()
    assert next(lines).content == b"late"
    hyperd.stop_pod(running, force=True)
    assert list(lines) == []
    timer.join()


def test_a_follower_goes_on_where_a_daemon_left_off(hyperd, world, running, monkeypatch):
    monkeypatch.setattr("nova_hyper.client.logs._PAUSE_SECONDS", 0)
    world.log(running, "main", b"1")
    real, breaks = hyperd.logs, []

    def broken(ref, **wanted):
        monkeypatch.setattr(hyperd, "logs", real)
        yield next(line for line in real(ref) if line.content == b"1")
        world.log(running, "main", b"2")
        hyperd.stop_pod(running, force=True)
        raise DaemonUnavailable("gone")

    monkeypatch.setattr(hyperd, "logs", broken)
    lines = list(logs.follow(hyperd, running, on_break=breaks.append))
    assert [line.content for line in lines] == [b"1", b"2"]
    assert len(breaks) == 1


def test_a_pod_that_is_removed_while_the_daemon_is_away_has_ended(
    hyperd, world, running, monkeypatch
):
    monkeypatch.setattr("nova_hyper.client.logs._PAUSE_SECONDS", 0)
    real = hyperd.logs

    def broken(ref, **wanted):
        monkeypatch.setattr(hyperd, "logs", real)
        hyperd.delete_pod(running)
        raise DaemonUnavailable("gone")
        yield

    monkeypatch.setattr(hyperd, "logs", broken)
    assert list(logs.follow(hyperd, running)) == []
    with pytest.raises(PodNotFound):
        list(logs.follow(hyperd, running))


def test_a_file_comes_as_tar_and_goes_as_tar(hyperd, running):
    body = hyperd.read_archive(running, "/etc/hosts")
    data = b""
    while part := body.read(1000):
        data += part
    body.close()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.extractfile("hosts").read() == b"127.0.0.1 localhost\n"
    hyperd.write_archive(running, "/tmp", [data[:700], data[700:]])
    with pytest.raises(InvalidRequest, match="no tar"):
        hyperd.write_archive(running, "/tmp", [b"no tar" * 200])


def test_a_console_has_the_same_port_as_long_as_the_pod_is_there(hyperd, spec):
    hyperd.create_pod(spec)
    with pytest.raises(Conflict, match="does not run"):
        hyperd.open_console(spec.id)
    hyperd.start_pod(spec.id)
    where = hyperd.open_console(spec.id)
    assert where.host == "127.0.0.1" and where.port > 0
    hyperd.pause_pod(spec.id)
    assert hyperd.open_console(spec.name, ConsoleKind.SHELL) == where
    hyperd.stop_pod(spec.id, force=True)
    with pytest.raises(Conflict, match="does not run"):
        hyperd.open_console(spec.id)
    hyperd.start_pod(spec.id)
    assert hyperd.open_console(spec.id, ConsoleKind.ATTACH) == where
    hyperd.delete_pod(spec.id)
    with pytest.raises(PodNotFound):
        hyperd.open_console(spec.id)


def test_a_container_comes_as_an_image_that_the_host_does_not_keep(hyperd, running):
    before = hyperd.images()
    body = hyperd.snapshot(running, changes=["ENV A=b"])
    data = b""
    while part := body.read(1000):
        data += part
    body.close()
    assert hyperd.images() == before
    assert hyperd.import_image("made", [data]).id != before[0].id
    assert hyperd.pod(running).state is PodState.RUNNING
    with pytest.raises(ContainerNotFound, match="no container db"):
        hyperd.snapshot(running, "db")
    hyperd.stop_pod(running, force=True)
    with pytest.raises(Conflict, match="in memory"):
        hyperd.snapshot(running)


def test_stats_and_processes_are_of_the_containers(hyperd, running):
    assert [c.name for c in hyperd.stats(running).containers] == ["main"]
    top = hyperd.top(running, "main")
    assert (top.container, top.processes[0].pid) == ("main", 1)
    assert hyperd.kill_pod(running, "SIGHUP") is None


def test_events_come_in_order_and_go_on_after_a_number(hyperd, world, spec):
    assert hyperd.events(-1, 5).last == 0
    hyperd.create_pod(spec)
    hyperd.start_pod(spec.id)
    world.exit(spec.id, 3)
    # The exit is told when the daemon has looked.
    hyperd.events(2, 5)
    page = hyperd.events(0, 5)
    assert [e.kind for e in page.events] == [
        EventKind.CREATED,
        EventKind.STARTED,
        EventKind.EXITED,
    ]
    assert [e.seq for e in page.events] == [1, 2, 3] and page.last == 3
    assert page.events[2].exit_code == 3 and page.events[2].pod_id == spec.id
    assert hyperd.events(2, 5).events == page.events[2:]
    assert hyperd.events(3, 0.05).events == ()


def test_waiting_for_an_event_ends_with_the_event(hyperd, spec):
    timer = threading.Timer(0.1, lambda: hyperd.create_pod(spec))
    timer.start()
    assert [e.kind for e in hyperd.events(0, 5).events] == [EventKind.CREATED]
    timer.join()
