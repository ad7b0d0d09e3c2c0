"""HTTP over hyperd's unix socket.

One connection per request: on a unix socket that costs a tenth of a
millisecond, and it is what makes a restarting daemon invisible.  A body is
either bytes, which can be sent again, or a stream, which cannot.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import io
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from typing import IO

from nova_hyper.spec.errors import DaemonUnavailable

_RETRY_SECONDS = 0.2
_ERROR_STATUS = 400
# How long hyperd may still convert what it has received, after the last byte of a stream.
_STREAM_ANSWER_SECONDS = 1800.0


class UnixConnection(http.client.HTTPConnection):
    """An HTTP connection whose peer is a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("hyperd", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket; called by :mod:`http.client` too."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.timeout)
            sock.connect(self._path)
        except BaseException:
            sock.close()
            raise
        self.sock = sock


@dataclasses.dataclass(frozen=True)
class Response:
    """``retried`` tells that an earlier try was cut and may have been carried out."""

    status: int
    body: bytes
    retried: bool = False


@dataclasses.dataclass(frozen=True)
class Opened:
    """An answer that lasts: *file* stands behind its headers, *release* closes it all."""

    status: int
    sock: socket.socket
    file: IO[bytes]
    release: Callable[[], None]


class _Cut(Exception):
    """The daemon closed the connection without a whole answer."""


class Transport:
    """Requests to one daemon.

    :param path: of the unix socket.
    :param request_timeout: seconds that the daemon has for one answer.
    :param connect_timeout: seconds to wait for a daemon that is restarting.
    """

    def __init__(self, path: str, request_timeout: float, connect_timeout: float) -> None:
        self.path = path
        self._request_timeout = request_timeout
        self._connect_timeout = connect_timeout

    def request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        content_type: str = "application/json",
        extra_seconds: float = 0.0,
    ) -> Response:
        """Send a request and return the answer, whatever its status.

        Every request of the API is idempotent, so one that was cut is sent
        again, once.  *extra_seconds* come on top of the request timeout.

        :raises DaemonUnavailable: when there is no connection in time, or no answer.
        """
        for retried in (False, True):
            connection = self._connect(self._request_timeout + extra_seconds)
            headers = {"Content-Type": content_type} if body is not None else {}
            try:
                # A daemon may answer before it has read everything: read what it said.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    connection.request(method, target, body=body, headers=headers)
                response = self._answer(connection)
                return dataclasses.replace(response, retried=retried)
            except TimeoutError as exc:
                raise self._too_slow() from exc
            except _Cut as exc:
                if retried:
                    raise DaemonUnavailable(
                        f"hyperd closed the connection to {self.path} twice ({exc}); see its log"
                    ) from exc
                # A daemon that is killed closes what it has open in no order: its own socket may
                # still take a connection, which nobody would answer.
                time.sleep(_RETRY_SECONDS)
            finally:
                connection.close()
        raise AssertionError("unreachable")

    def stream(
        self, method: str, target: str, chunks: Iterable[bytes], content_type: str
    ) -> Response:
        """Send *chunks* as they come and return the answer.

        What *chunks* raises is passed on as it is; the daemon then sees a
        request that was cut.  A daemon that answers early (it refuses what it
        has seen so far) ends the sending.

        :raises DaemonUnavailable: as for :meth:`request`; a stream is not sent twice.
        """
        connection = self._connect(self._request_timeout)
        try:
            connection.putrequest(method, target)
            connection.putheader("Content-Type", content_type)
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders()
            if self._send_chunks(connection, chunks) and connection.sock is not None:
                connection.sock.settimeout(_STREAM_ANSWER_SECONDS)
            return self._answer(connection)
        except _Cut as exc:
            raise DaemonUnavailable(
                f"hyperd went away while it received data ({exc}); see its log"
            ) from exc
        finally:
            connection.close()

    def open(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        extra_seconds: float = 0.0,
    ) -> Opened:
        """Send a request whose answer lasts, and return once its headers are there.

        *extra_seconds* come on top of the request timeout.

        :raises DaemonUnavailable: as for :meth:`request`; it is not sent twice.
        """
        connection = self._connect(self._request_timeout + extra_seconds)
        sock = connection.sock
        try:
            sent = {"Content-Type": "application/json"} if body is not None else {}
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, body=body, headers={**sent, **(headers or {})})
            response = connection.getresponse()
            if response.status >= _ERROR_STATUS:
                return Opened(response.status, sock, io.BytesIO(response.read()), connection.close)
            # From now on silence is no error: the pod may have nothing to say.
            sock.settimeout(None)
        except TimeoutError as exc:
            connection.close()
            raise self._too_slow() from exc
        except (http.client.HTTPException, OSError) as exc:
            connection.close()
            raise DaemonUnavailable(
                f"hyperd closed the connection to {self.path} ({exc}); see its log"
            ) from exc
        except BaseException:
            connection.close()
            raise

        def release() -> None:
            response.close()
            connection.close()

        return Opened(response.status, sock, response.fp, release)

    def _send_chunks(self, connection: UnixConnection, chunks: Iterable[bytes]) -> bool:
        """Return False when the daemon stopped reading."""
        for chunk in chunks:
            # An empty chunk would end the body.
            if chunk and not self._send(connection, b"%x\r\n%b\r\n" % (len(chunk), chunk)):
                return False
        return self._send(connection, b"0\r\n\r\n")

    def _send(self, connection: UnixConnection, data: bytes) -> bool:
        try:
            connection.send(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        except TimeoutError as exc:
            raise self._too_slow() from exc
        return True

    def _connect(self, timeout: float) -> UnixConnection:
        deadline = time.monotonic() + self._connect_timeout
        while True:
            connection = UnixConnection(self.path, timeout)
            try:
                connection.connect()
            except PermissionError as exc:
                raise DaemonUnavailable(
                    f"this user may not use hyperd's socket {self.path}; add it to the group "
                    "that hyperd.conf names in [api] socket_group"
                ) from exc
            except OSError as exc:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise DaemonUnavailable(
                        f"hyperd does not answer on {self.path} ({exc.strerror or exc}); start it"
                    ) from exc
                time.sleep(min(_RETRY_SECONDS, left))
            else:
                return connection

    def _answer(self, connection: UnixConnection) -> Response:
        try:
            response = connection.getresponse()
            return Response(response.status, response.read())
        except TimeoutError as exc:
            raise self._too_slow() from exc
        except (http.client.HTTPException, OSError) as exc:
            raise _Cut(str(exc) or type(exc).__name__) from exc

    def _too_slow(self) -> DaemonUnavailable:
        return DaemonUnavailable(
            f"hyperd did not answer on {self.path} in {self._request_timeout:g} seconds; "
            "see its log"
        )
