"""Servers in rescue: another image boots in their place, to repair them.

Source: ``ComputeManager.rescue_instance``, which stops the server first, and
puts it into ERROR with the fault when anything fails; and ``LibvirtDriver``'s
methods of the same names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nova.compute import task_states, vm_states
from oslo_log import log as logging
from oslo_utils import excutils

from nova_hyper import exception
from nova_hyper.client import Hyperd
from nova_hyper.spec.errors import HyperError
from nova_hyper.virt import download, errors, image_properties, requirements
from nova_hyper.virt.image import ImageCache

LOG = logging.getLogger(__name__)


def is_rescued(instance: Any) -> bool:
    """Tell whether Nova has the instance in rescue."""
    return bool(_state(instance, "vm_state") == vm_states.RESCUED)


def require_disk(instance: Any) -> None:
    """Refuse to stop an instance for a rescue that could find nothing of it.

    Nova asks the driver for nothing else before it stops the instance.

    :raises PodFailed: when its root is in memory; it runs on.
    """
    starting = _state(instance, "task_state") == task_states.RESCUING
    if starting and not instance.flavor.root_gb:
        raise exception.PodFailed(
            reason="its flavor has no disk, so its root is in memory, of which nothing would be "
            "left to rescue; it was not stopped"
        )


def _state(instance: Any, name: str) -> Any:
    return getattr(instance, name) if instance.obj_attr_is_set(name) else None


class Rescues:
    """Operations on instances; the compute manager serializes those of one instance."""

    def __init__(self, hyperd: Hyperd, images: ImageCache, lifecycle: Any) -> None:
        self._hyperd = hyperd
        self._images = images
        self._lifecycle = lifecycle

    def rescue(self, context: Any, instance: Any, network_info: Any, image_meta: Any) -> None:
        """Boot an image in place of a stopped instance, with the instance's disks in it.

        The instance's own image is that of its first container, whatever a
        manifest says.  After a failure the instance is stopped, as it was.

        :raises PodFailed: with the reason.
        """
        with errors.operating(instance):
            image = self._image(context, instance, image_meta)
            self._hyperd.rescue_pod(instance.uuid, image)
            try:
                self._lifecycle.start(instance, network_info, in_rescue=True)
            except Exception:
                with excutils.save_and_reraise_exception():
                    self._give_up(instance)

    def unrescue(self, instance: Any) -> None:
        """End the rescue of an instance, in good order, and start it as itself.

        :raises PodFailed: with the reason.
        """
        with errors.operating(instance):
            # Not at once: what was repaired may not be on the disk yet.
            self._hyperd.stop_pod(instance.uuid)
            self._hyperd.unrescue_pod(instance.uuid)
            self._lifecycle.start(instance, instance.get_network_info(), in_rescue=False)

    def _give_up(self, instance: Any) -> None:
        try:
            self._hyperd.stop_pod(instance.uuid, force=True)
            self._hyperd.unrescue_pod(instance.uuid)
        except HyperError as error:
            # The next start of the server, which is none of a rescue, ends it.
            LOG.warning("Cannot end the failed rescue yet: %s", error, instance=instance)

    def _image(self, context: Any, instance: Any, image_meta: Any) -> str | None:
        """Return the name of the image in hyperd's store, None for the instance's own."""
        if image_meta.obj_attr_is_set("id") and image_meta.id == instance.image_ref:
            return None
        for reason in _problems(image_meta):
            raise exception.PodFailed(reason=reason)
        checksum = image_meta.checksum if image_meta.obj_attr_is_set("checksum") else None
        certs = download.certificates(instance)
        with errors.naming_image(f"image {image_meta.id}"):
            return self._images.ensure(context, image_meta.id, checksum, certs)[0]


def _problems(image_meta: Any) -> Iterator[str]:
    yield from requirements.of_image(image_meta)
    yield from image_properties.problems(image_meta)
