"""The image store of a host: images by name, layers by the digest of their content.

A store is one directory::

    images.json, leases.json     what there is (:mod:`.index`)
    layers/<hex>.squashfs, ...   the layers (:mod:`.layer_files`)
    tmp/                         files of imports under way

Whatever is not mentioned in the index is garbage: a daemon that is killed in
the middle leaves nothing else, and :meth:`ImageStore.collect` removes it at the
next start.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import logging
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from nova_hyper.daemon.image.archive import FoundImage, read_archive, resolve
from nova_hyper.daemon.image.completion import completion, completion_tar
from nova_hyper.daemon.image.config import oci_architecture
from nova_hyper.daemon.image.import_session import ImportSession
from nova_hyper.daemon.image.index import IndexFiles
from nova_hyper.daemon.image.layer_store import LayerFacts, LayerStore
from nova_hyper.daemon.image.limits import Limits
from nova_hyper.daemon.image.reference import check_name, familiar_names, id_prefix
from nova_hyper.daemon.image.stream import Readable
from nova_hyper.spec.errors import (
    DiskFull,
    HyperError,
    ImageInUse,
    ImageInvalid,
    ImageNotFound,
    ImageUnsuitable,
    InvalidRequest,
)
from nova_hyper.spec.image import Image, Layer

LOG = logging.getLogger(__name__)


class ImageStore:
    """The images in *directory*, which is made when missing.

    All methods may be called by several threads at once; one process at a time
    uses a directory.

    :param max_image_bytes: largest sum of the unpacked layers of an archive.
    :param max_layers: most layers of an image.
    :param arch: the host's architecture (``x86_64`` or ``amd64``, ...).
    :raises HyperError: when the directory's index is damaged.
    """

    def __init__(
        self, directory: Path, *, max_image_bytes: int, max_layers: int, arch: str
    ) -> None:
        self._directory = directory
        self._limits = Limits(unpacked=max_image_bytes)
        self._max_layers = max_layers
        self._arch = oci_architecture(arch)
        self._lock = threading.RLock()
        self._layers = LayerStore(directory)
        self._files = IndexFiles(directory)
        self._index = self._files.load()
        self._drop_incomplete()

    # Images

    def import_archive(self, stream: Readable, name: str | None = None) -> tuple[Image, bool]:
        """Take in the docker or OCI archive that *stream* gives, reading it to its end.

        The image gets *name*, or without one the names that the archive has for
        it, if any.  A name of another image moves to this one.

        :returns: the image, and whether it is new here.
        :raises ImageInvalid: when the archive, or something in it, cannot be used.
        :raises ImageUnsuitable: when the image is for another architecture, or
            has too many layers.
        :raises DiskFull: when there is no room for it; then nothing of it is left.
        """
        if name is not None:
            check_name(name)
        with self._disk_full(), self._session() as session:
            contents = read_archive(stream, session, self._limits)
            found = resolve(contents, self._arch, name)
            layers = self._assemble(found, session)
            return self._register(found, layers, (name,) if name else _names(found), session)

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
            return self._named(self._resolve(ref))

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
                    raise ImageInUse(
                        f"the image {ref} is in use by {', '.join(owners[:5])}"
                        f"{' and others' if len(owners) > 5 else ''}; delete those first"
                    )
                for name in image.names:
                    del self._index.names[name]
                self._index.kept.discard(image.id)
            self._sweep_images()
            self._save_images()
            self._layers.sweep(self._index.layers())

    def layer_path(self, diff_id: str) -> Path:
        """Return the squashfs file of a layer of an image here."""
        return self._layers.path(diff_id)

    # Leases

    def acquire(self, image_id: str, owner: str) -> None:
        """Keep the image until *owner*, which may hold several, releases it.

        :raises ImageNotFound: when there is no image of that id.
        """
        with self._change():
            if image_id not in self._index.images:
                raise self._not_found(image_id)
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
            removed = self._layers.sweep(self._index.layers())
        if removed:
            LOG.info("Removed what no image refers to: %s", ", ".join(removed))
        return tuple(removed)

    # Steps of an import

    @contextlib.contextmanager
    def _session(self) -> Iterator[ImportSession]:
        with self._lock:
            blobs = dict(self._index.blobs)
        session = ImportSession(self._layers, blobs, self._limits)
        try:
            yield session
        finally:
            self._layers.unpin(session.pinned)
            with self._lock:
                self._layers.sweep(self._index.layers())

    def _assemble(self, found: FoundImage, session: ImportSession) -> tuple[Layer, ...]:
        """Return the layers to mount for an image, bottom first."""
        diff_ids: deque[str] = deque()
        for diff_id in reversed(found.config.diff_ids):
            facts = self._layers.facts(diff_id)
            # Of a repeated layer only the topmost has an effect; an empty one has none.
            if facts and facts.entries and diff_id not in diff_ids:
                diff_ids.appendleft(diff_id)
            if facts and facts.opaque:
                # overlayfs has no opaque roots.
                break
        if len(diff_ids) > 1 and any(self._facts(d).implied for d in diff_ids):
            directories = completion([self._layers.skeleton(d) for d in diff_ids])
            if directories:
                tar = completion_tar(directories)
                diff_ids.append(session.convert_bytes(tar, "made for its directories"))
        if not diff_ids:
            raise ImageInvalid("the image is empty: none of its layers has a file")
        if len(diff_ids) > self._max_layers:
            raise ImageUnsuitable(
                f"the image has {len(diff_ids)} layers and this host takes {self._max_layers}; "
                "squash it, or raise [image] max_layer_disks of hyperd"
            )
        return tuple(
            Layer(diff_id, facts.size, facts.unpacked_size)
            for diff_id, facts in ((d, self._facts(d)) for d in diff_ids)
        )

    def _register(
        self,
        found: FoundImage,
        layers: tuple[Layer, ...],
        names: tuple[str, ...],
        session: ImportSession,
    ) -> tuple[Image, bool]:
        image = Image(
            id=found.id,
            names=(),
            architecture=found.config.architecture,
            os=found.config.os,
            created=found.config.created,
            layers=layers,
            config=found.config.config,
        )
        with self._change():
            new = image.id not in self._index.images
            self._index.images[image.id] = image
            self._index.blobs.update(session.blobs)
            for name in names:
                self._index.names[name] = image.id
            if not names and not self._index.names_of(image.id):
                self._index.kept.add(image.id)
            self._sweep_images()
            self._save_images()
            return self._named(image.id), new

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

    def _resolve(self, ref: str) -> str:
        for name in familiar_names(ref):
            if name in self._index.names:
                return self._index.names[name]
        prefix = id_prefix(ref)
        found = [i for i in self._index.images if i.startswith(prefix)] if prefix else []
        if len(found) > 1:
            raise ImageNotFound(
                f"several images have an id that begins with {ref}; give more of it"
            )
        if not found:
            raise self._not_found(ref)
        return found[0]

    def _not_found(self, ref: str) -> ImageNotFound:
        return ImageNotFound(
            f"there is no image {ref[:200]} on this host; import it first "
            "(hyperctl load ARCHIVE), or see what there is (hyperctl images)"
        )

    def _named(self, image_id: str) -> Image:
        names = self._index.names_of(image_id)
        return dataclasses.replace(self._index.images[image_id], names=names)

    def _facts(self, diff_id: str) -> LayerFacts:
        facts = self._layers.facts(diff_id)
        if facts is None:
            raise HyperError(f"the layer {diff_id} vanished from {self._directory}; import again")
        return facts

    def _sweep_images(self) -> bool:
        """Drop the images with neither name nor lease; tell whether there were any."""
        used = set(self._index.names.values()) | self._index.kept
        used.update(*self._index.leases.values())
        gone = self._index.images.keys() - used
        for image_id in gone:
            del self._index.images[image_id]
        self._index.kept &= self._index.images.keys()
        kept_layers = self._index.layers()
        self._index.blobs = {b: d for b, d in self._index.blobs.items() if d in kept_layers}
        return bool(gone)

    def _drop_unused(self) -> None:
        if self._sweep_images():
            self._save_images()
            self._layers.sweep(self._index.layers())

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


def _names(found: FoundImage) -> tuple[str, ...]:
    """Return the names that an archive gives its image, when they are usable."""
    try:
        for name in found.names:
            check_name(name)
    except InvalidRequest as exc:
        raise ImageInvalid(
            f"the archive is refused: {exc.message}; import it with a name"
        ) from None
    return found.names
