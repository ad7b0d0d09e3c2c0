"""The file tree of one layer, built from its tar entries.

Rules, with their sources:

* A later entry replaces an earlier one of the same name; a directory over a
  directory only changes its attributes (Go's archive/tar users: docker, umoci).
* ``.wh.NAME`` removes NAME of the layers below and ``.wh..wh..opq`` everything
  that they have in its directory; neither touches this layer's own entries,
  whatever the order (OCI image specification, layer.md, "Whiteouts").  On
  overlayfs these are a character device 0:0 and the xattr
  ``trusted.overlay.opaque`` (Linux, filesystems/overlayfs.rst).
* A path through a symbolic link of the same layer is resolved as in a chroot of
  the image (as umoci does with filepath-securejoin).  Nothing is ever looked up
  on the host.
"""

from __future__ import annotations

from collections.abc import Iterator

from nova_hyper.daemon.image.inode import Device, Directory, Fifo, File, Inode, Symlink, Xattrs
from nova_hyper.daemon.image.limits import Limits
from nova_hyper.daemon.image.names import components, printable
from nova_hyper.daemon.image.tar import (
    BLOCKDEV,
    CHARDEV,
    DIRECTORY,
    FIFO,
    HARDLINK,
    REGULAR,
    SYMLINK,
    Member,
)
from nova_hyper.spec.errors import ImageInvalid

_WHITEOUT = b".wh."
_META = b".wh..wh."
_OPAQUE = b".wh..wh..opq"
_MAX_LINKS = 255
_MAX_FOLLOWED = 20_000_000
"""Steps on paths through symbolic links: one path may take half a million."""
_MAX_MTIME = 0xFFFFFFFF
_NAMESPACES = (b"user.", b"trusted.", b"security.")

OVERLAY_PREFIX = b"trusted.overlay."
OPAQUE_XATTR = (OVERLAY_PREFIX + b"opaque", b"y")
ORIGIN_XATTR = (OVERLAY_PREFIX + b"origin", b"")
"""Makes overlayfs hide the whiteouts of a directory that no other layer has.

See ovl_path_check_origin_xattr() in Linux: "non-merge dir that may have
whiteouts"; an empty value means "origin unknown".
"""


class LayerTree:
    """The tree of a layer while its entries come in; :meth:`finish` completes it."""

    def __init__(self, limits: Limits) -> None:
        self.root = Directory()
        self.entries = 0
        self.unpacked = 0
        self.dropped_xattrs: set[bytes] = set()
        self._limits = limits
        self._names = 0
        self._followed = 0
        self._xattrs: dict[Xattrs, Xattrs] = {}
        # The directory of the last entry: archives list a directory's files together.
        self._last_name: bytes | None = None
        self._last_dir = self.root

    def add(self, member: Member) -> File | None:
        """Put *member* into the tree and return the file that wants its data, if it is one.

        :raises ImageInvalid: when the entry cannot be, with its name in the message.
        """
        self._count(len(member.name) + len(member.link), 1)
        parts = components(member.name)
        if not parts:
            self._set_root(member)
            return None
        base = parts.pop()
        if base.startswith(_WHITEOUT):
            self._whiteout(parts, base, member)
            return None
        if _META in member.name and any(part.startswith(_META) for part in parts):
            # aufs keeps its own files in such directories; docker skips them as well.
            return None
        parent = self._parent(parts, member)
        old = parent.children.get(base)
        if member.kind == DIRECTORY:
            self._add_directory(parent, base, old, member)
            return None
        inode = self._make(member)
        if isinstance(old, Directory | Symlink):
            self._forget()
        parent.children[base] = inode
        return inode if isinstance(inode, File) and member.kind == REGULAR else None

    def finish(self) -> Directory:
        """Return the root after the whiteouts, which may come before what they are about."""
        for directory in self.directories():
            if not directory.whiteouts:
                continue
            for name in directory.whiteouts:
                child = directory.children.get(name)
                if isinstance(child, Directory):
                    child.opaque = child.replaced = True
                elif child is None and not directory.opaque:
                    self._count(len(name), 1)
                    directory.children[name] = Device(False, 0, 0, 0, 0, 0, 0)
        for directory in self.directories():
            extra = []
            if directory.opaque:
                extra.append(OPAQUE_XATTR)
            if any(isinstance(c, Device) and c.is_whiteout for c in directory.children.values()):
                extra.append(ORIGIN_XATTR)
            if extra:
                directory.xattrs = self._intern((*directory.xattrs, *extra))
        return self.root

    def directories(self) -> Iterator[Directory]:
        """Yield every directory, a parent before its children."""
        pending = [self.root]
        while pending:
            directory = pending.pop()
            yield directory
            pending += [c for c in directory.children.values() if isinstance(c, Directory)]

    def _set_root(self, member: Member) -> None:
        if member.kind != DIRECTORY:
            raise ImageInvalid("an entry would replace the root directory of the image")
        self._describe(self.root, member)

    def _add_directory(
        self, parent: Directory, base: bytes, old: Inode | None, member: Member
    ) -> None:
        if not isinstance(old, Directory):
            replaced = old is not None
            old = Directory()
            # What was here before hid the layers below; this must too.
            old.opaque = old.replaced = replaced
            parent.children[base] = old
            self._forget()
        self._describe(old, member)

    def _describe(self, directory: Directory, member: Member) -> None:
        directory.mode = member.mode
        directory.uid = member.uid
        directory.gid = member.gid
        directory.mtime = _clamp(member.mtime)
        directory.xattrs = self._xattrs_of(member)
        directory.implied = False

    def _make(self, member: Member) -> Inode:
        kind = member.kind
        if kind == HARDLINK:
            return self._link_target(member)
        owner = (member.uid, member.gid, _clamp(member.mtime), self._xattrs_of(member))
        if kind == REGULAR:
            self.unpacked += member.size
            if self.unpacked > self._limits.unpacked:
                raise ImageInvalid(
                    f"the image unpacks to more than {self._limits.unpacked / (1 << 30):g} GiB; "
                    "raise [image] max_image_gib of hyperd if that is intended"
                )
            file = File(member.mode, *owner)
            file.size = member.size
            return file
        if kind == SYMLINK:
            if not member.link:
                raise ImageInvalid(f"the symbolic link {printable(member.name)} has no target")
            return Symlink(member.link, *owner)
        if kind in (CHARDEV, BLOCKDEV):
            if not (0 <= member.major < 1 << 12 and 0 <= member.minor < 1 << 20):
                raise ImageInvalid(
                    f"the device {printable(member.name)} has the impossible number "
                    f"{member.major}:{member.minor}"
                )
            return Device(kind == BLOCKDEV, member.major, member.minor, member.mode, *owner)
        assert kind == FIFO
        return Fifo(member.mode, *owner)

    def _link_target(self, member: Member) -> Inode:
        parts = components(member.link)
        target: Inode | None = self.root
        if parts:
            base = parts.pop()
            directory = self._walk(parts, member, create=False)
            target = directory.children.get(base) if directory else None
        if target is None or isinstance(target, Directory):
            what = "a directory" if target else "not in the layer before it"
            raise ImageInvalid(
                f"the hard link {printable(member.name)} points to {printable(member.link)}, "
                f"which is {what}"
            )
        return target

    def _whiteout(self, parts: list[bytes], base: bytes, member: Member) -> None:
        if base == _OPAQUE:
            self._parent(parts, member).opaque = True
            return
        if base.startswith(_META):
            return
        name = base[len(_WHITEOUT) :]
        if name in (b"", b".", b".."):
            raise ImageInvalid(f"the whiteout {printable(member.name)} names no file")
        parent = self._parent(parts, member)
        if parent.whiteouts is None:
            parent.whiteouts = set()
        parent.whiteouts.add(name)

    def _parent(self, parts: list[bytes], member: Member) -> Directory:
        head = b"/".join(parts)
        if head != self._last_name:
            found = self._walk(parts, member, create=True)
            assert found is not None
            self._last_dir, self._last_name = found, head
        return self._last_dir

    def _forget(self) -> None:
        self._last_name = None

    def _walk(self, parts: list[bytes], member: Member, create: bool) -> Directory | None:
        """Return the directory at *parts*, following symbolic links as in a chroot.

        Directories that no entry describes are made when *create*; otherwise
        the answer is None when one is missing.
        """
        path = [self.root]
        pending = parts[::-1]
        links = 0
        while pending:
            part = pending.pop()
            if part == b"..":
                if len(path) > 1:
                    path.pop()
                continue
            here = path[-1]
            child = here.children.get(part)
            if isinstance(child, Directory):
                path.append(child)
            elif isinstance(child, Symlink):
                links += 1
                if links > _MAX_LINKS:
                    raise ImageInvalid(
                        f"{printable(member.name)} is below a loop of symbolic links"
                    )
                if child.target.startswith(b"/"):
                    del path[1:]
                more = [p for p in child.target.split(b"/")[::-1] if p not in (b"", b".")]
                pending += more
                self._followed += len(more)
                if self._followed > _MAX_FOLLOWED:
                    raise ImageInvalid(
                        "the paths of a layer lead through too many symbolic links in sum"
                    )
            elif child is not None:
                raise ImageInvalid(
                    f"{printable(member.name)} is below {printable(part)}, "
                    "which is not a directory"
                )
            elif not create:
                return None
            else:
                self._count(len(part), 1)
                made = Directory()
                here.children[part] = made
                path.append(made)
        return path[-1]

    def _xattrs_of(self, member: Member) -> Xattrs:
        if not member.xattrs:
            return ()
        kept = []
        for name, value in sorted(member.xattrs.items()):
            if (
                not name.startswith(_NAMESPACES)
                or name.startswith(OVERLAY_PREFIX)
                or name == b"security.selinux"
            ):
                # squashfs has no other namespaces, overlayfs hides its own, and a host's
                # SELinux label means nothing in the guest (umoci leaves it out as well).
                if len(self.dropped_xattrs) < 100:
                    self.dropped_xattrs.add(name[:255])
                continue
            if len(name) > 255 or len(value) > 65536:
                raise ImageInvalid(
                    f"an extended attribute of {printable(member.name)} "
                    "is larger than Linux allows"
                )
            kept.append((name, value))
        return self._intern(tuple(kept))

    def _intern(self, xattrs: Xattrs) -> Xattrs:
        known = self._xattrs.get(xattrs)
        if known is None:
            self._count(sum(len(n) + len(v) for n, v in xattrs), 0)
            known = self._xattrs[xattrs] = xattrs
        return known

    def _count(self, names: int, entries: int) -> None:
        self._names += names
        self.entries += entries
        if self.entries > self._limits.entries:
            raise ImageInvalid(
                f"a layer has more than {self._limits.entries} files; squash or split the image"
            )
        if self._names > self._limits.names:
            raise ImageInvalid("the names and extended attributes of a layer are too long in sum")


def _clamp(mtime: int) -> int:
    """Return *mtime* as squashfs can hold it: seconds from 1970 to 2106."""
    return min(max(mtime, 0), _MAX_MTIME)
