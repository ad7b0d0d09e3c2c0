"""The end of a file that virtlogd writes and rotates."""

from __future__ import annotations

from pathlib import Path


def rotated(path: Path, max_bytes: int) -> bytes:
    """Return the last *max_bytes* of what was written to *path*, empty when nothing was."""
    data = _tail(path, max_bytes)
    if len(data) < max_bytes:  # virtlogd has moved the beginning away
        data = _tail(path.with_name(path.name + ".0"), max_bytes - len(data)) + data
    return data


def _tail(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - max_bytes))
            return file.read(max_bytes)
    except FileNotFoundError:
        return b""
