"""``hyperctl cp``."""

from __future__ import annotations

import argparse
import errno
import os
import stat
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from nova_hyper.client import HyperClient
from nova_hyper.cmd.ctl import output, untar, verbs
from nova_hyper.spec.errors import HyperError, InvalidRequest

_PIECE = 1 << 18
_BLOCK = 512


def add(parser: verbs.Verbs[argparse.ArgumentParser]) -> None:
    """Add the verb to the parser."""
    command = verbs.add(
        parser,
        "cp",
        "copy files between a container and here",
        _copy,
        description="Copy a file or a directory out of a container or into one; POD:PATH is in a "
        "container, - is a tar archive on standard output or input. A directory that exists at "
        "the other side gets the copy inside it, as with cp. Here the copy belongs to whoever "
        "runs hyperctl, and links that lead outside of what is copied are left out; there it "
        "belongs to root.",
        examples=(
            "hyperctl cp web:/etc/nginx/nginx.conf .",
            "hyperctl cp -c php ./site web:/srv/",
            "hyperctl cp web:/var/log - | tar tv",
            "tar c site | hyperctl cp - web:/srv",
        ),
    )
    verbs.add_container(command)
    command.add_argument("source", help="POD:PATH, a path here, or -")
    command.add_argument("target", help="POD:PATH, a path here, or -")


def _copy(client: HyperClient, args: argparse.Namespace) -> int:
    source, target = _place(args.source), _place(args.target)
    if (source is None) == (target is None):
        raise InvalidRequest("one of the two, and only one, must be POD:PATH")
    if source is not None:
        return _out(client, *source, args.container, args.target)
    assert target is not None
    return _in(client, args.source, *target, args.container)


def _place(text: str) -> tuple[str, str] | None:
    """Return pod and path, None for a place here: ``./a:b`` is one, too."""
    pod, colon, path = text.partition(":")
    if not colon or not pod or "/" in pod or pod == ".":
        return None
    return pod, path if path.startswith("/") else f"/{path}"


def _out(client: HyperClient, pod: str, path: str, container: str | None, target: str) -> int:
    left_out: list[str] = []

    def tell(text: str) -> None:
        left_out.append(text)
        output.progress(f"hyperctl: {text}")

    body = client.read_archive(pod, path, container)
    try:
        if target == "-":
            while data := body.read(_PIECE):
                sys.stdout.buffer.write(data)
            sys.stdout.flush()
            return 0
        place = Path(target)
        if target.endswith("/") and not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "there is no such directory", target)
        with tarfile.open(fileobj=cast(Any, body), mode="r|") as tar:
            untar.extract(tar, place, _name(path), tell)
        # What failed in the middle is told at the very end.
        while body.read(_PIECE):
            pass
    except tarfile.TarError as exc:
        raise HyperError(f"what the guest sent is no tar archive: {exc}") from exc
    finally:
        body.close()
    return 1 if left_out else 0


def _name(path: str) -> str:
    """Return what a copy of *path* is called, nothing where its content alone is meant."""
    name = os.path.basename(path.rstrip("/"))
    return "" if name in (".", "..") else name


def _in(client: HyperClient, source: str, pod: str, path: str, container: str | None) -> int:
    if source == "-":
        client.write_archive(pod, path, _chunks(), container)
        return 0
    here = Path(os.path.abspath(source))
    here.lstat()
    if _is_directory(client, pod, path, container):
        directory, name = path, here.name
    elif path.endswith("/"):
        raise InvalidRequest(f"there is no directory {path} in pod {pod}")
    else:
        directory, name = os.path.split(path)
    client.write_archive(pod, directory, archive(here, name), container)
    return 0


def _is_directory(client: HyperClient, pod: str, path: str, container: str | None) -> bool:
    """Return whether *path* is a directory in a container; False also where there is nothing."""
    try:
        body = client.read_archive(pod, f"{path.rstrip('/') or ''}/.", container)
    except InvalidRequest:
        return False
    try:
        with tarfile.open(fileobj=cast(Any, body), mode="r|") as tar:
            first = tar.next()
            return first is not None and first.isdir()
    except (InvalidRequest, tarfile.TarError):
        return False
    finally:
        body.close()


def _chunks() -> Iterator[bytes]:
    while data := os.read(sys.stdin.fileno(), _PIECE):
        yield data


def archive(path: Path, name: str) -> Iterator[bytes]:
    """Yield a tar (pax) of *path*, called *name* in it, all of root; links are not followed.

    Sockets are left out, as everywhere.

    :raises OSError: when something cannot be read.
    """
    with tarfile.open(os.devnull, "w", format=tarfile.PAX_FORMAT) as tar:
        yield from _members(tar, path, name)
    yield bytes(2 * _BLOCK)


def _members(tar: tarfile.TarFile, path: Path, name: str) -> Iterator[bytes]:
    status = path.lstat()
    if stat.S_ISSOCK(status.st_mode):
        return
    info = tar.gettarinfo(str(path), name)
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    # The other names of a file are files of their own: not all of them may be copied.
    if info.islnk():
        info.type, info.linkname, info.size = tarfile.REGTYPE, "", status.st_size
    yield info.tobuf(tarfile.PAX_FORMAT)
    if info.isreg():
        yield from _content(path, info.size)
    elif info.isdir():
        for entry in sorted(path.iterdir()):
            yield from _members(tar, entry, f"{name}/{entry.name}")


def _content(path: Path, size: int) -> Iterator[bytes]:
    """Yield exactly *size* bytes of a file, which may change meanwhile, and the padding."""
    left = size
    with path.open("rb") as file:
        while left and (data := file.read(min(_PIECE, left))):
            left -= len(data)
            yield data
    while left:
        zeros = min(_PIECE, left)
        left -= zeros
        yield bytes(zeros)
    if size % _BLOCK:
        yield bytes(_BLOCK - size % _BLOCK)
