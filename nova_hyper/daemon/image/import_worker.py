"""hyperd's side of the confined process that reads archives; see :mod:`.worker`.

What that process says is as hostile as the archives: every message is bounded,
checked and expected, and the process is killed when one is not.
"""

from __future__ import annotations

import dataclasses
import fcntl
import functools
import json
import logging
import os
import pwd
import select
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import zstandard

import nova_hyper
from nova_hyper.daemon.image import wire
from nova_hyper.daemon.image.compression import Read
from nova_hyper.daemon.image.confine import Confinement
from nova_hyper.daemon.image.digest import is_digest
from nova_hyper.daemon.image.limits import Limits
from nova_hyper.spec import codec
from nova_hyper.spec.errors import HyperError, ImageInvalid, ImageUnsuitable

LOG = logging.getLogger(__name__)

_CHUNK = 1 << 18
_PIPE = 1 << 20
_SMALL = 1 << 16
_MAX_ANSWER = 16 << 20
_MAX_MESSAGE = 1000
_START_S = 60.0
_END_S = 10.0
_ASKS_PER_MEMBER = 4
_MAX_DROPPED = 100
REFUSED = "the image is refused: the program that reads it failed on it"
_REFUSALS = {cls.code: cls for cls in (ImageInvalid, ImageUnsuitable)}
_START = (
    "import sys; sys.path[1:1] = sys.argv.pop(1).split(':'); "
    "from nova_hyper.daemon.image.worker import main; main()"
)


@dataclasses.dataclass(frozen=True)
class WorkerSettings:
    """How imports are confined; options of group ``[image]`` of hyperd.

    :param stall_s: seconds that the process may neither take bytes nor say anything.
    """

    user: str = "hyper-import"
    memory_mib: int = 1536
    cpu_s: int = 3600
    stall_s: float = 120.0


@dataclasses.dataclass(frozen=True)
class LayerReport:
    """What a layer turned out to be, as the worker says; see :class:`..layer.ConvertedLayer`.

    ``implied`` and ``opaque`` are as in :class:`..layer_store.LayerFacts`.
    """

    diff_id: str
    blob: str
    tar_size: int
    size: int
    unpacked_size: int
    entries: int
    implied: bool
    opaque: bool
    dropped_xattrs: tuple[str, ...] = ()


class Intake(Protocol):
    """What a worker may ask for while it serves one order."""

    def known(self, digest: str, compressed: bool) -> str:
        """Return the diff ID of a layer that is here already, or nothing."""

    def files(self) -> tuple[int, int, int]:
        """Return new files for a layer: for its squashfs, its recipe and its skeleton."""

    def layer(self, report: LayerReport, compression: str, what: str) -> None:
        """Take the layer in whose files were given last.

        :raises ImageInvalid: when the files are not what *report* says.
        """


class ImportWorker:
    """One confined process; used by one thread at a time, and ended by :meth:`close`.

    :param root: an empty directory.
    :raises HyperError: when the process does not start.
    """

    def __init__(self, settings: WorkerSettings, root: Path, limits: Limits) -> None:
        self._settings = settings
        self._limits = limits
        uid, gid = _owner(settings.user)
        confinement = Confinement(
            uid=uid,
            gid=gid,
            root=str(root),
            memory_mib=settings.memory_mib,
            cpu_s=settings.cpu_s,
            file_bytes=limits.raw,
        )
        self._socket, theirs = socket.socketpair()
        with theirs:
            paths = {str(Path(m.__file__ or "").parents[1]) for m in (nova_hyper, zstandard)}
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", "-c", _START, ":".join(sorted(paths))),
                    *(json.dumps(dataclasses.asdict(confinement)), str(theirs.fileno())),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                cwd="/",
                # One heap: one for each thread would only reserve address space.
                env={"MALLOC_ARENA_MAX": "1", "LC_ALL": "C.UTF-8"},
                start_new_session=True,
            )
        try:
            lost = wire.receive(self._socket, _SMALL, _START_S).get("lost")
            _warn(tuple(one_line(str(each)) for each in lost) if isinstance(lost, list) else ())
        except wire.WireError as exc:
            self.close()
            raise HyperError(
                f"the import process does not start: {str(exc) or 'it ended'}"
            ) from None
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def close(self) -> None:
        """End the process, whatever it is at; idempotent."""
        self._socket.close()
        if self._process.poll() is None:
            self._process.kill()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S)

    def run(self, order: dict[str, Any], read: Read, limits: Limits, intake: Intake) -> Any:
        """Let the process do *order* with the bytes that *read* gives; return what it made.

        After any exception the process must not be used again.

        :raises ImageInvalid: when the bytes are no image, or ask more of the host than it gives.
        :raises ImageUnsuitable: when the process says so.
        :raises HyperError: when the process was killed.
        :raises OSError: when a file cannot be written; and what *read* and *intake* raise.
        """
        theirs, ours = os.pipe()
        feed = _Feed(ours, read)
        try:
            try:
                self._send({**order, "limits": dataclasses.asdict(limits)}, (theirs,))
            finally:
                os.close(theirs)
            return self._serve(feed, intake)
        except wire.WireError as exc:
            raise self._failure(exc) from None
        finally:
            feed.close()

    def _serve(self, feed: _Feed, intake: Intake) -> Any:
        asked = 0
        while True:
            self._wait(feed)
            if feed.ready:
                feed.advance()
                continue
            message = wire.receive(self._socket, _MAX_ANSWER, self._settings.stall_s)
            if "done" in message:
                return message["done"]
            if "failed" in message:
                raise self._refusal(message)
            asked += 1
            if asked > _ASKS_PER_MEMBER * self._limits.members:
                raise wire.WireError("more questions than an archive has members")
            self._answer(message, intake)

    def _wait(self, feed: _Feed) -> None:
        """Wait until the process says something, or takes bytes that there are."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        feed.ready = False
        feed.fill()
        if feed.pending:
            poll.register(feed.fd, select.POLLOUT)
        events = dict(poll.poll(self._settings.stall_s * 1000))
        if not events:
            raise _Stuck
        feed.ready = feed.fd in events and self._socket.fileno() not in events

    def _answer(self, message: dict[str, Any], intake: Intake) -> None:
        ask = message.get("ask")
        if ask == "known":
            digest = message.get("digest")
            if not isinstance(digest, str) or not is_digest(digest):
                raise wire.WireError("a question about no layer")
            diff_id = intake.known(digest, message.get("compressed") is True)
            self._send({"diff_id": diff_id})
        elif ask == "files":
            self._send({}, intake.files())
        elif ask == "layer":
            intake.layer(*_report(message))
            self._send({})
        else:
            raise wire.WireError("an unknown question")

    def _send(self, message: dict[str, Any], files: tuple[int, ...] = ()) -> None:
        self._socket.settimeout(self._settings.stall_s)
        try:
            wire.send(self._socket, message, files)
        except TimeoutError:
            raise _Stuck from None
        except ConnectionError:
            raise wire.Ended from None

    def _refusal(self, message: dict[str, Any]) -> Exception:
        code, text = message.get("failed"), message.get("message")
        words = one_line(text) if isinstance(text, str) else ""
        if code == "memory":
            return ImageInvalid(
                f"the image takes more than {self._settings.memory_mib} MiB of memory to import; "
                "give it fewer files, or raise [image] import_memory_mib of hyperd"
            )
        if code == "os" and isinstance(message.get("errno"), int):
            return OSError(message["errno"], words)
        if code == "internal":
            LOG.warning("The process of an import failed: %s", words)
            return ImageInvalid(REFUSED)
        cls = _REFUSALS.get(code) if isinstance(code, str) else None
        return cls(words) if cls and words else HyperError(words or "the import failed")

    def _failure(self, exc: wire.WireError) -> HyperError:
        """End the process and return what its end means for whoever sent the image."""
        if isinstance(exc, wire.Ended):
            # It is about to end by itself; its status says why.
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S)
        status = self._process.poll()
        self.close()
        if isinstance(exc, _Stuck):
            return ImageInvalid(
                f"the image is refused: its import made no progress for "
                f"{self._settings.stall_s:g} s"
            )
        if status == -signal.SIGXCPU:
            return ImageInvalid(
                f"the image takes more than {self._settings.cpu_s} s of processor time to "
                "import; raise [image] import_cpu_seconds of hyperd if that is intended"
            )
        if status == -signal.SIGKILL:
            return HyperError(
                "the import was killed, perhaps because this host has no memory left; try again "
                "when it has"
            )
        LOG.warning("The process of an import ended with status %s: %s", status, exc)
        return ImageInvalid(REFUSED)


class _Stuck(wire.WireError):
    """The process neither takes bytes nor says anything."""


class _Feed:
    """Moves bytes from where they come from into the pipe *fd*, a chunk at a time."""

    def __init__(self, fd: int, read: Read) -> None:
        os.set_blocking(fd, False)
        with suppress(OSError):  # beyond fs.pipe-user-pages-soft
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE)
        self.fd = fd
        self.ready = False
        self.pending = memoryview(b"")
        self._read = read

    def fill(self) -> None:
        """See that there is something to write, or end the pipe."""
        if self.fd < 0 or self.pending:
            return
        self.pending = memoryview(self._read(_CHUNK))
        if not self.pending:
            self.close()

    def advance(self) -> None:
        """Write what the pipe takes."""
        try:
            self.pending = self.pending[os.write(self.fd, self.pending) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            # It has read enough, and is about to say why.
            self.pending = memoryview(b"")
            self.close()

    def close(self) -> None:
        """End the pipe; idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def one_line(text: str) -> str:
    """Return what the process said as a sentence for the user: printable, and not too long."""
    return "".join(c if c.isprintable() else " " for c in text[:_MAX_MESSAGE]).strip()


def _report(message: dict[str, Any]) -> tuple[LayerReport, str, str]:
    try:
        report = codec.decode(LayerReport, message)
    except ValueError as exc:
        raise wire.WireError(f"no report of a layer: {str(exc)[:100]}") from None
    what, compression = message.get("what"), message.get("compression")
    sizes = (report.tar_size, report.size, report.unpacked_size, report.entries)
    if (
        not is_digest(report.diff_id)
        or not is_digest(report.blob)
        or min(sizes) < 0
        or len(report.dropped_xattrs) > _MAX_DROPPED
        or not isinstance(what, str)
        or not isinstance(compression, str)
    ):
        raise wire.WireError("no report of a layer")
    dropped = tuple(one_line(name) for name in report.dropped_xattrs)
    return dataclasses.replace(report, dropped_xattrs=dropped), compression, one_line(what)


@functools.cache
def _owner(user: str) -> tuple[int, int]:
    try:
        entry = pwd.getpwnam(user)
    except (KeyError, ValueError):
        if os.geteuid() == 0:
            LOG.warning(
                "There is no user %s ([image] import_user): images are imported as nobody; "
                "make it with useradd --system",
                user,
            )
        return Confinement.uid, Confinement.gid
    return entry.pw_uid, entry.pw_gid


@functools.cache
def _warn(lost: tuple[str, ...]) -> None:
    """Say once what this host lacks."""
    if lost:
        LOG.warning("Images are imported less confined than they should be: %s", "; ".join(lost))
