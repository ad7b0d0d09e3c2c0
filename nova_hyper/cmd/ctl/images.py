"""``hyperctl load``, ``images`` and ``rmi``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from nova_hyper.client import HyperClient
from nova_hyper.cmd.ctl import output
from nova_hyper.spec import codec
from nova_hyper.spec.image import Image

_CHUNK = 1 << 20
_REPORT_S = 1.0
_SHORT_ID = 12


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs to the parser."""
    load = verbs.add_parser(
        "load",
        help="import a docker-archive or OCI archive",
        description="Import what 'docker save', 'skopeo copy' or 'buildah push' wrote.",
        epilog="examples: hyperctl load nginx.tar; skopeo copy ... | hyperctl load --name web -",
    )
    load.add_argument("archive", help="the file, or - for standard input")
    load.add_argument("--name", help="name of the image (default: the file's, without its ending)")
    load.set_defaults(run=_load)
    images = verbs.add_parser("images", help="list the images of this host")
    images.set_defaults(run=_images)
    rmi = verbs.add_parser("rmi", help="remove images")
    rmi.add_argument("image", nargs="+", help="id, beginning of an id, or name")
    rmi.set_defaults(run=_rmi)


def load_archive(client: HyperClient, archive: str, name: str | None) -> Image:
    """Import a file, or standard input for ``-``, telling how far it is.

    :raises OSError: when it cannot be read.
    """
    if archive == "-":
        return client.import_image(name or "stdin", _chunks(sys.stdin.buffer, "standard input", 0))
    path = Path(archive)
    with path.open("rb") as file:
        chunks = _chunks(file, path.name, path.stat().st_size)
        return client.import_image(name or name_of(path), chunks)


def name_of(path: Path) -> str:
    """Return the name of an image loaded from *path* without a name given."""
    name = path.name
    for ending in (".gz", ".zst", ".tgz", ".tar", ".oci"):
        name = name.removesuffix(ending)
    return name or "image"


def _chunks(file: BinaryIO, label: str, total: int) -> Iterator[bytes]:
    done, told = 0, time.monotonic()
    while chunk := file.read(_CHUNK):
        yield chunk
        done += len(chunk)
        if time.monotonic() - told >= _REPORT_S:
            told = time.monotonic()
            share = f" ({100 * done // total} %)" if total else ""
            output.progress(f"{label}: {output.size(done)}{share}")


def _load(client: HyperClient, args: argparse.Namespace) -> int:
    image = load_archive(client, args.archive, args.name)
    if args.output == "table":
        print(image.id)
    else:
        output.show(codec.encode(image), args.output)
    return 0


def _images(client: HyperClient, args: argparse.Namespace) -> int:
    images = client.images()
    if args.output != "table":
        output.show(codec.encode(images), args.output)
        return 0
    output.table(
        ("IMAGE ID", "NAMES", "LAYERS", "ON DISK", "UNPACKED", "CREATED"),
        [
            (
                i.id.removeprefix("sha256:")[:_SHORT_ID],
                ", ".join(i.names) or "<none>",
                len(i.layers),
                output.size(i.size),
                output.size(i.unpacked_size),
                i.created[:19],
            )
            for i in images
        ],
    )
    return 0


def _rmi(client: HyperClient, args: argparse.Namespace) -> int:
    for ref in args.image:
        client.delete_image(ref)
        print(ref)
    return 0
