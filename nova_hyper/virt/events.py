"""hyperd's events as Nova's lifecycle events.

nova-compute acts on an event only when the instance has no task in progress
and its power state is the event's (``handle_lifecycle_event``); otherwise it
drops it, and the periodic sync finds out minutes later.  A container that ends
while Nova is still finishing its spawn is just such a case.  So an event waits
here until the instance has no task, and is emitted if it is still true then.
That also keeps this driver's own stops and starts from looking like somebody
else's, for which the libvirt driver delays "stopped" events by 15 seconds.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import threading
import time
from collections.abc import Callable

import nova.context
from nova import exception, objects
from nova.virt import event as virtevent
from oslo_log import log as logging

from nova_hyper.client import EventStream, Hyperd, Lost
from nova_hyper.spec.errors import HyperError, PodNotFound
from nova_hyper.spec.event import Event, EventKind
from nova_hyper.spec.pod import PodState
from nova_hyper.virt import podspec

LOG = logging.getLogger(__name__)

_DOWN = (PodState.STOPPED, PodState.CRASHED)
_TRANSITIONS = {
    EventKind.STARTED: virtevent.EVENT_LIFECYCLE_STARTED,
    EventKind.EXITED: virtevent.EVENT_LIFECYCLE_STOPPED,
    EventKind.STOPPED: virtevent.EVENT_LIFECYCLE_STOPPED,
    EventKind.CRASHED: virtevent.EVENT_LIFECYCLE_STOPPED,
    EventKind.PAUSED: virtevent.EVENT_LIFECYCLE_PAUSED,
    EventKind.UNPAUSED: virtevent.EVENT_LIFECYCLE_RESUMED,
    EventKind.SUSPENDED: virtevent.EVENT_LIFECYCLE_SUSPENDED,
    EventKind.RESUMED: virtevent.EVENT_LIFECYCLE_RESUMED,
}
# What is to be told of a pod that does not run, when nobody knows what has happened to it.
_STILL = {
    PodState.STOPPED: virtevent.EVENT_LIFECYCLE_STOPPED,
    PodState.CRASHED: virtevent.EVENT_LIFECYCLE_STOPPED,
    PodState.PAUSED: virtevent.EVENT_LIFECYCLE_PAUSED,
    PodState.SUSPENDED: virtevent.EVENT_LIFECYCLE_SUSPENDED,
}
# What a pod must be for an event to be still true.
_STATES = {
    virtevent.EVENT_LIFECYCLE_STARTED: (PodState.RUNNING,),
    virtevent.EVENT_LIFECYCLE_STOPPED: _DOWN,
    virtevent.EVENT_LIFECYCLE_PAUSED: (PodState.PAUSED,),
    virtevent.EVENT_LIFECYCLE_RESUMED: (PodState.RUNNING,),
    virtevent.EVENT_LIFECYCLE_SUSPENDED: (PodState.SUSPENDED,),
}
_FIRST_DELAY = 0.3
_MAX_DELAY = 5.0
# A task that takes longer than this ends with Nova reading the power state anyway.
_GIVE_UP_SECONDS = 600.0


def has_task(uuid: str) -> bool:
    """Tell whether Nova has a task in progress for the instance.

    :raises InstanceNotFound: when Nova does not know it.
    """
    context = nova.context.get_admin_context()
    instance = objects.Instance.get_by_uuid(context, uuid, expected_attrs=[])
    return instance.task_state is not None


@dataclasses.dataclass(order=True, frozen=True)
class _Pending:
    due: float
    order: int
    uuid: str = dataclasses.field(compare=False)
    transition: int = dataclasses.field(compare=False)
    delay: float = dataclasses.field(compare=False)
    give_up: float = dataclasses.field(compare=False)


class LifecycleEvents:
    """Two threads: one reads hyperd's events, one hands them to Nova.

    :param emit: takes a ``LifecycleEvent``; ``ComputeDriver.emit_event``.
    :param on_state: told whether hyperd answers; see :class:`EventStream`.
    """

    def __init__(
        self,
        hyperd: Hyperd,
        emit: Callable[[virtevent.LifecycleEvent], None],
        on_state: Callable[[HyperError | None], None],
        has_task: Callable[[str], bool] = has_task,
    ) -> None:
        self._hyperd = hyperd
        self._emit = emit
        self._has_task = has_task
        self._stream = EventStream(hyperd, on_state=on_state)
        self._queue: list[_Pending] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._stopped = False

    def start(self) -> None:
        """Start both threads, which end with the process at the latest."""
        for target, name in ((self._read, "hyper-events"), (self._deliver, "hyper-lifecycle")):
            threading.Thread(target=target, name=name, daemon=True).start()

    def stop(self) -> None:
        """Deliver nothing more."""
        self._stream.stop()
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _read(self) -> None:
        for event in self._stream:
            if self._stopped:
                return
            try:
                self._take(event)
            except Exception:
                LOG.exception("Cannot handle %s", event)

    def _take(self, event: Event | Lost) -> None:
        if isinstance(event, Lost):
            LOG.warning("Events of hyperd were lost; looking at every pod instead")
            for pod in self._hyperd.pods():
                if podspec.is_novas(pod) and pod.state in _STILL:
                    self._put(pod.spec.id, _STILL[pod.state])
        elif event.kind in _TRANSITIONS:
            self._put(event.pod_id, _TRANSITIONS[event.kind])

    def _put(self, uuid: str, transition: int, delay: float = 0.0, give_up: float = 0.0) -> None:
        now = time.monotonic()
        with self._changed:
            pending = _Pending(
                due=now + delay,
                order=next(self._order),
                uuid=uuid,
                transition=transition,
                delay=delay,
                give_up=give_up or now + _GIVE_UP_SECONDS,
            )
            heapq.heappush(self._queue, pending)
            self._changed.notify_all()

    def _next(self) -> _Pending | None:
        """Return the next event that is due, None when stopped."""
        with self._changed:
            while not self._stopped:
                left = self._queue[0].due - time.monotonic() if self._queue else None
                if left is not None and left <= 0:
                    return heapq.heappop(self._queue)
                self._changed.wait(left)
        return None

    def _deliver(self) -> None:
        while (pending := self._next()) is not None:
            try:
                self._try(pending)
            except Exception:
                LOG.exception("Cannot hand over the event of %s; trying again", pending.uuid)
                self._again(pending)

    def _try(self, pending: _Pending) -> None:
        if not self._still_true(pending):
            return
        try:
            busy = self._has_task(pending.uuid)
        except exception.InstanceNotFound:
            # An operator's own pod, or an instance that is deleted by now.
            return
        if busy:
            self._again(pending)
        else:
            self._emit(virtevent.LifecycleEvent(pending.uuid, pending.transition))

    def _again(self, pending: _Pending) -> None:
        if time.monotonic() < pending.give_up:
            delay = min(max(_FIRST_DELAY, pending.delay * 1.5), _MAX_DELAY)
            self._put(pending.uuid, pending.transition, delay, pending.give_up)

    def _still_true(self, pending: _Pending) -> bool:
        try:
            state = self._hyperd.pod(pending.uuid).state
        except PodNotFound:
            return False
        return state in _STATES[pending.transition]
