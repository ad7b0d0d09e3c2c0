"""The layer that gives implied directories the attributes they must have.

A layer may hold ``srv/www/index.html`` without entries for ``srv`` and
``srv/www``.  Unpacked onto the layers below, those keep the attributes they
have there.  On overlayfs the topmost directory's attributes win, and a layer
is converted without knowing what will be below it.  So where it makes a
difference one more layer goes on top, which has only such directories, with
the attributes of the layers below.  Most images need none.

The root directory is left out: a container's root gets its attributes from the
writable layer.
"""

from __future__ import annotations

import io
import tarfile

from nova_hyper.daemon.image.names import printable
from nova_hyper.daemon.image.skeleton import Attributes, Skeleton
from nova_hyper.daemon.image.tree import OVERLAY_PREFIX
from nova_hyper.spec.errors import ImageInvalid


def completion(layers: list[Skeleton]) -> dict[bytes, Attributes]:
    """Return the directories, with their attributes, of the layer to put on top of *layers*.

    :param layers: bottom first.
    :raises ImageInvalid: when a layer puts files below a symbolic link of another one:
        the link would be hidden, and what it leads to would not get the files.
    """
    wanted: dict[bytes, Attributes] = {}
    implied = {path for layer in layers for path in layer.implied if path}
    for path in sorted(implied):
        top = _topmost(layers, path)
        if top is None or path not in layers[top].implied:
            continue
        attributes = _below(layers, top, path)
        if attributes != Attributes():
            wanted[path] = attributes
    # A directory of the new layer hides the attributes of its parents as well.
    for path in list(wanted):
        parent = path.rpartition(b"/")[0]
        while parent and parent not in wanted:
            top = _topmost(layers, parent)
            if top is not None and parent in layers[top].described:
                wanted[parent] = layers[top].described[parent]
            else:
                wanted[parent] = Attributes() if top is None else _below(layers, top, parent)
            parent = parent.rpartition(b"/")[0]
    return dict(sorted(wanted.items()))


def completion_tar(directories: dict[bytes, Attributes]) -> bytes:
    """Return the tar stream of that layer; the same directories give the same bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, attributes in directories.items():
            info = tarfile.TarInfo(path.decode("utf-8", "surrogateescape"))
            info.type = tarfile.DIRTYPE
            info.mode = attributes.mode
            info.uid, info.gid, info.mtime = attributes.uid, attributes.gid, attributes.mtime
            info.pax_headers = {
                f"SCHILY.xattr.{name.decode('utf-8', 'surrogateescape')}": value.decode(
                    "utf-8", "surrogateescape"
                )
                for name, value in attributes.xattrs
                if not name.startswith(OVERLAY_PREFIX)
            }
            archive.addfile(info)
    return out.getvalue()


def _topmost(layers: list[Skeleton], path: bytes) -> int | None:
    """Return the layer whose directory *path* is seen, None when none is."""
    for index in range(len(layers) - 1, -1, -1):
        layer = layers[index]
        if path in layer.implied or path in layer.described:
            return index
        if _hides(layer, path):
            return None
    return None


def _below(layers: list[Skeleton], top: int, path: bytes) -> Attributes:
    """Return the attributes of *path*, implied in layer *top*, by the layers below."""
    for index in range(top, -1, -1):
        layer = layers[index]
        if path in layer.described:
            return layer.described[path]
        if path in layer.symlinks:
            raise ImageInvalid(
                f"a layer puts files below /{printable(path)}, which is a symbolic link in a "
                "layer below it; build the image so that they go where the link leads"
            )
        if path in layer.replaced or _hides(layer, path):
            break
    return Attributes()


def _hides(layer: Skeleton, path: bytes) -> bool:
    """Tell whether *layer* hides what the layers below have at *path*."""
    if path in layer.hidden or path in layer.symlinks:
        return True
    parent = path
    while parent:
        parent = parent.rpartition(b"/")[0]
        if parent in layer.opaque or parent in layer.hidden or parent in layer.symlinks:
            return True
    return False
