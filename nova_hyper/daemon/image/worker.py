"""The process in which archives, layers and their documents are read: unprivileged, and confined.

It is started by :class:`..import_worker.ImportWorker` with a socket to hyperd,
confines itself, and then serves one order after the other.  An order comes with
a pipe to read from; the files to write to, and what hyperd knows of layers, are
asked for over the socket.  See doc/source/operator/security.rst.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

from nova_hyper.daemon.image import wire
from nova_hyper.daemon.image.archive import read_archive, resolve
from nova_hyper.daemon.image.completion import completion, completion_tar
from nova_hyper.daemon.image.compression import Read, ZstdBlocks
from nova_hyper.daemon.image.confine import Confinement, confine
from nova_hyper.daemon.image.digest import sha256
from nova_hyper.daemon.image.layer import convert_layer
from nova_hyper.daemon.image.limits import Limits
from nova_hyper.daemon.image.merge import Part, merge_layers
from nova_hyper.daemon.image.pulled import resolve_pulled
from nova_hyper.daemon.image.skeleton import dump_skeleton, load_skeleton
from nova_hyper.daemon.image.stream import ByteStream
from nova_hyper.spec import codec
from nova_hyper.spec.errors import HyperError

_LEVEL = 1
# Freed when memory runs out, so that there is some to say so.
_RESERVE = 1 << 20


class _Stream:
    """The pipe that an order came with, as a readable."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self, size: int, /) -> bytes:
        return os.read(self._fd, size)


class _Sink:
    """Converts the layers of one order, whose files hyperd opens."""

    def __init__(self, sock: socket.socket, limits: Limits) -> None:
        self._socket = sock
        self._limits = limits

    def known(self, digest: str, compressed: bool) -> str:
        answer, _ = self._ask({"ask": "known", "digest": digest, "compressed": compressed})
        return str(answer["diff_id"])

    def convert(self, read: Read, compression: str, what: str) -> tuple[str, str]:
        files = self._ask({"ask": "files"})[1]
        with (
            open(files[0], "wb") as squashfs,
            open(files[1], "wb") as recipe,
            open(files[2], "wb") as tree,
        ):
            made = convert_layer(
                read, compression, squashfs, recipe, self._limits, ZstdBlocks(_LEVEL)
            )
            tree.write(dump_skeleton(made.skeleton))
        left = self._limits.unpacked - made.unpacked_size
        self._limits = dataclasses.replace(self._limits, unpacked=left)
        report = {
            "diff_id": made.diff_id,
            "blob": made.blob,
            "tar_size": made.tar_size,
            "size": made.size,
            "unpacked_size": made.unpacked_size,
            "entries": made.entries,
            "implied": bool(made.skeleton.implied - {b""}),
            "opaque": b"" in made.skeleton.opaque,
            "dropped_xattrs": list(made.dropped_xattrs),
        }
        self._ask({"ask": "layer", "what": what[:200], "compression": compression, **report})
        return made.diff_id, made.blob

    def merge(self, read: Read, chain: str, parts: list[Part]) -> None:
        """Make one layer of those in *read*; see :func:`..merge.merge_layers`."""
        files = self._ask({"ask": "files"})[1]
        with (
            open(files[0], "wb") as squashfs,
            open(files[1], "wb"),  # no recipe: what an image is saved from are its own layers
            open(files[2], "wb") as tree,
        ):
            made = merge_layers(ByteStream(read, "the layers"), parts, squashfs)
            tree.write(dump_skeleton(made.skeleton))
        report = {
            "diff_id": chain,
            "blob": chain,
            "tar_size": 0,
            "size": made.size,
            "unpacked_size": made.unpacked_size,
            "entries": made.entries,
            "implied": bool(made.skeleton.implied - {b""}),
            "opaque": False,
        }
        self._ask({"ask": "layer", "what": "made of several", "compression": "", **report})

    def _ask(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        wire.send(self._socket, message)
        return wire.receive_with_files(self._socket)


def _archive(sink: _Sink, stream: _Stream, limits: Limits, order: dict[str, Any]) -> Any:
    contents = read_archive(stream, sink, limits)
    return codec.encode(resolve(contents, order["arch"], order["name"]))


def _layer(sink: _Sink, stream: _Stream, limits: Limits, order: dict[str, Any]) -> Any:
    diff_id, blob = sink.convert(stream.read, order["compression"], order["what"])
    return {"diff_id": diff_id, "blob": blob}


def _complete(sink: _Sink, stream: _Stream, limits: Limits, order: dict[str, Any]) -> Any:
    """Convert the layer that directories without an entry need; see :mod:`..completion`."""
    trees = ByteStream(stream.read, "the list of a layer's directories")
    directories = completion([load_skeleton(trees.take(size)) for size in order["sizes"]])
    if not directories:
        return {"diff_id": ""}
    read = io.BytesIO(completion_tar(directories)).read
    return {"diff_id": sink.convert(read, "", "made for its directories")[0]}


def _pulled(sink: _Sink, stream: _Stream, limits: Limits, order: dict[str, Any]) -> Any:
    raw = ByteStream(stream.read, "a document of the registry")
    documents = [raw.take(size) for size in order["sizes"]]
    by_digest = {sha256(document): document for document in documents}
    return codec.encode(resolve_pulled(by_digest, sha256(documents[0]), order["arch"]))


def _merge(sink: _Sink, stream: _Stream, limits: Limits, order: dict[str, Any]) -> Any:
    sink.merge(stream.read, order["chain_id"], [Part(*sizes) for sizes in order["parts"]])
    return {"diff_id": order["chain_id"]}


_ORDERS: dict[str, Callable[[_Sink, _Stream, Limits, dict[str, Any]], Any]] = {
    "archive": _archive,
    "layer": _layer,
    "complete": _complete,
    "merge": _merge,
    "pulled": _pulled,
}


def serve(sock: socket.socket) -> None:
    """Serve the orders of hyperd until it closes its end."""
    while True:
        try:
            order, files = wire.receive_with_files(sock)
        except wire.Ended:
            return
        limits = Limits(**order["limits"])
        reserve = bytearray(_RESERVE)
        answer: dict[str, Any]
        try:
            made = _ORDERS[order["order"]](_Sink(sock, limits), _Stream(files[0]), limits, order)
            answer = {"done": made}
        except HyperError as exc:
            answer = {"failed": exc.code, "message": exc.message}
        except MemoryError:
            del reserve
            answer = {"failed": "memory", "message": ""}
        except OSError as exc:
            answer = {"failed": "os", "errno": exc.errno or 0, "message": str(exc)[:500]}
        except Exception as exc:
            answer = {"failed": "internal", "message": f"{type(exc).__name__}: {exc}"[:500]}
        for each in files:
            os.close(each)
        wire.send(sock, answer)


def main() -> None:
    """Confine this process as the first argument says, and serve the socket of the second."""
    to = Confinement(**json.loads(sys.argv[1]))
    sock = socket.socket(fileno=int(sys.argv[2]))
    # What hostile bytes make a library print belongs into nobody's log.
    os.dup2(0, 2)
    wire.send(sock, {"lost": confine(to)})
    try:
        serve(sock)
    except (OSError, wire.WireError):
        # hyperd is gone, and nobody is left to tell.
        os._exit(1)
    os._exit(0)
