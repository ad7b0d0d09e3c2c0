"""Writing of squashfs 4.0, in one pass and without a file tree to read from.

File data is written as it comes; the tree is written at the end, when all that
a layer says is known.  That is why this is not left to ``sqfstar`` (4.5): it
keeps the *first* of two entries of one name and gives up when their types
differ, takes the root directory's attributes only from its command line (and
no xattr: an opaque root is impossible), maps owner names by the host's
``/etc/passwd``, and stamps directories without an entry with the time of day,
so that two hosts get different files for one layer.

The same tree and data always give the same bytes: a live migration needs equal
layer disks on both hosts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, Protocol

from nova_hyper.daemon.image import squashfs_format as fmt
from nova_hyper.daemon.image.inode import Directory, File
from nova_hyper.daemon.image.squashfs_tables import build_tables, index_blocks
from nova_hyper.daemon.image.stream import ByteStream

ZERO_BLOCK = bytes(fmt.BLOCK_SIZE)
_BATCH = 2 << 20
_PAD = 4096
_FLAGS = (
    fmt.FLAG_RAW_INODES
    | fmt.FLAG_RAW_IDS
    | fmt.FLAG_RAW_XATTRS
    | fmt.FLAG_NO_FRAGMENTS
    | fmt.FLAG_EXPORTABLE
)


class Compression(Protocol):
    """How data blocks are compressed; ``number`` is squashfs's own for the format."""

    number: int

    def compress(self, blocks: list[bytes]) -> list[bytes]:
        """Return each of *blocks* compressed; called by one thread at a time."""


class SquashfsWriter:
    """One squashfs image, written to *out*, an empty seekable file.

    :param compression: None stores data blocks as they are.
    """

    def __init__(self, out: BinaryIO, compression: Compression | None) -> None:
        self._out = out
        self._compression = compression
        self._offset = fmt.SUPERBLOCK.size
        self._batch: list[tuple[File, bytes, int]] = []
        self._batch_size = 0
        self._worker: ThreadPoolExecutor | None = None
        self._running: Future[None] | None = None
        out.write(bytes(self._offset))

    def add_file(self, file: File, blocks: Iterable[bytes]) -> None:
        """Write the content of *file*: blocks of BLOCK_SIZE bytes, the last one shorter.

        A block that is all zeros becomes a hole.
        """
        for block in blocks:
            size = len(block)
            if block is ZERO_BLOCK or block == ZERO_BLOCK[:size]:
                block = b""  # noqa: PLW2901
            self._batch.append((file, block, size))
            # The addend bounds the memory of many tiny blocks.
            self._batch_size += len(block) + 256
            if self._batch_size >= _BATCH:
                self._submit()

    def add_stored(self, file: File, stream: ByteStream, size: int) -> None:
        """Copy the content of *file* from another image: *size* bytes, as ``file.blocks`` says.

        Not to be mixed with :meth:`add_file`.
        """
        file.start = self._offset
        self._offset += size
        while size:
            data = stream.some(size)
            if not data:
                raise ValueError("it ends early")
            self._out.write(data)
            size -= len(data)

    def finish(self, root: Directory) -> int:
        """Write the tree, and return the size of the image in bytes.

        :raises ImageInvalid: when the tree has more owners than squashfs can hold.
        """
        if self._worker:
            self._submit()
            self.close()
            assert self._running
            self._running.result()
        else:
            self._write(self._batch)
        tables = build_tables(root)

        inode_table = self._offset
        directory_table = inode_table + len(tables.inodes)
        at = directory_table + len(tables.listings)
        exports, export_index = index_blocks(tables.exports, at)
        export_table = at + len(exports)
        at = export_table + len(export_index)
        ids, id_index = index_blocks(tables.ids, at)
        id_table = at + len(ids)
        at = id_table + len(id_index)
        head = struct.pack("<QII", at, len(tables.xattr_ids) // 16, 0)
        parts = [tables.inodes, tables.listings, exports, export_index, ids, id_index]
        at += len(tables.xattrs)
        xattr_ids, xattr_index = index_blocks(tables.xattr_ids, at)
        xattr_table = at + len(xattr_ids)
        at = xattr_table + len(head) + len(xattr_index)
        parts += [tables.xattrs, xattr_ids, head, xattr_index]
        # Block devices and loop devices have whole sectors.
        parts.append(bytes(-at % _PAD))
        for part in parts:
            self._out.write(part)
        self._out.seek(0)
        self._out.write(
            fmt.pack_superblock(
                inodes=len(tables.exports) // 8,
                compressor=self._compression.number if self._compression else fmt.GZIP,
                flags=_FLAGS if self._compression else _FLAGS | fmt.FLAG_RAW_DATA,
                ids=len(tables.ids) // 4,
                root=tables.root,
                used=at,
                id_table=id_table,
                xattr_table=xattr_table,
                inode_table=inode_table,
                directory_table=directory_table,
                export_table=export_table,
            )
        )
        self._out.flush()
        return at + -at % _PAD

    def close(self) -> None:
        """End the worker thread; idempotent."""
        if self._worker:
            self._worker.shutdown(wait=True)
            self._worker = None

    def _submit(self) -> None:
        """Let the worker compress and write the batch, once it is done with the one before."""
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, "squashfs")
        if self._running:
            self._running.result()
        self._running = self._worker.submit(self._write, self._batch)
        self._batch, self._batch_size = [], 0

    def _write(self, batch: list[tuple[File, bytes, int]]) -> None:
        full = [block for _, block, _ in batch if block]
        packed = self._compression.compress(full) if self._compression and full else full
        parts = []
        at = 0
        for file, block, size in batch:
            if not file.blocks:
                file.start = self._offset
            if not block:
                stored = 0
                file.holes += size
            else:
                part = packed[at]
                at += 1
                stored = len(part)
                if stored >= size:
                    part, stored = block, size | fmt.STORED_RAW
                parts.append(part)
                self._offset += len(part)
            _append_block(file, stored)
        if parts:
            self._out.write(b"".join(parts))


def _append_block(file: File, stored: int) -> None:
    packed = stored.to_bytes(4, "little")
    if not file.blocks:
        # Most files have one block: bytes are smaller than a bytearray.
        file.blocks = packed
    elif isinstance(file.blocks, bytes):
        file.blocks = bytearray(file.blocks + packed)
    else:
        file.blocks += packed
