"""The layers' files: ``<hex>.squashfs``, with what is known of each beside it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from nova_hyper.daemon.image.atomic import sync_directory, write_whole
from nova_hyper.daemon.image.layer import ConvertedLayer
from nova_hyper.daemon.image.skeleton import Skeleton, dump_skeleton, load_skeleton

_SQUASHFS = ".squashfs"
_FACTS = ".json"
_SKELETON = ".tree"
_FORMAT = 1
"""Grows when the same layer would be converted to another file."""


@dataclasses.dataclass(frozen=True)
class LayerFacts:
    """``size`` and ``unpacked_size`` as in :class:`nova_hyper.spec.image.Layer`.

    ``entries`` is 0 for a layer that changes nothing; ``implied`` tells whether
    it has directories, other than the root, without an entry of their own, and
    ``opaque`` whether nothing of the layers below it is left.
    """

    size: int
    unpacked_size: int
    entries: int
    implied: bool
    opaque: bool
    format: int = _FORMAT


class LayerStore:
    """Layers and temporary files below *directory*; safe for threads.

    A layer exists when its squashfs does: that is put in place last and removed
    first.  A pinned layer is not swept.
    """

    def __init__(self, directory: Path) -> None:
        self._layers = directory / "layers"
        self._temporary = directory / "tmp"
        # QEMU, which runs as another user, opens layers by name; nobody else can list them.
        for each, mode in ((directory, 0o711), (self._layers, 0o711), (self._temporary, 0o700)):
            each.mkdir(parents=True, exist_ok=True)
            each.chmod(mode)
        self._lock = threading.RLock()
        self._pins: Counter[str] = Counter()
        self._in_use: set[Path] = set()

    def path(self, diff_id: str) -> Path:
        """Return where the squashfs of *diff_id* is, or would be."""
        return self._file(diff_id, _SQUASHFS)

    def facts(self, diff_id: str) -> LayerFacts | None:
        """Return what is known of a layer, None when it is not here whole."""
        try:
            facts = LayerFacts(**json.loads(self._file(diff_id, _FACTS).read_bytes()))
            size = self.path(diff_id).stat().st_size
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return facts if size == facts.size and facts.format == _FORMAT else None

    def skeleton(self, diff_id: str) -> Skeleton:
        """Return the skeleton of a layer that is here."""
        return load_skeleton(self._file(diff_id, _SKELETON).read_bytes())

    def pin(self, diff_id: str) -> bool:
        """Keep a layer until it is unpinned as often; False when it is not here."""
        with self._lock:
            if self.facts(diff_id) is None:
                return False
            self._pins[diff_id] += 1
            return True

    def unpin(self, diff_ids: Iterable[str]) -> None:
        """Take back one pin of each of *diff_ids*."""
        with self._lock:
            self._pins.subtract(diff_ids)
            self._pins = +self._pins

    def put(self, converted: ConvertedLayer, squashfs: Path) -> None:
        """Make the temporary file *squashfs*, already synced, a layer, and pin it.

        A layer that is here already stays, and the file is left.

        :raises OSError: then the layer does not exist.
        """
        with self._lock:
            if self.pin(converted.diff_id):
                return
            skeleton = converted.skeleton
            facts = LayerFacts(
                size=converted.size,
                unpacked_size=converted.unpacked_size,
                entries=converted.entries,
                implied=bool(skeleton.implied - {b""}),
                opaque=b"" in skeleton.opaque,
            )
            try:
                self._write(converted.diff_id, _SKELETON, dump_skeleton(skeleton))
                self._write(
                    converted.diff_id, _FACTS, json.dumps(dataclasses.asdict(facts)).encode()
                )
                os.rename(squashfs, self.path(converted.diff_id))
                sync_directory(self._layers)
            except BaseException:
                self.remove(converted.diff_id)
                raise
            self._pins[converted.diff_id] += 1

    def remove(self, diff_id: str) -> None:
        """Remove a layer; idempotent."""
        for suffix in (_SQUASHFS, _FACTS, _SKELETON):
            self._file(diff_id, suffix).unlink(missing_ok=True)

    @contextlib.contextmanager
    def temporary(self) -> Iterator[Path]:
        """Give the name for a temporary file, which is gone afterwards unless it was renamed."""
        path = self.scratch()
        with self._lock:
            self._in_use.add(path)
        try:
            yield path
        finally:
            with self._lock:
                self._in_use.discard(path)
                path.unlink(missing_ok=True)

    def scratch(self) -> Path:
        """Return the name for a file that is written and renamed under a lock."""
        return self._temporary / secrets.token_hex(8)

    def sweep(self, keep: set[str]) -> list[str]:
        """Remove the layers that are neither in *keep* nor pinned; return the names of the files.

        Temporary files that nobody writes go as well.
        """
        removed = []
        with self._lock:
            for entry in list(os.scandir(self._layers)):
                diff_id = f"sha256:{entry.name.partition('.')[0]}"
                if diff_id not in keep and diff_id not in self._pins:
                    os.unlink(entry.path)
                    removed.append(f"layers/{entry.name}")
            for entry in list(os.scandir(self._temporary)):
                if Path(entry.path) not in self._in_use:
                    os.unlink(entry.path)
                    removed.append(f"tmp/{entry.name}")
        return sorted(removed)

    def _write(self, diff_id: str, suffix: str, data: bytes) -> None:
        write_whole(self._file(diff_id, suffix), data, self.scratch())

    def _file(self, diff_id: str, suffix: str) -> Path:
        return self._layers / (diff_id.removeprefix("sha256:") + suffix)
