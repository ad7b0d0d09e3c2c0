"""The handlers of images and of what takes room on disk; see :mod:`.handlers`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from nova_hyper.daemon.api.connection import Upload
from nova_hyper.spec import codec
from nova_hyper.spec.image import Image
from nova_hyper.spec.usage import DiskUsage, Pruned

_Answer = tuple[int, Any]


class ImageUses(Protocol):
    """The image store as the API uses it."""

    def import_archive(self, stream: Upload, name: str | None = None) -> tuple[Image, bool]: ...

    def list(self) -> list[Image]: ...

    def get(self, ref: str) -> Image: ...

    def delete(self, ref: str) -> None: ...

    def tag(self, ref: str, name: str) -> Image: ...

    def prune(self, everything: bool = False) -> Pruned: ...


class ImageHandlers:
    """The operations that need the image store, and *usage*, which tells what takes room."""

    def __init__(self, images: ImageUses, usage: Callable[[], DiskUsage]) -> None:
        self._images = images
        self._usage = usage

    def list_images(self) -> _Answer:
        return 200, {"images": codec.encode(self._images.list())}

    def import_image(self, name: str | None, stream: Upload) -> _Answer:
        image, made = self._images.import_archive(stream, name)
        return (201 if made else 200), codec.encode(image)

    def show_image(self, ref: str) -> _Answer:
        return 200, codec.encode(self._images.get(ref))

    def delete_image(self, ref: str) -> _Answer:
        self._images.delete(ref)
        return 204, None

    def tag_image(self, ref: str, body: dict[str, Any]) -> _Answer:
        return 200, codec.encode(self._images.tag(ref, body["name"]))

    def prune_images(self, body: dict[str, Any]) -> _Answer:
        return 200, codec.encode(self._images.prune(bool(body.get("all", False))))

    def show_usage(self) -> _Answer:
        return 200, codec.encode(self._usage())
