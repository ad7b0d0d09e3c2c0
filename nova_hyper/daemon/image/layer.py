"""Conversion of one layer: a tar stream in, a squashfs out.

Two threads: one reads, decompresses and hashes, the other parses the tar and
feeds the squashfs writer (which has a third that compresses and writes).  All
of them spend their time in C code without the interpreter lock.

Nothing here touches the host but the given file object, and the result is
plain values: this can run in a confined child process.
"""

from __future__ import annotations

import dataclasses
import hashlib
import queue
import threading
from typing import BinaryIO

from nova_hyper.daemon.image.compression import Read, decompressed
from nova_hyper.daemon.image.limits import Limits
from nova_hyper.daemon.image.names import printable
from nova_hyper.daemon.image.recipe import RecordedStream, Recorder
from nova_hyper.daemon.image.skeleton import Skeleton, skeleton_of
from nova_hyper.daemon.image.squashfs import ZERO_BLOCK, Compression, SquashfsWriter
from nova_hyper.daemon.image.tar import TarReader
from nova_hyper.daemon.image.tree import LayerTree
from nova_hyper.spec.errors import ImageInvalid

_QUEUE = 8


@dataclasses.dataclass(frozen=True)
class ConvertedLayer:
    """What a layer turned out to be.

    ``diff_id`` and ``blob`` are the ``sha256:<hex>`` of the tar stream and of
    the stream as it came (the same for a plain layer); ``tar_size`` is the bytes of
    the tar stream, ``size`` those of the squashfs, ``unpacked_size`` those of the
    files in it, ``entries`` counts them.
    ``dropped_xattrs`` are names of attributes that a layer image cannot hold.
    """

    diff_id: str
    blob: str
    tar_size: int
    size: int
    unpacked_size: int
    entries: int
    skeleton: Skeleton = dataclasses.field(repr=False)
    dropped_xattrs: tuple[str, ...] = ()


class _Feed(threading.Thread):
    """Reads, decompresses and hashes ahead of the consumer."""

    def __init__(self, read: Read, compression: str, limit: int) -> None:
        super().__init__(name="layer-feed", daemon=True)
        self._source = read
        self._compression = compression
        self._limit = limit
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(_QUEUE)
        self._cancelled = threading.Event()
        self.total = 0
        """Bytes of the tar stream so far; all of them after the end was read."""
        self._ended = False
        self._blob = hashlib.sha256()
        self._plain = hashlib.sha256() if compression else self._blob

    def read(self, size: int) -> bytes:
        """Return the next decompressed chunk, whatever *size*; none at the end."""
        if self._ended:
            return b""
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        self._ended = not item
        return item

    def digests(self) -> tuple[str, str]:
        """Return diff ID and blob digest, after the end was read."""
        return f"sha256:{self._plain.hexdigest()}", f"sha256:{self._blob.hexdigest()}"

    def close(self) -> None:
        """Stop and wait for the thread; the source is not read after this."""
        self._cancelled.set()
        while self.is_alive():
            try:
                self._queue.get(timeout=0.05)
            except queue.Empty:
                continue
        self.join()

    def run(self) -> None:
        try:
            read = decompressed(self._read_source, self._compression)
            while not self._cancelled.is_set():
                chunk = read(1 << 18)
                if self._plain is not self._blob:
                    self._plain.update(chunk)
                self.total += len(chunk)
                if self.total > self._limit:
                    raise ImageInvalid("the layers unpack to more than this host allows")
                self._queue.put(chunk)
                if not chunk:
                    return
        except BaseException as exc:
            self._queue.put(exc)

    def _read_source(self, size: int) -> bytes:
        data = self._source(size)
        self._blob.update(data)
        return data


def convert_layer(
    read: Read,
    compression: str,
    out: BinaryIO,
    recipe: BinaryIO,
    limits: Limits,
    squashfs_compression: Compression | None,
) -> ConvertedLayer:
    """Write the layer that *read* gives, to its end, as squashfs to *out*.

    What it takes to get the tar stream back goes to *recipe* (see :mod:`..recipe`).

    :param compression: of the stream, as :func:`..compression.sniff` names it.
    :raises ImageInvalid: when the layer is damaged or beyond *limits*.
    :raises OSError: when *out* or *recipe* cannot be written.
    """
    feed = _Feed(read, compression, limits.raw)
    writer = SquashfsWriter(out, squashfs_compression)
    feed.start()
    try:
        recorder = Recorder(recipe)
        stream = RecordedStream(feed.read, "the layer", recorder)
        reader = TarReader(stream)
        tree = LayerTree(limits)
        while member := reader.next():
            file = tree.add(member)
            if file is not None and member.size:
                stream.pause()
                writer.add_file(file, reader.blocks(member, len(ZERO_BLOCK), ZERO_BLOCK))
                stream.resume()
                recorder.content(file, member.sparse)
        # What follows the end of the archive belongs to the digest.
        stream.drain()
        root = tree.finish()
        size = writer.finish(root)
        recorder.finish()
        diff_id, blob = feed.digests()
        return ConvertedLayer(
            diff_id=diff_id,
            blob=blob,
            tar_size=feed.total,
            size=size,
            unpacked_size=tree.unpacked,
            entries=tree.entries,
            skeleton=skeleton_of(root, limits.names),
            dropped_xattrs=tuple(sorted(printable(name) for name in tree.dropped_xattrs)),
        )
    finally:
        feed.close()
        writer.close()
