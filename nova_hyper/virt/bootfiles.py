"""Kernels and ramdisks of images (``kernel_id``, ``ramdisk_id``) on the host."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from nova import exception as nova_exception
from oslo_concurrency import lockutils
from oslo_log import log as logging

from nova_hyper.client import Hyperd
from nova_hyper.spec.boot import Boot, BootFileKind
from nova_hyper.spec.errors import (
    BootFileInUse,
    BootFileInvalid,
    BootFileNotFound,
    HyperError,
)
from nova_hyper.virt import download
from nova_hyper.virt.image import Unused, store_name

LOG = logging.getLogger(__name__)


class BootFiles:
    """Fetches them once, and removes them when nothing has used them for a while.

    :param image_api: Nova's image API (``nova.image.glance.API``).
    """

    def __init__(
        self, hyperd: Hyperd, image_api: Any, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._hyperd = hyperd
        self._image_api = image_api
        self._unused = Unused(clock)

    def fetch(self, context: Any, instance: Any, command_line: str) -> Boot:
        """Return what the pod of *instance* boots, with all that it needs on the host.

        :raises BootFileInvalid: when an image cannot be booted, or is not there.
        :raises ImageUnreadable: when Glance does not deliver it.
        """
        certs = download.certificates(instance)
        return Boot(
            kernel=self._ensure(context, instance.kernel_id, BootFileKind.KERNEL, certs),
            ramdisk=self._ensure(context, instance.ramdisk_id, BootFileKind.RAMDISK, certs),
            cmdline=command_line,
        )

    def remove_unused(self, used_ids: set[str], min_age: float) -> None:
        """Remove those that no instance has used for *min_age* seconds.

        :param used_ids: Glance ids of the kernels and ramdisks of all instances.
        :raises HyperError: when hyperd is away.
        """
        names = [name for file in self._hyperd.boot_files() for name in file.names]
        for name in self._unused.older(names, used_ids, min_age):
            self._remove(name)

    def _remove(self, name: str) -> None:
        try:
            self._hyperd.delete_boot_file(name)
        except (BootFileInUse, BootFileNotFound) as error:
            LOG.debug("Not removing %s: %s", name, error)
        except HyperError as error:
            LOG.warning("Cannot remove the unused kernel or ramdisk %s: %s", name, error)
        else:
            LOG.info("Removed the unused kernel or ramdisk %s", name)

    def _ensure(
        self, context: Any, image_id: str, kind: BootFileKind, certs: tuple[str, ...]
    ) -> str:
        """Return the id in hyperd's store, empty when the image names none."""
        if not image_id:
            return ""
        try:
            image = self._image_api.get(context, image_id)
        except (nova_exception.ImageNotFound, nova_exception.ImageNotAuthorized) as exc:
            raise BootFileInvalid(
                f"the image's {kind.value}_id {image_id} is no image that you may use"
            ) from exc
        name = store_name(image_id, image.get("checksum"), certs)
        with lockutils.lock(f"hyper-boot-{image_id}"):
            try:
                return self._hyperd.boot_file(name).id
            except BootFileNotFound:
                LOG.info("Fetching the %s %s from Glance", kind.value, image_id)
            try:
                data = download.chunks(self._image_api, context, image_id, certs)
                return self._hyperd.import_boot_file(name, kind, data).id
            except BootFileInvalid as error:
                raise BootFileInvalid(
                    f"the image's {kind.value}_id {image_id} cannot be used: {error.message}"
                ) from error
