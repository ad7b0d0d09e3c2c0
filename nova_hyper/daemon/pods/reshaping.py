"""Pods that change their size while they are stopped."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from nova_hyper.daemon import plan
from nova_hyper.daemon.pods import fitting, launch
from nova_hyper.daemon.pods.registry import Entry
from nova_hyper.daemon.pods.repository import Repository
from nova_hyper.daemon.pods.restorepoint import RestorePoints, require_down, require_itself
from nova_hyper.daemon.pods.sandbox import Settings
from nova_hyper.daemon.pods.service import Pods
from nova_hyper.daemon.ports import Images, Platform, WritableDisks
from nova_hyper.spec.errors import InvalidRequest
from nova_hyper.spec.pod import Pod, PodSpec
from nova_hyper.spec.shape import Shape

LOG = logging.getLogger(__name__)

_GIB = 1024**3


class Reshaping:
    """Gives pods another shape."""

    def __init__(
        self,
        pods: Pods,
        repository: Repository,
        images: Images,
        disks: WritableDisks,
        platform: Platform,
        restore_points: RestorePoints,
        settings: Settings,
    ) -> None:
        self._pods = pods
        self._repository = repository
        self._images = images
        self._disks = disks
        self._platform = platform
        self._restore_points = restore_points
        self._settings = settings

    def reshape(self, ref: str, shape: Shape, dry_run: bool) -> Pod:
        """Give a pod that is down another shape; what its disks hold stays.

        File systems grow into their larger disks when the pod boots.  With
        *dry_run* nothing changes, and the pod may run.

        :raises InvalidRequest: when a disk would become smaller, or the shape contradicts itself.
        :raises InsufficientMemory: when the host cannot give it the memory.
        :raises ImageUnsuitable: when its image does not fit the new root.
        :raises Conflict: when the pod is not down.
        :raises DiskFull: when there is no room for a disk; the pod stays as it was.
        """
        with self._pods.holding(ref) as entry:
            require_itself(entry.pod, "reshaped")
            spec = shape.applied_to(entry.pod.spec)
            self._check(entry.pod, spec)
            if dry_run:
                return entry.pod
            require_down(entry.pod, "reshaped")
            self._restore_points.settle(entry)
            if spec != entry.pod.spec:
                plan.run(self._steps(entry, spec), lambda _step: None)
                LOG.info("pod %s (%s) has another shape", entry.id, spec.name)
            return entry.pod

    def _check(self, pod: Pod, spec: PodSpec) -> None:
        for problem in shrunk(pod.spec, spec):
            raise InvalidRequest(f"{problem}: a disk of a pod cannot become smaller")
        launch.check(
            spec,
            [self._images.get(c.image_id) for c in pod.containers],
            arch=self._platform.arch(),
            memory=(self._settings.min_memory_mib, self._platform.memory_mib()),
        )

    def _steps(self, entry: Entry, spec: PodSpec) -> list[plan.Step]:
        before = entry.pod.spec
        known = dict(fitting.kept(self._repository, before))
        wanted = dict(fitting.kept(self._repository, spec))
        new = {path: size for path, size in wanted.items() if path not in known}
        larger = {path: size for path, size in known.items() if wanted[path] > size}
        # One that is larger than its record says may have been seen so by a guest.
        exact = {p: size for p, size in larger.items() if p.stat().st_size == size * _GIB}
        return [
            plan.Step(
                "new disks", lambda: self._make(entry, new, bool(larger)), lambda: _remove(new)
            ),
            plan.Step(
                "record", lambda: self._record(entry, spec), lambda: self._record(entry, before)
            ),
            plan.Step("fit", lambda: self._fit(spec), lambda: self._shrink(exact)),
        ]

    def _make(self, entry: Entry, disks: dict[Path, int], grows: bool) -> None:
        if grows:
            self._repository.note_growth(entry.id)
        for path, size_gib in disks.items():
            self._disks.create(path, size_gib, self._platform.owner())

    def _shrink(self, disks: dict[Path, int]) -> None:
        """Make disks as large as they were: no guest has seen them larger."""
        for path, size_gib in disks.items():
            self._disks.resize(path, size_gib)

    def _record(self, entry: Entry, spec: PodSpec) -> None:
        entry.update(spec=spec)
        self._repository.save(entry.pod)

    def _fit(self, spec: PodSpec) -> None:
        fitting.fit(self._disks, self._repository, spec, self._platform.owner())


def shrunk(before: PodSpec, after: PodSpec) -> Iterator[str]:
    """Yield which disks would be smaller, or gone."""
    if after.root_gib < before.root_gib:
        size = f"{after.root_gib} GiB" if after.root_gib else "memory only"
        yield f"the root disk of {before.root_gib} GiB cannot be {size}"
    for index, disk in enumerate(before.ephemerals):
        left = after.ephemerals[index].size_gib if index < len(after.ephemerals) else 0
        if left < disk.size_gib:
            yield f"ephemeral disk {index} of {disk.size_gib} GiB cannot be {left} GiB"


def _remove(disks: dict[Path, int]) -> None:
    for path in disks:
        path.unlink(missing_ok=True)
