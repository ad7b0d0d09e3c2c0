"""Gives containers what a pod's creator has for them: files, keys and a password."""

from __future__ import annotations

import base64
import binascii
import contextlib
import io
import posixpath
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

from nova_hyper.daemon.pods import mounts
from nova_hyper.daemon.ports import GuestSession, GuestStream
from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import GuestFailed, InvalidRequest
from nova_hyper.spec.pod import PodSpec
from nova_hyper.spec.setup import InjectedFile, Setup, SetupDone

Ask = Callable[..., dict[str, Any]]
"""Asks the agent: operation and arguments."""

_ANSWER_S = 30.0
_MAX_PATH = 4095
_PARTS = 255
_CHUNK = 32 * 1024
# The pod makes these itself, and mounts its own over whatever the image has.
_OF_POD = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf")


def check(spec: PodSpec, setup: Setup) -> None:
    """Refuse files that cannot be where they are wanted.

    :raises InvalidRequest: naming the path.
    """
    for file in setup.files:
        _check_path(file.path)
        try:
            base64.b64decode(file.data, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidRequest(f"the content of {file.path} is not base64") from None
        if file.path in _OF_POD:
            raise InvalidRequest(f"{file.path} cannot be injected: the pod makes it itself")
        for container in spec.containers:
            for over in _mounted(spec, container):
                if file.path == over or file.path.startswith(f"{over}/"):
                    raise InvalidRequest(
                        f"{file.path} cannot be injected: container {container.name} has a "
                        f"volume or disk at {over}, which would hide it"
                    )


def _check_path(path: str) -> None:
    # No name of a file has a line feed but by mistake, and what reads logs is spared.
    if not path.startswith("/") or posixpath.normpath(path) != path or not path.isprintable():
        raise InvalidRequest(f"a file cannot be injected at {path!r}: give an absolute path")
    parts = [part.encode() for part in path.split("/")]
    if path == "/" or mounts.is_taken(path):
        raise InvalidRequest(f"a file cannot be injected at {path}")
    if len(path.encode()) > _MAX_PATH or max(map(len, parts)) > _PARTS:
        raise InvalidRequest(f"a file cannot be injected at a path as long as {path[:64]}...")


def _mounted(spec: PodSpec, container: Container) -> Iterator[str]:
    yield from (mount.path for mount in container.mounts)
    yield from (disk.path for disk in spec.ephemerals)


def give(session: GuestSession, ask: Ask, spec: PodSpec, setup: Setup) -> SetupDone:
    """Have the agent do what *setup* says; may be repeated.

    It is all on the pod's disk afterwards.

    :raises HyperError: what the agent refused, or that it does not answer.
    """
    keys = password = False
    for container in spec.containers:
        if setup.files:
            _send(session, container.name, archive(setup.files))
        answer = ask(
            "account.set",
            name=container.name,
            user=setup.user,
            keys=list(setup.keys),
            password=setup.password,
        )
        keys = keys or answer.get("keys") is True
        password = password or answer.get("password") is True
    return SetupDone(keys, password)


def archive(files: tuple[InjectedFile, ...]) -> bytes:
    """Return *files* as a tar; of two at one path the last one stays."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for file in files:
            data = base64.b64decode(file.data)
            entry = tarfile.TarInfo(file.path.lstrip("/"))
            entry.size = len(data)
            entry.mode = file.mode
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def _send(session: GuestSession, container: str, data: bytes) -> None:
    stream = session.open_stream("archive.put", _ANSWER_S, name=container, path="/")
    with contextlib.closing(stream):
        try:
            for start in range(0, len(data), _CHUNK):
                stream.write(data[start : start + _CHUNK], _ANSWER_S)
            stream.end_input()
            _drain(stream)
        except TimeoutError:
            raise GuestFailed(
                f"container {container}: the guest did not take the files in {_ANSWER_S:g} s"
            ) from None
    if stream.error:
        raise InvalidRequest(f"container {container}: {stream.error}")


def _drain(stream: GuestStream) -> None:
    while stream.read(_ANSWER_S) is not None:
        pass


def merged(before: Setup, after: Setup) -> Setup:
    """Return what *before* and then *after* give together, where they are of the same user."""
    same = before.user == after.user
    latest = {file.path: file for file in before.files + after.files}
    return Setup(
        files=tuple(latest.values()),
        user=after.user,
        keys=tuple(dict.fromkeys((before.keys if same else ()) + after.keys)),
        password=after.password or (before.password if same else ""),
    )
