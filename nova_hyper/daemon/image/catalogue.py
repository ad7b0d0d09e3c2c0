"""What images and leases a host has, by name and by id; whatever is not in it is garbage."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from nova_hyper.daemon.image.accounting import usage_of
from nova_hyper.daemon.image.documents import Documents
from nova_hyper.daemon.image.index import IndexFiles, not_found
from nova_hyper.daemon.image.layer_store import LayerStore
from nova_hyper.daemon.image.reference import check_name, familiar_names
from nova_hyper.spec.errors import DiskFull, ImageInUse
from nova_hyper.spec.image import Image
from nova_hyper.spec.usage import DiskUsage, Pruned

LOG = logging.getLogger(__name__)


class Catalogue:
    """The images in *directory*, which is made when missing, and who holds them.

    All methods may be called by several threads at once.

    :raises HyperError: when the directory's index is damaged.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.RLock()
        self.owner_name: Callable[[str], str] = str
        """How who holds a lease is called in a message."""
        self._layers = LayerStore(directory)
        self._documents = Documents(directory)
        self._files = IndexFiles(directory)
        self._index = self._files.load()
        self._drop_incomplete()

    def list(self) -> list[Image]:
        """Return all images, by name, the nameless ones last."""
        with self._lock:
            images = [self._named(image_id) for image_id in self._index.images]
        return sorted(images, key=lambda image: (not image.names, image.names, image.id))

    def get(self, ref: str) -> Image:
        """Return the image of a name, an id or a unique beginning of an id.

        :raises ImageNotFound: when there is none, or several begin like that.
        """
        with self._lock:
            return self._named(self._index.resolve(ref))

    def find(self, name: str) -> Image | None:
        """Return the image of a name, or None; ``nginx`` also finds ``nginx:latest``."""
        with self._lock:
            for candidate in familiar_names(name):
                if candidate in self._index.names:
                    return self._named(self._index.names[candidate])
        return None

    def delete(self, ref: str) -> None:
        """Remove the image of *ref*, with all its names and the layers that only it has.

        Where *ref* is a name and the image has another one, only the name goes.

        :raises ImageNotFound: when there is none.
        :raises ImageInUse: when a lease is on it.
        """
        with self._change():
            image = self.get(ref)
            spoken = next((name for name in familiar_names(ref) if name in image.names), None)
            if spoken and len(image.names) > 1:
                del self._index.names[spoken]
            else:
                owners = self._index.owners_of(image.id)
                if owners:
                    named = ", ".join(self.owner_name(owner) for owner in owners[:5])
                    raise ImageInUse(
                        f"the image {ref} is in use by {named}"
                        f"{' and others' if len(owners) > 5 else ''}; delete those first",
                        owners=owners,
                    )
                self._forget(image)
            self._sweep_images()
            self._save_images()
            self._sweep_files()

    def tag(self, ref: str, name: str) -> Image:
        """Give the image of *ref* one more name, which another image may lose.

        :raises ImageNotFound: when there is no such image.
        :raises InvalidRequest: when *name* cannot be one.
        """
        check_name(name)
        with self._change():
            image_id = self._index.resolve(ref)
            before = self._index.names.get(name)
            self._index.names[name] = image_id
            self._index.kept.discard(image_id)
            if before is not None and not self._index.names_of(before):
                # It has lost its only name, but nobody asked to remove it.
                self._index.kept.add(before)
            self._save_images()
            return self._named(image_id)

    def prune(self, everything: bool = False) -> Pruned:
        """Remove the images that nobody holds a lease on: the nameless ones, or *everything*.

        Images that are being imported, and layers that are being read, stay.
        """
        with self._change():
            before = self._layers.total()
            used = self._index.leased()
            gone = [
                self._named(image_id)
                for image_id in self._index.images
                if image_id not in used and (everything or not self._index.names_of(image_id))
            ]
            for image in gone:
                self._forget(image)
            self._sweep_images()
            self._save_images()
            self._sweep_files()
            return Pruned(
                images=tuple(image.id for image in gone),
                names=tuple(name for image in gone for name in image.names),
                bytes=before - self._layers.total(),
            )

    def usage(self) -> DiskUsage:
        """Return what the images take on disk; nothing of the pods."""
        with self._lock:
            return usage_of(self._index, self._layers.sizes(), self._layers.temporary_bytes())

    # Leases

    def acquire(self, image_id: str, owner: str) -> None:
        """Keep the image until *owner*, which may hold several, releases it.

        :raises ImageNotFound: when there is no image of that id.
        """
        with self._change():
            if image_id not in self._index.images:
                raise not_found(image_id)
            held = self._index.leases.setdefault(owner, set())
            if image_id not in held:
                held.add(image_id)
                self._save_leases()

    def release(self, owner: str) -> None:
        """Drop all leases of *owner*; idempotent."""
        with self._change():
            if self._index.leases.pop(owner, None) is not None:
                self._save_leases()
                self._drop_unused()

    def narrow(self, owner: str, image_ids: set[str]) -> None:
        """Drop the leases of *owner* but those on *image_ids*; idempotent."""
        with self._change():
            held = self._index.leases.get(owner, set())
            if held - image_ids:
                self._index.leases[owner] = held & image_ids
                self._save_leases()
                self._drop_unused()

    def retain(self, owners: set[str]) -> None:
        """Drop the leases of everybody but *owners*."""
        with self._change():
            gone = self._index.leases.keys() - owners
            if gone:
                for owner in gone:
                    del self._index.leases[owner]
                self._save_leases()
                self._drop_unused()

    def collect(self) -> tuple[str, ...]:
        """Remove every file that nobody refers to and return their names.

        Imports under way lose nothing.
        """
        with self._change():
            if self._sweep_images():
                self._save_images()
            removed = self._sweep_files()
        if removed:
            LOG.info("Removed what no image refers to: %s", ", ".join(removed))
        return removed

    # Steps

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        """Hold the lock; what was not saved is as before when that fails."""
        with self._disk_full(), self._lock:
            before = self._index.copy()
            try:
                yield
            except BaseException:
                self._index = before
                raise

    # Inside the lock

    def _forget(self, image: Image) -> None:
        """Take all names of an image away, and what keeps it without one."""
        for name in image.names:
            del self._index.names[name]
        self._index.kept.discard(image.id)

    def _named(self, image_id: str) -> Image:
        names = self._index.names_of(image_id)
        return dataclasses.replace(self._index.images[image_id], names=names)

    def _sweep_images(self) -> bool:
        """Drop the images with neither name nor lease; tell whether there were any."""
        used = {*self._index.names.values(), *self._index.kept, *self._index.leased()}
        gone = self._index.images.keys() - used
        for image_id in gone:
            del self._index.images[image_id]
            self._index.chains.pop(image_id, None)
        self._index.kept &= self._index.images.keys()
        kept_layers = self._index.layers()
        self._index.blobs = {b: d for b, d in self._index.blobs.items() if d in kept_layers}
        return bool(gone)

    def _sweep_files(self) -> tuple[str, ...]:
        """Remove what no image refers to, and no import holds; return the names."""
        removed = self._layers.sweep(self._index.layers())
        return (*removed, *self._documents.sweep(self._index.images.keys()))

    def _drop_unused(self) -> None:
        if self._sweep_images():
            self._save_images()
            self._sweep_files()

    def _drop_incomplete(self) -> None:
        """Forget images whose layers were removed or damaged behind the store's back."""
        for image in list(self._index.images.values()):
            lost = [d.diff_id for d in image.layers if self._layers.facts(d.diff_id) is None]
            if lost:
                LOG.warning(
                    "The image %s (%s) is forgotten: its layers %s are missing; import it again",
                    image.id,
                    ", ".join(self._index.names_of(image.id)),
                    ", ".join(lost),
                )
                for name in self._index.names_of(image.id):
                    del self._index.names[name]
                del self._index.images[image.id]
                self._index.chains.pop(image.id, None)
                self._save_images()

    def _save_images(self) -> None:
        self._files.save_images(self._index, self._layers.scratch())

    def _save_leases(self) -> None:
        self._files.save_leases(self._index, self._layers.scratch())

    @contextlib.contextmanager
    def _disk_full(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise DiskFull(
                f"the disk that holds {self._directory} is full; make room there "
                "(hyperctl images lists what can be deleted) and try again"
            ) from exc
