"""The handlers of shapes and restore points; see :mod:`.handlers`."""

from __future__ import annotations

from typing import Any

from nova_hyper.daemon.api import bodies
from nova_hyper.daemon.pods.reshaping import Reshaping
from nova_hyper.daemon.pods.restorepoint import RestorePoints
from nova_hyper.spec import codec
from nova_hyper.spec.shape import Shape

_Answer = tuple[int, Any]


class ShapeHandlers:
    """The operations that need :class:`Reshaping` and :class:`RestorePoints` only."""

    def __init__(self, reshaping: Reshaping, restore_points: RestorePoints) -> None:
        self._reshaping = reshaping
        self._restore_points = restore_points

    def reshape_pod(self, ref: str, body: dict[str, Any], dry_run: bool) -> _Answer:
        shape = bodies.decode(Shape, body)
        return 200, codec.encode(self._reshaping.reshape(ref, shape, dry_run))

    def make_restore_point(self, ref: str) -> _Answer:
        return 200, codec.encode(self._restore_points.make(ref))

    def drop_restore_point(self, ref: str) -> _Answer:
        return 200, codec.encode(self._restore_points.drop(ref))

    def restore_pod(self, ref: str) -> _Answer:
        return 200, codec.encode(self._restore_points.restore(ref))
