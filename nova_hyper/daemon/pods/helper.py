"""Micro-VMs that only read: on the disks of a pod that is down, or on a copy of a still one's.

No container runs in them, and they have no interfaces.
"""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from collections.abc import Callable, Iterator

from nova_hyper.daemon import plan
from nova_hyper.daemon.pods import layout
from nova_hyper.daemon.pods.registry import Entry
from nova_hyper.daemon.pods.repository import Repository
from nova_hyper.daemon.pods.sandbox import Sandboxes
from nova_hyper.daemon.pods.service import Pods
from nova_hyper.daemon.ports import (
    DomainState,
    Hypervisor,
    Images,
    Platform,
    WritableDisks,
)
from nova_hyper.spec.errors import Conflict, HyperError
from nova_hyper.spec.nic import Dns
from nova_hyper.spec.pod import PodSpec, PodState

STILL = (PodState.PAUSED, PodState.SUSPENDED)
"""States of a pod whose guest goes on with its disks later as it remembers them."""

_DOWN = (PodState.STOPPED, PodState.CRASHED)
_MEMORY_MIB = 256


class Helpers:
    """Boots such micro-VMs, and removes them."""

    def __init__(
        self,
        pods: Pods,
        sandboxes: Sandboxes,
        repository: Repository,
        images: Images,
        disks: WritableDisks,
        hypervisor: Hypervisor,
        platform: Platform,
    ) -> None:
        self._pods = pods
        self._sandboxes = sandboxes
        self._repository = repository
        self._images = images
        self._disks = disks
        self._hypervisor = hypervisor
        self._platform = platform

    @contextlib.contextmanager
    def of(self, ref: str, tick: Callable[[], None]) -> Iterator[Entry]:
        """Give the helper of a pod that does not run; it is gone after the body.

        *tick* is called now and then while something takes its time; what it raises ends this.

        :raises Conflict: when the pod is in no state for it, or wrote to memory.
        """
        state = self._pods.get(ref).state
        with self._on_copy(ref, tick) if state in STILL else self._on_disks(ref) as helper:
            yield helper

    @contextlib.contextmanager
    def _on_disks(self, ref: str) -> Iterator[Entry]:
        """Boot on the disks themselves; the pod's lock is held until the body ends.

        A daemon that is killed here leaves a domain of a pod that is stopped,
        which the next one removes.
        """
        with self._pods.holding(ref) as entry:
            _require(entry, _DOWN, "start it, or wait")
            helper = _entry(entry, entry.pod.spec.replaced(nics=(), dns=Dns()))
            try:
                self._boot(helper)
                yield helper
            except BaseException:
                with contextlib.suppress(HyperError):
                    self._sandboxes.destroy(helper)
                raise
            # The journal of its disk is written: the next boot finds nothing to do.
            self._sandboxes.shut_down(helper, 0)

    @contextlib.contextmanager
    def _on_copy(self, ref: str, tick: Callable[[], None]) -> Iterator[Entry]:
        """Boot on a copy, which is as a disk after a power cut; the pod may go on meanwhile.

        A daemon that is killed here leaves a directory without a record and a
        domain of no pod, which the next one removes.
        """
        helper = None
        try:
            with self._pods.holding(ref) as entry:
                helper = self._copied(entry, tick)
            self._boot(helper)
            yield helper
        finally:
            if helper is not None:
                self._clear(helper)

    def _copied(self, entry: Entry, tick: Callable[[], None]) -> Entry:
        _require(entry, STILL, "it has changed meanwhile; try again")
        before = entry.pod.spec
        spec = dataclasses.replace(
            before,
            id=str(uuid.uuid4()),
            memory_mib=min(before.memory_mib, _MEMORY_MIB),
            nics=(),
            dns=Dns(),
            ephemerals=(),
            swap_mib=0,
        )
        helper = _entry(entry, spec)

        def go_on() -> None:
            tick()
            if entry.doomed:
                raise Conflict(f"pod {before.name} was deleted while it was read")

        try:
            for container in entry.pod.containers:
                self._images.acquire(container.image_id, helper.id)
            self._repository.make_room(helper.id)
            source = layout.upper(self._repository, before)
            target = layout.upper(self._repository, spec)
            assert source is not None and target is not None
            self._disks.copy(source, target, self._platform.owner(), go_on)
            if self._hypervisor.state(entry.id) is DomainState.RUNNING:
                raise Conflict(f"somebody let pod {before.name} run while it was read; try again")
        except BaseException:
            self._clear(helper)
            raise
        return helper

    def _boot(self, helper: Entry) -> None:
        images = [self._images.get(c.image_id) for c in helper.pod.containers]
        plan.run(self._sandboxes.boot_steps(helper, images), lambda _step: None)

    def _clear(self, helper: Entry) -> None:
        with contextlib.suppress(HyperError):
            self._sandboxes.destroy(helper)
        self._repository.remove(helper.id)
        self._images.release(helper.id)


def _entry(entry: Entry, spec: PodSpec) -> Entry:
    return Entry(dataclasses.replace(entry.pod, spec=spec, state=PodState.READY))


def _require(entry: Entry, states: tuple[PodState, ...], advice: str) -> None:
    """Refuse a pod in another state than *states*, and one whose disk says nothing.

    :raises Conflict: saying what to do.
    """
    pod = entry.pod
    if pod.state not in states:
        raise Conflict(
            f"pod {pod.spec.name} cannot be committed while it is {pod.state}; {advice}"
        )
    if pod.spec.root_gib:
        return
    if pod.state in STILL:
        way = "unpause" if pod.state is PodState.PAUSED else "resume"
        raise Conflict(
            f"pod {pod.spec.name} has what it wrote in memory, which stands still: {way} it "
            "first, or give it a disk"
        )
    raise Conflict(
        f"pod {pod.spec.name} had what it wrote in memory, which ended with it: commit it while "
        "it runs, or give it a disk"
    )
