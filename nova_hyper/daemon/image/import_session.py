"""One import under way: where the layers of its archive go."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from nova_hyper.daemon.image.archive import FoundImage
from nova_hyper.daemon.image.compression import Read
from nova_hyper.daemon.image.digest import chain_id, is_digest, sha256
from nova_hyper.daemon.image.import_worker import (
    REFUSED,
    ImportWorker,
    LayerReport,
    WorkerSettings,
)
from nova_hyper.daemon.image.layer_store import LayerStore
from nova_hyper.daemon.image.limits import Limits
from nova_hyper.daemon.image.pulled import Progress
from nova_hyper.daemon.image.ranges import Ranges
from nova_hyper.daemon.image.squashfs_format import SUPERBLOCK, Layout
from nova_hyper.daemon.image.stream import Readable
from nova_hyper.spec import codec
from nova_hyper.spec.errors import HyperError, ImageInvalid

LOG = logging.getLogger(__name__)
T = TypeVar("T")

_MAX_SKELETON = 256 << 20


class ImportSession:
    """Takes the layers of one image in and pins them, until it is closed.

    Everything that reads what is in an image runs in confined processes; one
    for each thread that is at it at the same time.

    :param blobs: digests of compressed layers seen before → diff IDs.
    """

    def __init__(
        self, layers: LayerStore, blobs: dict[str, str], limits: Limits, settings: WorkerSettings
    ) -> None:
        self._layers = layers
        self._known_blobs = blobs
        self._limits = limits
        self._settings = settings
        self._lock = threading.Lock()
        self._unpacked = 0
        self._idle: list[ImportWorker] = []
        self.pinned: list[str] = []
        self.blobs: dict[str, str] = {}
        """Digests of this archive's compressed layers → diff IDs."""

    def close(self) -> None:
        """End the processes; the pins are the caller's to take back."""
        for worker in self._idle:
            worker.close()
        self._idle.clear()

    def archive(self, stream: Readable, arch: str, name: str | None) -> FoundImage:
        """Take in the archive that *stream* gives, to its end, and return its image for *arch*.

        :raises ImageInvalid: when it is no archive, or something in it cannot be used.
        :raises ImageUnsuitable: when its images are for other platforms.
        :raises OSError: when it cannot be written; then nothing of it is left.
        """
        found = self._run({"order": "archive", "arch": arch, "name": name}, stream.read)
        return _checked(_decoded(FoundImage, found))

    def pulled(self, documents: Sequence[bytes], arch: str) -> Progress:
        """Return how far the documents of a registry, the first of all first, lead to an image.

        :raises ImageInvalid: when they are no image's.
        :raises ImageUnsuitable: when its images are for other platforms.
        """
        order = {"order": "pulled", "sizes": [len(raw) for raw in documents], "arch": arch}
        made = _decoded(Progress, self._run(order, io.BytesIO(b"".join(documents)).read))
        if made.image is None:
            if not is_digest(made.needed):
                raise ImageInvalid(REFUSED)
            return made
        _checked(made.image)
        if made.image.id not in map(sha256, documents):
            raise ImageInvalid(REFUSED)
        if len(made.layers) != len(made.image.config.diff_ids) or not all(
            is_digest(layer.digest) and layer.size >= 0 for layer in made.layers
        ):
            raise ImageInvalid(REFUSED)
        return made

    def known(self, digest: str, compressed: bool) -> str:
        """Return the diff ID of a layer that is here already, or nothing."""
        # A plain layer's digest is its diff ID.
        diff_id = self._known_blobs.get(digest, "") if compressed else digest
        # Without its recipe it could not be saved: it is converted once more, to get that.
        if not diff_id or not self._layers.whole(diff_id) or not self._layers.pin(diff_id):
            return ""
        self.pinned.append(diff_id)
        return diff_id

    def convert(self, read: Read, compression: str, what: str) -> tuple[str, str]:
        """Convert one layer and return its diff ID and blob digest.

        :raises ImageInvalid: when it is no layer, or too much together with those before.
        :raises OSError: when it cannot be written; then nothing of it is left.
        """
        order = {"order": "layer", "compression": compression, "what": what}
        made = self._run(order, read)
        return _pinned(made, self.pinned), _text(made, "blob")

    def complete(self, diff_ids: Sequence[str]) -> str:
        """Convert the layer that the directories of *diff_ids*, bottom first, need on top.

        :returns: its diff ID, or nothing where none is needed; see :mod:`..completion`.
        :raises ImageInvalid: when the layers do not fit together.
        """
        trees = [(path, 0, path.stat().st_size) for path in map(self._layers.skeleton, diff_ids)]
        order = {"order": "complete", "sizes": [size for _, _, size in trees]}
        with contextlib.closing(Ranges(trees)) as ranges:
            made = self._run(order, ranges.read)
        return _pinned(made, self.pinned) if _text(made, "diff_id") else ""

    def merge(self, diff_ids: Sequence[str]) -> str:
        """Make one layer of several, bottom first, and return its id, which is their chain ID.

        :raises ImageInvalid: when the layers do not fit together.
        """
        chain = chain_id(diff_ids)
        if self._layers.pin(chain):
            self.pinned.append(chain)
            return chain
        heads, bodies, parts = [], [], []
        for diff_id in diff_ids:
            squashfs, tree = self._layers.path(diff_id), self._layers.skeleton(diff_id)
            with squashfs.open("rb") as file:
                data = Layout.of(file.read(SUPERBLOCK.size)).inodes - SUPERBLOCK.size
            tables_at = SUPERBLOCK.size + data
            tables = squashfs.stat().st_size - tables_at
            heads += [
                (tree, 0, tree.stat().st_size),
                (squashfs, 0, SUPERBLOCK.size),
                (squashfs, tables_at, tables),
            ]
            bodies.append((squashfs, SUPERBLOCK.size, data))
            parts.append((tree.stat().st_size, tables, data))
        order = {"order": "merge", "chain_id": chain, "parts": parts}
        with contextlib.closing(Ranges([*heads, *bodies])) as ranges:
            self._run(order, ranges.read, merged=chain)
        return chain

    def temporary(self) -> contextlib.AbstractContextManager[Path]:
        """Give the name for a temporary file, which is gone afterwards."""
        return self._layers.temporary()

    def _run(self, order: dict[str, Any], read: Read, merged: str = "") -> Any:
        with self._worker() as worker, _Intake(self, merged) as intake:
            with self._lock:
                left = self._limits.unpacked - self._unpacked
            limits = dataclasses.replace(self._limits, unpacked=left)
            return worker.run(order, read, limits, intake)

    @contextlib.contextmanager
    def _worker(self) -> Iterator[ImportWorker]:
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        worker = worker or ImportWorker(self._settings, self._layers.void, self._limits)
        try:
            yield worker
        except BaseException:
            worker.close()
            raise
        with self._lock:
            self._idle.append(worker)

    def take(
        self, report: LayerReport, compression: str, paths: tuple[Path, Path, Path], new: bool
    ) -> None:
        """Make the files at *paths* a layer of this import; *new* is what no layer had before.

        :raises ImageInvalid: when it is too much together with those before.
        :raises OSError: when that fails; then the layer does not exist.
        """
        with self._lock:
            added = report.unpacked_size if new else 0
            if added > self._limits.unpacked - self._unpacked:
                raise ImageInvalid(REFUSED)
            self._unpacked += added
        self._layers.put(report, *paths)
        with self._lock:
            self.pinned.append(report.diff_id)
            if compression:
                self.blobs[report.blob] = report.diff_id

    @contextlib.contextmanager
    def files(self) -> Iterator[tuple[Path, Path, Path]]:
        """Give the names for a layer's temporary files; those not renamed are gone afterwards."""
        new = self._layers.temporary
        with new() as squashfs, new() as recipe, new() as skeleton:
            yield squashfs, recipe, skeleton


class _Intake:
    """Where the layers of one order go (:class:`..import_worker.Intake`).

    :param merged: the chain ID of the one layer that may come, made of others; or nothing.
    """

    def __init__(self, session: ImportSession, merged: str) -> None:
        self._session = session
        self._merged = merged
        self._stack = contextlib.ExitStack()
        self._paths: tuple[Path, Path, Path] | None = None
        self._files: tuple[int, int, int] | None = None

    def __enter__(self) -> _Intake:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def known(self, digest: str, compressed: bool) -> str:
        return self._session.known(digest, compressed)

    def files(self) -> tuple[int, int, int]:
        self._stack.close()
        self._paths = self._stack.enter_context(self._session.files())
        first, second, third = self._paths
        self._files = (self._open(first), self._open(second), self._open(third))
        return self._files

    def _open(self, path: Path) -> int:
        return self._stack.enter_context(open(path, "xb")).fileno()

    def layer(self, report: LayerReport, compression: str, what: str) -> None:
        if self._files is None or self._paths is None:
            raise ImageInvalid(REFUSED)
        squashfs, recipe, skeleton = self._files
        sizes = [os.fstat(fd).st_size for fd in self._files]
        if sizes[0] != report.size or sizes[2] > _MAX_SKELETON:
            raise ImageInvalid(REFUSED)
        if self._merged and report.diff_id != self._merged:
            raise ImageInvalid(REFUSED)
        # QEMU, which runs as another user, opens layers by name; nobody else reads the rest.
        for fd, mode in ((squashfs, 0o444), (recipe, 0o400), (skeleton, 0o400)):
            os.fchmod(fd, mode)
            os.fsync(fd)
        self._session.take(report, compression, self._paths, new=not self._merged)
        self._paths = self._files = None
        self._stack.close()
        if report.dropped_xattrs:
            LOG.warning(
                "Layer %s: extended attributes that a layer image cannot hold were left out: %s",
                what,
                ", ".join(report.dropped_xattrs),
            )


def _decoded(cls: type[T], made: Any) -> T:
    try:
        return codec.decode(cls, made)
    except ValueError:
        raise ImageInvalid(REFUSED) from None


def _checked(image: FoundImage) -> FoundImage:
    if not all(is_digest(digest) for digest in (image.id, *image.config.diff_ids)):
        raise ImageInvalid(REFUSED)
    return image


def _text(made: Any, key: str) -> str:
    value = made.get(key) if isinstance(made, dict) else None
    if not isinstance(value, str):
        raise HyperError(REFUSED)
    return value


def _pinned(made: Any, pinned: list[str]) -> str:
    value = _text(made, "diff_id")
    if value not in pinned:
        raise HyperError(REFUSED)
    return value
