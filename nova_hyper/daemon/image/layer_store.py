"""The layers' files: ``<hex>.squashfs``, with what is known of each beside it."""

from __future__ import annotations

import contextlib
import dataclasses
import filecmp
import json
import os
import secrets
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from nova_hyper.daemon.image.atomic import sync_directory, write_whole
from nova_hyper.daemon.image.import_worker import LayerReport

_SQUASHFS = ".squashfs"
_FACTS = ".json"
_SKELETON = ".tree"
_RECIPE = ".recipe"
_FORMAT = 1
"""Grows when the same layer would be converted to another file."""


@dataclasses.dataclass(frozen=True)
class LayerFacts:
    """``size`` and ``unpacked_size`` as in :class:`nova_hyper.spec.image.Layer`.

    ``entries`` is 0 for a layer that changes nothing; ``implied`` tells whether
    it has directories, other than the root, without an entry of their own, and
    ``opaque`` whether nothing of the layers below it is left.  ``tar_size`` is the
    bytes of its tar stream, 0 where no recipe says how to get that back.
    """

    size: int
    unpacked_size: int
    entries: int
    implied: bool
    opaque: bool
    format: int = _FORMAT
    tar_size: int = 0


class LayerStore:
    """Layers and temporary files below *directory*; safe for threads.

    A layer exists when its squashfs does: that is put in place last and removed
    first.  A pinned layer is not swept.
    """

    def __init__(self, directory: Path) -> None:
        self._layers = directory / "layers"
        self._temporary = directory / "tmp"
        self.void = directory / "empty"
        """An empty directory: the file tree of the processes that read images."""
        # QEMU, which runs as another user, opens layers by name; nobody else can list them.
        for each, mode in (
            (directory, 0o711),
            (self._layers, 0o711),
            (self._temporary, 0o700),
            (self.void, 0o555),
        ):
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

    def skeleton(self, diff_id: str) -> Path:
        """Return where the skeleton of a layer is; only the import worker reads in it."""
        return self._file(diff_id, _SKELETON)

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

    def recipe_path(self, diff_id: str) -> Path:
        """Return where the recipe of *diff_id* is, or would be."""
        return self._file(diff_id, _RECIPE)

    def whole(self, diff_id: str) -> bool:
        """Tell whether a layer is here with all that it takes to give its tar stream back."""
        facts = self.facts(diff_id)
        return bool(facts and facts.tar_size) and self.recipe_path(diff_id).exists()

    def tar_size(self, diff_id: str) -> int:
        """Return the bytes of a layer's tar stream, 0 where they are not known."""
        facts = self.facts(diff_id)
        return facts.tar_size if facts else 0

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each layer on disk, with what is kept beside it."""
        found: Counter[str] = Counter()
        for entry in os.scandir(self._layers):
            with contextlib.suppress(FileNotFoundError):
                found[f"sha256:{entry.name.partition('.')[0]}"] += entry.stat().st_size
        return dict(found)

    def total(self) -> int:
        """Return the bytes of all layers on disk."""
        return sum(self.sizes().values())

    def temporary_bytes(self) -> int:
        """Return the bytes of what is being written."""
        total = 0
        for entry in os.scandir(self._temporary):
            with contextlib.suppress(FileNotFoundError):
                total += entry.stat().st_size
        return total

    def put(self, report: LayerReport, squashfs: Path, recipe: Path, skeleton: Path) -> None:
        """Make the temporary files, already synced, a layer, and pin it.

        A layer that is here already stays, and gets the recipe where it has none.

        :raises OSError: then the layer does not exist.
        """
        diff_id = report.diff_id
        facts = LayerFacts(
            size=report.size,
            unpacked_size=report.unpacked_size,
            entries=report.entries,
            implied=report.implied,
            opaque=report.opaque,
            tar_size=report.tar_size,
        )
        with self._lock:
            if self.pin(diff_id):
                # A daemon that kept no recipes may have made it, from the same tar.
                if not self.whole(diff_id) and filecmp.cmp(squashfs, self.path(diff_id), False):
                    os.rename(recipe, self.recipe_path(diff_id))
                    self._write_facts(diff_id, facts)
                return
            try:
                os.rename(recipe, self.recipe_path(diff_id))
                os.rename(skeleton, self._file(diff_id, _SKELETON))
                self._write_facts(diff_id, facts)
                os.rename(squashfs, self.path(diff_id))
                sync_directory(self._layers)
            except BaseException:
                self.remove(diff_id)
                raise
            self._pins[diff_id] += 1

    def remove(self, diff_id: str) -> None:
        """Remove a layer; idempotent."""
        for suffix in (_SQUASHFS, _FACTS, _SKELETON, _RECIPE):
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

    def _write_facts(self, diff_id: str, facts: LayerFacts) -> None:
        data = json.dumps(dataclasses.asdict(facts)).encode()
        write_whole(self._file(diff_id, _FACTS), data, self.scratch())

    def _file(self, diff_id: str, suffix: str) -> Path:
        return self._layers / (diff_id.removeprefix("sha256:") + suffix)
