"""Pods that stand still: paused in the host's memory, or suspended to a file.

The file of a suspended pod is the truth of it.  It is complete from the moment
in which the micro-VM is gone, and is removed before the guest runs again: a
memory must never meet disks that have changed since it was saved.  So whatever
a killed daemon or libvirtd has left, the domain and the file together tell what
the pod is; see :meth:`Power.observe`.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
import time
from collections.abc import Callable

from nova_hyper.daemon.eventlog import EventLog
from nova_hyper.daemon.guest.assets import GuestAssets
from nova_hyper.daemon.hypervisor.saved import SavedDomain, is_complete, make_durable
from nova_hyper.daemon.pods import launch
from nova_hyper.daemon.pods.dumps import Dumps
from nova_hyper.daemon.pods.registry import Entry
from nova_hyper.daemon.pods.repository import Repository
from nova_hyper.daemon.pods.sandbox import Sandboxes
from nova_hyper.daemon.pods.service import UP, Pods
from nova_hyper.daemon.ports import DomainState, Hypervisor
from nova_hyper.spec.diagnostics import Diagnostics
from nova_hyper.spec.errors import (
    Conflict,
    DiskFull,
    HyperError,
    SavedStateUnusable,
)
from nova_hyper.spec.event import EventKind
from nova_hyper.spec.nic import Dns, Nic
from nova_hyper.spec.pod import Pod, PodState

LOG = logging.getLogger(__name__)

_MIB = 1024**2
_KIB_PER_MIB = 1024
_STATUS_S = 5.0
_POLL_S = 0.1
# QEMU's state beside the memory: devices, and video memory where a machine has it.
_DEVICES_MIB = 32
_HALTED = "the micro-VM is paused: the host's disk is full, QEMU failed, or an operator paused it"
_SILENT = "the agent in the pod does not answer"
_WAY_OUT = "a hard reboot, or a stop, discards it"

ENDED = (None, DomainState.OFF, DomainState.PANICKED)
"""What the hypervisor says of a micro-VM that does not run any more."""


class Power:
    """Pauses and suspends pods, and brings them back.

    Every method may be called by any thread and is idempotent; all of them
    raise PodNotFound, and Conflict for a pod that is in no state for it.
    """

    def __init__(
        self,
        pods: Pods,
        sandboxes: Sandboxes,
        hypervisor: Hypervisor,
        repository: Repository,
        events: EventLog,
        dumps: Dumps,
        assets: Callable[[], GuestAssets],
    ) -> None:
        self._pods = pods
        self._sandboxes = sandboxes
        self._hypervisor = hypervisor
        self._repository = repository
        self._events = events
        self._dumps = dumps
        self._assets = assets
        pods.on_start_suspended = self._wake_up

    def pause(self, ref: str) -> Pod:
        """Stop the CPUs of a pod that runs."""
        with self._pods.holding(ref) as entry:
            if entry.pod.state is not PodState.PAUSED:
                self._require_running(entry, "paused")
                self._hypervisor.pause(entry.id)
                self._note(entry, PodState.PAUSED, EventKind.PAUSED)
            return entry.pod

    def unpause(self, ref: str) -> Pod:
        """Let the CPUs of a paused pod run, and set its clock."""
        with self._pods.holding(ref) as entry:
            if entry.pod.state is PodState.RUNNING:
                return entry.pod
            if entry.pod.state is not PodState.PAUSED:
                raise Conflict(
                    f"pod {entry.pod.spec.name} is not paused (it is {entry.pod.state})"
                )
            self._run(entry, EventKind.UNPAUSED)
            return entry.pod

    def suspend(self, ref: str) -> Pod:
        """Save the memory of a pod that runs to a file, and end its micro-VM.

        :raises DiskFull: when there may be no room for it; the pod runs on.
        """
        with self._pods.holding(ref) as entry:
            self._await_save(entry)
            if entry.pod.state is PodState.SUSPENDED:
                return entry.pod
            self._require_running(entry, "suspended")
            self._require_room(entry)
            path = self._repository.saved_memory(entry.id)
            try:
                self._hypervisor.save(entry.id, path)
            except HyperError:
                entry.noticed = True  # it is looked at: libvirt may have been killed in the middle
                raise
            self._suspended(entry)
            return entry.pod

    def resume(
        self,
        ref: str,
        nics: tuple[Nic, ...] | None = None,
        dns: Dns | None = None,
        paused: bool = False,
    ) -> Pod:
        """Make the micro-VM of a suspended pod again and let it run, with its clock set.

        *nics* say where its interfaces are plugged now.  With *paused* it is
        there, but does not run before :meth:`unpause`: when the network is ready.

        :raises SavedStateUnusable: when the saved memory is damaged; it is kept.
        """
        with self._pods.holding(ref) as entry:
            state = entry.pod.state
            if state is PodState.RUNNING:
                return entry.pod
            if state not in (PodState.SUSPENDED, PodState.PAUSED):
                raise Conflict(f"pod {entry.pod.spec.name} is not suspended (it is {state})")
            if state is PodState.SUSPENDED:
                self._load(entry, nics, dns)
            if not paused:
                self._run(entry, EventKind.RESUMED)
            return entry.pod

    def crash(self, ref: str) -> Pod:
        """Have the kernel of a pod panic, and its memory dumped when it has.

        :raises DiskFull: when there is no room for the dump.
        """
        with self._pods.holding(ref) as entry:
            self._require_running(entry, "made to panic")
            self._dumps.require_room(entry.pod.spec.memory_mib)
            self._repository.dump_request(entry.id).touch()
            self._hypervisor.inject_nmi(entry.id)
            return entry.pod

    def diagnostics(self, ref: str) -> Diagnostics:
        """Return what the hypervisor counts of a pod that is up, and what its guest uses."""
        with self._pods.holding(ref) as entry:
            if entry.pod.state not in UP:
                raise Conflict(f"pod {entry.pod.spec.name} is not up (it is {entry.pod.state})")
            found = self._hypervisor.diagnostics(entry.id)
            used = self._memory_used(entry) if entry.pod.state is PodState.RUNNING else None
            return dataclasses.replace(
                found, memory=dataclasses.replace(found.memory, used_mib=used)
            )

    def _memory_used(self, entry: Entry) -> int | None:
        """Return the MiB of memory that the guest cannot give to something else."""
        try:
            said = self._sandboxes.ask(entry, "pod.status", _STATUS_S)
        except HyperError as exc:
            LOG.info("pod %s does not tell of its memory: %s", entry.id, exc.message)
            return None
        available = said.get("mem_available_kib")
        if type(available) is not int:
            return None
        # What the kernel took before it counted is used too. The guest is not believed more.
        most = entry.pod.spec.memory_mib
        return min(most, max(0, most - available // _KIB_PER_MIB))

    def _wake_up(self, entry: Entry) -> Pod:
        self._load(entry, None, None)
        self._run(entry, EventKind.RESUMED)
        return entry.pod

    @staticmethod
    def _require_running(entry: Entry, what: str) -> None:
        pod = entry.pod
        entry.require_unpaused()
        if pod.state is not PodState.RUNNING:
            raise Conflict(
                f"pod {pod.spec.name} does not run (it is {pod.state}), so it cannot be {what}"
            )

    def _require_room(self, entry: Entry) -> None:
        # A guest's memory is rarely all in use, and what is not takes no room: this errs on the
        # safe side, because a disk filled to the brim hurts every pod of the host.
        needed = entry.pod.spec.memory_mib + _DEVICES_MIB
        directory = self._repository.directory(entry.id)
        free = shutil.disk_usage(directory).free // _MIB
        if free < needed:
            raise DiskFull(
                f"suspending pod {entry.pod.spec.name} may take {needed} MiB of the host's disk, "
                f"which has {free} MiB free; free space and try again"
            )

    def _await_save(self, entry: Entry) -> None:
        """Wait for the end of a save that a daemon before this one began, if there is one."""
        state = self._hypervisor.state(entry.id)
        if state is not DomainState.SAVING:
            return
        while state is DomainState.SAVING and not entry.doomed:
            time.sleep(_POLL_S)
            state = self._hypervisor.state(entry.id)
        self.observe(entry, state)

    def _suspended(self, entry: Entry) -> None:
        """Write down that the memory is saved and the micro-VM gone; the lock is held."""
        try:
            make_durable(self._repository.saved_memory(entry.id))
        except OSError as exc:
            LOG.error("the memory of pod %s may not outlive a reboot: %s", entry.id, exc)
        # Without a definition nobody boots it by accident on the disks that its memory knows.
        self._sandboxes.destroy(entry)
        self._note(entry, PodState.SUSPENDED, EventKind.SUSPENDED)

    def _load(self, entry: Entry, nics: tuple[Nic, ...] | None, dns: Dns | None) -> None:
        path = self._repository.saved_memory(entry.id)
        name = entry.pod.spec.name
        if not is_complete(path):
            raise SavedStateUnusable(
                f"the saved memory of pod {name} is damaged or gone; {_WAY_OUT}"
            )
        spec = entry.pod.spec.replaced(nics=nics, dns=dns)
        assets = self._assets()
        saved = SavedDomain(entry.id, path, spec.nics, assets.kernel, assets.initramfs)
        try:
            pid = self._hypervisor.load(saved)
        except SavedStateUnusable as exc:
            raise SavedStateUnusable(
                f"the saved memory of pod {name} cannot be used ({_WAY_OUT}): {exc.message}"
            ) from exc
        try:
            path.unlink()
        except OSError:
            self._sandboxes.destroy(entry)
            raise
        entry.update(spec=spec, qemu_pid=pid or None, stopped_at=None)
        self._note(entry, PodState.PAUSED, None)

    def _run(self, entry: Entry, kind: EventKind) -> None:
        self._hypervisor.unpause(entry.id)
        self._note(entry, PodState.RUNNING, kind)
        self._refresh(entry)
        # What it did meanwhile, as an exit, was told to nobody.
        entry.noticed = True

    def _refresh(self, entry: Entry) -> None:
        """Give a guest that has stood still the time, and randomness that nobody else has."""
        try:
            self._sandboxes.ask(entry, "entropy.add", entropy=launch.entropy())
            self._sandboxes.ask(entry, "clock.set", time_ns=time.time_ns())
        except HyperError as exc:
            LOG.warning("the clock of pod %s is not set: %s", entry.id, exc.message)
            entry.close_session()
            entry.update(message=_SILENT)

    def _note(self, entry: Entry, state: PodState, kind: EventKind | None) -> None:
        entry.update(state=state, message="")
        self._pods.note(entry)
        if kind is not None:
            self._events.append(kind, entry.id, entry.pod.spec.name)
            LOG.info("pod %s (%s): %s", entry.id, entry.pod.spec.name, kind.value)

    # For the monitor

    def cut_short(self, entry: Entry) -> None:
        """End a micro-VM that panicked while a call waits for it to boot; the call has the lock.

        :raises HypervisorUnavailable: when libvirt is away.
        """
        if entry.pod.state not in UP and self._hypervisor.state(entry.id) is DomainState.PANICKED:
            self._hypervisor.destroy(entry.id)

    # What follows is for whoever holds the lock

    def observe(self, entry: Entry, state: DomainState | None) -> bool:
        """Bring the record of a pod that is up, or suspended, in line with its domain.

        :returns: whether that was all: False where the guest is to be asked, or has ended.
        """
        if entry.pod.state is PodState.SUSPENDED:
            self._observe_suspended(entry, state)
            return True
        if state is DomainState.SAVING:  # a call of a daemon before this one; its end is told
            return True
        path = self._repository.saved_memory(entry.id)
        if state in ENDED:
            if not is_complete(path):
                path.unlink(missing_ok=True)
                return False
            self._suspended(entry)
            return True
        if state is DomainState.PAUSED:
            if entry.pod.state is PodState.RUNNING:
                self._note(entry, PodState.PAUSED, EventKind.PAUSED)
                entry.update(message=_HALTED)
            elif entry.pod.state is not PodState.PAUSED:
                entry.update(message=_HALTED)
            return True
        path.unlink(missing_ok=True)  # of a save that failed
        if entry.pod.state is PodState.PAUSED:
            self._note(entry, PodState.RUNNING, EventKind.UNPAUSED)
            self._refresh(entry)
        return False

    def _observe_suspended(self, entry: Entry, state: DomainState | None) -> None:
        saved = self._repository.saved_memory(entry.id)
        if state in ENDED:
            if state is not None:
                self._sandboxes.destroy(entry)
        elif state is DomainState.PAUSED and saved.exists():
            LOG.warning("a resume of pod %s was cut; it is suspended as before", entry.id)
            self._sandboxes.destroy(entry)
        else:
            # The guest has run, or may at any time: its memory of before is worth nothing.
            saved.unlink(missing_ok=True)
            running = state is DomainState.RUNNING
            self._note(
                entry,
                PodState.RUNNING if running else PodState.PAUSED,
                EventKind.RESUMED if running else None,
            )
            if running:
                self._refresh(entry)

    def autopsy(self, entry: Entry, state: DomainState | None) -> str:
        """Return why a micro-VM ended where that is known, and dump its memory when asked to."""
        request = self._repository.dump_request(entry.id)
        wanted = request.exists()
        if state is not DomainState.PANICKED:
            request.unlink(missing_ok=True)
            return ""
        if not wanted:
            return "the kernel in the micro-VM panicked"
        try:
            path = self._dumps.take(
                entry.id, entry.pod.spec.memory_mib, lambda p: self._hypervisor.dump(entry.id, p)
            )
        except (HyperError, OSError) as exc:
            LOG.error("no crash dump of pod %s: %s", entry.id, exc)
            said = "the kernel panicked as asked for, but its memory could not be dumped"
        else:
            LOG.info("crash dump of pod %s: %s", entry.id, path)
            said = f"the kernel panicked as asked for; the crash dump is {path}"
        request.unlink(missing_ok=True)
        return said
