"""Shapes and restore points of the pods of a hyperd in memory."""

from __future__ import annotations

from typing import Any

from nova_hyper.spec.errors import Conflict, InvalidRequest
from nova_hyper.spec.pod import Pod, PodState
from nova_hyper.spec.shape import Shape


class FakeShape:
    """As hyperd, without disks; ``kept`` has the shapes by pod id."""

    _called: Any
    _update: Any
    pod: Any
    kept: dict[str, Shape]

    @staticmethod
    def _require_down(pod: Pod) -> None:
        if pod.state not in (PodState.STOPPED, PodState.CRASHED):
            raise Conflict(f"pod {pod.spec.name} is {pod.state}; stop it first")

    def reshape_pod(self, ref: str, shape: Shape, dry_run: bool = False) -> Pod:
        self._called("reshape_pod")
        pod = self.pod(ref)
        before = Shape.of(pod.spec)
        sizes = [disk.size_gib for disk in shape.ephemerals]
        smaller = shape.root_gib < before.root_gib or any(
            [*sizes, *(0 for _ in before.ephemerals)][index] < disk.size_gib
            for index, disk in enumerate(before.ephemerals)
        )
        if smaller:
            raise InvalidRequest("a disk of a pod cannot become smaller")
        if dry_run:
            return pod
        self._require_down(pod)
        return self._update(pod, spec=shape.applied_to(pod.spec))

    def make_restore_point(self, ref: str) -> Pod:
        self._called("make_restore_point")
        pod = self.pod(ref)
        self._require_down(pod)
        self.kept.setdefault(pod.spec.id, Shape.of(pod.spec))
        return pod

    def drop_restore_point(self, ref: str) -> Pod:
        self._called("drop_restore_point")
        pod = self.pod(ref)
        self.kept.pop(pod.spec.id, None)
        return pod

    def restore_pod(self, ref: str) -> Pod:
        self._called("restore_pod")
        pod = self.pod(ref)
        if pod.spec.id not in self.kept:
            return pod
        self._require_down(pod)
        return self._update(pod, spec=self.kept.pop(pod.spec.id).applied_to(pod.spec))
