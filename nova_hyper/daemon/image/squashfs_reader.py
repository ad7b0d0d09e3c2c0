"""Reading of the tree in a squashfs image that :mod:`.squashfs` wrote.

Only what that writes is understood: metadata is stored as it is, and there are
no fragments.
"""

from __future__ import annotations

import struct

from nova_hyper.daemon.image import squashfs_format as fmt
from nova_hyper.daemon.image.inode import Device, Directory, Fifo, File, Inode, Symlink, Xattrs
from nova_hyper.daemon.image.tree import OPAQUE_XATTR, OVERLAY_PREFIX

_STORED = fmt.METADATA_SIZE + 2
_NAMESPACES = {kind: prefix for prefix, kind in fmt.XATTR_TYPES}
_HEAD = struct.Struct("<HHHHII")


def read_tree(layout: fmt.Layout, tables: bytes) -> Directory:
    """Return the tree of an image; what overlayfs alone reads is in it as marks.

    ``implied`` and ``replaced`` are not in a squashfs, and False.

    :param tables: all from the inode table to the end.
    :raises ValueError: when it is none of ours.
    """
    try:
        return _Reader(layout, tables).tree()
    except (struct.error, IndexError) as exc:
        raise ValueError(f"damaged tables ({exc})") from None


class _Reader:
    def __init__(self, layout: fmt.Layout, tables: bytes) -> None:
        self._base = layout.inodes
        self._tables = tables
        self._root = layout.root
        first_export = self._u64(layout.exports)
        self._inodes = self._metadata(layout.inodes, layout.directories)
        self._listings = self._metadata(layout.directories, first_export)
        first_id = self._u64(layout.ids)
        self._ids = self._metadata(first_id, layout.ids)
        start, count, _ = struct.unpack_from("<QII", tables, layout.xattrs - self._base)
        first_set = self._u64(layout.xattrs + 16)
        self._xattrs = self._metadata(start, first_set)
        self._sets = self._metadata(first_set, layout.xattrs)
        self._known_sets: list[Xattrs | None] = [None] * min(count, len(self._sets) // 16)
        self._known: dict[int, Inode] = {}

    def tree(self) -> Directory:
        root = self._inode(self._root)
        if not isinstance(root, Directory):
            raise ValueError("its root is no directory")
        pending = [root]
        while pending:
            directory = pending.pop()
            for name, ref in self._entries(directory):
                known = self._known.get(ref)
                if isinstance(known, Directory):
                    raise ValueError("a directory is in two places")
                inode = known or self._inode(ref)
                directory.children[name] = inode
                if isinstance(inode, Directory):
                    pending.append(inode)
        for inode in self._known.values():
            inode.links = inode.number = 0
            inode.ref = -1
        return root

    def _u64(self, at: int) -> int:
        found: int = struct.unpack_from("<Q", self._tables, at - self._base)[0]
        return found

    def _metadata(self, start: int, end: int) -> bytes:
        """Return the metadata stored from byte *start* on, without the heads of its blocks."""
        at, parts = start - self._base, []
        if at < 0 or end < start:
            raise ValueError("impossible tables")
        while at < end - self._base:
            (size,) = struct.unpack_from("<H", self._tables, at)
            if not size & fmt.METADATA_RAW:
                raise ValueError("compressed metadata")
            size &= ~fmt.METADATA_RAW
            parts.append(self._tables[at + 2 : at + 2 + size])
            at += 2 + size
        return b"".join(parts)

    def _inode(self, ref: int) -> Inode:
        at = _place(ref)
        kind, mode, uid, gid, mtime, number = _HEAD.unpack_from(self._inodes, at)
        owner = (self._id(uid), self._id(gid), mtime)
        inode = self._body(kind, mode, owner, at + _HEAD.size)
        inode.number = number
        self._known[ref] = inode
        return inode

    def _body(self, kind: int, mode: int, owner: tuple[int, int, int], at: int) -> Inode:
        data = self._inodes
        long = kind > fmt.LONG
        basic = kind - fmt.LONG if long else kind
        if basic == fmt.DIR:
            return self._directory(long, mode, owner, at)
        if basic == fmt.REG:
            return self._file(long, mode, owner, at)
        if basic == fmt.SYMLINK:
            _, size = struct.unpack_from("<II", data, at)
            target = data[at + 8 : at + 8 + size]
            return Symlink(target, *owner, self._set(at + 8 + size, long))
        if basic in (fmt.BLKDEV, fmt.CHRDEV):
            _, number = struct.unpack_from("<II", data, at)
            major, minor = number >> 8 & 0xFFF, (number & 0xFF) | (number >> 12 & 0xFFF00)
            xattrs = self._set(at + 8, long)
            return Device(basic == fmt.BLKDEV, major, minor, mode, *owner, xattrs)
        if basic == fmt.FIFO:
            return Fifo(mode, *owner, self._set(at + 4, long))
        raise ValueError(f"an inode of type {kind}")

    def _directory(self, long: bool, mode: int, owner: tuple[int, int, int], at: int) -> Directory:
        xattrs: Xattrs = ()
        if long:
            _, size, block, _, _, offset = struct.unpack_from("<IIIIHH", self._inodes, at)
            xattrs = self._set(at + 20, long)
        else:
            block, _, size, offset = struct.unpack_from("<IIHH", self._inodes, at)
        made = Directory(mode, *owner, tuple(x for x in xattrs if not _of_overlay(x)))
        made.implied = False
        made.opaque = OPAQUE_XATTR in xattrs
        # Where its listing is, until that is read.
        made.ref, made.links = block << 16 | offset, size - 3
        return made

    def _file(self, long: bool, mode: int, owner: tuple[int, int, int], at: int) -> File:
        holes = 0
        xattrs: Xattrs = ()
        if long:
            start, size, holes, *_ = struct.unpack_from("<QQQIIII", self._inodes, at)
            xattrs = self._set(at + 36, long)
            at += 40
        else:
            start, _, _, size = struct.unpack_from("<IIII", self._inodes, at)
            at += 16
        file = File(mode, *owner, xattrs)
        file.size, file.start, file.holes = size, start, holes
        end = at + 4 * -(-size // fmt.BLOCK_SIZE)
        if end > len(self._inodes):
            raise ValueError("a file with too many blocks")
        file.blocks = self._inodes[at:end]
        return file

    def _entries(self, directory: Directory) -> list[tuple[bytes, int]]:
        at = _place(directory.ref)
        end = at + directory.links
        found = []
        while at < end:
            count, block, _ = struct.unpack_from("<III", self._listings, at)
            at += 12
            for _ in range(count + 1):
                offset, _, _, size = struct.unpack_from("<HhHH", self._listings, at)
                name = self._listings[at + 8 : at + 9 + size]
                found.append((name, block << 16 | offset))
                at += 9 + size
        if at != end:
            raise ValueError("a directory with a damaged listing")
        return found

    def _id(self, index: int) -> int:
        found: int = struct.unpack_from("<I", self._ids, 4 * index)[0]
        return found

    def _set(self, at: int, long: bool) -> Xattrs:
        """Return the extended attributes whose number is at *at* in a long inode."""
        if not long:
            return ()
        (index,) = struct.unpack_from("<I", self._inodes, at)
        if index == fmt.NO_INDEX:
            return ()
        known = self._known_sets[index]
        if known is None:
            ref, count, _ = struct.unpack_from("<QII", self._sets, 16 * index)
            known = self._known_sets[index] = self._attributes(_place(ref), count)
        return known

    def _attributes(self, at: int, count: int) -> Xattrs:
        found = []
        for _ in range(count):
            kind, size = struct.unpack_from("<HH", self._xattrs, at)
            name = _NAMESPACES.get(kind, b"") + self._xattrs[at + 4 : at + 4 + size]
            at += 4 + size
            (length,) = struct.unpack_from("<I", self._xattrs, at)
            found.append((name, self._xattrs[at + 4 : at + 4 + length]))
            at += 4 + length
        return tuple(found)


def _of_overlay(xattr: tuple[bytes, bytes]) -> bool:
    return xattr[0].startswith(OVERLAY_PREFIX)


def _place(ref: int) -> int:
    """Return where in its table, without the heads of blocks, the metadata of *ref* is."""
    block, offset = ref >> 16, ref & 0xFFFF
    if block % _STORED or offset >= fmt.METADATA_SIZE:
        raise ValueError("an impossible reference")
    return block // _STORED * fmt.METADATA_SIZE + offset
