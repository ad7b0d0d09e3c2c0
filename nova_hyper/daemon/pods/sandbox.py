"""The sandbox of a pod: its micro-VM and the connection to the agent in it."""

from __future__ import annotations

import base64
import concurrent.futures
import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nova_hyper.daemon import seccomp
from nova_hyper.daemon.guest.assets import GuestAssets
from nova_hyper.daemon.hypervisor.domain import Domain
from nova_hyper.daemon.plan import Step
from nova_hyper.daemon.pods import (
    boot,
    containers,
    features,
    giving,
    launch,
    layout,
    local_disks,
    status,
)
from nova_hyper.daemon.pods.registry import Entry
from nova_hyper.daemon.pods.repository import Repository
from nova_hyper.daemon.ports import (
    AgentError,
    DomainState,
    Guests,
    GuestSession,
    Hypervisor,
    Images,
    Platform,
    WritableDisks,
)
from nova_hyper.spec.container import SECCOMP_UNCONFINED, ContainerState, ContainerStatus
from nova_hyper.spec.errors import (
    ContainerFailed,
    GuestFailed,
    HyperError,
    HypervisorUnavailable,
    NetworkFailed,
)
from nova_hyper.spec.image import Image
from nova_hyper.spec.setup import Setup, SetupDone

LOG = logging.getLogger(__name__)

_POWER_OFF_S = 5.0
_POLL_S = 0.02
_ANSWER_S = 10.0
# A file system grows by 100 GiB in a second, under TCG.
_GROWTH_S_PER_GIB = 0.05
_CONSOLE_LINES = 5
_CONSOLE_WIDTH = 200


@dataclasses.dataclass(frozen=True)
class Settings:
    """Times in seconds; ``firmware`` None is QEMU's own.

    ``seccomp_profile`` is that of containers with the profile ``runtime/default``.
    """

    boot_timeout: float
    request_timeout: float
    stop_timeout: float
    min_memory_mib: int
    firmware: Path | None
    seccomp_profile: Path


class Sandboxes:
    """Boots, connects and shuts down micro-VMs.  Callers hold the entry's lock."""

    def __init__(
        self,
        repository: Repository,
        images: Images,
        disks: WritableDisks,
        hypervisor: Hypervisor,
        guests: Guests,
        platform: Platform,
        assets: Callable[[], GuestAssets],
        boot_files: boot.BootFiles,
        settings: Settings,
    ) -> None:
        self._repository = repository
        self._images = images
        self._disks = disks
        self._hypervisor = hypervisor
        self._guests = guests
        self._platform = platform
        self._assets = assets
        self._boot_files = boot_files
        self._settings = settings
        self.on_agent_event: Callable[[str, dict[str, Any]], None] = lambda _id, _event: None
        self.on_agent_lost: Callable[[str], None] = lambda _id: None

    def disk_steps(self, entry: Entry) -> list[Step]:
        """Return the steps that make what the pod keeps over its restarts."""
        return [Step("disks", lambda: self._make_disks(entry))]

    def boot_steps(self, entry: Entry, images: Sequence[Image]) -> list[Step]:
        """Return the steps from nothing to created containers."""
        return [
            Step(
                "domain",
                lambda: self._launch(entry, images),
                lambda: self.destroy(entry),
            ),
            Step("agent", lambda: self.connect(entry, fresh=True)),
            Step("configured", lambda: self._configure(entry)),
            Step("created", lambda: self._create_containers(entry, images)),
            *self._setup_steps(entry),
        ]

    def _setup_steps(self, entry: Entry) -> list[Step]:
        """Return the step that gives a pod without a disk what it was given at its birth."""
        try:
            kept = self._repository.setup(entry.id)
        except ValueError as exc:
            LOG.error("pod %s is not given again what it had: %s", entry.id, exc)
            return []
        return [Step("given", lambda: self.give(entry, kept))] if kept else []

    def give(self, entry: Entry, setup: Setup) -> SetupDone:
        """Give the containers of a pod that is up files, keys and a password.

        :raises HyperError: what the agent refused, or that it does not answer.
        """
        entry.require_unpaused()
        session = entry.session or self.connect(entry, fresh=False)
        features.require(features.SETUP, "files, keys and passwords", session.features)

        def ask(op: str, **args: Any) -> dict[str, Any]:
            return self.ask(entry, op, **args)

        try:
            return giving.give(session, ask, entry.pod.spec, setup)
        except AgentError as exc:
            raise _typed(exc, None) from exc

    def _make_disks(self, entry: Entry) -> None:
        spec = entry.pod.spec
        boot.check(spec, self._boot_files)
        owner = self._platform.owner()
        local_disks.make(self._disks, self._repository, spec, owner)
        path = layout.upper(self._repository, spec)
        if path is not None:
            self._disks.create(path, spec.root_gib, owner)

    def _launch(self, entry: Entry, images: Sequence[Image]) -> None:
        spec = entry.pod.spec
        original = self.original(entry)
        disks = layout.Disks(spec, images, original)
        written = spec if original is None else original.spec
        layers = [self._images.layer_path(d) for d in disks.diff_ids]
        booted = boot.prepare(
            spec, self._assets(), self._boot_files, self._repository.directory(spec.id)
        )
        domain = Domain(
            pod_id=spec.id,
            vcpus=spec.vcpus,
            memory_mib=spec.memory_mib,
            kernel=booted.kernel,
            initramfs=booted.initramfs,
            cmdline=booted.cmdline,
            agent_socket=self._repository.agent_socket(spec.id),
            console_log=self._repository.console(spec.id),
            container_log=self._repository.log(spec.id),
            virt_type=self._platform.virt_type(),
            disks=(
                *disks.of_domain(layers, layout.upper(self._repository, written)),
                *local_disks.of_domain(self._repository, spec),
            ),
            nics=spec.nics,
            firmware=self._settings.firmware,
            owner=self._platform.owner(),
            kernel_log=booted.kernel_log,
            tuning=spec.tuning,
        )
        entry.update(qemu_pid=self._hypervisor.launch(domain) or None)

    def original(self, entry: Entry) -> layout.Original | None:
        """Return what the pod repairs, None where it is no rescue."""
        rescued = entry.pod.rescued
        if rescued is None:
            return None
        return layout.Original(
            rescued.spec, [self._images.get(c.image_id) for c in rescued.containers]
        )

    def connect(self, entry: Entry, *, fresh: bool, timeout: float | None = None) -> GuestSession:
        """Connect to the agent and return the session, which is the entry's from now on.

        *timeout* is in seconds; without, a *fresh* guest has the time to boot.

        :raises GuestFailed: with the last lines of the console.
        """
        entry.close_session()
        pod_id = entry.id
        try:
            session = self._guests.connect(
                self._repository.agent_socket(pod_id),
                fresh,
                timeout or (self._settings.boot_timeout if fresh else _ANSWER_S),
                lambda event: self.on_agent_event(pod_id, event),
                lambda _reason: self.on_agent_lost(pod_id),
            )
        except GuestFailed as exc:
            raise GuestFailed(f"{exc.message}{self._last_words(pod_id)}", **exc.details) from exc
        entry.session = session
        return session

    def _last_words(self, pod_id: str) -> str:
        console = self._repository.console(pod_id)
        try:
            if not console.exists() or not console.stat().st_size:
                console = boot.kernel_log(self._repository.directory(pod_id))
            with console.open("rb") as file:
                file.seek(max(0, console.stat().st_size - 4096))
                lines = file.read(4096).decode(errors="replace").split("\n")
        except OSError:
            return ""
        # The guest's own bytes go to a terminal: no control characters.
        printable = ["".join(c for c in line if c.isprintable()).strip() for line in lines]
        words = [line[:_CONSOLE_WIDTH] for line in printable if line][-_CONSOLE_LINES:]
        return f"; its console ends with: {' | '.join(words)}" if words else ""

    def _configure(self, entry: Entry) -> None:
        spec = entry.pod.spec
        features.check(
            spec,
            self._features(entry),
            grown=self._repository.has_grown(entry.id),
            rescue=entry.pod.rescued is not None,
        )
        self.ask(entry, "pod.configure", **launch.pod_request(spec))
        for operation, arguments in local_disks.requests(spec):
            self.ask(entry, operation, self._patience(entry), **arguments)

    def _patience(self, entry: Entry) -> float | None:
        """Return how many seconds a mount has, None for as long as any request."""
        if not self._repository.has_grown(entry.id):
            return None
        spec = entry.pod.own_spec
        sizes = [spec.root_gib, *(d.size_gib for d in spec.ephemerals)]
        return self._settings.request_timeout + max(sizes) * _GROWTH_S_PER_GIB

    def _features(self, entry: Entry) -> frozenset[str]:
        return (entry.session or self.connect(entry, fresh=False)).features

    def _create_containers(self, entry: Entry, images: Sequence[Image]) -> None:
        supported = self._features(entry)
        patience = self._patience(entry)
        original = self.original(entry)
        for op, args in containers.requests(
            entry.pod.spec, images, supported, self._seccomp, original
        ):
            self.ask(entry, op, patience, **args)

    def _seccomp(self, profile: str, capabilities: tuple[str, ...] | None) -> str | None:
        if profile == SECCOMP_UNCONFINED:
            return None
        path, arch = self._settings.seccomp_profile, self._platform.arch()
        return base64.b64encode(seccomp.compile_filter(path, arch, capabilities)).decode()

    def start_containers(self, entry: Entry) -> tuple[ContainerStatus, ...]:
        """Start the containers, or the first of the init containers; return what they are now.

        :raises HyperError: what the agent refused, or that it does not answer.
        """
        spec, known = entry.pod.spec, entry.pod.containers
        if features.SUPERVISE in self._features(entry):
            self.ask(entry, "pod.start")
        else:
            for container in spec.containers:
                self.ask(entry, "container.start", name=container.name)
        # The agent's event says the rest, when it is so far.
        begun = known[:1] if spec.init_containers else known
        running = tuple(dataclasses.replace(c, state=ContainerState.RUNNING) for c in begun)
        return running + known[len(begun) :]

    def ask(
        self, entry: Entry, op: str, timeout: float | None = None, **args: Any
    ) -> dict[str, Any]:
        """Return the agent's answer, connecting first after a restart of the daemon.

        :raises HyperError: what the agent refused, or that it does not answer.
        """
        entry.require_unpaused()
        session = entry.session or self.connect(entry, fresh=False)
        try:
            return session.request(op, timeout or self._settings.request_timeout, **args)
        except AgentError as exc:
            (only, *others) = entry.pod.spec.all_containers
            about = only.name if op == "pod.start" and not others else args.get("name")
            raise _typed(exc, about) from exc

    def shut_down(self, entry: Entry, grace_s: float) -> tuple[int | None, ...]:
        """Stop the containers, flush the disks and end the micro-VM.

        :returns: the exit codes of the containers in their order, none when the
            agent could not be asked.
        :raises HypervisorUnavailable: when libvirt cannot be told, and the guest
            does not power itself off.
        """
        exit_codes: tuple[int | None, ...] = ()
        off = False
        try:
            session = entry.session or self.connect(entry, fresh=False)
            exit_codes = self._stop_containers(entry, session, grace_s)
            session.request("power.off", _POWER_OFF_S)
            off = True
        except (AgentError, GuestFailed) as exc:
            LOG.info("pod %s did not shut down by itself: %s", entry.id, exc)
        try:
            if off:
                self._wait_until_off(entry.id)
            self.destroy(entry)
        except HypervisorUnavailable:
            if not off:
                raise
            # Its definition is removed when libvirt is back, as of any pod that is not up.
            entry.close_session()
            entry.update(qemu_pid=None)
        return exit_codes

    def _stop_containers(
        self, entry: Entry, session: GuestSession, grace_s: float
    ) -> tuple[int | None, ...]:
        def stop(name: str) -> int | None:
            try:
                answer = session.request(
                    "container.stop", grace_s + _ANSWER_S, name=name, grace_ms=int(grace_s * 1000)
                )
            except AgentError as exc:  # it never started; the others may have
                LOG.info("container %s of pod %s: %s", name, entry.id, exc.message)
                return None
            return status.exit_code(answer)

        names = [c.name for c in entry.pod.spec.all_containers]
        with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
            return tuple(pool.map(stop, names))

    def _wait_until_off(self, pod_id: str) -> None:
        deadline = time.monotonic() + _POWER_OFF_S
        while time.monotonic() < deadline:
            if self._hypervisor.state(pod_id) in (None, DomainState.OFF):
                return
            time.sleep(_POLL_S)

    def destroy(self, entry: Entry) -> None:
        """End the micro-VM at once; idempotent."""
        entry.close_session()
        self._hypervisor.destroy(entry.id)
        self._repository.agent_socket(entry.id).unlink(missing_ok=True)
        entry.update(qemu_pid=None)


def _typed(exc: AgentError, container: object) -> HyperError:
    where = f"container {container}: " if container else ""
    if exc.code == "exec":
        return ContainerFailed(f"{where}{exc.message}", code=exc.code)
    if exc.code == "network":
        return NetworkFailed(exc.message, code=exc.code)
    return GuestFailed(f"{where}{exc.message}", code=exc.code)
