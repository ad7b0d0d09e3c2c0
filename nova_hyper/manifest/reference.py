"""How a manifest names an image."""

from __future__ import annotations

import dataclasses
import enum

_GLANCE = "glance://"
_OWN = ("", ".", "glance://.")


class Source(enum.StrEnum):
    """Where an image comes from."""

    OWN = "own"
    """The image that the server was created from."""
    GLANCE = "glance"
    HOST = "host"
    """An image of the host, or of a registry."""


class PullPolicy(enum.StrEnum):
    """When an image is fetched from its registry."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


@dataclasses.dataclass(frozen=True)
class ImageReference:
    """An image as a container names it at ``path`` in the document.

    ``name`` is a Glance id or name, or a registry's reference; empty for the
    server's own.  ``is_explicit`` tells whether the manifest says the policy.
    """

    source: Source
    name: str
    policy: PullPolicy
    path: str
    is_explicit: bool = False


def read(image: str, policy: str | None, path: str) -> ImageReference:
    """Return the reference that the text *image* is; nothing at all is the server's own image.

    Source of the default policy: Kubernetes, "Images": Always for the tag
    ``latest`` and where there is none, IfNotPresent otherwise.
    """
    if image in _OWN:
        source, name = Source.OWN, ""
    elif image.startswith(_GLANCE):
        source, name = Source.GLANCE, image.removeprefix(_GLANCE)
    else:
        source, name = Source.HOST, image
    is_explicit = policy is not None
    if policy is None:
        policy = "IfNotPresent" if _tag(name) not in ("", "latest") else "Always"
    return ImageReference(source, name, PullPolicy(policy), path, is_explicit)


def _tag(name: str) -> str:
    if "@" in name:
        return name.partition("@")[2]
    return name.rpartition("/")[2].partition(":")[2]
