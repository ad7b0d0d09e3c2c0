"""Whom a TLS connection to a registry trusts."""

from __future__ import annotations

import ssl
from pathlib import Path

from nova_hyper.spec.errors import HyperError

_SYSTEM = Path("/etc/ssl/certs/ca-certificates.crt")


def context_for(host: str, directory: Path | None) -> ssl.SSLContext:
    """Return the context for *host* (and port).

    It trusts the authorities of the system and those in ``<directory>/<host>/*.crt``;
    ``*.cert`` with ``*.key`` there is this host's own certificate (docker's certs.d).

    :raises HyperError: when a file there cannot be used.
    """
    # The system's, where administrators put theirs, rather than certifi's.
    context = ssl.create_default_context(cafile=str(_SYSTEM) if _SYSTEM.exists() else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if directory is None or not (directory / host).is_dir():
        return context
    path = directory
    try:
        for path in sorted((directory / host).glob("*.crt")):
            context.load_verify_locations(path)
        for path in sorted((directory / host).glob("*.cert")):
            context.load_cert_chain(path, path.with_suffix(".key"))
    except OSError as exc:
        raise HyperError(
            f"{path}, which is for the registry {host}, cannot be used: {exc.strerror or exc}"
        ) from None
    return context
