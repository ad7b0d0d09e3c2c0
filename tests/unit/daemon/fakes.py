"""Fakes of the ports.

Each implements its Protocol of ``nova_hyper.daemon.ports``; what a test wants to
go wrong it says with ``fail``: the error that the next call of a method raises.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nova_hyper.daemon import sparse
from nova_hyper.daemon.hypervisor.domain import Domain
from nova_hyper.daemon.hypervisor.saved import SavedDomain
from nova_hyper.daemon.ports import AgentError, DomainState, GuestSession
from nova_hyper.spec.container import Container
from nova_hyper.spec.diagnostics import CpuTime, Diagnostics, DiskCount, Memory, NicCount
from nova_hyper.spec.errors import (
    GuestFailed,
    HypervisorFailed,
    HypervisorUnavailable,
    ImageNotFound,
    SavedStateUnusable,
)
from nova_hyper.spec.image import Image, ImageConfig, Layer
from nova_hyper.spec.pod import PodSpec

POD_ID = "0f0e0d0c-0000-4000-8000-000000000001"
OTHER_ID = "0f0e0d0c-0000-4000-8000-000000000002"
IMAGE_ID = "sha256:" + "a" * 64
SAVED = b"LibvirtQemudSave, and then the memory"
DIAGNOSTICS = Diagnostics(
    cpus=(CpuTime(0, 5_000_000),),
    memory=Memory(maximum_mib=64, resident_mib=90),
    disks=(DiskCount("l0", 4096, 1, 0, 0),),
    nics=(NicCount("fa:16:3e:00:00:01", 100, 1, 0, 0, 200, 2, 0, 0),),
)
PATIENCE_S = 10
"""How long a test waits for another thread before it fails; never reached otherwise."""


def image(*, layers: int = 2, **changes: Any) -> Image:
    made = Image(
        id=IMAGE_ID,
        names=("web:1",),
        architecture="amd64",
        os="linux",
        created="2026-01-01T00:00:00Z",
        layers=tuple(Layer(f"sha256:{i:064x}", 1000, 2000) for i in range(layers)),
        config=ImageConfig(entrypoint=("/bin/web",), cmd=("--serve",), env=("PATH=/bin",)),
    )
    return dataclasses.replace(made, **changes)


def spec(pod_id: str = POD_ID, name: str = "web", **changes: Any) -> PodSpec:
    made = PodSpec(id=pod_id, name=name, containers=(Container("main", "web:1"),), memory_mib=64)
    return dataclasses.replace(made, **changes)


class Failures:
    """Errors that calls raise, by the name of the method: the next one, or every one."""

    def __init__(self) -> None:
        self._next: dict[str, list[BaseException]] = {}
        self._always: dict[str, BaseException] = {}

    def fail(self, method: str, error: BaseException) -> None:
        """Have the next call of *method* raise *error*."""
        self._next.setdefault(method, []).append(error)

    @contextlib.contextmanager
    def failing(self, method: str, error: BaseException) -> Iterator[None]:
        """Have every call of *method* raise *error*."""
        self._always[method] = error
        try:
            yield
        finally:
            del self._always[method]

    def check(self, method: str) -> None:
        waiting = self._next.get(method)
        if waiting:
            raise waiting.pop(0)
        if method in self._always:
            raise self._always[method]


class FakeHypervisor(Failures):
    """Micro-VMs that are entries of a dictionary; QEMU's socket is a file."""

    def __init__(self) -> None:
        super().__init__()
        self.domains: dict[str, DomainState] = {}
        self.launched: list[Domain] = []
        self.away = False
        self.on_launch: Callable[[Domain], None] = lambda _domain: None
        self.on_gone: Callable[[str], None] = lambda _pod_id: None
        self.on_saved: Callable[[str], None] = lambda _pod_id: None
        self.loaded: list[SavedDomain] = []

    def _call(self, method: str) -> None:
        if self.away:
            raise HypervisorUnavailable("libvirt does not answer; check that libvirtd runs")
        self.check(method)

    def launch(self, domain: Domain) -> int:
        self._call("launch")
        self.on_launch(domain)
        domain.agent_socket.touch()
        domain.console_log.touch()
        self.domains[domain.pod_id] = DomainState.RUNNING
        self.launched.append(domain)
        return 4242

    def destroy(self, pod_id: str) -> None:
        self._call("destroy")
        if self.domains.pop(pod_id, None) not in (None, DomainState.OFF):
            self.on_gone(pod_id)

    def states(self) -> dict[str, DomainState]:
        self._call("states")
        return dict(self.domains)

    def state(self, pod_id: str) -> DomainState | None:
        self._call("state")
        return self.domains.get(pod_id)

    def _turn(self, method: str, pod_id: str, state: DomainState) -> None:
        self._call(method)
        if pod_id not in self.domains:
            raise HypervisorFailed(f"libvirt has no domain of pod {pod_id}")
        self.domains[pod_id] = state

    def pause(self, pod_id: str) -> None:
        self._turn("pause", pod_id, DomainState.PAUSED)

    def unpause(self, pod_id: str) -> None:
        self._turn("unpause", pod_id, DomainState.RUNNING)

    def save(self, pod_id: str, path: Path) -> None:
        self._turn("save", pod_id, DomainState.SAVING)
        path.write_bytes(SAVED)
        self.domains[pod_id] = DomainState.OFF
        self.on_saved(pod_id)

    def load(self, saved: SavedDomain) -> int:
        self._call("load")
        self.loaded.append(saved)
        if saved.path.read_bytes() != SAVED:
            raise SavedStateUnusable("the pod's saved memory cannot be used: bad magic")
        self.domains[saved.pod_id] = DomainState.PAUSED
        return 4243

    def inject_nmi(self, pod_id: str) -> None:
        self._turn("inject_nmi", pod_id, DomainState.PANICKED)

    def dump(self, pod_id: str, path: Path) -> None:
        self._call("dump")
        path.write_bytes(b"the memory")

    def diagnostics(self, pod_id: str) -> Diagnostics:
        self._call("diagnostics")
        return DIAGNOSTICS

    def vanish(self, pod_id: str) -> None:
        """QEMU is killed."""
        self.domains[pod_id] = DomainState.OFF
        self.on_gone(pod_id)


STREAM_FEATURES = frozenset(("streams", "archive", "stats", "log"))
POD_FEATURES = frozenset(
    (
        *("supervise", "resources", "security", "volumes", "sysctls", "setup", "disks"),
        *("grow", "roots"),
    )
)
ALL_FEATURES = frozenset(("clock", "entropy")) | STREAM_FEATURES | POD_FEATURES


class FakeAgent(Failures):
    """The agent in one guest, which outlives the connections to it."""

    def __init__(self, features: frozenset[str] = ALL_FEATURES) -> None:
        super().__init__()
        self.features = features
        self.containers: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, dict[str, Any]] = {}
        """What an operation is answered with instead of what it should be."""
        self.before: dict[str, Callable[[], None]] = {}
        """What happens in the guest while a request is on its way."""
        self.silent = False
        self.off: Callable[[], None] = lambda: None
        self.streams: queue.SimpleQueue[FakeStream] = queue.SimpleQueue()
        """Those that were opened, in order."""

    def ask(self, op: str, args: dict[str, Any]) -> dict[str, Any]:
        self.requests.append((op, args))
        self.before.pop(op, lambda: None)()
        if self.silent:
            raise GuestFailed(f"the agent did not answer to {op}")
        self.check(op)
        if op in self.answers:
            return self.answers[op]
        return getattr(self, "_" + op.replace(".", "_"))(**args)

    @property
    def asked(self) -> list[str]:
        """The operations asked for, in order."""
        return [op for op, _args in self.requests]

    def _pod_configure(self, **_args: Any) -> dict[str, Any]:
        return {}

    def _disk_mount(self, **_args: Any) -> dict[str, Any]:
        return {}

    def _account_set(self, name: str, **args: Any) -> dict[str, Any]:
        assert name in self.containers
        return {"keys": bool(args["keys"]), "password": bool(args["password"])}

    def _swap_on(self, **_args: Any) -> dict[str, Any]:
        return {}

    def _container_create(self, name: str, **args: Any) -> dict[str, Any]:
        self.containers[name] = {"name": name, "state": "created", "exit_code": None}
        if args.get("init"):
            self.containers[name]["init"] = True
        return {}

    def _volume_create(self, name: str, **_args: Any) -> dict[str, Any]:
        assert not self.containers, "volumes come first"
        return {}

    def _volume_write(self, **_args: Any) -> dict[str, Any]:
        return {}

    def _pod_start(self) -> dict[str, Any]:
        """Start everything; init containers have ended well by the next question."""
        for container in self.containers.values():
            if container["state"] == "created":
                ended = container.get("init")
                container.update(state="exited", exit_code=0) if ended else container.update(
                    state="running"
                )
        return {}

    def _container_start(self, name: str) -> dict[str, Any]:
        if self.containers[name]["state"] == "exited":
            raise AgentError("state", f"container {name} has already exited")
        self.containers[name]["state"] = "running"
        return {"pid": 2}

    def _container_stop(self, name: str, grace_ms: int) -> dict[str, Any]:
        container = self.containers[name]
        if container["state"] == "created":
            raise AgentError("state", f"container {name} does not run")
        if container["state"] == "running":
            container.update(state="exited", exit_code=143 if grace_ms else 137)
        return {"exit_code": container["exit_code"]}

    def _pod_status(self) -> dict[str, Any]:
        return {"containers": list(self.containers.values())}

    def _clock_set(self, time_ns: int) -> dict[str, Any]:
        return {}

    def _entropy_add(self, entropy: str) -> dict[str, Any]:
        return {}

    def _power_off(self) -> dict[str, Any]:
        self.off()
        return {}

    def exit(self, code: int, name: str = "main") -> None:
        """A container's process ends."""
        self.containers[name].update(state="exited", exit_code=code)


class FakeStream:
    """A stream into a guest: the test plays the guest with ``say`` and ``end``."""

    def __init__(self, op: str, args: dict[str, Any]) -> None:
        self.op = op
        self.args = args
        self.answer: dict[str, Any] = {}
        self.exit_code: int | None = None
        self.error: str | None = None
        self.written: list[bytes | str | tuple[int, int] | None] = []
        """What the other side sent: data, sizes, signals, and None for the end of the input."""
        self.closed = threading.Event()
        self._said: queue.SimpleQueue[tuple[int, bytes] | BaseException | None] = (
            queue.SimpleQueue()
        )
        self.changed = threading.Condition()

    def say(self, data: bytes, channel: int = 0) -> None:
        self._said.put((channel, data))

    def end(self, exit_code: int | None = 0, error: str | None = None) -> None:
        self.exit_code, self.error = exit_code, error
        self._said.put(None)

    def lose(self) -> None:
        """The guest dies."""
        self._said.put(GuestFailed("the guest ended, or closed its connection"))

    def wait_for(self, condition: Callable[[], Any]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE_S), self.written

    def _take(self, what: bytes | str | tuple[int, int] | None) -> None:
        with self.changed:
            self.written.append(what)
            self.changed.notify_all()

    def read(self, timeout: float | None) -> tuple[int, bytes] | None:
        try:
            part = self._said.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(part, BaseException):
            raise part
        return part

    def write(self, data: bytes, timeout: float | None) -> None:
        self._take(data)

    def end_input(self) -> None:
        self._take(None)

    def resize(self, rows: int, cols: int) -> None:
        self._take((rows, cols))

    def signal(self, name: str) -> None:
        self._take(name)

    def close(self) -> None:
        if not self.closed.is_set():
            self.closed.set()
            self._said.put(None)


class FakeSession:
    """One connection to an agent."""

    def __init__(
        self,
        agent: FakeAgent,
        on_event: Callable[[dict[str, Any]], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self.agent = agent
        self.features = agent.features
        self.on_event = on_event
        self.on_lost = on_lost
        self.closed = threading.Event()

    def open_stream(self, op: str, timeout: float, **args: Any) -> FakeStream:
        assert timeout > 0
        self.agent.requests.append((op, args))
        self.agent.check(op)
        stream = FakeStream(op, args)
        self.agent.streams.put(stream)
        return stream

    def request(self, op: str, timeout: float, **args: Any) -> dict[str, Any]:
        assert timeout > 0
        if self.closed.is_set():
            raise GuestFailed("the connection to the agent is closed")
        return self.agent.ask(op, args)

    def close(self) -> None:
        self.closed.set()

    def break_off(self) -> None:
        """The connection breaks by itself."""
        self.closed.set()
        self.on_lost("the guest closed its connection")


class FakeGuests(Failures):
    """Connects to an agent where the guest's socket is; ``hang`` makes a boot that never ends."""

    def __init__(self, hypervisor: FakeHypervisor) -> None:
        super().__init__()
        self._hypervisor = hypervisor
        self.agents: dict[str, FakeAgent] = {}
        self.sessions: list[FakeSession] = []
        self.fresh: list[bool] = []
        self.features = ALL_FEATURES
        """What agents can that boot from now on."""
        self.hang = False
        self.hanging = threading.Event()
        self._cut = threading.Event()
        hypervisor.on_gone = self._gone
        hypervisor.on_saved = self._saved

    def _saved(self, pod_id: str) -> None:
        """The agent is in the saved memory; who talked to it hears no more."""
        for session in self.sessions:
            if session.agent is self.agents.get(pod_id):
                session.closed.set()

    def _gone(self, pod_id: str) -> None:
        self.agents.pop(pod_id, None)
        self._cut.set()
        for session in self.sessions:
            if session.agent not in self.agents.values():
                session.closed.set()

    def connect(
        self,
        path: Path,
        fresh: bool,
        timeout: float,
        on_event: Callable[[dict[str, Any]], None],
        on_lost: Callable[[str], None],
    ) -> GuestSession:
        pod_id = path.stem
        self.fresh.append(fresh)
        if self.hang:
            self.hanging.set()
            assert self._cut.wait(PATIENCE_S), "nobody ended the guest"
        self.check("connect")
        if self._hypervisor.domains.get(pod_id) is not DomainState.RUNNING:
            raise GuestFailed("the guest ended")
        agent = self.agents.get(pod_id)
        if agent is None:
            agent = self.agents[pod_id] = FakeAgent(self.features)
            agent.off = lambda: self._hypervisor.vanish(pod_id)
        if agent.silent:
            raise GuestFailed("the agent did not say hello")
        session = FakeSession(agent, on_event, on_lost)
        self.sessions.append(session)
        return session


class FakeImages(Failures):
    """Images in memory, with their leases."""

    def __init__(self, *images: Image) -> None:
        super().__init__()
        self.images = list(images or (image(),))
        self.leases: dict[str, set[str]] = {}

    def get(self, ref: str) -> Image:
        self.check("get")
        for found in self.images:
            if ref == found.id or ref in found.names:
                return found
        raise ImageNotFound(f"there is no image {ref} on this host")

    def acquire(self, image_id: str, owner: str) -> None:
        self.check("acquire")
        self.leases.setdefault(owner, set()).add(image_id)

    def release(self, owner: str) -> None:
        self.check("release")
        self.leases.pop(owner, None)

    def narrow(self, owner: str, image_ids: set[str]) -> None:
        self.check("narrow")
        if owner in self.leases:
            self.leases[owner] &= image_ids

    def retain(self, owners: set[str]) -> None:
        self.leases = {o: i for o, i in self.leases.items() if o in owners}

    def layer_path(self, diff_id: str) -> Path:
        return Path("/layers", diff_id)


class FakeDisks(Failures):
    """Writable disks that are sparse files without anything in them."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[Path, int, str]] = []

    def create(self, path: Path, size_gib: int, owner: str) -> None:
        self.check("create")
        self._sized(path, size_gib << 30)
        self.made.append((path, size_gib, owner))

    def create_swap(self, path: Path, size_mib: int, owner: str) -> None:
        self.check("create_swap")
        self._sized(path, size_mib << 20)
        self.made.append((path, size_mib, owner))

    def resize(self, path: Path, size_gib: int) -> None:
        self.check("resize")
        self._sized(path, size_gib << 30)

    @staticmethod
    def _sized(path: Path, size: int) -> None:
        path.touch()
        os.truncate(path, size)

    def copy(self, source: Path, path: Path, owner: str, tick: Callable[[], None]) -> None:
        self.check("copy")
        sparse.copy(source, path, tick)
        tick()


class FakePlatform(Failures):
    def virt_type(self) -> str:
        self.check("virt_type")
        return "qemu"

    def owner(self) -> str:
        return "64055:64055"

    def memory_mib(self) -> int:
        return 8192

    def arch(self) -> str:
        return "amd64"
