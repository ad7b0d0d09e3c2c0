"""Glance images on the host: fetched once, streamed, and removed when unused."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from oslo_concurrency import lockutils
from oslo_log import log as logging

from nova_hyper import exception
from nova_hyper.client import Hyperd
from nova_hyper.spec.errors import HyperError, ImageInUse, ImageNotFound

LOG = logging.getLogger(__name__)

_PREFIX = "glance:"
_CHECKSUM_DIGITS = 12


def store_name(image_id: str, checksum: str | None) -> str:
    """Return the name in hyperd's store of a Glance image's data.

    The data of a Glance image do not change; the checksum is part of the name
    so that an administrator's change of its locations is noticed all the same.
    """
    return f"{_PREFIX}{image_id}" + (f":{checksum[:_CHECKSUM_DIGITS]}" if checksum else "")


def glance_id(name: str) -> str | None:
    """Return the Glance id of a name in the store, None when it is no Glance image's."""
    return name.removeprefix(_PREFIX).split(":")[0] if name.startswith(_PREFIX) else None


class ImageCache:
    """The Glance images in hyperd's store.

    How long an image has been unused is counted from when this process first
    saw it so: a restart of nova-compute makes images live longer, never shorter.

    :param image_api: Nova's image API (``nova.image.glance.API``).
    """

    def __init__(
        self, hyperd: Hyperd, image_api: Any, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._hyperd = hyperd
        self._image_api = image_api
        self._clock = clock
        self._unused_since: dict[str, float] = {}

    def ensure(self, context: Any, image_id: str, checksum: str | None) -> tuple[str, bool]:
        """Return the image's name in hyperd's store, and whether it had to be fetched.

        Two callers that want one image at once fetch it once.

        :raises HyperError: when hyperd refuses it.
        :raises ImageUnreadable: when Glance does not deliver it.
        """
        with _lock(image_id):
            present = self._find(image_id, checksum)
            if present is not None:
                return present, False
            LOG.info("Fetching the image %s from Glance", image_id)
            name = store_name(image_id, checksum)
            self._hyperd.import_image(name, self._chunks(context, image_id))
            return name, True

    def remove_unused(self, used_ids: set[str], min_age: float) -> None:
        """Remove the Glance images that no instance has used for *min_age* seconds.

        :param used_ids: Glance ids of the images of all instances.
        :raises HyperError: when hyperd is away.
        """
        now = self._clock()
        names = [name for image in self._hyperd.images() for name in image.names]
        unused = {n: i for n in names if (i := glance_id(n)) is not None and i not in used_ids}
        self._unused_since = {n: self._unused_since.get(n, now) for n in unused}
        for name, image_id in unused.items():
            if now - self._unused_since[name] >= min_age:
                self._remove(name, image_id)

    def _remove(self, name: str, image_id: str) -> None:
        with _lock(image_id):
            try:
                self._hyperd.delete_image(name)
            except (ImageInUse, ImageNotFound) as error:
                LOG.debug("Not removing the image %s: %s", name, error)
            except HyperError as error:
                LOG.warning("Cannot remove the unused image %s: %s", name, error)
            else:
                LOG.info("Removed the unused image %s", name)

    def _find(self, image_id: str, checksum: str | None) -> str | None:
        if checksum:
            name = store_name(image_id, checksum)
            try:
                self._hyperd.image(name)
            except ImageNotFound:
                return None
            return name
        # Metadata kept with an instance have no checksum: any data of this image will do.
        names = (name for image in self._hyperd.images() for name in image.names)
        return next((name for name in names if glance_id(name) == image_id), None)

    def _chunks(self, context: Any, image_id: str) -> Iterator[bytes]:
        """Return the image's data as Glance sends them.

        glanceclient verifies the checksum and raises at the end when it is wrong.
        """
        # Without a target Nova returns the iterator; opened here, so that what is wrong with the
        # image itself (it is gone, or not ours) is raised as Nova's own exception.
        source = self._image_api.download(context, image_id)
        return _guarded(source or (), image_id)


def _guarded(source: Iterable[bytes], image_id: str) -> Iterator[bytes]:
    try:
        yield from source
    except Exception as exc:
        raise exception.ImageUnreadable(
            image_id=image_id, reason=str(exc) or type(exc).__name__
        ) from exc


def _lock(image_id: str) -> Any:
    return lockutils.lock(f"hyper-image-{image_id}")
