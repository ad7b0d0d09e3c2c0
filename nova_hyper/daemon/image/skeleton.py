"""What of a layer matters to the layers above it: directories, symbolic links, whiteouts."""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Iterator

from nova_hyper.daemon.image.inode import Device, Directory, Symlink, Xattrs
from nova_hyper.spec.errors import ImageInvalid


@dataclasses.dataclass(frozen=True)
class Attributes:
    """Those of a directory; the default is what a directory without an entry gets."""

    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    xattrs: Xattrs = ()


@dataclasses.dataclass
class Skeleton:
    """Paths are relative to the root, ``b""`` is the root itself.

    ``described`` has the directories with an entry of their own, ``implied``
    those without; ``opaque`` and ``replaced`` are sets of directories as in
    :class:`..inode.Directory`; ``hidden`` are whiteouts.
    """

    described: dict[bytes, Attributes] = dataclasses.field(default_factory=dict)
    implied: set[bytes] = dataclasses.field(default_factory=set)
    opaque: set[bytes] = dataclasses.field(default_factory=set)
    replaced: set[bytes] = dataclasses.field(default_factory=set)
    symlinks: set[bytes] = dataclasses.field(default_factory=set)
    hidden: set[bytes] = dataclasses.field(default_factory=set)


def skeleton_of(root: Directory, limit: int = 256 << 20) -> Skeleton:
    """Return the skeleton of a finished tree.

    :raises ImageInvalid: when its paths have more than *limit* bytes in sum: links may nest
        directories more deeply than any path of the archive is long.
    """
    found = Skeleton()
    for path, directory in _walk(root, limit):
        if directory.implied:
            found.implied.add(path)
        else:
            found.described[path] = Attributes(
                directory.mode, directory.uid, directory.gid, directory.mtime, directory.xattrs
            )
        if directory.opaque:
            found.opaque.add(path)
        if directory.replaced:
            found.replaced.add(path)
        prefix = path + b"/" if path else b""
        for name, child in directory.children.items():
            if isinstance(child, Symlink):
                found.symlinks.add(prefix + name)
            elif isinstance(child, Device) and child.is_whiteout:
                found.hidden.add(prefix + name)
    return found


def _walk(root: Directory, limit: int) -> Iterator[tuple[bytes, Directory]]:
    pending = [(b"", root)]
    while pending:
        path, directory = pending.pop()
        yield path, directory
        prefix = path + b"/" if path else b""
        for name, child in directory.children.items():
            if isinstance(child, Directory | Symlink):
                limit -= len(prefix) + len(name)
                if limit < 0:
                    raise ImageInvalid("the directories of a layer are nested too deeply")
            if isinstance(child, Directory):
                pending.append((prefix + name, child))


def dump_skeleton(skeleton: Skeleton) -> bytes:
    """Return *skeleton* as a file's content; the inverse of :func:`load_skeleton`."""
    data = {
        "described": {
            _text(path): [
                a.mode,
                a.uid,
                a.gid,
                a.mtime,
                [[_text(n), _text(v)] for n, v in a.xattrs],
            ]
            for path, a in skeleton.described.items()
        },
        **{
            key: sorted(_text(path) for path in getattr(skeleton, key))
            for key in ("implied", "opaque", "replaced", "symlinks", "hidden")
        },
    }
    return zlib.compress(json.dumps(data, separators=(",", ":")).encode(), 1)


def load_skeleton(raw: bytes) -> Skeleton:
    """Return what :func:`dump_skeleton` made *raw* from."""
    data = json.loads(zlib.decompress(raw))
    return Skeleton(
        described={
            _bytes(path): Attributes(
                mode, uid, gid, mtime, tuple((_bytes(n), _bytes(v)) for n, v in xattrs)
            )
            for path, (mode, uid, gid, mtime, xattrs) in data["described"].items()
        },
        **{
            key: {_bytes(path) for path in data[key]}
            for key in ("implied", "opaque", "replaced", "symlinks", "hidden")
        },
    )


def _text(raw: bytes) -> str:
    # File names are bytes; Latin-1 maps every byte to one character and back.
    return raw.decode("latin-1")


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")
