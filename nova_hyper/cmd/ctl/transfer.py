"""``hyperctl load``, ``pull`` and ``save``: images that come and go."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from nova_hyper.client import HyperClient, pulling
from nova_hyper.cmd.ctl import output, verbs
from nova_hyper.cmd.ctl.progress import Progress, progress
from nova_hyper.spec import codec
from nova_hyper.spec.errors import InvalidRequest
from nova_hyper.spec.image import Image

_CHUNK = 1 << 20
_DONE = {"present": "here already", "done": "done"}


def add(parser: verbs.Verbs[argparse.ArgumentParser]) -> None:
    """Add the verbs to the parser."""
    load = verbs.add(
        parser,
        "load",
        "import a docker-archive or OCI archive",
        _load,
        description="Import what 'docker save', 'skopeo copy' or 'buildah push' wrote.",
        examples=("hyperctl load nginx.tar", "skopeo copy ... | hyperctl load --name web -"),
    )
    load.add_argument("archive", help="the file, or - for standard input")
    load.add_argument("--name", help="name of the image (default: the file's, without its ending)")
    pull = verbs.add(
        parser,
        "pull",
        "pull an image from a registry",
        _pull,
        description="Pull an image from a registry that hyperd's configuration allows ([image] "
        "allowed_registries). Layers that are here already are not downloaded again.",
        examples=(
            "hyperctl pull nginx",
            "hyperctl pull registry.example.org:5000/team/web:1.2",
            "hyperctl pull quay.io/team/web@sha256:0123...",
            "hyperctl pull --username anna --password-stdin registry.example.org/web <secret",
        ),
    )
    pull.add_argument("reference", help="[registry/]repository[:tag][@digest]")
    pull.add_argument(
        "--username",
        help="for the registry (default: what hyperd's own file has); asks for the password",
    )
    pull.add_argument(
        "--password-stdin", action="store_true", help="read the password from standard input"
    )
    save = verbs.add(
        parser,
        "save",
        "write an image to an archive",
        _save,
        description="Write an image to an archive that docker, podman and skopeo read. It has "
        "the same id and layers as when it came.",
        examples=(
            "hyperctl save nginx nginx.tar",
            "hyperctl save --format oci nginx nginx.tar",
            "hyperctl save nginx - | podman load",
        ),
    )
    verbs.add_image(save)
    save.add_argument("archive", help="the file, or - for standard output")
    save.add_argument("--format", choices=("docker", "oci"), default="docker")


def load_archive(client: HyperClient, archive: str, name: str | None) -> Image:
    """Import a file, or standard input for ``-``, telling how far it is.

    :raises OSError: when it cannot be read.
    """
    with progress() as told:
        if archive == "-":
            chunks = _chunks(sys.stdin.buffer, "standard input", 0, told)
            return client.import_image(name or "stdin", chunks)
        path = Path(archive)
        with path.open("rb") as file:
            chunks = _chunks(file, path.name, path.stat().st_size, told)
            return client.import_image(name or name_of(path), chunks)


def name_of(path: Path) -> str:
    """Return the name of an image loaded from *path* without a name given."""
    name = path.name
    for ending in (".gz", ".zst", ".tgz", ".tar", ".oci"):
        name = name.removesuffix(ending)
    return name or "image"


def pull_image(client: HyperClient, ref: str, username: str | None, password: str | None) -> Image:
    """Pull an image, telling how far it is."""
    with progress() as told:
        image, _ = pulling.pull(client, ref, lambda event: _tell(event, told), username, password)
    return image


def _tell(event: dict[str, Any], told: Progress) -> None:
    if event.get("event") != "layer":
        return
    label = output.short(str(event["digest"]))
    state, size = event["state"], int(event["size"])
    done = int(event.get("received", 0)) if state == "downloading" else size
    told.update(label, done, size, _DONE.get(state, "" if state == "downloading" else state))


def _chunks(file: BinaryIO, label: str, total: int, told: Progress) -> Iterator[bytes]:
    done = 0
    while chunk := file.read(_CHUNK):
        yield chunk
        done += len(chunk)
        told.update(label, done, total)


def _load(client: HyperClient, args: argparse.Namespace) -> int:
    return shown(load_archive(client, args.archive, args.name), args)


def _pull(client: HyperClient, args: argparse.Namespace) -> int:
    password = None
    if args.password_stdin:
        if not args.username:
            args.misused("--password-stdin needs --username")
        password = sys.stdin.readline().rstrip("\r\n")
    elif args.username:
        password = getpass.getpass(f"Password of {args.username}: ")
    return shown(pull_image(client, args.reference, args.username, password), args)


def shown(image: Image, args: argparse.Namespace) -> int:
    """Print an image that was made: in a table its id alone."""
    if args.output == "table":
        print(image.id)
    else:
        output.show(codec.encode(image), args.output)
    return 0


def _save(client: HyperClient, args: argparse.Namespace) -> int:
    if args.archive == "-":
        if sys.stdout.isatty():
            raise InvalidRequest(
                "an archive is nothing for a terminal; redirect it or name a file"
            )
        _write(client, args, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return 0
    # Under its name there is a whole archive or none.
    path = Path(args.archive)
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            _write(client, args, file)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    return 0


def _write(client: HyperClient, args: argparse.Namespace, file: BinaryIO) -> None:
    done = 0
    with client.save_image(args.image, args.format) as body, progress() as told:
        for data in body:
            file.write(data)
            done += len(data)
            told.update(args.image, done, 0)
