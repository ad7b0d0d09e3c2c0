"""The version of the installed package."""

from __future__ import annotations

from importlib import metadata


def release() -> str:
    """Return the version, ``0`` for a checkout that is not installed."""
    try:
        return metadata.version("nova-hyper")
    except metadata.PackageNotFoundError:
        return "0"
