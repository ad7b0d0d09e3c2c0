"""What a layer's file tree is made of, until it is written as squashfs."""

from __future__ import annotations

Xattrs = tuple[tuple[bytes, bytes], ...]


class Inode:
    """Anything in the tree; the same object under two names is a hard link.

    ``ref`` and ``number`` are given by the squashfs writer.
    """

    __slots__ = ("gid", "links", "mode", "mtime", "number", "ref", "uid", "xattrs")

    def __init__(self, mode: int, uid: int, gid: int, mtime: int, xattrs: Xattrs = ()) -> None:
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.mtime = mtime
        self.xattrs = xattrs
        self.links = 0
        self.number = 0
        self.ref = -1


class File(Inode):
    """A regular file: ``size`` bytes in data blocks from byte ``start`` of the squashfs on.

    ``blocks`` has four bytes for each data block (squashfs's own encoding of its
    stored size), ``holes`` is the number of bytes in blocks that are not stored.
    """

    __slots__ = ("blocks", "holes", "size", "start")

    def __init__(self, mode: int, uid: int, gid: int, mtime: int, xattrs: Xattrs = ()) -> None:
        super().__init__(mode, uid, gid, mtime, xattrs)
        self.size = 0
        self.start = 0
        self.blocks: bytes | bytearray = b""
        self.holes = 0


class Symlink(Inode):
    """A symbolic link."""

    __slots__ = ("target",)

    def __init__(self, target: bytes, uid: int, gid: int, mtime: int, xattrs: Xattrs = ()) -> None:
        super().__init__(0o777, uid, gid, mtime, xattrs)
        self.target = target


class Device(Inode):
    """A character or block device."""

    __slots__ = ("block", "major", "minor")

    def __init__(
        self,
        block: bool,
        major: int,
        minor: int,
        mode: int,
        uid: int,
        gid: int,
        mtime: int,
        xattrs: Xattrs = (),
    ) -> None:
        super().__init__(mode, uid, gid, mtime, xattrs)
        self.block = block
        self.major = major
        self.minor = minor

    @property
    def is_whiteout(self) -> bool:
        """Whether overlayfs takes this for "nothing is here" (character device 0:0)."""
        return not self.block and self.major == 0 and self.minor == 0


class Fifo(Inode):
    """A named pipe."""

    __slots__ = ()


class Directory(Inode):
    """A directory.

    ``implied``: no entry of the layer describes it, it is only a parent of one;
    what a layer below says of it holds.  ``opaque``: what layers below have in
    it is gone.  ``replaced``: what layers below have under this very name is
    gone, with its attributes.
    """

    __slots__ = ("children", "implied", "opaque", "replaced", "whiteouts")

    def __init__(
        self, mode: int = 0o755, uid: int = 0, gid: int = 0, mtime: int = 0, xattrs: Xattrs = ()
    ) -> None:
        super().__init__(mode, uid, gid, mtime, xattrs)
        self.children: dict[bytes, Inode] = {}
        self.implied = True
        self.opaque = False
        self.replaced = False
        self.whiteouts: set[bytes] | None = None
