"""Several layers made one: the tree that overlayfs would show of them, as one squashfs.

A host attaches only so many disks to a pod, so the bottom layers of an image
with more layers are merged.  Their data is copied as it is stored; only the
tree is made anew.  The merged layer is known by its chain ID (OCI image
specification, config.md, "Layer ChainID"), so that images share it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import BinaryIO

from nova_hyper.daemon.image import squashfs_format as fmt
from nova_hyper.daemon.image.compression import ZstdBlocks
from nova_hyper.daemon.image.inode import Device, Directory, File, Inode, Symlink
from nova_hyper.daemon.image.names import printable
from nova_hyper.daemon.image.skeleton import Skeleton, load_skeleton, skeleton_of
from nova_hyper.daemon.image.squashfs import SquashfsWriter
from nova_hyper.daemon.image.squashfs_reader import read_tree
from nova_hyper.daemon.image.stream import ByteStream
from nova_hyper.spec.errors import HyperError, ImageInvalid


@dataclasses.dataclass(frozen=True)
class Part:
    """What of a layer is read, in bytes: of its skeleton, its tables and its data."""

    skeleton: int
    tables: int
    data: int


@dataclasses.dataclass(frozen=True)
class MergedLayer:
    """``size`` is the bytes of the squashfs, ``unpacked_size`` of the files in it."""

    size: int
    unpacked_size: int
    entries: int
    skeleton: Skeleton


def merge_layers(stream: ByteStream, parts: list[Part], out: BinaryIO) -> MergedLayer:
    """Write to *out*, an empty file, what the layers in *stream* show together.

    *stream* has of each layer, bottom first, the skeleton, superblock and tables;
    then of each layer the data.

    :raises ImageInvalid: when the layers do not fit together.
    :raises HyperError: when a layer is damaged.
    """
    root = Directory()
    owners: dict[int, int] = {}
    trees = []
    try:
        for number, part in enumerate(parts):
            skeleton = load_skeleton(stream.take(part.skeleton))
            layout = fmt.Layout.of(stream.take(fmt.SUPERBLOCK.size))
            tree = read_tree(layout, stream.take(part.tables))
            _mark(tree, skeleton)
            # The objects must live on, or another one would get the number.
            trees.append(tree)
            owners.update((id(inode), number) for _, inode in _walk(tree))
            lay_over(root, tree)
        writer = SquashfsWriter(out, ZstdBlocks(1))
        kept: list[list[File]] = [[] for _ in parts]
        entries = unpacked = 0
        for path, inode in _walk(root):
            entries += bool(path)
            if isinstance(inode, File) and inode.links == 0:
                # Seen; the writer counts the links itself.
                inode.links = 1
                unpacked += inode.size
                kept[owners[id(inode)]].append(inode)
        for part, files in zip(parts, kept, strict=True):
            _copy(stream, part, files, writer)
    except (ValueError, KeyError) as exc:
        raise HyperError(f"a layer on this host is damaged ({exc}); load its image again") from exc
    found = skeleton_of(root)
    return MergedLayer(writer.finish(root), unpacked, entries, found)


def lay_over(lower: Directory, upper: Directory) -> None:
    """Make *lower* what overlayfs shows with *upper* on it; *lower* is the bottom of all.

    A directory that *upper* has no entry for keeps its attributes, as in an
    unpacked image (see :mod:`.completion`).

    :raises ImageInvalid: when *upper* has files below a symbolic link in *lower*.
    """
    pending = [(b"", lower, upper)]
    while pending:
        path, below, above = pending.pop()
        if not above.implied:
            below.mode, below.uid, below.gid = above.mode, above.uid, above.gid
            below.mtime, below.xattrs = above.mtime, above.xattrs
            below.implied = False
        if above.opaque:
            below.children.clear()
        for name, child in above.children.items():
            old = below.children.get(name)
            if isinstance(child, Device) and child.is_whiteout:
                below.children.pop(name, None)
            elif not isinstance(child, Directory):
                below.children[name] = child
            else:
                inner = path + b"/" + name
                if isinstance(old, Symlink) and child.implied:
                    raise ImageInvalid(
                        f"a layer puts files below {printable(inner)}, which is a symbolic link "
                        "in a layer below it; build the image so that they go where the link leads"
                    )
                if not isinstance(old, Directory) or child.replaced:
                    old = below.children[name] = Directory()
                pending.append((inner, old, child))


def _mark(root: Directory, skeleton: Skeleton) -> None:
    for path, inode in _walk(root):
        if isinstance(inode, Directory):
            inode.implied = path in skeleton.implied
            inode.replaced = path in skeleton.replaced


def _walk(root: Directory) -> Iterator[tuple[bytes, Inode]]:
    """Yield everything below *root* and itself, names sorted; a hard link as often as it is."""
    pending: list[tuple[bytes, Inode]] = [(b"", root)]
    while pending:
        path, inode = pending.pop()
        yield path, inode
        if isinstance(inode, Directory):
            prefix = path + b"/" if path else b""
            pending += [(prefix + n, c) for n, c in sorted(inode.children.items(), reverse=True)]


def _copy(stream: ByteStream, part: Part, files: list[File], writer: SquashfsWriter) -> None:
    """Copy the data of *files*, in the order in which *stream* has it."""
    at = 0
    for file in sorted(files, key=lambda f: f.start):
        sizes = memoryview(bytes(file.blocks)).cast("I")
        size = sum(entry & ~fmt.STORED_RAW for entry in sizes)
        start = file.start - fmt.SUPERBLOCK.size
        if size:
            if start < at or start + size > part.data:
                raise ValueError("the data of a file is not where it should be")
            stream.skip(start - at)
            at = start + size
        file.links = 0
        writer.add_stored(file, stream, size)
    stream.skip(part.data - at)
