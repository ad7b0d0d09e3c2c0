"""Fakes of the ports.

Each implements its Protocol of ``nova_hyper.daemon.ports``; what a test wants to
go wrong it says with ``fail``: the error that the next call of a method raises.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nova_hyper.daemon.hypervisor.domain import Domain
from nova_hyper.daemon.ports import AgentError, DomainState, GuestSession
from nova_hyper.spec.errors import GuestFailed, HypervisorUnavailable, ImageNotFound
from nova_hyper.spec.image import Image, ImageConfig, Layer
from nova_hyper.spec.pod import Container, PodSpec

POD_ID = "0f0e0d0c-0000-4000-8000-000000000001"
OTHER_ID = "0f0e0d0c-0000-4000-8000-000000000002"
IMAGE_ID = "sha256:" + "a" * 64
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
        if self.domains.pop(pod_id, None) is not None:
            self.on_gone(pod_id)

    def states(self) -> dict[str, DomainState]:
        self._call("states")
        return dict(self.domains)

    def state(self, pod_id: str) -> DomainState | None:
        self._call("state")
        return self.domains.get(pod_id)

    def vanish(self, pod_id: str) -> None:
        """QEMU is killed."""
        self.domains[pod_id] = DomainState.OFF
        self.on_gone(pod_id)


class FakeAgent(Failures):
    """The agent in one guest, which outlives the connections to it."""

    def __init__(self) -> None:
        super().__init__()
        self.containers: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, dict[str, Any]] = {}
        """What an operation is answered with instead of what it should be."""
        self.before: dict[str, Callable[[], None]] = {}
        """What happens in the guest while a request is on its way."""
        self.silent = False
        self.off: Callable[[], None] = lambda: None

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

    def _container_create(self, name: str, **_args: Any) -> dict[str, Any]:
        self.containers[name] = {"name": name, "state": "created", "exit_code": None}
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

    def _power_off(self) -> dict[str, Any]:
        self.off()
        return {}

    def exit(self, code: int, name: str = "main") -> None:
        """A container's process ends."""
        self.containers[name].update(state="exited", exit_code=code)


class FakeSession:
    """One connection to an agent."""

    def __init__(
        self,
        agent: FakeAgent,
        on_event: Callable[[dict[str, Any]], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self.agent = agent
        self.on_event = on_event
        self.on_lost = on_lost
        self.closed = threading.Event()

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
        self.hang = False
        self.hanging = threading.Event()
        self._cut = threading.Event()
        hypervisor.on_gone = self._gone

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
            agent = self.agents[pod_id] = FakeAgent()
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

    def retain(self, owners: set[str]) -> None:
        self.leases = {o: i for o, i in self.leases.items() if o in owners}

    def layer_path(self, diff_id: str) -> Path:
        return Path("/layers", diff_id)


class FakeDisks(Failures):
    """Writable disks that are empty files."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[Path, int, str]] = []

    def create(self, path: Path, size_gib: int, owner: str) -> None:
        self.check("create")
        path.touch()
        self.made.append((path, size_gib, owner))


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
