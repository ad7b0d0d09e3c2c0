"""The image store of a host: what brings images to its catalogue, and gives them out again.

A store is one directory::

    images.json, leases.json     what there is (:mod:`.index`)
    configs/<hex>.json           the images' configurations (:mod:`.documents`)
    layers/<hex>.squashfs, ...   the layers (:mod:`.layer_store`)
    tmp/                         files of imports under way

Whatever is not mentioned in the index is garbage: a daemon that is killed in
the middle leaves nothing else, and :meth:`ImageStore.collect` removes it at the
next start.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from nova_hyper.daemon.image.archive import FoundImage
from nova_hyper.daemon.image.assembly import assemble
from nova_hyper.daemon.image.catalogue import Catalogue
from nova_hyper.daemon.image.config import oci_architecture, parse_config
from nova_hyper.daemon.image.derivation import derive
from nova_hyper.daemon.image.digest import sha256
from nova_hyper.daemon.image.import_session import ImportSession
from nova_hyper.daemon.image.import_worker import REFUSED, WorkerSettings
from nova_hyper.daemon.image.limits import Limits
from nova_hyper.daemon.image.reference import check_name, familiar_names
from nova_hyper.daemon.image.save import (
    Archive,
    Members,
    SavedLayer,
    docker_archive,
    oci_archive,
)
from nova_hyper.daemon.image.stream import ByteStream, Chunks, Readable
from nova_hyper.spec.errors import (
    ImageInvalid,
    ImageUnsuitable,
    InvalidRequest,
)
from nova_hyper.spec.image import Image, Layer


class ImageStore(Catalogue):
    """The images in *directory*, images by name, layers by the digest of their content.

    One process at a time uses a directory.

    :param max_image_bytes: largest sum of the unpacked layers of an archive.
    :param max_layers: most layers of an image.
    :param arch: the host's architecture (``x86_64`` or ``amd64``, ...).
    :param workers: how the processes that read images are confined.
    :raises HyperError: when the directory's index is damaged.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_image_bytes: int,
        max_layers: int,
        arch: str,
        workers: WorkerSettings | None = None,
    ) -> None:
        super().__init__(directory)
        self._workers = workers or WorkerSettings()
        self._limits = Limits(unpacked=max_image_bytes)
        self._max_layers = max_layers
        self._arch = oci_architecture(arch)

    def import_archive(self, stream: Readable, name: str | None = None) -> tuple[Image, bool]:
        """Take in the docker or OCI archive that *stream* gives, reading it to its end.

        The image gets *name*, or without one the names that the archive has for
        it, if any.  A name of another image moves to this one.

        :returns: the image, and whether it is new here.
        :raises ImageInvalid: when the archive, or something in it, cannot be used.
        :raises ImageUnsuitable: when the image is for another architecture.
        :raises DiskFull: when there is no room for it; then nothing of it is left.
        """
        if name is not None:
            check_name(name)

        def collect(session: ImportSession) -> tuple[FoundImage, tuple[str, ...]]:
            found = session.archive(stream, self._arch, name)
            return found, (name,) if name else _names(found)

        return self.add(collect)

    def add(
        self, collect: Callable[[ImportSession], tuple[FoundImage, tuple[str, ...]]]
    ) -> tuple[Image, bool]:
        """Add the image, and its names, whose layers *collect* brings to the session.

        :returns: the image, and whether it is new here.
        :raises DiskFull: when there is no room for it; then nothing of it is left.
        :raises ImageInvalid: when its layers do not fit together; and what *collect* raises.
        """
        with self._disk_full(), self._session() as session:
            found, names = collect(session)
            diff_ids = found.config.diff_ids
            layers = assemble(diff_ids, self._layers, session, self._max_layers)
            return self._register(found, layers, names, session)

    def save(self, ref: str, form: str) -> Archive:
        """Return an archive of an image, of *form* ``docker`` or ``oci``.

        It has the name *ref*, or all names where *ref* is an id.  Its layers stay
        until it is closed, also when the image is removed.

        :raises ImageNotFound: when there is no such image.
        :raises ImageUnsuitable: when this host has not all that it takes.
        """
        with self._lock:
            image = self.get(ref)
            spoken = next((name for name in familiar_names(ref) if name in image.names), None)
            document, layers = self._whole(image)
            made = docker_archive if form == "docker" else oci_archive
            names = (spoken,) if spoken else image.names
            return self._archive(made(document, names, layers), layers)

    def _archive(self, members: Members, layers: tuple[SavedLayer, ...]) -> Archive:
        pinned = [layer.diff_id for layer in layers if self._layers.pin(layer.diff_id)]

        def close() -> None:
            self._layers.unpin(pinned)
            pinned.clear()
            with self._lock:
                self._sweep_files()

        return Archive(members.size, members.chunks(), close)

    def commit(
        self,
        base_image_id: str,
        chunks: Iterable[bytes],
        name: str | None = None,
        changes: tuple[str, ...] = (),
    ) -> Image:
        """Add the image that is another one with one more layer, and perhaps a *name*.

        :param chunks: the layer as an uncompressed OCI layer tar.
        :param changes: of its execution parameters; see :func:`..changes.apply_changes`.
        :raises ImageNotFound: when the other one is not here.
        :raises ImageUnsuitable: when this host has not all that it takes.
        :raises ImageInvalid: when *chunks* is no layer; and what *chunks* raises.
        :raises InvalidRequest: when a change cannot be; before *chunks* is read.
        """
        if name is not None:
            check_name(name)

        def collect(session: ImportSession) -> tuple[FoundImage, tuple[str, ...]]:
            made, _ = self._derived(session, base_image_id, chunks, changes)
            found = FoundImage(sha256(made), (), parse_config(made), made.decode("latin-1"))
            return found, (name,) if name else ()

        return self.add(collect)[0]

    def snapshot(
        self, base_image_id: str, chunks: Iterable[bytes], changes: tuple[str, ...] = ()
    ) -> Archive:
        """Return the docker archive of what :meth:`commit` would add, and keep nothing of it.

        The new layer is on this host until the archive is closed, or the daemon ends.

        :raises HyperError: as :meth:`commit`; then nothing of it is left.
        :raises DiskFull: when there is no room for it; then nothing of it is left.
        """
        with self._disk_full(), self._session() as session:
            document, layers = self._derived(session, base_image_id, chunks, changes)
            with self._lock:
                return self._archive(docker_archive(document, (), layers), layers)

    def _derived(
        self,
        session: ImportSession,
        base_image_id: str,
        chunks: Iterable[bytes],
        changes: tuple[str, ...],
    ) -> tuple[bytes, tuple[SavedLayer, ...]]:
        """Return the configuration and the layers of an image with one more layer.

        The session holds the layers.
        """
        created = datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")
        with self._lock:
            document, layers = self._whole(self.get(base_image_id))
            for layer in layers:
                session.known(layer.diff_id, False)
        # What is wrong with the changes, or one layer too many, is found before the layer is read.
        parse_config(derive(document, sha256(document), changes, created))
        diff_id, _ = session.convert(ByteStream(Chunks(chunks).read).some, "", "of the pod")
        return derive(document, diff_id, changes, created), (*layers, self._saved(diff_id))

    def layer_path(self, diff_id: str) -> Path:
        """Return the squashfs file of a layer of an image here."""
        return self._layers.path(diff_id)

    @contextlib.contextmanager
    def _session(self) -> Iterator[ImportSession]:
        with self._lock:
            blobs = dict(self._index.blobs)
        session = ImportSession(self._layers, blobs, self._limits, self._workers)
        try:
            yield session
        finally:
            session.close()
            self._layers.unpin(session.pinned)
            with self._lock:
                self._sweep_files()

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
        document = found.document.encode("latin-1")
        if sha256(document) != image.id:
            raise ImageInvalid(REFUSED)
        with self._change():
            new = image.id not in self._index.images
            self._documents.put(image.id, document, self._layers.scratch())
            self._index.images[image.id] = image
            self._index.chains[image.id] = found.config.diff_ids
            self._index.blobs.update(session.blobs)
            for name in names:
                self._index.names[name] = image.id
            if not names and not self._index.names_of(image.id):
                self._index.kept.add(image.id)
            self._sweep_images()
            self._save_images()
            return self._named(image.id), new

    def _whole(self, image: Image) -> tuple[bytes, tuple[SavedLayer, ...]]:
        """Return the configuration of an image, and its own layers.

        :raises ImageUnsuitable: when they are not all here.
        """
        document = self._documents.get(image.id)
        chain = self._index.chains.get(image.id, ())
        if document is None or not all(self._layers.whole(diff_id) for diff_id in chain):
            raise ImageUnsuitable(
                f"the image {image.id[:19]} was imported by an older hyperd, which did not keep "
                "all that its layers are made of; load or pull it again, then repeat this"
            )
        return document, tuple(map(self._saved, chain))

    def _saved(self, diff_id: str) -> SavedLayer:
        size, recipe = self._layers.tar_size(diff_id), self._layers.recipe_path(diff_id)
        return SavedLayer(diff_id, size, recipe, self.layer_path(diff_id))


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
