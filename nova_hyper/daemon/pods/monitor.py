"""Keeps what is written of pods true: guests exit, crash and outlive the daemon.

Nothing here depends on what an event says or on no event being lost: an event,
like a restart, is only a reason to look at the domain and to ask the agent.
"""

from __future__ import annotations

import logging
import queue
import threading
from typing import Any

from nova_hyper.daemon.pods.registry import Entry, Registry
from nova_hyper.daemon.pods.repository import Repository
from nova_hyper.daemon.pods.sandbox import Sandboxes
from nova_hyper.daemon.pods.service import UP, Pods
from nova_hyper.daemon.ports import DomainState, Hypervisor, Images
from nova_hyper.spec.errors import GuestFailed, HyperError, HypervisorUnavailable
from nova_hyper.spec.event import EventKind
from nova_hyper.spec.pod import PodState

LOG = logging.getLogger(__name__)

_WORKERS = 4
_STATUS_S = 10.0


class Monitor:
    """Looks at pods when something happened to them, in a few threads of its own."""

    def __init__(
        self,
        registry: Registry,
        repository: Repository,
        images: Images,
        sandboxes: Sandboxes,
        hypervisor: Hypervisor,
        pods: Pods,
    ) -> None:
        self._registry = registry
        self._repository = repository
        self._images = images
        self._sandboxes = sandboxes
        self._hypervisor = hypervisor
        self._pods = pods
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._left: set[str] = set()
        self._threads: list[threading.Thread] = []
        sandboxes.on_agent_event = self._agent_event
        sandboxes.on_agent_lost = self.notice
        pods.on_released = self._released

    def start(self) -> None:
        """Start the worker threads."""
        for number in range(_WORKERS):
            thread = threading.Thread(target=self._work, name=f"monitor-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End the worker threads; pods are not touched."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(timeout=5)

    def notice(self, pod_id: str) -> None:
        """Have the pod looked at soon; returns at once."""
        self._queue.put(pod_id)

    def _agent_event(self, pod_id: str, event: dict[str, Any]) -> None:
        entry = self._registry.find(pod_id)
        if entry is None:
            return
        if event.get("event") == "container.output":
            entry.watch.mark("output")
        self.notice(pod_id)

    def _released(self, entry: Entry) -> None:
        if entry.id in self._left:
            self._left.discard(entry.id)
            self.notice(entry.id)

    def _work(self) -> None:
        while (pod_id := self._queue.get()) is not None:
            entry = self._registry.find(pod_id)
            if entry is None:
                continue
            # A call is at work on this pod; it has its own eyes, and lets us look afterwards.
            self._left.add(pod_id)
            if not entry.lock.acquire(blocking=False):
                continue
            self._left.discard(pod_id)
            try:
                if not entry.gone:
                    self.look(entry)
            except HypervisorUnavailable:
                LOG.debug("pod %s is looked at when libvirt is back", pod_id)
            except Exception:
                LOG.exception("looking at pod %s failed", pod_id)
            finally:
                entry.lock.release()

    def look(self, entry: Entry) -> None:
        """Make the record of one pod true; the lock is held.

        :raises HypervisorUnavailable: when libvirt is away.
        """
        if entry.pod.state in (PodState.CREATING, PodState.DELETING):
            # No call is at work on it, or it would hold the lock: its daemon or libvirtd was
            # killed in the middle.
            LOG.warning("pod %s was left half way (%s); removed", entry.id, entry.pod.state)
            self._pods.remove(entry)
        elif entry.pod.state in UP:
            self._look_at_guest(entry)
        elif self._hypervisor.state(entry.id) is not None:
            # An interrupted start or stop.
            self._sandboxes.destroy(entry)

    def _look_at_guest(self, entry: Entry) -> None:
        if self._hypervisor.state(entry.id) in (None, DomainState.OFF):
            self._sandboxes.destroy(entry)
            self._pods.settle(
                entry,
                PodState.CRASHED,
                EventKind.CRASHED,
                None,
                "the micro-VM ended unexpectedly: its kernel panicked, QEMU was killed, or the "
                "host was restarted",
            )
            return
        try:
            status = self._status(entry)
        except HyperError as exc:
            LOG.warning("the agent of pod %s does not answer: %s", entry.id, exc)
            entry.close_session()
            entry.update(message="the agent in the pod does not answer")
            return
        entry.update(timeline=entry.watch.marks)
        containers = status.get("containers")
        ended = (
            [c for c in containers if isinstance(c, dict)] if isinstance(containers, list) else []
        )
        if not ended or any(c.get("state") != "exited" for c in ended):
            self._repository.save(entry.pod)
            return
        code = ended[0].get("exit_code")
        code = code if isinstance(code, int) else None
        self._sandboxes.shut_down(entry, 0)
        self._pods.settle(
            entry, PodState.STOPPED, EventKind.EXITED, code, f"exited with code {code}"
        )

    def _status(self, entry: Entry) -> dict[str, Any]:
        if entry.session is not None:
            try:
                return self._sandboxes.ask(entry, "pod.status", _STATUS_S)
            except GuestFailed:
                LOG.info("connecting again to the agent of pod %s", entry.id)
        self._sandboxes.connect(entry, fresh=False)
        entry.update(message="")
        return self._sandboxes.ask(entry, "pod.status", _STATUS_S)

    def reconcile(self) -> None:
        """Bring disk, libvirt and agents into agreement, after a restart of either daemon.

        :raises HypervisorUnavailable: when libvirt goes away meanwhile.
        """
        for pod_id in self._hypervisor.states():
            if self._registry.find(pod_id) is None:
                LOG.warning("domain of pod %s belongs to no pod; removed", pod_id)
                self._hypervisor.destroy(pod_id)
        for entry in self._registry:
            with entry.lock:
                if not entry.gone:
                    self.look(entry)
        self._images.retain({entry.id for entry in self._registry})
        self._pods.reconciled.set()
