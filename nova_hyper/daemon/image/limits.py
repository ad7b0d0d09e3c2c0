"""What an archive may ask of the host before it is refused."""

from __future__ import annotations

import dataclasses

MIB = 1 << 20
GIB = 1 << 30


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds of one import; an archive beyond one of them is invalid.

    Together they bound the memory of an import: about 0.5 KiB for each entry of
    the layer at hand, plus ``names`` bytes, plus ``json_total`` bytes, plus a
    decompression window of at most 128 MiB.
    """

    unpacked: int
    """Bytes of the regular files in all layers of the archive."""
    entries: int = 1_000_000
    """Files, directories and links in one layer."""
    names: int = 256 * MIB
    """Bytes of names, link targets and extended attributes in one layer."""
    json: int = 4 * MIB
    """Bytes of one manifest, index or configuration."""
    json_total: int = 64 * MIB
    """Bytes of all JSON members of an archive that are kept while it is read."""
    members: int = 10_000
    """Members of the outer archive."""

    @property
    def raw(self) -> int:
        """Bytes of all layers' tar streams: the files and what tar adds to them."""
        return self.unpacked + 2048 * self.entries
