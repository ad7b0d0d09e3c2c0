"""The use cases of pods: what the API offers."""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
import time
from collections.abc import Callable, Iterator

from nova_hyper.daemon import plan
from nova_hyper.daemon.eventlog import EventLog
from nova_hyper.daemon.hypervisor.domain import is_pod_id
from nova_hyper.daemon.pods import launch, outcome, tail
from nova_hyper.daemon.pods.registry import Entry, Registry
from nova_hyper.daemon.pods.repository import Repository
from nova_hyper.daemon.pods.sandbox import Sandboxes, Settings
from nova_hyper.daemon.ports import Hypervisor, Images, Platform
from nova_hyper.daemon.stopwatch import Stopwatch
from nova_hyper.spec.container import ContainerState, ContainerStatus
from nova_hyper.spec.errors import (
    Conflict,
    DiskFull,
    HyperError,
    HypervisorUnavailable,
    InvalidRequest,
    PodNotFound,
    PodPaused,
    SavedStateUnusable,
)
from nova_hyper.spec.event import EventKind
from nova_hyper.spec.image import Image
from nova_hyper.spec.nic import Dns, Nic
from nova_hyper.spec.pod import Pod, PodSpec, PodState

LOG = logging.getLogger(__name__)

_AGREEMENT_S = 10.0
_CUT_S = 0.5
# Below the two minutes that clients wait: they hear why, and no thread waits for nobody.
_BUSY_S = 100.0

UP = (PodState.READY, PodState.RUNNING, PodState.PAUSED)
HALF = (PodState.CREATING, PodState.DELETING)


class Pods:
    """Pods of this host.  Every method may be called by any thread and is idempotent."""

    def __init__(
        self,
        registry: Registry,
        repository: Repository,
        images: Images,
        sandboxes: Sandboxes,
        hypervisor: Hypervisor,
        platform: Platform,
        events: EventLog,
        settings: Settings,
    ) -> None:
        self._registry = registry
        self._repository = repository
        self._images = images
        self._sandboxes = sandboxes
        self._hypervisor = hypervisor
        self._platform = platform
        self._events = events
        self._settings = settings
        self.on_released: Callable[[Entry], None] = lambda _entry: None
        self.settle_files: Callable[[Entry], None] = lambda _entry: None
        """Brings the disks of a pod that is down in line with its record; the lock is held."""
        self.on_start_suspended: Callable[[Entry], Pod] = lambda entry: entry.pod
        self.reconciled = threading.Event()
        """Set once pods and libvirt have been brought into agreement after a start."""

    def all(self) -> list[Pod]:
        """Return all pods, the oldest first."""
        return sorted((e.pod for e in self._registry), key=lambda p: p.created_at)

    def get(self, ref: str) -> Pod:
        """Return one pod by id, name, or unique beginning of the id.

        :raises PodNotFound: when there is none.
        """
        return self._registry.get(ref).pod

    def create(self, spec: PodSpec) -> tuple[Pod, bool]:
        """Make a pod up to READY: its agent answers and its containers are created.

        :returns: the pod, and whether this call made it.
        :raises HyperError: a typed one; nothing is left behind.
        """
        watch = Stopwatch()
        self._require_agreement()
        if not is_pod_id(spec.id):
            raise InvalidRequest(f"the pod's id must be a UUID in lower case, not {spec.id!r}")
        images = [self._images.get(c.image) for c in spec.all_containers]
        launch.check(
            spec,
            images,
            arch=self._platform.arch(),
            memory=(self._settings.min_memory_mib, self._platform.memory_mib()),
        )
        first = len(spec.init_containers)
        containers = tuple(
            ContainerStatus(c.name, c.image, image.id, ContainerState.CREATED, init=index < first)
            for index, (c, image) in enumerate(zip(spec.all_containers, images, strict=True))
        )
        draft = Pod(spec, PodState.CREATING, containers, created_at=time.time())
        watch.mark("request")
        while True:
            entry, new = self._registry.claim(draft)
            with self._holding(entry, acquired=new):
                if new:
                    entry.watch = watch
                    self._make(entry, images)
                    return entry.pod, True
                if entry.gone:  # another call made it, failed, and took it back
                    continue
                if entry.pod.state not in HALF:
                    return entry.pod, False
                self.remove(entry)  # it could not be removed whole before

    def _make(self, entry: Entry, images: list[Image]) -> None:
        steps = [
            plan.Step("record", lambda: self._save(entry), lambda: self._clear(entry)),
            plan.Step("images", lambda: self._lease(entry)),
            *self._sandboxes.disk_steps(entry),
            *self._sandboxes.boot_steps(entry, images),
            plan.Step("ready", lambda: self._ready(entry)),
        ]
        try:
            self._run(entry, steps)
        except HyperError as exc:
            LOG.warning("pod %s (%s) failed: %s", entry.id, entry.pod.spec.name, exc.message)
            raise

    def _run(self, entry: Entry, steps: list[plan.Step]) -> None:
        def done(step: str) -> None:
            entry.watch.mark(step)
            if entry.doomed and step != steps[-1].name:
                raise Conflict(f"pod {entry.pod.spec.name} was deleted while it was started")

        with disk_errors():
            plan.run(steps, done)

    def _lease(self, entry: Entry) -> None:
        for container in entry.pod.containers:
            self._images.acquire(container.image_id, entry.id)

    def _ready(self, entry: Entry) -> None:
        containers = tuple(outcome.fresh(c) for c in entry.pod.containers)
        entry.update(
            state=PodState.READY,
            containers=containers,
            exit_code=None,
            message="",
            stopped_at=None,
        )
        self._save(entry)
        self._events.append(EventKind.CREATED, entry.id, entry.pod.spec.name)

    def _save(self, entry: Entry) -> None:
        entry.update(timeline=entry.watch.marks)
        self._repository.save(entry.pod)

    def boot(self, ref: str, nics: tuple[Nic, ...] | None = None, dns: Dns | None = None) -> Pod:
        """Bring a stopped or crashed pod back to READY, with other NICs when given."""
        with self.holding(ref) as entry:
            return self._boot(entry, nics, dns)

    def _boot(self, entry: Entry, nics: tuple[Nic, ...] | None, dns: Dns | None) -> Pod:
        before = entry.pod
        if before.state in UP:
            return before
        if before.state is PodState.SUSPENDED:
            raise Conflict(
                f"pod {before.spec.name} is suspended; resume it, or stop it to discard its memory"
            )
        self.settle_files(entry)
        before = entry.pod
        entry.watch = Stopwatch()
        spec = before.spec.replaced(nics=nics, dns=dns)
        images = [self._images.get(c.image_id) for c in before.containers]
        launch.check_devices(spec, images, self._sandboxes.original(entry))
        try:
            entry.update(spec=spec, timeline=(), started_at=None)
            # What a killed QEMU or an interrupted boot has left.
            self._sandboxes.destroy(entry)
            self._repository.forget_memory(entry.id)
            entry.watch.mark("request")
            steps = self._sandboxes.boot_steps(entry, images)
            self._run(entry, [*steps, plan.Step("ready", lambda: self._ready(entry))])
        except BaseException:
            entry.pod = before
            raise
        return entry.pod

    def start(self, ref: str) -> Pod:
        """Start the containers, booting the sandbox first when the pod is stopped.

        A suspended pod is resumed.
        """
        with self.holding(ref) as entry:
            if entry.pod.state is PodState.RUNNING:
                return entry.pod
            if entry.pod.state is PodState.PAUSED:
                raise PodPaused(f"pod {entry.pod.spec.name} is paused; unpause it")
            if entry.pod.state is PodState.SUSPENDED:
                return self.on_start_suspended(entry)
            self._boot(entry, None, None)
            entry.watch.mark("start")
            try:
                containers = self._sandboxes.start_containers(entry)
            except HyperError as exc:
                self._sandboxes.destroy(entry)
                self.settle(entry, PodState.STOPPED, EventKind.STOPPED, (), exc.message)
                raise
            entry.watch.mark("started")
            self.started(entry, containers)
            return entry.pod

    def started(self, entry: Entry, containers: tuple[ContainerStatus, ...]) -> None:
        """Write down that the containers run, and tell; the lock is held."""
        entry.update(state=PodState.RUNNING, containers=containers, started_at=time.time())
        self.note(entry)
        self._events.append(EventKind.STARTED, entry.id, entry.pod.spec.name)

    def stop(self, ref: str, grace_s: float | None = None, force: bool = False) -> Pod:
        """Stop a pod: the stop signal, *grace_s* seconds, SIGKILL; *force*: at once.

        A suspended pod is resumed to be stopped; with *force*, or where its
        memory cannot be used, that is discarded.  *force* ends a stop under way
        that still gives grace.
        """
        with self.holding(ref, cut=force) as entry:
            if entry.pod.state is PodState.SUSPENDED and not self._woken(entry, force):
                self._repository.forget_memory(entry.id)
                said = "stopped on request; its saved memory was discarded"
                self.settle(entry, PodState.STOPPED, EventKind.STOPPED, (), said)
                return entry.pod
            if entry.pod.state not in UP:
                return entry.pod
            if entry.pod.state is PodState.PAUSED and not force:
                self._hypervisor.unpause(entry.id)  # or nothing could take the signal
            own = entry.pod.spec.termination_grace_s
            usual = self._settings.stop_timeout if own is None else own
            grace = usual if grace_s is None else grace_s
            if force:
                self._sandboxes.destroy(entry)
                codes: tuple[int | None, ...] = ()
            else:
                entry.stopping = True
                try:
                    codes = self._sandboxes.shut_down(entry, grace)
                finally:
                    entry.stopping = False
            self.settle(entry, PodState.STOPPED, EventKind.STOPPED, codes, "stopped on request")
            return entry.pod

    def _woken(self, entry: Entry, force: bool) -> bool:
        """Resume a suspended pod, so that it can end in good order; return whether it was."""
        if force:
            return False
        try:
            self.on_start_suspended(entry)
        except SavedStateUnusable as exc:
            LOG.warning("pod %s cannot end in good order: %s", entry.id, exc.message)
            return False
        return True

    def settle(
        self,
        entry: Entry,
        state: PodState,
        kind: EventKind,
        codes: tuple[int | None, ...],
        message: str,
    ) -> None:
        """Write down that a pod is no longer up, and tell; the lock is held.

        *codes* are the exit codes of the containers in their order, or none.
        """
        known = codes or (None,) * len(entry.pod.containers)
        containers = tuple(
            outcome.ended(c, code) for c, code in zip(entry.pod.containers, known, strict=True)
        )
        exit_code = outcome.exit_code(containers)
        entry.update(
            state=state,
            containers=containers,
            exit_code=exit_code,
            message=message,
            stopped_at=time.time(),
            qemu_pid=None,
        )
        self.note(entry)
        self.tell(entry, kind, exit_code, message)

    def tell(self, entry: Entry, kind: EventKind, exit_code: int | None, message: str) -> None:
        """Put what happened to a container of a pod into the log of events."""
        self._events.append(kind, entry.id, entry.pod.spec.name, exit_code, message)
        LOG.info("pod %s (%s): %s", entry.id, entry.pod.spec.name, message)

    def note(self, entry: Entry) -> None:
        """Save the record of a pod whose micro-VM tells as much; the lock is held."""
        try:
            self._save(entry)
        except OSError as exc:
            # A full disk must not keep a pod from being started or stopped: after a restart of
            # the daemon the micro-VM is looked at, and the record put right.
            LOG.error("cannot write the record of pod %s: %s", entry.id, exc)

    def delete(self, ref: str) -> None:
        """Remove a pod and all it has; it may run, or be half made.

        :raises PodNotFound: when there is none.
        """
        try:
            entry = self._registry.get(ref)
        except PodNotFound:
            if is_pod_id(ref):
                self._repository.forget_unmade(ref)
            raise
        self._require_agreement()
        self._seize(entry)
        with self._holding(entry, acquired=True), disk_errors():
            if not entry.gone:  # a call that made it, and was cut, has taken it back
                self.remove(entry)

    def _seize(self, entry: Entry) -> None:
        """Take the lock, and end the wait of whoever has it for the guest to boot or to stop."""
        entry.doomed = True
        try:
            while not entry.lock.acquire(timeout=_CUT_S):
                # Again and again: the call may be about to launch the micro-VM.
                self._hypervisor.destroy(entry.id)
        except BaseException:
            entry.doomed = False
            raise

    def remove(self, entry: Entry) -> None:
        """Remove everything of a pod; the lock is held.  May be repeated after a failure."""
        self._clear(
            entry,
            lambda: self._events.append(EventKind.DELETED, entry.id, entry.pod.spec.name),
        )

    def _clear(self, entry: Entry, tell: Callable[[], object] = lambda: None) -> None:
        # From here on it can only go: where this fails, the monitor tries again.
        if entry.pod.state is not PodState.DELETING:
            entry.update(state=PodState.DELETING)
            with contextlib.suppress(OSError):  # a full disk: deleting is what makes room
                self._save(entry)
        self._sandboxes.destroy(entry)
        tell()
        # First what makes room: releasing writes. Leases of nobody are dropped at the next start.
        self._repository.remove(entry.id)
        self._images.release(entry.id)
        self._registry.drop(entry)

    def console(self, ref: str, max_bytes: int) -> bytes:
        """Return the last *max_bytes* of what the containers printed."""
        path = self._repository.console(self._registry.get(ref).id)
        return tail.rotated(path, max_bytes)

    def _require_agreement(self) -> None:
        if not self.reconciled.wait(_AGREEMENT_S):
            raise HypervisorUnavailable(
                "hyperd has not reached libvirt since it started; check that libvirtd runs"
            )

    @contextlib.contextmanager
    def holding(self, ref: str, *, cut: bool = False) -> Iterator[Entry]:
        """Give a pod that is neither made nor deleted, its lock held in the body.

        *cut* ends a stop that has the lock and gives its containers grace.

        :raises PodNotFound: when there is none.
        :raises Conflict: when another call is at work on it for long.
        """
        entry = self._registry.get(ref)
        self._require_agreement()
        with self._holding(entry, cut=cut):
            if entry.gone or entry.pod.state in HALF:
                raise PodNotFound(f"pod {ref} is being deleted")
            with disk_errors():
                yield entry

    @contextlib.contextmanager
    def _holding(
        self, entry: Entry, *, acquired: bool = False, cut: bool = False
    ) -> Iterator[None]:
        if not acquired:
            self._acquire(entry, cut)
        try:
            yield
        finally:
            entry.lock.release()
            # What happened to the guest meanwhile was left for now.
            self.on_released(entry)

    def _acquire(self, entry: Entry, cut: bool) -> None:
        deadline = time.monotonic() + _BUSY_S
        while not entry.lock.acquire(timeout=_CUT_S):
            if cut and entry.stopping:
                self._hypervisor.destroy(entry.id)
            if time.monotonic() > deadline:
                raise Conflict(
                    f"another call is at work on pod {entry.pod.spec.name} (a stop that gives its "
                    "containers time, a commit, a suspend): try again when it has ended, or end "
                    "the pod at once (stop with force)"
                )


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """Tell of a full disk, or of files that cannot be used, as the API does."""
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                "no room on the host's disk for the pod's files; free space or use another host"
            ) from exc
        raise HyperError(f"the pod's files on the host cannot be used: {exc}") from exc
