"""Hashes of what goes into a build."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from nova_hyper.daemon.files import write_json

_CHUNK = 1024 * 1024


def combine(*parts: str | bytes) -> str:
    """Return one hex digest of *parts*; where one part ends matters."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(f"{len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()


def of_files(files: Iterable[Path]) -> str:
    """Return one hex digest of small files, by name and content.

    :raises OSError: when one cannot be read.
    """
    parts: list[str | bytes] = []
    for file in sorted(files, key=lambda f: f.name):
        parts += [file.name, file.read_bytes()]
    return combine(*parts)


class LargeFiles:
    """Digests of large files, computed again only when size or time have changed."""

    def __init__(self, memory: Path) -> None:
        """Remember in the JSON file *memory*."""
        self._memory = memory

    def digest(self, path: Path) -> str:
        """Return the hex sha256 of *path*.

        :raises OSError: when it cannot be read.
        """
        path = path.resolve()
        status = path.stat()
        stamp = [status.st_size, status.st_mtime_ns, status.st_ino]
        known = self._load()
        entry = known.get(str(path))
        if isinstance(entry, dict) and entry.get("stamp") == stamp:
            return str(entry["sha256"])
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        write_json(self._memory, {str(path): {"stamp": stamp, "sha256": digest.hexdigest()}})
        return digest.hexdigest()

    def _load(self) -> dict[str, object]:
        try:
            known = json.loads(self._memory.read_bytes())
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}
