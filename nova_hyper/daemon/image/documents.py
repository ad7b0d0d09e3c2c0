"""The images' configurations, byte for byte: an image's id is the digest of its own."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from nova_hyper.daemon.image.atomic import write_whole

_SUFFIX = ".json"


class Documents:
    """``configs/<hex>.json`` below *directory*."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "configs"
        self._directory.mkdir(mode=0o700, exist_ok=True)

    def put(self, image_id: str, document: bytes, temporary: Path) -> None:
        """Keep the configuration of an image, by way of *temporary*; idempotent.

        :raises OSError: when it cannot be written.
        """
        path = self._path(image_id)
        if not path.exists():
            write_whole(path, document, temporary)

    def get(self, image_id: str) -> bytes | None:
        """Return the configuration of an image; None where a daemon of before kept none."""
        try:
            return self._path(image_id).read_bytes()
        except FileNotFoundError:
            return None

    def sweep(self, keep: Set[str]) -> list[str]:
        """Remove those of images that are not in *keep*; return the names of the files."""
        removed = []
        for path in self._directory.iterdir():
            if f"sha256:{path.name.removesuffix(_SUFFIX)}" not in keep:
                path.unlink()
                removed.append(f"{self._directory.name}/{path.name}")
        return removed

    def _path(self, image_id: str) -> Path:
        return self._directory / (image_id.removeprefix("sha256:") + _SUFFIX)
