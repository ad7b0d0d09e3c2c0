"""References to images in registries: ``[registry/]repository[:tag][@digest]``.

Source: the grammar of github.com/distribution/reference, with docker's rules
for what is left out.
"""

from __future__ import annotations

import dataclasses
import re

from nova_hyper.daemon.image.digest import is_digest
from nova_hyper.spec.errors import InvalidRequest

DOCKER_HUB = "docker.io"
_DOCKER_HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io")
_DOCKER_HUB_HOST = "registry-1.docker.io"
_LABEL = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?")
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_MAX = 255


@dataclasses.dataclass(frozen=True)
class Reference:
    """What image of which registry is meant.

    ``registry`` is a host with an optional port, ``docker.io`` for Docker Hub;
    ``digest`` is ``sha256:<hex>`` or empty; ``tag`` is empty only beside a digest.
    """

    registry: str
    repository: str
    tag: str
    digest: str

    @property
    def host(self) -> str:
        """Host and port to ask."""
        return _DOCKER_HUB_HOST if self.registry == DOCKER_HUB else self.registry

    @property
    def target(self) -> str:
        """What the manifest is asked for by: a digest is more than a tag."""
        return self.digest or self.tag

    @property
    def name(self) -> str:
        """The whole name, as docker and podman store it."""
        end = f"@{self.digest}" if self.digest else f":{self.tag}"
        return f"{self.registry}/{self.repository}{end}"


def parse(text: str) -> Reference:
    """Return what *text* refers to.

    :raises InvalidRequest: when it is no reference.
    """
    rest, at, digest = text.partition("@")
    if at and not is_digest(digest):
        raise _bad(text, "after @ a sha256 digest is needed")
    head, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        head, tag = rest, ""
    elif not _TAG.fullmatch(tag):
        raise _bad(text, "the tag may have letters, digits, '_', '.' and '-', at most 128")
    first, slash, path = head.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry = DOCKER_HUB if first in _DOCKER_HUB_NAMES else first
    else:
        registry, path = DOCKER_HUB, head
    if not _REGISTRY.fullmatch(registry):
        raise _bad(text, "what is before the first / is no host")
    if registry == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    if not all(_PATH.fullmatch(part) for part in path.split("/")) or len(path) > _MAX:
        raise _bad(
            text, "the repository may have lower-case letters, digits and single separators"
        )
    return Reference(registry, path, tag or ("" if digest else "latest"), digest)


def is_host(text: str) -> bool:
    """Tell whether *text* is a host with an optional port, and nothing else."""
    return _REGISTRY.fullmatch(text) is not None


def _bad(text: str, why: str) -> InvalidRequest:
    return InvalidRequest(
        f"{text[:200]!r} is no reference to an image in a registry "
        f"([registry/]repository[:tag][@digest]): {why}"
    )
