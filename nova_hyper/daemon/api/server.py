"""The HTTP server on a unix socket."""

from __future__ import annotations

import contextlib
import errno
import grp
import logging
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import cheroot.server
from cheroot import wsgi

from nova_hyper.daemon.api.connection import TAKE, Connection, Upload

LOG = logging.getLogger(__name__)

_MODE_GROUP = 0o660
_MODE_OWNER = 0o600
_BACKLOG = 128
# A client may pause in the middle of an archive: Glance reads it from somewhere, too.
_SILENCE_S = 120
_MAX_HEADERS = 64 * 1024
_FINISH_S = 5


class Server:
    """Serves *app* on *path*, mode 0660 for *group*, in *threads* threads.

    The socket is made in a file of another name and moved into place with its
    mode and group, so that nobody else can connect in between, and so that a
    client sees either no socket or one that answers.
    """

    def __init__(self, app: Any, path: Path, group: str, threads: int) -> None:
        self._path = path
        self._group = group
        self._server = _UnixServer(
            str(path),
            app,
            numthreads=threads,
            request_queue_size=_BACKLOG,
            timeout=_SILENCE_S,
            shutdown_timeout=_FINISH_S,
        )
        self._server.gateway = _Gateway
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen, and serve in a thread of its own.

        :raises OSError: when the socket cannot be made, or another server has it.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._server.listening = _listen(self._path, self._group)
        self._server.prepare()
        self._thread = threading.Thread(target=self._server.serve, name="api", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Remove the socket and stop serving; does not wait long for calls under way."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        # It waits for every call, and one may wait for a day of grace; what a call that is cut
        # leaves is put right at the next start.
        stopping = threading.Thread(target=self._server.stop, name="api-stop", daemon=True)
        stopping.start()
        stopping.join(timeout=2 * _FINISH_S)
        if stopping.is_alive():
            LOG.warning("calls under way are cut; the next start puts right what they leave")
        if self._thread is not None:
            self._thread.join(timeout=_FINISH_S)


class _Connection(cheroot.server.HTTPConnection):
    _taken = False

    def take(self) -> None:
        """Leave the socket open when the worker thread has done with it."""
        self._taken = True

    def close(self) -> None:
        if not self._taken:
            super().close()

    def release(self) -> None:
        """Close the socket that was taken."""
        super().close()

    RequestHandlerClass = type(
        "OneRequest",
        (cheroot.server.HTTPRequest,),
        # Otherwise cheroot reads the rest of a refused archive, into memory, for the sake of a
        # next request; a connection costs a tenth of a millisecond.
        {"close_connection": True},
    )


class _Gateway(wsgi.Gateway_10):
    """WSGI with a way for the application to take the connection and to answer by itself."""

    def __init__(self, req: Any) -> None:
        super().__init__(req)
        protocol = self.env.get("HTTP_UPGRADE", "")
        self.env[TAKE] = lambda body: self._take(body, protocol)

    def _take(self, body: Upload, protocol: str) -> Connection:
        connection = self.req.conn
        # What is empty and has been sent is not sent by the server.
        self.req.sent_headers = True
        connection.take()
        return Connection(connection.socket, connection.rfile, body, protocol, connection.release)


class _UnixServer(wsgi.Server):
    """cheroot's server on a socket made by us: cheroot's own would be open to everyone."""

    version = "hyperd"
    max_request_header_size = _MAX_HEADERS
    ConnectionClass = _Connection
    listening: socket.socket

    def bind_unix_socket(self, _bind_addr: str) -> socket.socket:
        self.socket = self.listening
        return self.socket

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        error = sys.exception()
        if isinstance(error, OSError) or str(error).startswith("Bad chunked transfer"):
            # What a client sends wrong, or not at all, is no fault of the program.
            LOG.info("a client broke off its request: %s", error)
        else:
            LOG.log(level, "http: %s", msg, exc_info=traceback)


def _listen(path: Path, group: str) -> socket.socket:
    with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
            other.connect(str(path))
        raise OSError(errno.EADDRINUSE, "another server answers on this socket", str(path))
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        mask = os.umask(0o177)
        try:
            listening.bind(str(temporary))
        finally:
            os.umask(mask)
        _allow(temporary, path, group)
        listening.listen(_BACKLOG)
        os.replace(temporary, path)
    except BaseException:
        listening.close()
        raise
    return listening


def _allow(socket_file: Path, path: Path, group: str) -> None:
    try:
        gid = grp.getgrnam(group).gr_gid
    except KeyError:
        LOG.warning("there is no group %s, so only user %s may use %s", group, os.getuid(), path)
        socket_file.chmod(_MODE_OWNER)
    else:
        os.chown(socket_file, -1, gid)
        socket_file.chmod(_MODE_GROUP)
