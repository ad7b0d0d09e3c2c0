"""Images: what is known of one on a host."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Healthcheck:
    """How an image tells whether its container is well; times in seconds.

    ``test`` is as in the image: ``("CMD", argument, ...)``, or ``("CMD-SHELL", line)``
    for the container's ``/bin/sh -c``.  Source: HEALTHCHECK of the Dockerfile reference.
    """

    test: tuple[str, ...]
    interval_s: float = 30.0
    timeout_s: float = 30.0
    start_period_s: float = 0.0
    retries: int = 3


@dataclasses.dataclass(frozen=True)
class ImageConfig:
    """The execution parameters of an image.

    Source: OCI image specification, config.md ("config" object).  ``env`` items
    are ``KEY=value``.  ``stop_signal`` is a name (``SIGTERM``) or a number.
    """

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    stop_signal: str = ""
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    healthcheck: Healthcheck | None = None


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer: ``diff_id`` is ``sha256:<hex>`` of its uncompressed tar.

    ``size`` is the bytes of its squashfs on this host, ``unpacked_size`` the
    bytes of the regular files in it.
    """

    diff_id: str
    size: int
    unpacked_size: int


@dataclasses.dataclass(frozen=True)
class Image:
    """An image in the store; ``id`` is ``sha256:<hex>`` of its config blob.

    ``layers`` go from the bottom up.  ``created`` is RFC 3339, or empty.
    """

    id: str
    names: tuple[str, ...]
    architecture: str
    os: str
    created: str
    layers: tuple[Layer, ...]
    config: ImageConfig

    @property
    def size(self) -> int:
        """Bytes of the layers on this host, shared ones counted once."""
        return sum({layer.diff_id: layer.size for layer in self.layers}.values())

    @property
    def unpacked_size(self) -> int:
        """Bytes of the files as a container sees them, at most."""
        return sum(layer.unpacked_size for layer in self.layers)
