"""What pod a server shall be: of its image alone, or of a Pod manifest.

A manifest comes as the server's user data, or is itself the Glance image.  The
one in the user data wins: then the image is that of containers without one.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import dataclasses
from typing import Any

from nova import exception as nova_exception
from oslo_log import log as logging
from oslo_utils import uuidutils

from nova_hyper.client import Hyperd, pulling
from nova_hyper.manifest import document
from nova_hyper.manifest.pod import Manifest, parse
from nova_hyper.manifest.problems import ManifestInvalid
from nova_hyper.manifest.reference import ImageReference, PullPolicy, Source
from nova_hyper.spec.boot import Boot
from nova_hyper.spec.errors import (
    ImageNotFound,
    InvalidRequest,
    PullRefused,
    RegistryDenied,
    RegistryFailed,
    RegistryUnavailable,
)
from nova_hyper.spec.pod import PodSpec
from nova_hyper.virt import download, errors, image_properties, podspec, requirements
from nova_hyper.virt.bootfiles import BootFiles
from nova_hyper.virt.image import ImageCache, glance_id

LOG = logging.getLogger(__name__)

FORMAT_PROPERTY = "hyper_format"
"""The property of a Glance image that says what its data are; without it, an archive."""
MANIFEST_FORMAT = "pod-manifest"

_SYSTEM_METADATA = f"image_{FORMAT_PROPERTY}"


@dataclasses.dataclass(frozen=True)
class Blueprint:
    """What a server's pod is made of; ``images`` are names or ids in hyperd's store.

    Without a manifest there is one image; with one there are those of all its
    containers, in the order in which they start.
    """

    images: tuple[str, ...]
    manifest: Manifest | None = None
    boot: Boot = dataclasses.field(default_factory=Boot)

    def complete(self, pod: PodSpec) -> PodSpec:
        """Return *pod*, which has one container, as it shall be."""
        if self.manifest is None:
            return pod
        made = self.manifest.complete(pod, self.images)
        return dataclasses.replace(made, labels={**made.labels, podspec.MANIFEST_LABEL: "yes"})


class Blueprints:
    """Reads manifests, and sees to it that the images they name are on the host.

    :param image_api: Nova's image API (``nova.image.glance.API``).
    """

    def __init__(self, hyperd: Hyperd, images: ImageCache, image_api: Any) -> None:
        self._hyperd = hyperd
        self._images = images
        self._image_api = image_api
        self._boot_files = BootFiles(hyperd, image_api)

    def draw(self, context: Any, instance: Any, image_meta: Any) -> Blueprint:
        """Return the blueprint of *instance*, all its images fetched.

        :raises ManifestInvalid: naming the places in the manifest that are wrong.
        :raises HyperError: when hyperd refuses an image.
        :raises ImageUnreadable: when Glance does not deliver one.
        """
        line = image_properties.command_line(image_meta)
        boot = self._boot_files.fetch(context, instance, line)
        return dataclasses.replace(self._draw(context, instance, image_meta), boot=boot)

    def _draw(self, context: Any, instance: Any, image_meta: Any) -> Blueprint:
        checksum = image_meta.checksum if image_meta.obj_attr_is_set("checksum") else None
        text = user_data_manifest(instance)
        if text is not None:
            manifest = self._read(text, instance)
            LOG.info("The user data are a Pod manifest", instance=instance)
            wanted = any(r.source is Source.OWN for r in manifest.references)
            own = self._fetch(context, instance, image_meta, checksum) if wanted else None
            return self._resolve(context, manifest, own, instance)
        text = self._image_manifest(context, instance, image_meta, checksum)
        if text is not None:
            LOG.info("The image is a Pod manifest", instance=instance)
            return self._resolve(context, self._read(text, instance), None, instance)
        return Blueprint((self._fetch(context, instance, image_meta, checksum),))

    def _fetch(self, context: Any, instance: Any, image_meta: Any, checksum: str | None) -> str:
        certs = download.certificates(instance)
        with errors.naming_image(f"image {image_meta.id}"):
            return self._images.ensure(context, image_meta.id, checksum, certs)[0]

    def _read(self, text: bytes, instance: Any) -> Manifest:
        manifest = parse(text)
        flavor = instance.flavor
        manifest.check_size(flavor.vcpus, flavor.memory_mb, f"flavor {flavor.name}")
        return manifest

    def _image_manifest(
        self, context: Any, instance: Any, image_meta: Any, checksum: str | None
    ) -> bytes | None:
        """Return the manifest that the image is, None for an archive.

        One without the property is known by its beginning; only what is small
        enough and not on the host yet is looked at.
        """
        said = (instance.system_metadata or {}).get(_SYSTEM_METADATA)
        if said not in (None, "", MANIFEST_FORMAT):
            raise ManifestInvalid(
                [
                    f"image {image_meta.id} has the property {FORMAT_PROPERTY}={said}, which can "
                    f"only be {MANIFEST_FORMAT}"
                ]
            )
        size = image_meta.size if image_meta.obj_attr_is_set("size") else None
        small = size is not None and 0 < size <= document.MAX_BYTES
        certs = download.certificates(instance)
        if said:
            return self._images.read(context, image_meta.id, document.MAX_BYTES, certs)
        if not small or self._images.has(image_meta.id, checksum):
            return None
        text = self._images.read(context, image_meta.id, document.MAX_BYTES, certs)
        return text if document.is_pod(text) else None

    def _resolve(
        self, context: Any, manifest: Manifest, own: str | None, instance: Any
    ) -> Blueprint:
        """Return the blueprint of a *manifest*; *own* is the server's image, None without one."""
        found: dict[tuple[Source, str], str] = {}
        for reference in manifest.references:
            key = (reference.source, reference.name)
            if key not in found:
                found[key] = self._image(context, reference, own, instance)
        images = tuple(found[r.source, r.name] for r in manifest.references)
        return Blueprint(images, manifest)

    def _image(
        self, context: Any, reference: ImageReference, own: str | None, instance: Any
    ) -> str:
        if reference.source is Source.GLANCE:
            return self._of_glance(context, reference, instance)
        if reference.source is Source.HOST:
            return self._of_registry(reference)
        if own is None:
            raise ManifestInvalid(
                [
                    f"{reference.path} is missing: the server's own image is this manifest; name "
                    "an image"
                ]
            )
        return own

    def _of_glance(self, context: Any, reference: ImageReference, instance: Any) -> str:
        image = self._look_up(context, reference)
        reason = requirements.unusable(image)
        if (image.get("properties") or {}).get(FORMAT_PROPERTY):
            reason = f"image {image['id']} is a manifest itself"
        least = image.get("min_ram") or 0
        if reason is None and least > instance.flavor.memory_mb:
            reason = (
                f"image {image['id']} needs {least} MB of memory, flavor {instance.flavor.name} "
                f"has {instance.flavor.memory_mb}"
            )
        if reason is not None:
            raise ManifestInvalid([f"{reference.path} cannot be used: {reason}"])
        with errors.naming_image(f"{reference.path}: image {image['id']}"):
            certs = download.certificates(instance)
            return self._images.ensure(context, image["id"], image.get("checksum"), certs)[0]

    def _look_up(self, context: Any, reference: ImageReference) -> dict[str, Any]:
        """Return the Glance image of an id or a name that the user of *context* can see."""
        name = reference.name
        if uuidutils.is_uuid_like(name):
            with contextlib.suppress(
                nova_exception.ImageNotFound, nova_exception.ImageNotAuthorized
            ):
                image: dict[str, Any] = self._image_api.get(context, name, show_deleted=False)
                return image
        listed = self._image_api.get_all(context, filters={"name": name})
        found = [image for image in listed if image.get("name") == name]
        if not found:
            raise ManifestInvalid(
                [
                    f"{reference.path} is glance://{name}, but there is no image of that id or "
                    "name that you may use"
                ]
            )
        if len(found) > 1:
            raise ManifestInvalid(
                [
                    f"{reference.path} is glance://{name}, but {len(found)} images have that "
                    "name; give the id instead"
                ]
            )
        return dict(found[0])

    def _of_registry(self, reference: ImageReference) -> str:
        name = reference.name
        # Names and ids of hyperd's store that are no registry's could be other tenants' images.
        if glance_id(name) is not None or _is_id(name):
            raise ManifestInvalid(
                [
                    f"{reference.path} is {name}, which is no reference of a registry; a Glance "
                    "image is glance://name-or-id"
                ]
            )
        if reference.policy is not PullPolicy.ALWAYS:
            with contextlib.suppress(ImageNotFound):
                self._hyperd.image(name)
                return name
        if reference.policy is PullPolicy.NEVER:
            raise ManifestInvalid(
                [f"{reference.path} is {name}, which is not on the host and never pulled"]
            )
        try:
            return pulling.pull(self._hyperd, name)[1]
        except RegistryUnavailable as error:  # another host may reach it
            raise RegistryUnavailable(f"{reference.path}: {error.message}") from error
        except (PullRefused, RegistryDenied, RegistryFailed, InvalidRequest) as error:
            raise ManifestInvalid([f"{reference.path}: {error.message}"]) from error


def _is_id(name: str) -> bool:
    digits = name.removeprefix("sha256:")
    return name != digits or (len(digits) >= 4 and set(digits) <= set("0123456789abcdef"))


def user_data_manifest(instance: Any) -> bytes | None:
    """Return the Pod manifest in the server's user data, None for user data of another kind."""
    encoded = instance.user_data if instance.obj_attr_is_set("user_data") else None
    if not encoded:
        return None
    try:
        data = base64.b64decode(encoded)
    except (binascii.Error, ValueError):
        return None
    return data if document.is_pod(data) else None
