"""One import under way: where the layers of its archive go."""

from __future__ import annotations

import dataclasses
import io
import logging
import os

from nova_hyper.daemon.image.compression import Read, ZstdBlocks
from nova_hyper.daemon.image.layer import convert_layer
from nova_hyper.daemon.image.layer_store import LayerStore
from nova_hyper.daemon.image.limits import Limits

LOG = logging.getLogger(__name__)

_LEVEL = 1


class ImportSession:
    """Takes the layers of one archive in (:class:`..archive.LayerSink`) and pins them.


    :param blobs: digests of compressed layers seen before → diff IDs.
    """

    def __init__(self, layers: LayerStore, blobs: dict[str, str], limits: Limits) -> None:
        self._layers = layers
        self._known_blobs = blobs
        self._limits = limits
        self._unpacked = 0
        self.pinned: list[str] = []
        self.blobs: dict[str, str] = {}
        """Digests of this archive's compressed layers → diff IDs."""

    def known(self, digest: str, compressed: bool) -> str:
        """Return the diff ID of a layer that is here already, or nothing."""
        # A plain layer's digest is its diff ID.
        diff_id = self._known_blobs.get(digest, "") if compressed else digest
        if not diff_id or not self._layers.pin(diff_id):
            return ""
        self.pinned.append(diff_id)
        return diff_id

    def convert(self, read: Read, compression: str, what: str) -> tuple[str, str]:
        """Convert one layer and return its diff ID and blob digest.

        :raises ImageInvalid: when it is no layer, or too much together with those before.
        :raises OSError: when it cannot be written; then nothing of it is left.
        """
        left = dataclasses.replace(self._limits, unpacked=self._limits.unpacked - self._unpacked)
        with self._layers.temporary() as temporary:
            with open(temporary, "xb") as out:
                converted = convert_layer(read, compression, out, left, ZstdBlocks(_LEVEL))
                os.fchmod(out.fileno(), 0o444)
                os.fsync(out.fileno())
            self._unpacked += converted.unpacked_size
            self._layers.put(converted, temporary)
        self.pinned.append(converted.diff_id)
        if converted.dropped_xattrs:
            LOG.warning(
                "Layer %s: extended attributes that a layer image cannot hold were left out: %s",
                what,
                ", ".join(converted.dropped_xattrs),
            )
        if compression:
            self.blobs[converted.blob] = converted.diff_id
        return converted.diff_id, converted.blob

    def convert_bytes(self, data: bytes, what: str) -> str:
        """Convert a layer that is a plain tar stream in memory and return its diff ID."""
        return self.convert(io.BytesIO(data).read, "", what)[0]
