"""Glance images on the host: fetched once, streamed, and removed when unused."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from oslo_concurrency import lockutils
from oslo_log import log as logging

from nova_hyper.client import Hyperd
from nova_hyper.spec.errors import HyperError, ImageInUse, ImageNotFound
from nova_hyper.spec.pod import Pod
from nova_hyper.virt import download

LOG = logging.getLogger(__name__)

_PREFIX = "glance:"
_CHECKSUM_DIGITS = 12


def store_name(image_id: str, checksum: str | None, certs: tuple[str, ...] = ()) -> str:
    """Return the name in hyperd's store of a Glance image's data.

    The data of a Glance image do not change; the checksum is part of the name
    so that an administrator's change of its locations is noticed all the same.
    So are *certs*: what was verified with others, or not at all, is fetched
    again.
    """
    parts = (image_id, (checksum or "")[:_CHECKSUM_DIGITS], download.mark(certs))
    return _PREFIX + ":".join(part for part in parts if part)


def glance_id(name: str) -> str | None:
    """Return the Glance id of a name in the store, None when it is no Glance image's."""
    return name.removeprefix(_PREFIX).split(":")[0] if name.startswith(_PREFIX) else None


def image_ids(pods: Iterable[Pod]) -> set[str]:
    """Return the ids of the Glance images that containers of *pods* run."""
    pods = list(pods)
    specs = [pod.spec for pod in pods]
    specs += [pod.rescued.spec for pod in pods if pod.rescued is not None]
    names = {c.image for spec in specs for c in spec.all_containers}
    return {found for name in names if (found := glance_id(name)) is not None}


class Unused:
    """How long names in the store have been of no use, from when they were first seen so."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}

    def older(self, names: Iterable[str], used_ids: set[str], min_age: float) -> dict[str, str]:
        """Return the Glance ids, by *names*, of what nothing has used for *min_age* seconds.

        :param used_ids: Glance ids of what is in use now.
        """
        now = self._clock()
        unused = {n: i for n in names if (i := glance_id(n)) is not None and i not in used_ids}
        self._since = {n: self._since.get(n, now) for n in unused}
        return {n: i for n, i in unused.items() if now - self._since[n] >= min_age}


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
        self._unused = Unused(clock)

    def ensure(
        self, context: Any, image_id: str, checksum: str | None, certs: tuple[str, ...] = ()
    ) -> tuple[str, bool]:
        """Return the image's name in hyperd's store, and whether it had to be fetched.

        Two callers that want one image at once fetch it once.  With *certs*, it
        is one whose signature was verified with them.

        :raises HyperError: when hyperd refuses it.
        :raises ImageUnreadable: when Glance does not deliver it.
        """
        with _lock(image_id):
            present = self._find(image_id, checksum, certs)
            if present is not None:
                return present, False
            LOG.info("Fetching the image %s from Glance", image_id)
            name = store_name(image_id, checksum, certs)
            data = download.chunks(self._image_api, context, image_id, certs)
            self._hyperd.import_image(name, data)
            return name, True

    def has(self, image_id: str, checksum: str | None) -> bool:
        """Tell whether the image is in hyperd's store.

        :raises HyperError: when hyperd is away.
        """
        return self._find(image_id, checksum) is not None

    def read(
        self, context: Any, image_id: str, max_bytes: int, certs: tuple[str, ...] = ()
    ) -> bytes:
        """Return the data of an image that is no archive; of a larger one the beginning.

        It is one byte more than *max_bytes* then, and Glance sends no more.

        :raises ImageUnreadable: when Glance does not deliver it.
        """
        found = b""
        for chunk in download.chunks(self._image_api, context, image_id, certs):
            found += chunk
            if len(found) > max_bytes:
                break
        return found[: max_bytes + 1]

    def remove_unused(self, used_ids: set[str], min_age: float) -> None:
        """Remove the Glance images that no instance has used for *min_age* seconds.

        :param used_ids: Glance ids of the images of all instances.
        :raises HyperError: when hyperd is away.
        """
        names = [name for image in self._hyperd.images() for name in image.names]
        for name, image_id in self._unused.older(names, used_ids, min_age).items():
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

    def _find(
        self, image_id: str, checksum: str | None, certs: tuple[str, ...] = ()
    ) -> str | None:
        if checksum or certs:
            name = store_name(image_id, checksum, certs)
            try:
                self._hyperd.image(name)
            except ImageNotFound:
                return None
            return name
        # Metadata kept with an instance have no checksum: any data of this image will do.
        names = (name for image in self._hyperd.images() for name in image.names)
        return next((name for name in names if glance_id(name) == image_id), None)


def _lock(image_id: str) -> Any:
    return lockutils.lock(f"hyper-image-{image_id}")
