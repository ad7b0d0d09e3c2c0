"""The on-disk structures of squashfs 4.0, as values to bytes.

Source: Linux, fs/squashfs/squashfs_fs.h.  All numbers are little-endian.  A
*reference* to metadata is (byte offset of its 8 KiB block in the table as
stored) << 16 | (offset in the block when unpacked).
"""

from __future__ import annotations

import dataclasses
import struct

from nova_hyper.daemon.image.inode import Device, Directory, Fifo, File, Inode, Symlink

MAGIC = 0x73717368
BLOCK_LOG = 17
BLOCK_SIZE = 1 << BLOCK_LOG
METADATA_SIZE = 8192
NO_TABLE = 0xFFFFFFFFFFFFFFFF
NO_INDEX = 0xFFFFFFFF
STORED_RAW = 1 << 24
"""In a data block's size: it is not compressed."""
METADATA_RAW = 1 << 15
MAX_IDS = 65535

ZSTD = 6
GZIP = 1

FLAG_RAW_INODES = 0x0001
FLAG_RAW_DATA = 0x0002
FLAG_NO_FRAGMENTS = 0x0010
FLAG_EXPORTABLE = 0x0080
FLAG_RAW_XATTRS = 0x0100
FLAG_RAW_IDS = 0x0800

SUPERBLOCK = struct.Struct("<IIIIIHHHHHHQQQQQQQQ")

_COMMON = struct.Struct("<HHHHII")
_DIR = struct.Struct("<IIHHI")
_LDIR = struct.Struct("<IIIIHHI")
_REG = struct.Struct("<IIII")
_LREG = struct.Struct("<QQQIIII")
_LINK = struct.Struct("<II")
_DEVICE = struct.Struct("<II")
_U32 = struct.Struct("<I")
_DIR_HEADER = struct.Struct("<III")
_DIR_ENTRY = struct.Struct("<HhHH")

DIR, REG, SYMLINK, BLKDEV, CHRDEV, FIFO = 1, 2, 3, 4, 5, 6
LONG = 7
"""What the extended type of an inode is above the basic one."""

XATTR_TYPES = ((b"user.", 0), (b"trusted.", 1), (b"security.", 2))


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the tables of an image are; bytes from its beginning."""

    root: int
    used: int
    ids: int
    xattrs: int
    inodes: int
    directories: int
    exports: int

    @classmethod
    def of(cls, superblock: bytes) -> Layout:
        """Return what a superblock says.

        :raises ValueError: when it is none of ours.
        """
        try:
            field = SUPERBLOCK.unpack(superblock)
        except struct.error:
            raise ValueError("no superblock") from None
        found = cls(field[11], field[12], field[13], field[14], field[15], field[16], field[18])
        if field[0] != MAGIC or field[3] != BLOCK_SIZE:
            raise ValueError("no squashfs of ours")
        if not SUPERBLOCK.size <= found.inodes <= found.directories <= found.used:
            raise ValueError("impossible tables")
        return found


def basic_type(inode: Inode) -> int:
    """Return the type of *inode* as directory entries have it."""
    if isinstance(inode, File):
        return REG
    if isinstance(inode, Directory):
        return DIR
    if isinstance(inode, Symlink):
        return SYMLINK
    if isinstance(inode, Device):
        return BLKDEV if inode.block else CHRDEV
    assert isinstance(inode, Fifo)
    return FIFO


def pack_inode(inode: Inode, uid_index: int, gid_index: int, xattr: int) -> bytes:
    """Return an inode other than a directory's; *xattr* is NO_INDEX for none."""
    kind = basic_type(inode)
    long = xattr != NO_INDEX
    body: bytes
    if isinstance(inode, File):
        long = (
            long
            or inode.links > 1
            or inode.holes > 0
            or inode.size > 0xFFFFFFFF
            or inode.start > 0xFFFFFFFF
        )
        if long:
            body = (
                _LREG.pack(inode.start, inode.size, inode.holes, inode.links, NO_INDEX, 0, xattr)
                + inode.blocks
            )
        else:
            body = _REG.pack(inode.start, NO_INDEX, 0, inode.size) + inode.blocks
    elif isinstance(inode, Symlink):
        body = _LINK.pack(inode.links, len(inode.target)) + inode.target
        if long:
            body += _U32.pack(xattr)
    elif isinstance(inode, Device):
        # new_encode_dev() of Linux.
        number = (inode.minor & 0xFF) | (inode.major << 8) | ((inode.minor & ~0xFF) << 12)
        body = _DEVICE.pack(inode.links, number)
        if long:
            body += _U32.pack(xattr)
    else:
        body = _U32.pack(inode.links)
        if long:
            body += _U32.pack(xattr)
    head = _COMMON.pack(
        kind + LONG if long else kind, inode.mode, uid_index, gid_index, inode.mtime, inode.number
    )
    return head + body


def pack_directory(
    inode: Directory,
    uid_index: int,
    gid_index: int,
    xattr: int,
    listing: int,
    size: int,
    parent: int,
) -> bytes:
    """Return a directory's inode; *listing* is the reference of its *size* bytes of entries.

    ``links`` must be set to 2 plus the number of subdirectories.
    """
    block, offset = listing >> 16, listing & 0xFFFF
    # The size counts "." and "..", which are not stored, as three bytes.
    size += 3
    if xattr == NO_INDEX and size <= 0xFFFF:
        kind = DIR
        body = _DIR.pack(block, inode.links, size, offset, parent)
    else:
        kind = DIR + LONG
        body = _LDIR.pack(inode.links, size, block, parent, 0, offset, xattr)
    return _COMMON.pack(kind, inode.mode, uid_index, gid_index, inode.mtime, inode.number) + body


def pack_listing(children: list[tuple[bytes, Inode]]) -> bytes:
    """Return the entries of a directory; *children* are sorted by name and have references."""
    out = bytearray()
    at = 0
    while at < len(children):
        base = children[at][1]
        block, number = base.ref >> 16, base.number
        run = bytearray()
        end = at
        while end < len(children) and end - at < 256:
            name, inode = children[end]
            distance = inode.number - number
            if inode.ref >> 16 != block or not -32768 <= distance <= 32767:
                break
            run += _DIR_ENTRY.pack(inode.ref & 0xFFFF, distance, basic_type(inode), len(name) - 1)
            run += name
            end += 1
        out += _DIR_HEADER.pack(end - at - 1, block, number)
        out += run
        at = end
    return bytes(out)


def pack_xattr(name: bytes, value: bytes) -> bytes:
    """Return one extended attribute of the namespaces user, trusted or security."""
    for prefix, kind in XATTR_TYPES:
        if name.startswith(prefix):
            short = name[len(prefix) :]
            return struct.pack("<HH", kind, len(short)) + short + _U32.pack(len(value)) + value
    raise ValueError(f"squashfs has no extended attributes like {name!r}")


def pack_superblock(
    *,
    inodes: int,
    compressor: int,
    flags: int,
    ids: int,
    root: int,
    used: int,
    id_table: int,
    xattr_table: int,
    inode_table: int,
    directory_table: int,
    export_table: int,
) -> bytes:
    """Return the superblock; its own time is 0, so that equal layers are equal files."""
    return SUPERBLOCK.pack(
        MAGIC,
        inodes,
        0,
        BLOCK_SIZE,
        0,
        compressor,
        BLOCK_LOG,
        flags,
        ids,
        4,
        0,
        root,
        used,
        id_table,
        xattr_table,
        inode_table,
        directory_table,
        NO_TABLE,
        export_table,
    )
