"""The body of an answer that lasts, as it comes."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from typing import IO

from nova_hyper.spec.errors import DaemonUnavailable, from_wire

ERROR_TRAILER = "Hyper-Error"
_PIECE = 64 * 1024
_MAX_LINE = 1 << 20


class Body:
    """Bytes of an answer in chunks: iterate, or :meth:`read`; then :meth:`close`.

    Both raise the :class:`~nova_hyper.spec.errors.HyperError` that made the
    answer fail in its middle, and DaemonUnavailable where it is cut.

    :param file: stands behind the headers of the answer (RFC 9112, section 7.1).
    :param release: closes the connection, and *file*.
    """

    def __init__(self, file: IO[bytes], release: Callable[[], None]) -> None:
        self._file = file
        self._release = release
        self._left = 0
        self._between = False
        self._ended = False

    def __enter__(self) -> Body:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        while data := self.read(_PIECE):
            yield data

    def read(self, size: int = _PIECE) -> bytes:
        """Return some bytes, at most *size*, and none at the end only."""
        if self._ended:
            return b""
        try:
            if not self._left and not self._next_chunk():
                self._ended = True
                return b""
            data = self._file.read1(min(size, self._left))  # type: ignore[attr-defined]
        except (OSError, ValueError, http.client.HTTPException) as exc:
            raise _cut() from exc
        if not data:
            raise _cut()
        self._left -= len(data)
        return bytes(data)

    def readline(self) -> bytes:
        """Return bytes to the next line feed, or to the end; none at the end only.

        A line of more than a MiB comes in parts.
        """
        line = b""
        while not line.endswith(b"\n") and len(line) < _MAX_LINE:
            try:
                if self._ended or (not self._left and not self._next_chunk()):
                    self._ended = True
                    break
                data = self._file.readline(self._left)
            except (OSError, ValueError, http.client.HTTPException) as exc:
                raise _cut() from exc
            if not data:
                raise _cut()
            self._left -= len(data)
            line += data
        return line

    def close(self) -> None:
        """Hang up; idempotent."""
        self._ended = True
        self._release()

    def _next_chunk(self) -> bool:
        if self._between and self._file.readline(3) != b"\r\n":
            raise _cut()
        self._between = True
        self._left = int(self._file.readline(64).split(b";")[0], 16)
        if self._left < 0:
            raise _cut()
        if self._left:
            return True
        trailer = http.client.parse_headers(self._file).get(ERROR_TRAILER)
        if trailer is not None:
            raise from_wire(json.loads(trailer))
        return False


def _cut() -> DaemonUnavailable:
    return DaemonUnavailable("hyperd went away in the middle of its answer; see its log")
