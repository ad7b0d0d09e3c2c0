"""A client's connection that belongs to a call for as long as that takes."""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import socket
from collections.abc import Callable
from typing import Any, Protocol

from nova_hyper.spec import stream
from nova_hyper.spec.errors import HyperError, InvalidRequest

ERROR_TRAILER = "Hyper-Error"
"""The trailer of an answer in chunks that failed after it had begun: an error as JSON."""
TAKE = "hyper.take"
"""What of a request's environment gives the application the connection, for the body's reader."""

_MS = 1000


class ClientGone(Exception):
    """The client has hung up: nothing that is sent arrives."""


class Input(Protocol):
    """What the client sends."""

    def has_data(self) -> bool:
        """Return whether bytes have been read that nobody has taken yet."""

    def read1(self, size: int, /) -> bytes: ...


class Upload(Protocol):
    """The body of a request, as it comes."""

    def read(self, size: int, /) -> bytes: ...


class Connection:
    """Answers one request in the caller's own time.

    It is one of three: :meth:`answer` a whole body, :meth:`begin` a body in
    chunks that :meth:`finish` ends, or :meth:`upgrade` to bytes both ways.
    Sending waits for a client that reads slowly.  One thread sends, another one
    may receive, and any may :meth:`cut`.
    """

    def __init__(
        self,
        sock: socket.socket,
        received: Input,
        body: Upload,
        protocol: str,
        release: Callable[[], None],
    ) -> None:
        """Answer on *sock*; *release* closes it.

        *received* has what the server has read already, *body* is the request's,
        *protocol* its ``Upgrade`` header.
        """
        self._sock = sock
        self._received = received
        self.body = body
        self._protocol = protocol
        self._release = release
        self._begun = False
        self._chunked = False
        sock.settimeout(None)

    def require_upgrade(self) -> None:
        """Refuse a client that does not know what comes after an upgrade.

        :raises InvalidRequest: without the right header.
        """
        if self._protocol != stream.PROTOCOL:
            raise InvalidRequest(
                f"this operation needs the headers 'Connection: Upgrade' and "
                f"'Upgrade: {stream.PROTOCOL}'"
            )

    def upgrade(self) -> None:
        """Answer 101: from now on :meth:`send` and :meth:`receive` are as they are.

        :raises ClientGone: as all that sends.
        """
        self._head(101, f"Connection: Upgrade\r\nUpgrade: {stream.PROTOCOL}\r\n")

    def begin(self, content_type: str) -> None:
        """Answer 200; a body of chunks follows, each from one :meth:`send`."""
        self._head(
            200,
            f"Content-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n"
            f"Trailer: {ERROR_TRAILER}\r\nConnection: close\r\n",
        )
        self._chunked = True

    def answer(self, status: int, value: Any = None) -> None:
        """Answer with a whole body of plain JSON types, None is an empty one."""
        body = b"" if value is None else json.dumps(value).encode()
        self._head(
            status,
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n",
            body,
        )

    def fail(self, error: HyperError) -> None:
        """Answer with *error*, also in the middle of a body; after an upgrade just end."""
        if not self._begun:
            self.answer(error.status, error.to_wire())
        elif self._chunked:
            self._send(f"0\r\n{ERROR_TRAILER}: {json.dumps(error.to_wire())}\r\n\r\n".encode())

    def finish(self) -> None:
        """End a body of chunks: all of it has been sent."""
        self._send(b"0\r\n\r\n")

    def send(self, data: bytes) -> None:
        """Send *data*; none is not an end."""
        if data and self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self._send(data)

    def receive(self, size: int) -> bytes:
        """Return at most *size* bytes, none when the client has hung up."""
        if self._received.has_data():
            return self._received.read1(size)
        try:
            return self._sock.recv(size)
        except OSError:
            return b""

    def gone(self, wait_s: float = 0.0) -> bool:
        """Return whether the client has hung up, or does so in *wait_s* seconds."""
        poll = select.poll()
        poll.register(self._sock, 0)  # only what is told unasked: POLLHUP and POLLERR
        return bool(poll.poll(wait_s * _MS))

    def cut(self) -> None:
        """Hang up at once: whoever sends or receives is told so.  Idempotent."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the connection back; what has been sent still arrives."""
        self._release()

    def _head(self, status: int, headers: str, body: bytes = b"") -> None:
        self._begun = True
        reason = http.client.responses.get(status, "")
        self._send(f"HTTP/1.1 {status} {reason}\r\n{headers}\r\n".encode() + body)

    def _send(self, data: bytes) -> None:
        try:
            self._sock.sendall(data)
        except OSError as exc:
            raise ClientGone from exc
