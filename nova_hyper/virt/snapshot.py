"""Servers as images: ``server image create``, backups, and what shelving keeps of a server.

hyperd makes the archive and keeps nothing of it; it goes to Glance as it comes.

Source: ``LibvirtDriver.snapshot``, and what ``nova.compute.manager`` does around
it: a failed snapshot or backup deletes the image and puts the fault on the
server, which goes on; a failed shelve does neither, see :meth:`Snapshots.take`.
"""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Callable, Iterator
from typing import Any

from nova import exception as nova_exception
from nova.compute import task_states, vm_states
from nova.compute import utils as compute_utils
from oslo_log import log as logging

from nova_hyper import exception
from nova_hyper.client import Hyperd
from nova_hyper.client.protocol import ArchiveBody
from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import HyperError, PodNotFound
from nova_hyper.spec.pod import Pod, PodState
from nova_hyper.virt import download, errors, podspec
from nova_hyper.virt.blueprint import FORMAT_PROPERTY
from nova_hyper.virt.requirements import CONTAINER_FORMAT

LOG = logging.getLogger(__name__)

_AGAIN = {PodState.PAUSED: "unpause", PodState.SUSPENDED: "resume"}
_SHELVING = (
    task_states.SHELVING,
    task_states.SHELVING_IMAGE_PENDING_UPLOAD,
    task_states.SHELVING_IMAGE_UPLOADING,
)


class Snapshots:
    """Makes Glance images of instances.

    :param image_api: Nova's image API (``nova.image.glance.API``).
    """

    def __init__(self, hyperd: Hyperd, image_api: Any) -> None:
        self._hyperd = hyperd
        self._image_api = image_api

    def take(
        self, context: Any, instance: Any, image_id: str, update_task_state: Callable[..., None]
    ) -> None:
        """Fill the Glance image *image_id*, which is there without data, with the instance.

        A shelve that fails here leaves no image either, and the pod runs if it
        ran before: the compute manager has stopped it for this.

        :raises NoSnapshot: when an image cannot be made of this pod.
        :raises ImageNotStored: when Glance did not take it.
        :raises InstanceNotRunning: when there is no such pod, or none any more.
        :raises NovaException: hyperd's and Glance's other reasons.
        """
        shelving = instance.task_state in _SHELVING
        try:
            with errors.operating(instance):
                self._take(context, instance, image_id, update_task_state)
        except Exception as error:
            if shelving:
                self._take_back(context, instance, image_id)
            elif isinstance(error, exception.PodFailed) and self._is_gone(instance):
                raise nova_exception.InstanceNotRunning(instance_id=instance.uuid) from error
            raise

    def _take(
        self, context: Any, instance: Any, image_id: str, update_task_state: Callable[..., None]
    ) -> None:
        try:
            pod = self._hyperd.pod(instance.uuid)
        except PodNotFound:
            raise nova_exception.InstanceNotRunning(instance_id=instance.uuid) from None
        shelving = instance.task_state in _SHELVING
        reason = unshelvable(instance, pod) if shelving else problem(pod)
        if reason is not None:
            raise exception.NoSnapshot(reason=reason)
        update_task_state(task_state=task_states.IMAGE_PENDING_UPLOAD)
        archive = self._hyperd.snapshot(instance.uuid, changes=changes(pod.spec.containers[0]))
        with contextlib.closing(archive):
            update_task_state(
                task_state=task_states.IMAGE_UPLOADING,
                expected_state=task_states.IMAGE_PENDING_UPLOAD,
            )
            self._upload(context, instance, image_id, archive)

    def _upload(self, context: Any, instance: Any, image_id: str, archive: ArchiveBody) -> None:
        data = _Upload(archive)
        with _storing(image_id, data):
            stored = self._image_api.update(
                context, image_id, {**FORMATS, "properties": properties(instance)}, data=data
            )
        # Nova's client for Glance sends what is left of the data when it tries again.
        if not data.ended or stored.get("size") != data.count:
            raise exception.ImageNotStored(
                image_id=image_id, reason="the connection broke in the middle; try again"
            )

    def refuses_shelving(self, instance: Any) -> bool:
        """Tell whether this stop is for a shelve that would lose what is in the pod.

        Then it must not be stopped: :meth:`take`, which comes next, refuses, and
        the pod runs on.
        """
        if instance.task_state != task_states.SHELVING or not instance.image_ref:
            return False
        with errors.operating(instance):
            return unshelvable(instance, self._hyperd.pod(instance.uuid)) is not None

    def _take_back(self, context: Any, instance: Any, image_id: str) -> None:
        compute_utils.delete_image(context, instance, self._image_api, image_id, True)
        if instance.vm_state != vm_states.ACTIVE:
            return
        try:
            self._hyperd.start_pod(instance.uuid)
        except HyperError as error:
            LOG.warning("Not running again after the failed shelve: %s", error, instance=instance)

    def _is_gone(self, instance: Any) -> bool:
        try:
            self._hyperd.pod(instance.uuid)
        except PodNotFound:
            return True
        except HyperError:
            pass
        return False


FORMATS = {"disk_format": "raw", "container_format": CONTAINER_FORMAT}
"""Of the images that are made here."""


def properties(instance: Any) -> dict[str, str]:
    """Return the properties of an image of *instance*, beside those that the API has given it.

    Those are the ones of the image that the server was made from, and what
    Nova keeps of a snapshot (``nova.compute.utils.create_image``).
    """
    given = {
        "img_hv_type": "docker",
        "hw_vm_mode": "exe",
        "image_location": "snapshot",
        "image_state": "available",
        "owner_id": instance.project_id,
        "kernel_id": instance.kernel_id,
        "ramdisk_id": instance.ramdisk_id,
    }
    found = {key: str(value) for key, value in given.items() if value}
    if (instance.system_metadata or {}).get(f"image_{FORMAT_PROPERTY}"):
        # It is an archive, whatever the server was made from.
        found[FORMAT_PROPERTY] = ""
    return found


def problem(pod: Pod) -> str | None:
    """Return why no image can be made of *pod*, None when one can."""
    names = [container.name for container in pod.spec.all_containers]
    if len(names) > 1:
        return (
            f"an image is of one container, and this server has {len(names)} "
            f"({', '.join(names)}); copy what they have written to another place"
        )
    if pod.spec.root_gib or pod.state is PodState.RUNNING:
        return None
    way = _AGAIN.get(pod.state)
    if way is not None:
        return (
            "the server's flavor has no disk, and the memory that it has written to stands "
            f"still; {way} the server first"
        )
    return (
        "the server's flavor has no disk, and what it had written to memory ended with it; make "
        "an image of it while it runs"
    )


def unshelvable(instance: Any, pod: Pod) -> str | None:
    """Return why *pod* would not come back from a shelve as it was, None when it would."""
    if download.certificates(instance):
        return (
            "a server of signed images cannot be shelved: nobody would sign the image that is "
            "made of it, so that it could not be brought back; stop it instead"
        )
    if pod.spec.labels.get(podspec.MANIFEST_LABEL):
        return (
            "a server of a Pod manifest cannot be shelved: it would be made anew from its "
            "manifest, without what its containers have written; stop it instead"
        )
    if not pod.spec.root_gib:
        return (
            "a server whose flavor has no disk cannot be shelved: what it has written is in "
            "memory and would be lost; make an image of it while it runs"
        )
    return problem(pod)


def changes(container: Container) -> tuple[str, ...]:
    """Return what *container* runs differently from its image, as Dockerfile instructions."""
    found = []
    if container.command is not None:
        found.append(f"ENTRYPOINT {json.dumps(list(container.command))}")
    if container.args is not None:
        found.append(f"CMD {json.dumps(list(container.args))}")
    if container.env:
        found.append(f"ENV {shlex.join(container.env)}")
    if container.user:
        found.append(f"USER {container.user}")
    if container.working_dir:
        found.append(f"WORKDIR {container.working_dir}")
    if container.stop_signal:
        found.append(f"STOPSIGNAL {container.stop_signal}")
    return tuple(found)


class _Upload:
    """An archive as glanceclient reads it; ``count`` is the bytes so far, ``error`` what ended it.

    ``ended`` says that all of it has been read.
    """

    def __init__(self, archive: ArchiveBody) -> None:
        self._archive = archive
        self.count = 0
        self.ended = False
        self.error: HyperError | None = None

    def read(self, size: int) -> bytes:
        if self.error is not None:
            raise self.error
        try:
            data = self._archive.read(size)
        except HyperError as error:
            self.error = error
            raise
        self.count += len(data)
        self.ended = self.ended or not data
        return data


@contextlib.contextmanager
def _storing(image_id: str, data: _Upload) -> Iterator[None]:
    """Turn what Glance's client raises in the body into Nova's, and hyperd's into itself."""
    try:
        yield
    except Exception as error:
        if data.error is not None:
            raise data.error from error
        if isinstance(error, nova_exception.NovaException):
            raise
        raise exception.ImageNotStored(
            image_id=image_id, reason=str(error) or type(error).__name__
        ) from error
