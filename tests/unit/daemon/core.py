"""The daemon's core, put together on fakes."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

from nova_hyper.daemon.console.consoles import Consoles
from nova_hyper.daemon.console.settings import ConsoleSettings
from nova_hyper.daemon.eventlog import EventLog
from nova_hyper.daemon.guest.assets import GuestAssets
from nova_hyper.daemon.guest.bootfiles import BootFileStore
from nova_hyper.daemon.pods.commit import Commits
from nova_hyper.daemon.pods.dumps import Dumps
from nova_hyper.daemon.pods.helper import Helpers
from nova_hyper.daemon.pods.monitor import Monitor
from nova_hyper.daemon.pods.power import Power
from nova_hyper.daemon.pods.registry import Registry
from nova_hyper.daemon.pods.repository import Repository
from nova_hyper.daemon.pods.rescue import Rescues
from nova_hyper.daemon.pods.reshaping import Reshaping
from nova_hyper.daemon.pods.restorepoint import RestorePoints
from nova_hyper.daemon.pods.sandbox import Sandboxes, Settings
from nova_hyper.daemon.pods.service import Pods
from nova_hyper.daemon.pods.sessions import Sessions
from nova_hyper.daemon.pods.setup import Setups
from tests.unit.daemon.fakes import (
    PATIENCE_S,
    POD_ID,
    FakeAgent,
    FakeDisks,
    FakeGuests,
    FakeHypervisor,
    FakeImages,
    FakePlatform,
    FakeSession,
)

# Away from those of other test runs on the machine.
_FIRST_PORT = 20000 + os.getpid() % 1000 * 10
CONSOLES = ConsoleSettings(
    address="127.0.0.1",
    ports=range(_FIRST_PORT, _FIRST_PORT + 10),
    clients=(ipaddress.ip_network("127.0.0.1"),),
    max_connections=6,
    shells=("/bin/bash", "/bin/sh"),
)


class Core:
    """The daemon's core as ``wiring`` puts it together, on fakes.

    :meth:`restarted` is what a new daemon finds after a kill: new objects on the
    same directories, the same micro-VMs and the same image store.
    """

    def __init__(self, directory: Path, before: Core | None = None) -> None:
        self.directory = directory
        self.hypervisor = before.hypervisor if before else FakeHypervisor()
        self.guests = before.guests if before else FakeGuests(self.hypervisor)
        self.images = before.images if before else FakeImages()
        self.disks = FakeDisks()
        self.platform = FakePlatform()
        self.registry = Registry()
        self.repository = Repository(directory / "pods", directory / "run")
        self.boot_files = BootFileStore(directory / "boot", 1 << 20, self.registry.boot_files)
        self.events = EventLog(directory / "events.jsonl", keep=1000)
        settings = Settings(
            boot_timeout=60,
            request_timeout=30,
            stop_timeout=10,
            min_memory_mib=32,
            firmware=None,
            seccomp_profile=Path("/no/such/profile.json"),
        )
        assets = GuestAssets(Path("/guest/vmlinux"), Path("/guest/initramfs"), "key", "6.1", "1")
        self.sandboxes = Sandboxes(
            self.repository,
            self.images,
            self.disks,
            self.hypervisor,
            self.guests,
            self.platform,
            lambda: assets,
            self.boot_files,
            settings,
        )
        self.pods = Pods(
            self.registry,
            self.repository,
            self.images,
            self.sandboxes,
            self.hypervisor,
            self.platform,
            self.events,
            settings,
        )
        self.dumps = directory / "dumps"
        self.power = Power(
            self.pods,
            self.sandboxes,
            self.hypervisor,
            self.repository,
            self.events,
            Dumps(self.dumps, most=2, max_mib=512),
            lambda: assets,
        )
        self.restore_points = RestorePoints(self.pods, self.repository, self.disks, self.platform)
        self.reshaping = Reshaping(
            self.pods,
            self.repository,
            self.images,
            self.disks,
            self.platform,
            self.restore_points,
            settings,
        )
        self.monitor = Monitor(
            self.registry,
            self.repository,
            self.sandboxes,
            self.hypervisor,
            self.pods,
            self.power,
        )
        self.sessions = Sessions(self.registry, self.repository, self.sandboxes, self.pods)
        self.setups = Setups(self.pods, self.sandboxes, self.repository, self.platform)
        self.rescues = Rescues(self.pods, self.repository, self.images, self.platform, settings)
        helpers = Helpers(
            self.pods,
            self.sandboxes,
            self.repository,
            self.images,
            self.disks,
            self.hypervisor,
            self.platform,
        )
        self.commits = Commits(self.pods, self.sessions, helpers, self.images)
        for pod in self.repository.load():
            self.registry.add(pod)
        self.consoles = Consoles(
            self.registry, self.sessions, self.repository.console_port, CONSOLES
        )
        self.events.on_event = self.consoles.take
        self.images.retain(self.repository.ids())

    def restarted(self) -> Core:
        self.monitor.stop()
        self.consoles.stop()
        for session in self.guests.sessions:
            session.closed.set()
        return Core(self.directory, before=self)

    def agent(self, pod_id: str = POD_ID) -> FakeAgent:
        return self.guests.agents[pod_id]

    def session(self, pod_id: str = POD_ID) -> FakeSession:
        session = self.registry.get(pod_id).session
        assert isinstance(session, FakeSession)
        return session

    def kinds(self) -> list[str]:
        """The kinds of all events so far."""
        return [event.kind.value for event in self.events.after(0).events]

    def wait_for(self, count: int) -> list[str]:
        """The kinds of all events, once there are *count* of them."""
        if self.events.last < count:
            self.events.after(count - 1, PATIENCE_S)
        return self.kinds()

    def left(self, pod_id: str = POD_ID) -> list[str]:
        """Everything that the host still has of a pod, by name."""
        found = {
            "entry": self.registry.find(pod_id) is not None,
            "directory": self.repository.directory(pod_id).exists(),
            "socket": self.repository.agent_socket(pod_id).exists(),
            "domain": pod_id in self.hypervisor.domains,
            "lease": pod_id in self.images.leases,
            "session": any(
                not session.closed.is_set() and session.agent is self.guests.agents.get(pod_id)
                for session in self.guests.sessions
            ),
        }
        return [name for name, there in found.items() if there]
