"""What a stopped pod is, kept so that it can be that again.

A restore point is a directory in the pod's own: the pod's shape, and copies of
the disks that hold what it has written.  Each step is one rename, so that a
daemon that is killed leaves the pod as it was, or a restore to be finished.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path

from nova_hyper.daemon import sparse
from nova_hyper.daemon.files import write_json
from nova_hyper.daemon.pods import fitting
from nova_hyper.daemon.pods.registry import Entry
from nova_hyper.daemon.pods.repository import Repository
from nova_hyper.daemon.pods.service import Pods
from nova_hyper.daemon.ports import Platform, WritableDisks
from nova_hyper.spec import codec
from nova_hyper.spec.errors import Conflict
from nova_hyper.spec.pod import Pod, PodState
from nova_hyper.spec.shape import Shape

LOG = logging.getLogger(__name__)

_POINT = "restore-point"
_MAKING = "restore-point.new"
_DROPPING = "restore-point.old"
_RESTORING = "restoring"
_SHAPE = "shape.json"
# A disk that copies fill to the brim would stop the pods that run.
_SPARE = 256 << 20
_DOWN = (PodState.STOPPED, PodState.CRASHED)


def require_itself(pod: Pod, what: str) -> None:
    """Refuse what would be done to the rescue of a pod instead of the pod.

    :raises Conflict: saying what to do.
    """
    if pod.rescued is not None:
        raise Conflict(
            f"pod {pod.spec.name} cannot be {what} while it is in rescue; unrescue it first"
        )


def require_down(pod: Pod, what: str) -> None:
    """Refuse what can only be done to a pod without a micro-VM, running or saved, and itself.

    :raises Conflict: naming its state.
    """
    require_itself(pod, what)
    if pod.state not in _DOWN:
        raise Conflict(
            f"pod {pod.spec.name} cannot be {what} while it is {pod.state}; stop it first"
        )


class RestorePoints:
    """Keeps and restores pods, one restore point each.

    Every method may be called by any thread and is idempotent; all but
    :meth:`drop` raise Conflict for a pod that is not down.
    """

    def __init__(
        self,
        pods: Pods,
        repository: Repository,
        disks: WritableDisks,
        platform: Platform,
    ) -> None:
        self._pods = pods
        self._repository = repository
        self._disks = disks
        self._platform = platform
        pods.settle_files = self.settle

    def make(self, ref: str) -> Pod:
        """Keep the shape of a pod and its disks as they are; one that is kept stays so.

        :raises DiskFull: when the host has no room for the copies.
        """
        with self._pods.holding(ref) as entry:
            require_down(entry.pod, "kept")
            self.settle(entry)
            point = self._place(entry, _POINT)
            if not point.exists():
                self._keep(entry, point)
            return entry.pod

    def _keep(self, entry: Entry, point: Path) -> None:
        spec = entry.pod.spec
        making = self._place(entry, _MAKING)
        making.mkdir(mode=0o700)

        def tick() -> None:
            if entry.doomed:
                raise Conflict("the pod was deleted while its disks were copied")

        try:
            for path, _size in fitting.kept(self._repository, spec):
                sparse.copy(path, making / path.name, tick, _SPARE)
            write_json(making / _SHAPE, codec.encode(Shape.of(spec)))
            os.rename(making, point)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
        LOG.info("pod %s (%s) is kept as it is", entry.id, spec.name)

    def drop(self, ref: str) -> Pod:
        """Remove what is kept of a pod, whether it runs or not."""
        with self._pods.holding(ref) as entry:
            self._drop(entry)
            return entry.pod

    def _drop(self, entry: Entry) -> None:
        point, dropping = self._place(entry, _POINT), self._place(entry, _DROPPING)
        _remove(dropping)
        if point.exists():
            os.rename(point, dropping)  # half of one must never be restored
            _remove(dropping)

    def restore(self, ref: str) -> Pod:
        """Give a pod the shape and the disks back that were kept; one of which none are stays."""
        with self._pods.holding(ref) as entry:
            point = self._place(entry, _POINT)
            if point.exists() or self._place(entry, _RESTORING).exists():
                require_down(entry.pod, "restored")
                self.settle(entry)
            if point.exists():
                os.rename(point, self._place(entry, _RESTORING))
                self._finish(entry)
            return entry.pod

    def _finish(self, entry: Entry) -> None:
        restoring = self._place(entry, _RESTORING)
        shape = codec.decode(Shape, json.loads((restoring / _SHAPE).read_bytes()))
        directory = self._repository.directory(entry.id)
        for path in restoring.iterdir():
            if path.name != _SHAPE:
                os.replace(path, directory / path.name)
        entry.update(spec=shape.applied_to(entry.pod.spec))
        self._repository.save(entry.pod)
        self._fit(entry)
        _remove(restoring)
        LOG.info("pod %s (%s) is restored", entry.id, entry.pod.spec.name)

    def _fit(self, entry: Entry) -> None:
        fitting.fit(self._disks, self._repository, entry.pod.own_spec, self._platform.owner())

    def settle(self, entry: Entry) -> None:
        """Finish or undo what a daemon before this one was killed in; the pod is down.

        The lock is held.

        :raises OSError: when a file cannot be changed.
        """
        for name in (_MAKING, _DROPPING):
            _remove(self._place(entry, name))
        if entry.pod.rescued is None and self._place(entry, _RESTORING).exists():
            self._finish(entry)
        self._fit(entry)

    def _place(self, entry: Entry, name: str) -> Path:
        return self._repository.directory(entry.id) / name


def _remove(directory: Path) -> None:
    if directory.exists():
        shutil.rmtree(directory)
