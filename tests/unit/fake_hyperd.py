"""A hyperd in memory: the same Protocol as the client, the same errors, no guests."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from nova_hyper.spec import codec
from nova_hyper.spec.boot import BootFile, BootFileKind
from nova_hyper.spec.console import ConsoleKind, ConsolePort
from nova_hyper.spec.container import ContainerState, ContainerStatus
from nova_hyper.spec.errors import (
    BootFileInUse,
    BootFileInvalid,
    BootFileNotFound,
    Conflict,
    ContainerFailed,
    ContainerNotFound,
    HyperError,
    ImageInUse,
    ImageInvalid,
    ImageNotFound,
    InvalidRequest,
    PodExists,
    PodNotFound,
    PodPaused,
    PullRefused,
)
from nova_hyper.spec.event import Event, EventKind, EventPage
from nova_hyper.spec.host import Cpu, Host, Version
from nova_hyper.spec.image import Image, ImageConfig, Layer
from nova_hyper.spec.log import LogLine
from nova_hyper.spec.nic import Dns, Nic
from nova_hyper.spec.pod import Pod, PodSpec, PodState
from nova_hyper.spec.stats import ContainerStats, NicStats, PodStats, Process, Top
from nova_hyper.spec.stream import Terminal
from tests.unit import programs
from tests.unit.daemon.fakes import FakeStream
from tests.unit.fake_power import FakePower
from tests.unit.fake_rescue import FakeRescue, image_ids_of
from tests.unit.fake_setup import FakeSetup
from tests.unit.fake_shape import FakeShape
from tests.unit.programs import FakeExec

HOST = Host(
    hostname="hyper-1",
    uptime_s=1000,
    cpu=Cpu(arch="x86_64", vendor="Intel", model="Skylake", cores=4, features=("avx",)),
    vcpus=4,
    memory_mib=8192,
    memory_used_mib=1024,
    disk_gib=100,
    disk_free_gib=80,
    disk_used_gib=20,
    virt_type="qemu",
    virt_reason="KVM does not work here",
    hypervisor_version=7002000,
    libvirt_version=9000000,
    pod_overhead_mib=96,
    min_memory_mib=32,
    guest_kernel="6.1",
    guest_agent="1",
    state_dir="/var/lib/hyperd",
    pods=0,
)
NOT_AN_ARCHIVE = b"not an archive"


class FakeHyperd(FakePower, FakeSetup, FakeShape, FakeRescue):
    """``fail_next`` maps a method's name to the error that its next call raises."""

    def __init__(self) -> None:
        FakeSetup.__init__(self)
        self.fail_next: dict[str, HyperError] = {}
        self.calls: list[str] = []
        self.imports: list[str] = []
        self.registry: dict[str, bytes] = {}
        self.lost = False
        self._images: dict[str, Image] = {}
        self._boot_files: dict[str, BootFile] = {}
        self._pods: dict[str, Pod] = {}
        self._events: list[Event] = []
        self._changed = threading.Condition()
        self._consoles: dict[str, bytes] = {}
        self._logs: dict[str, list[LogLine]] = {}
        self._console_ports: dict[str, int] = {}
        self.console_kinds: dict[str, ConsoleKind] = {}
        self._clock = 0
        self.kept = {}
        self.signals: list[tuple[str, str | None, str]] = []
        self.opened: list[tuple[str, dict[str, Any]]] = []
        self.files = dict(programs.FILES)
        self.archives: dict[str, bytes] = {}
        self.received: list[tuple[str, bytes]] = []
        self.snapshots: list[tuple[str, str | None, tuple[str, ...]]] = []
        self.body = io.BytesIO()
        """The last archive that :meth:`snapshot` gave."""

    def _called(self, name: str) -> None:
        self.calls.append(name)
        error = self.fail_next.pop(name, None)
        if error is not None:
            raise error

    def version(self) -> Version:
        self._called("version")
        return Version(api="1.0", hyperd="0.1")

    def host(self) -> Host:
        self._called("host")
        return dataclasses.replace(HOST, pods=len(self._pods))

    def openapi(self) -> dict[str, Any]:
        return {"openapi": "3.1.0"}

    # Images

    def import_image(self, name: str, chunks: Iterable[bytes]) -> Image:
        data = b"".join(chunks)
        self._called("import_image")
        self.imports.append(name)
        if data.startswith(NOT_AN_ARCHIVE):
            raise ImageInvalid("not a docker or OCI archive: it is no tar file")
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        with self._changed:
            known = self._images.get(digest)
            names = tuple(dict.fromkeys((*(known.names if known else ()), name)))
            image = Image(
                id=digest,
                names=names,
                architecture="amd64",
                os="linux",
                created="",
                layers=(Layer("sha256:" + "0" * 64, 1 << 20, 2 << 20),),
                config=ImageConfig(cmd=("/bin/sh",)),
            )
            self._images[digest] = image
        return image

    def pull(
        self, ref: str, username: str | None = None, password: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Pull what is in ``registry``, by the name that the store gives it."""
        self._called("pull")
        name = ref if "/" in ref else f"docker.io/library/{ref}"
        if name not in self.registry:
            raise PullRefused(f"this host may not pull from {name.partition('/')[0]}")
        image = self.import_image(name, [self.registry[name]])
        yield {"event": "resolved", "name": name, "id": image.id, "layers": []}
        yield {"event": "done", "image": codec.encode(image), "new": True}

    def images(self) -> tuple[Image, ...]:
        self._called("images")
        return tuple(self._images.values())

    def image(self, ref: str) -> Image:
        self._called("image")
        for image in self._images.values():
            if ref == image.id or ref in image.names:
                return image
        raise ImageNotFound(f"there is no image {ref} on this host")

    def delete_image(self, ref: str) -> None:
        self._called("delete_image")
        image = self.image(ref)
        if any(image.id in image_ids_of(pod) for pod in self._pods.values()):
            raise ImageInUse(f"image {ref} is in use by a pod")
        names = tuple(name for name in image.names if name != ref)
        if names and ref != image.id:
            self._images[image.id] = dataclasses.replace(image, names=names)
        else:
            del self._images[image.id]

    # Kernels and ramdisks

    def import_boot_file(self, name: str, kind: BootFileKind, chunks: Iterable[bytes]) -> BootFile:
        data = b"".join(chunks)
        self._called("import_boot_file")
        self.imports.append(name)
        if data.startswith(NOT_AN_ARCHIVE):
            raise BootFileInvalid("it is no cpio archive (newc), compressed or not")
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        known = self._boot_files.get(digest)
        names = tuple(dict.fromkeys((*(known.names if known else ()), name)))
        file = BootFile(digest, names, kind, "cpio", len(data))
        self._boot_files[digest] = file
        return file

    def boot_files(self) -> tuple[BootFile, ...]:
        self._called("boot_files")
        return tuple(self._boot_files.values())

    def boot_file(self, ref: str) -> BootFile:
        self._called("boot_file")
        for file in self._boot_files.values():
            if ref == file.id or ref in file.names:
                return file
        raise BootFileNotFound(f"there is no kernel or ramdisk {ref} on this host")

    def delete_boot_file(self, ref: str) -> None:
        self._called("delete_boot_file")
        file = self.boot_file(ref)
        names = tuple(name for name in file.names if name != ref)
        if names and ref != file.id:
            self._boot_files[file.id] = dataclasses.replace(file, names=names)
            return
        boots = [pod.spec.boot for pod in self._pods.values()]
        if any(file.id in (boot.kernel, boot.ramdisk) for boot in boots):
            raise BootFileInUse(f"a pod boots {ref}")
        del self._boot_files[file.id]

    # Pods

    def _update(self, pod: Pod, kind: EventKind | None = None, **changes: Any) -> Pod:
        with self._changed:
            pod = dataclasses.replace(pod, **changes)
            self._pods[pod.spec.id] = pod
            if kind is not None:
                self._events.append(
                    Event(
                        seq=len(self._events) + 1,
                        at=time.time(),
                        kind=kind,
                        pod_id=pod.spec.id,
                        pod_name=pod.spec.name,
                        exit_code=pod.exit_code,
                    )
                )
            self._changed.notify_all()
        return pod

    def create_pod(self, spec: PodSpec) -> Pod:
        self._called("create_pod")
        known = self._pods.get(spec.id)
        if known is not None:
            if known.spec != spec:
                raise PodExists(f"pod {spec.id} exists with another spec")
            return known
        self._require_drive(spec)
        statuses = tuple(
            ContainerStatus(c.name, c.image, self.image(c.image).id, ContainerState.CREATED)
            for c in spec.containers
        )
        pod = Pod(spec, PodState.READY, statuses, created_at=time.time(), qemu_pid=4242)
        self._consoles[spec.id] = b""
        self._logs[spec.id] = []
        return self._update(pod, EventKind.CREATED)

    def pods(self) -> tuple[Pod, ...]:
        self._called("pods")
        return tuple(self._pods.values())

    def pod(self, ref: str) -> Pod:
        self._called("pod")
        for pod in self._pods.values():
            if ref in (pod.spec.id, pod.spec.name):
                return pod
        raise PodNotFound(f"there is no pod {ref}")

    def boot_pod(
        self, ref: str, nics: tuple[Nic, ...] | None = None, dns: Dns | None = None
    ) -> Pod:
        self._called("boot_pod")
        pod = self.pod(ref)
        if pod.state in (PodState.READY, PodState.RUNNING, PodState.PAUSED):
            return pod
        if pod.state is PodState.SUSPENDED:
            raise Conflict(f"pod {ref} is suspended; resume it, or stop it")
        spec = dataclasses.replace(
            pod.spec,
            nics=pod.spec.nics if nics is None else nics,
            dns=pod.spec.dns if dns is None else dns,
        )
        return self._update(pod, spec=spec, state=PodState.READY, exit_code=None, qemu_pid=4243)

    def start_pod(self, ref: str) -> Pod:
        self._called("start_pod")
        if self.pod(ref).state is PodState.PAUSED:
            raise PodPaused(f"pod {ref} is paused; unpause it")
        if self.pod(ref).state is PodState.SUSPENDED:
            return self.resume_pod(ref)
        pod = self.boot_pod(ref)
        if pod.state is PodState.RUNNING:
            return pod
        running = tuple(
            dataclasses.replace(c, state=ContainerState.RUNNING) for c in pod.containers
        )
        self.write(pod.spec.id, b"hello\n")
        return self._update(
            pod,
            EventKind.STARTED,
            state=PodState.RUNNING,
            containers=running,
            started_at=time.time(),
        )

    def stop_pod(self, ref: str, grace_s: int | None = None, force: bool = False) -> Pod:
        self._called("stop_pod")
        pod = self.pod(ref)
        if pod.state in (PodState.STOPPED, PodState.CRASHED):
            return pod
        return self._down(pod, EventKind.STOPPED, PodState.STOPPED, 137 if force else 143)

    def delete_pod(self, ref: str) -> None:
        self._called("delete_pod")
        self.drives.pop(ref, None)
        pod = self._update(self.pod(ref), EventKind.DELETED, state=PodState.DELETING)
        del self._pods[pod.spec.id]
        self.kept.pop(pod.spec.id, None)

    def console(self, ref: str, max_bytes: int) -> bytes:
        self._called("console")
        return self._consoles[self.pod(ref).spec.id][-max_bytes:]

    def open_console(self, ref: str, kind: ConsoleKind = ConsoleKind.AUTO) -> ConsolePort:
        self._called("open_console")
        pod = self.pod(ref)
        if pod.state not in (PodState.RUNNING, PodState.PAUSED):
            raise Conflict(f"pod {ref} does not run (it is {pod.state}), so it has no console")
        self.console_kinds[pod.spec.id] = kind
        port = self._console_ports.setdefault(pod.spec.id, 10000 + len(self._console_ports))
        return ConsolePort("127.0.0.1", port)

    def kill_pod(self, ref: str, signal: str, container: str | None = None) -> None:
        self._called("kill_pod")
        pod = self._running(ref, container)
        self.signals.append((pod.spec.name, container, signal))

    def stats(self, ref: str) -> PodStats:
        self._called("stats")
        pod = self._running(ref)
        self._clock += 1_000_000_000
        containers = tuple(
            ContainerStats(c.name, cpu_ns=self._clock // 4, memory_bytes=1 << 20, pids=2)
            for c in pod.containers
        )
        nics = tuple(NicStats(n.mac, rx_bytes=2048, tx_bytes=10) for n in pod.spec.nics)
        return PodStats(self._clock, self._clock // 2, 32768, 16384, nics, containers)

    def top(self, ref: str, container: str | None = None) -> Top:
        self._called("top")
        pod = self._running(ref, container)
        process = Process(1, 0, "root", 2048, 61_500_000_000, "S", "/bin/sh -c web")
        return Top(container or pod.containers[0].name, (process,))

    def exec(
        self,
        ref: str,
        argv: Sequence[str],
        *,
        container: str | None = None,
        env: Sequence[str] = (),
        user: str | None = None,
        working_dir: str | None = None,
        terminal: Terminal | None = None,
        stdin: bool = False,
    ) -> FakeExec:
        self._called("exec")
        self._running(ref, container)
        args = {
            "argv": list(argv),
            "env": list(env),
            "user": user,
            "cwd": working_dir,
            "tty": terminal and dataclasses.asdict(terminal),
            "stdin": stdin,
        }
        return self._open("exec.start", args)

    def attach(self, ref: str, container: str | None = None, stdin: bool = False) -> FakeExec:
        self._called("attach")
        pod = self.pod(ref)
        if pod.state is not PodState.READY:
            self._running(ref, container)
        self._named(pod, container)
        return self._open("container.attach", {"stdin": stdin})

    def _open(self, op: str, args: dict[str, Any]) -> FakeExec:
        self.opened.append((op, args))
        if args.get("argv") == ["nothing"]:
            raise ContainerFailed("container main: nothing: no such file")
        return FakeExec(programs.serve(FakeStream(op, args), self.files))

    def logs(
        self,
        ref: str,
        *,
        container: str | None = None,
        since: float | None = None,
        tail: int | None = None,
        after: str | None = None,
        follow: bool = False,
    ) -> Iterator[LogLine]:
        self._called("logs")
        pod = self.pod(ref)
        self._named(pod, container)
        return self._lines(pod.spec.id, container, tail, int(after or 0), follow)

    def _lines(
        self, pod_id: str, container: str | None, tail: int | None, after: int, follow: bool
    ) -> Iterator[LogLine]:
        if tail is not None:
            after = max(after, len(self._logs[pod_id]) - tail)
        while True:
            pod = self._pods.get(pod_id)
            for line in self._logs[pod_id][after:]:
                after += 1
                if container in (None, line.container):
                    yield line
            if self.fail_next.get("lines"):
                raise self.fail_next.pop("lines")
            if not follow or pod is None or pod.state is not PodState.RUNNING:
                return
            with self._changed:
                self._changed.wait(0.05)

    def read_archive(self, ref: str, path: str, container: str | None = None) -> io.BytesIO:
        self._called("read_archive")
        self._running(ref, container)
        path = path.removesuffix("/.")
        if path in self.archives:
            return io.BytesIO(self.archives[path])
        if path not in self.files:
            raise InvalidRequest(f"container main: {path}: no such file or directory")
        return io.BytesIO(programs.tar_of(path, self.files[path]))

    def write_archive(
        self, ref: str, path: str, chunks: Iterable[bytes], container: str | None = None
    ) -> None:
        self._called("write_archive")
        self._running(ref, container)
        self.received.append((path, b"".join(chunks)))
        if not self.received[-1][1].strip(b"no tar"):
            raise InvalidRequest("it is no tar archive")

    def snapshot(
        self, ref: str, container: str | None = None, changes: Sequence[str] = ()
    ) -> io.BytesIO:
        self._called("snapshot")
        pod = self.pod(ref)
        self._named(pod, container)
        if pod.state is not PodState.RUNNING and not pod.spec.root_gib:
            raise Conflict(f"pod {ref} had what it wrote in memory, which ended with it")
        self.snapshots.append((pod.spec.id, container, tuple(changes)))
        self.body = io.BytesIO(b"the archive of " + pod.spec.id.encode())
        return self.body

    def _running(self, ref: str, container: str | None = None) -> Pod:
        pod = self.pod(ref)
        if pod.state is not PodState.RUNNING:
            raise Conflict(f"pod {ref} does not run (it is {pod.state}); start it first")
        self._named(pod, container)
        return pod

    @staticmethod
    def _named(pod: Pod, container: str | None) -> None:
        names = [c.name for c in pod.containers]
        if container is not None and container not in names:
            raise ContainerNotFound(
                f"pod {pod.spec.name} has no container {container}; it has {', '.join(names)}"
            )

    def events(self, after: int, wait: float) -> EventPage:
        self._called("events")
        with self._changed:
            if after < 0:
                return EventPage((), len(self._events))
            self._changed.wait_for(lambda: len(self._events) > after or self.lost, wait)
            lost, self.lost = self.lost, False
            return EventPage(tuple(self._events[after:]), len(self._events), lost=lost)

    # What happens by itself

    def exit(self, ref: str, exit_code: int = 0) -> Pod:
        """The last container of a pod ends."""
        return self._down(self.pod(ref), EventKind.EXITED, PodState.STOPPED, exit_code)

    def crash(self, ref: str) -> Pod:
        """The micro-VM of a pod dies."""
        return self._down(self.pod(ref), EventKind.CRASHED, PodState.CRASHED, None)

    def lose_events(self) -> None:
        """The next page says that events are gone."""
        with self._changed:
            self.lost = True
            self._changed.notify_all()

    def write(self, ref: str, data: bytes) -> None:
        """The first container of a pod writes to its stdout."""
        pod = self.pod(ref)
        self._consoles[pod.spec.id] += data
        for content in data.splitlines(keepends=True):
            whole = content.endswith(b"\n")
            self.log(ref, pod.containers[0].name, content.removesuffix(b"\n"), whole=whole)

    def log(
        self, ref: str, container: str, content: bytes, stream: str = "stdout", whole: bool = True
    ) -> None:
        """A container of a pod writes a line."""
        lines = self._logs[self.pod(ref).spec.id]
        time_ = f"2026-01-01T00:00:{len(lines) % 60:02d}.000000000Z"
        lines.append(LogLine(str(len(lines) + 1), time_, container, stream, whole, content))

    def _down(self, pod: Pod, kind: EventKind, state: PodState, exit_code: int | None) -> Pod:
        exited = tuple(
            dataclasses.replace(c, state=ContainerState.EXITED, exit_code=exit_code)
            for c in pod.containers
        )
        return self._update(
            pod, kind, state=state, containers=exited, exit_code=exit_code, qemu_pid=None
        )
