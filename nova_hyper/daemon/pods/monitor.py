"""Keeps what is written of pods true: guests exit, crash and outlive the daemon.

Nothing here depends on what an event says or on no event being lost: an event,
like a restart, is only a reason to look at the domain and to ask the agent.
"""

from __future__ import annotations

import functools
import logging
import queue
import threading
import time
from typing import Any

from nova_hyper.daemon.pods import outcome, status
from nova_hyper.daemon.pods.power import ENDED, Power
from nova_hyper.daemon.pods.registry import Entry, Registry
from nova_hyper.daemon.pods.repository import Repository
from nova_hyper.daemon.pods.sandbox import Sandboxes
from nova_hyper.daemon.pods.service import HALF, UP, Pods
from nova_hyper.daemon.ports import Hypervisor
from nova_hyper.spec.container import ContainerState
from nova_hyper.spec.errors import (
    ContainerFailed,
    GuestFailed,
    HyperError,
    HypervisorUnavailable,
    NetworkFailed,
)
from nova_hyper.spec.event import EventKind
from nova_hyper.spec.pod import PodState

LOG = logging.getLogger(__name__)

_WORKERS = 4
_SLOW_WORKERS = 4
_LONG_S = 3.0
_SLOW_PAUSE_S = 0.25
_STATUS_S = 10.0
_AGAIN_S = 30.0
_FINISH_S = 5.0
_TRIES = 5
_TRY_S = 2.0

# As an agent that is not ours may answer to a question for its status.
_SILENT = (GuestFailed, ContainerFailed, NetworkFailed)
_CRASHED = (
    "the micro-VM ended unexpectedly: its kernel panicked, QEMU was killed, or the host was "
    "restarted"
)


class Monitor:
    """Looks at pods when something happened to them, in a few threads of its own.

    A guest decides how long a look takes, up to half a minute, and how often
    there is news, each of which is a record written to the disk: one that was slow
    once, or has had too much to say, has other threads from then on, which take
    their time, so that it holds up only its like.
    """

    def __init__(
        self,
        registry: Registry,
        repository: Repository,
        sandboxes: Sandboxes,
        hypervisor: Hypervisor,
        pods: Pods,
        power: Power,
    ) -> None:
        self._registry = registry
        self._repository = repository
        self._sandboxes = sandboxes
        self._hypervisor = hypervisor
        self._pods = pods
        self._power = power
        self._queue: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._slow: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        sandboxes.on_agent_event = self._agent_event
        sandboxes.on_agent_lost = self.notice
        pods.on_released = self._released

    def start(self) -> None:
        """Start the threads."""
        loops = [
            *[functools.partial(self._work, self._queue)] * _WORKERS,
            *[functools.partial(self._work, self._slow)] * _SLOW_WORKERS,
            *(functools.partial(self._repeat, slow) for slow in (False, True)),
        ]
        for number, loop in enumerate(loops):
            thread = threading.Thread(target=loop, name=f"monitor-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End the threads, waiting a little for those at work; pods are not touched."""
        self._stopped.set()
        for _ in range(_WORKERS):
            self._queue.put(None)
        for _ in range(_SLOW_WORKERS):
            self._slow.put(None)
        deadline = time.monotonic() + _FINISH_S
        for thread in self._threads:
            thread.join(timeout=max(0.0, deadline - time.monotonic()))

    def notice(self, pod_id: str) -> None:
        """Have the pod looked at soon; returns at once, however often it is called."""
        entry = self._registry.find(pod_id)
        if entry is not None and not entry.noticed:
            entry.noticed = True
            self._put(entry)

    def _put(self, entry: Entry) -> None:
        (self._slow if entry.slow else self._queue).put(entry)

    def domain_changed(self, pod_id: str) -> None:
        """Have the pod looked at soon, also when a call is at work on it.

        That call may wait for a guest that has just panicked, and the pod may have
        been noticed before, when its micro-VM started.
        """
        entry = self._registry.find(pod_id)
        if entry is not None and entry.noticed and entry.lock.locked():
            self._put(entry)
        else:
            self.notice(pod_id)

    def _agent_event(self, pod_id: str, event: dict[str, Any]) -> None:
        entry = self._registry.find(pod_id)
        if entry is not None and event.get("event") == "container.output":
            entry.watch.mark("output")
        self.notice(pod_id)

    def _released(self, entry: Entry) -> None:
        if entry.noticed and not entry.gone:
            self._put(entry)

    def _work(self, noticed: queue.SimpleQueue[Entry | None]) -> None:
        while (entry := noticed.get()) is not None:
            if entry.noticed:
                self._attend(entry)
            if noticed is self._slow:
                self._stopped.wait(_SLOW_PAUSE_S)

    def _repeat(self, slow: bool) -> None:
        while not self._stopped.wait(_AGAIN_S):
            self.repeat(slow)

    def repeat(self, slow: bool | None = None) -> None:
        """Look again at what could not be put right, or changed without anybody's saying so.

        That is an agent that was silent, a removal that failed, and a record
        and a domain that do not fit together; of *slow* pods only, or of the others.
        """
        if not self._pods.reconciled.is_set():
            return
        try:
            states = self._hypervisor.states()
        except HyperError as exc:
            LOG.debug("pods are looked at when libvirt is back: %s", exc.message)
            return
        for entry in self._registry:
            if slow not in (None, entry.slow):
                continue
            up = entry.pod.state in UP
            silent = up and entry.session is None
            if silent or up != (entry.id in states) or entry.pod.state in HALF:
                self._attend(entry)

    def _attend(self, entry: Entry) -> None:
        try:
            self._look_unless_busy(entry)
        except HypervisorUnavailable:
            LOG.debug("pod %s is looked at when libvirt is back", entry.id)

    def _look_unless_busy(self, entry: Entry) -> None:
        """Look at a pod; where a call is at work on it, it is looked at when that ends.

        :raises HypervisorUnavailable: when libvirt is away.
        """
        entry.noticed = True
        try:
            if entry.lock.acquire(blocking=False):
                self._look_and_release(entry)
            else:
                self._power.cut_short(entry)
        except HypervisorUnavailable:
            raise
        except Exception:
            # One pod that cannot be put right must not keep the others from it.
            LOG.exception("looking at pod %s failed", entry.id)

    def _look_and_release(self, entry: Entry) -> None:
        begun = time.monotonic()
        try:
            entry.noticed = False
            if not entry.gone:
                self.look(entry)
        finally:
            ended = time.monotonic()
            if not entry.looks.take(ended) or ended - begun > _LONG_S:
                entry.slow = True
            entry.lock.release()
            self._released(entry)

    def look(self, entry: Entry) -> None:
        """Make the record of one pod true; the lock is held.

        :raises HypervisorUnavailable: when libvirt is away.
        """
        if entry.pod.state in HALF:
            # No call is at work on it, or it would hold the lock: its daemon or libvirtd was
            # killed in the middle.
            LOG.warning("pod %s was left half way (%s); removed", entry.id, entry.pod.state)
            self._pods.remove(entry)
        elif entry.pod.state in UP:
            self._look_at_guest(entry)
        elif entry.pod.state is PodState.SUSPENDED:
            self._power.observe(entry, self._hypervisor.state(entry.id))
        else:
            if self._hypervisor.state(entry.id) is not None:
                # An interrupted start or stop.
                self._sandboxes.destroy(entry)
            self._pods.settle_files(entry)

    def _look_at_guest(self, entry: Entry) -> None:
        state = self._hypervisor.state(entry.id)
        if self._power.observe(entry, state):
            return
        try:
            answer = None if state in ENDED else self._status(entry)
        except _SILENT as exc:
            state = self._hypervisor.state(entry.id)
            if self._power.observe(entry, state):  # it was paused, or saved, meanwhile
                return
            if state not in ENDED:
                LOG.warning("the agent of pod %s does not answer: %s", entry.id, exc)
                entry.close_session()
                entry.update(message="the agent in the pod does not answer")
                return
            answer = None
        if answer is None:
            # Told first: taking down what is left may take a second, and is done again by the
            # next look when it fails.
            reason = self._power.autopsy(entry, state) or _CRASHED
            self._pods.settle(entry, PodState.CRASHED, EventKind.CRASHED, (), reason)
            self._sandboxes.destroy(entry)
        else:
            self._take(entry, answer)

    def _take(self, entry: Entry, answer: dict[str, Any]) -> None:
        """Believe what the agent says of the containers."""
        containers = status.containers(answer, entry.pod.containers)
        entry.update(message="")
        for kind, code, said in outcome.changes(entry.pod.containers, containers):
            if entry.pace.take(time.monotonic()):
                self._pods.tell(entry, kind, code, said)
        states = {c.state for c in containers}
        if status.is_finished(answer, containers):
            entry.update(containers=containers)
            codes = tuple(c.exit_code for c in containers)
            message = outcome.message(containers)
            self._pods.settle(entry, PodState.STOPPED, EventKind.EXITED, codes, message)
            self._sandboxes.shut_down(entry, 0)
        elif entry.pod.state is PodState.READY and ContainerState.RUNNING in states:
            # The daemon was killed between the start and the record of it.
            self._pods.started(entry, containers)
        elif (containers, entry.watch.marks) != (entry.pod.containers, entry.pod.timeline):
            entry.update(containers=containers)
            self._pods.note(entry)

    def _status(self, entry: Entry) -> dict[str, Any]:
        if entry.session is not None:
            try:
                return self._sandboxes.ask(entry, "pod.status", _STATUS_S)
            except GuestFailed:
                LOG.info("connecting again to the agent of pod %s", entry.id)
        self._connect(entry)
        return self._sandboxes.ask(entry, "pod.status", _STATUS_S)

    def _connect(self, entry: Entry) -> None:
        # In short tries: the guest may be gone before libvirt has heard of it, or be removed.
        for left in reversed(range(_TRIES)):
            try:
                self._sandboxes.connect(entry, fresh=False, timeout=_TRY_S)
                return
            except GuestFailed:
                if not left or entry.doomed or self._hypervisor.state(entry.id) in ENDED:
                    raise

    def reconcile(self) -> None:
        """Bring disk and libvirt into agreement, after a restart of either daemon.

        Agents are asked afterwards, by the other threads: they may be slow.

        :raises HypervisorUnavailable: when libvirt goes away meanwhile.
        """
        states = self._hypervisor.states()
        for pod_id in states:
            if self._registry.find(pod_id) is None:
                self._remove_orphan(pod_id)
        for entry in self._registry:
            alive = states.get(entry.id) not in ENDED
            if alive and entry.pod.state in UP:
                self.notice(entry.id)
            else:
                self._look_unless_busy(entry)
        self._pods.reconciled.set()

    def _remove_orphan(self, pod_id: str) -> None:
        if self._repository.directory(pod_id).exists():
            LOG.error("the domain of pod %s is left alone: its record cannot be read", pod_id)
            return
        LOG.warning("domain of pod %s belongs to no pod; removed", pod_id)
        try:
            self._hypervisor.destroy(pod_id)
            self._repository.agent_socket(pod_id).unlink(missing_ok=True)
        except HypervisorUnavailable:
            raise
        except HyperError as exc:
            LOG.error("cannot remove the domain of pod %s: %s", pod_id, exc)
