"""Which registries this host may pull from, and how they are spoken to."""

from __future__ import annotations

import dataclasses
import ipaddress
from pathlib import Path

from nova_hyper.daemon.image.registry.reference import Reference
from nova_hyper.spec.errors import PullRefused

ANY = "*"


@dataclasses.dataclass(frozen=True)
class RegistryPolicy:
    """The options of group ``[image]`` about registries.

    ``allowed`` are registries, or registries with the beginning of a repository
    (``quay.io/prometheus``), or ``*``; ``insecure`` are loopback registries
    spoken to over plain HTTP.  ``ca_directory`` has a directory for each
    registry with certificates of its own, like docker's certs.d; ``auth_file``
    is a docker-style file of credentials.
    """

    allowed: tuple[str, ...] = ()
    insecure: tuple[str, ...] = ()
    ca_directory: Path | None = None
    auth_file: Path | None = None
    downloads: int = 3

    def check(self, reference: Reference) -> None:
        """Refuse a reference that this host may not pull.

        :raises PullRefused: naming the option that would allow it.
        """
        whole = f"{reference.registry}/{reference.repository}"
        if not any(
            entry in (ANY, whole) or whole.startswith(f"{entry.rstrip('/')}/")
            for entry in self.allowed
        ):
            raise PullRefused(
                f"this host may not pull from {reference.registry}; add {reference.registry} to "
                "[image] allowed_registries of hyperd"
                + ("" if self.allowed else ", which is empty: pulling is off"),
                registry=reference.registry,
            )
        if reference.registry in self.insecure and not is_loopback(reference.registry):
            raise PullRefused(
                f"{reference.registry} is in [image] insecure_registries of hyperd, but is not a "
                "loopback address: take it out, and give its certificate in "
                "[image] registry_ca_directory",
                registry=reference.registry,
            )

    def scheme(self, host: str) -> str:
        """Return how *host* (and port) is spoken to: ``https``, or ``http`` where that is so."""
        return "http" if host in self.insecure and is_loopback(host) else "https"


def is_loopback(registry: str) -> bool:
    """Tell whether *registry*, a host with an optional port, can only be this machine."""
    host = registry.rpartition(":")[0] if registry.rpartition(":")[2].isdigit() else registry
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
