"""Pulls, for callers that want the image and not the story."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nova_hyper.client.protocol import Hyperd
from nova_hyper.spec import codec
from nova_hyper.spec.errors import RegistryFailed
from nova_hyper.spec.image import Image


def pull(
    hyperd: Hyperd,
    ref: str,
    tell: Callable[[dict[str, Any]], None] = lambda _event: None,
    username: str | None = None,
    password: str | None = None,
) -> tuple[Image, str]:
    """Pull *ref*; return the image and the whole name that it was pulled by.

    *tell* hears of each event on the way.

    :raises HyperError: what hyperd answered.
    """
    name = ref
    for event in hyperd.pull(ref, username, password):
        tell(event)
        if event.get("event") == "resolved":
            name = str(event.get("name"))
        if event.get("event") == "done":
            image = codec.decode(Image, event["image"])
            return image, name if name in image.names else image.id
    raise RegistryFailed(f"hyperd ended the pull of {ref} without an image; see its log")
