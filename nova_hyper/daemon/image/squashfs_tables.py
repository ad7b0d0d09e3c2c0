"""The metadata tables of a squashfs image, computed from its tree."""

from __future__ import annotations

import dataclasses
import struct

from nova_hyper.daemon.image import squashfs_format as fmt
from nova_hyper.daemon.image.inode import Directory, Inode, Xattrs
from nova_hyper.spec.errors import ImageInvalid

_PLACEHOLDER: Xattrs = ((b"user.none", b""),)
"""A set that no inode refers to."""


class MetadataTable:
    """Metadata in blocks of 8 KiB, stored as they are.

    Metadata is a small part of a layer and read all the time: leaving it
    uncompressed costs little disk and saves the guest the work.
    """

    def __init__(self) -> None:
        self._stored = bytearray()
        self._current = bytearray()

    @property
    def position(self) -> int:
        """The reference that the next item will have."""
        return len(self._stored) << 16 | len(self._current)

    def add(self, item: bytes) -> int:
        """Append *item* and return its reference."""
        ref = self.position
        self._current += item
        while len(self._current) >= fmt.METADATA_SIZE:
            self._flush(fmt.METADATA_SIZE)
        return ref

    def close(self) -> bytes:
        """Return the table as stored; nothing can be added after."""
        if self._current:
            self._flush(len(self._current))
        return bytes(self._stored)

    def _flush(self, size: int) -> None:
        self._stored += struct.pack("<H", size | fmt.METADATA_RAW)
        self._stored += self._current[:size]
        del self._current[:size]


def index_blocks(items: bytes, at: int) -> tuple[bytes, bytes]:
    """Return *items* as metadata stored at byte *at*, and the 64-bit places of its blocks."""
    table = MetadataTable()
    table.add(items)
    count = -(-len(items) // fmt.METADATA_SIZE)
    places = struct.pack(f"<{count}Q", *(at + i * (fmt.METADATA_SIZE + 2) for i in range(count)))
    return table.close(), places


@dataclasses.dataclass
class Tables:
    """Everything behind the data of an image.

    ``inodes``, ``listings`` and ``xattrs`` are stored metadata; ``exports``,
    ``ids`` and ``xattr_ids`` are the plain items of tables with an index.
    """

    inodes: bytes
    listings: bytes
    exports: bytes
    ids: bytes
    xattrs: bytes
    xattr_ids: bytes
    root: int


class _Ids:
    """Owners and groups, each 32-bit number once."""

    def __init__(self) -> None:
        self._index: dict[int, int] = {}

    def index(self, number: int) -> int:
        found = self._index.setdefault(number, len(self._index))
        if found >= fmt.MAX_IDS:
            raise ImageInvalid(
                f"a layer has more than {fmt.MAX_IDS} different owners and groups; "
                "a layer image cannot hold them"
            )
        return found

    def pack(self) -> bytes:
        return struct.pack(f"<{len(self._index)}I", *self._index)


class _XattrSets:
    """Sets of extended attributes, each once."""

    def __init__(self) -> None:
        self._index: dict[Xattrs, int] = {}
        self._items = bytearray()
        self._table = MetadataTable()

    def __len__(self) -> int:
        return len(self._index)

    def index(self, xattrs: Xattrs) -> int:
        if not xattrs:
            return fmt.NO_INDEX
        found = self._index.get(xattrs)
        if found is None:
            found = self._index[xattrs] = len(self._index)
            packed = b"".join(fmt.pack_xattr(name, value) for name, value in xattrs)
            ref = self._table.add(packed)
            self._items += struct.pack("<QII", ref, len(xattrs), len(packed))
        return found

    def pack(self) -> tuple[bytes, bytes]:
        return self._table.close(), bytes(self._items)


def build_tables(root: Directory) -> Tables:
    """Return the tables of the tree at *root*, whose files have their data written.

    Sets ``links``, ``number`` and ``ref`` of every inode.  Directories are
    numbered breadth first, which gives the files of one directory adjacent
    numbers and makes listings small; they are written in the opposite order,
    because a listing needs to know where its inodes are.
    """
    order, count = _number(root)
    ids, xattrs = _Ids(), _XattrSets()
    inodes, listings = MetadataTable(), MetadataTable()
    refs = bytearray(8 * count)
    put_ref = struct.Struct("<Q").pack_into

    for directory, parent in reversed(order):
        children = sorted(directory.children.items())
        subdirectories = 0
        for _, child in children:
            if isinstance(child, Directory):
                subdirectories += 1
            elif child.ref < 0:
                child.ref = inodes.add(
                    fmt.pack_inode(
                        child,
                        ids.index(child.uid),
                        ids.index(child.gid),
                        xattrs.index(child.xattrs),
                    )
                )
                put_ref(refs, 8 * (child.number - 1), child.ref)
        listing = fmt.pack_listing(children)
        directory.links = 2 + subdirectories
        directory.ref = inodes.add(
            fmt.pack_directory(
                directory,
                ids.index(directory.uid),
                ids.index(directory.gid),
                xattrs.index(directory.xattrs),
                listings.add(listing),
                len(listing),
                parent.number if parent else count + 1,
            )
        )
        put_ref(refs, 8 * (directory.number - 1), directory.ref)
    if not xattrs:
        # Without any, the kernel answers listxattr() with "not supported" rather than "none".
        xattrs.index(_PLACEHOLDER)
    stored_xattrs, xattr_ids = xattrs.pack()
    return Tables(
        inodes=inodes.close(),
        listings=listings.close(),
        exports=bytes(refs),
        ids=ids.pack(),
        xattrs=stored_xattrs,
        xattr_ids=xattr_ids,
        root=root.ref,
    )


def _number(root: Directory) -> tuple[list[tuple[Directory, Directory | None]], int]:
    """Number the inodes from 1 and count their links; return directories and parents in order."""
    order: list[tuple[Directory, Directory | None]] = [(root, None)]
    root.number = number = 1
    seen: Inode
    for directory, _ in order:
        for _, seen in sorted(directory.children.items()):
            if isinstance(seen, Directory):
                order.append((seen, directory))
            seen.links += 1
            if seen.number == 0:
                number += 1
                seen.number = number
    return order, number
