"""A command in a container, or a container's own process, with its terminal's worth of bytes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import IO

from nova_hyper.spec.errors import DaemonUnavailable, HyperError, from_wire
from nova_hyper.spec.stream import (
    MAX_PAYLOAD,
    FrameKind,
    FrameReader,
    Terminal,
    pack,
    pack_resize,
    parse_json,
)

STDOUT = 1
STDERR = 2
_CHANNELS = {FrameKind.STDOUT: STDOUT, FrameKind.STDERR: STDERR}


class StreamSession:
    """Both directions of one ``exec`` or ``attach``; see ``spec.stream`` for the frames.

    One thread iterates while another one writes.  What is written after the end
    is dropped.

    :param file: stands behind the headers of the answer.
    :param release: closes the connection, and *file*.
    """

    def __init__(self, sock: socket.socket, file: IO[bytes], release: Callable[[], None]) -> None:
        self.exit_code: int | None = None
        """Known after the end, where there is one: ``attach`` may end without."""
        self._sock = sock
        self._release = release
        self._frames = FrameReader(file.read1)  # type: ignore[attr-defined]
        self._sending = threading.Lock()
        sock.settimeout(None)

    def __enter__(self) -> StreamSession:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Yield where to (:data:`STDOUT`, :data:`STDERR`) and what, until the end.

        :raises HyperError: the one that it ended with.
        :raises DaemonUnavailable: when the connection breaks.
        """
        while True:
            try:
                frame = self._frames.next()
            except (OSError, ValueError) as exc:
                raise _broken() from exc
            if frame is None:
                raise _broken()
            kind, payload = frame
            if kind in _CHANNELS:
                yield _CHANNELS[kind], payload
            elif kind is FrameKind.EXIT:
                code = parse_json(payload).get("exit_code")
                self.exit_code = code if isinstance(code, int) else None
                return
            elif kind is FrameKind.ERROR:
                raise from_wire(parse_json(payload))
            else:
                raise HyperError(f"hyperd sent {kind.name}, which is not for a client")

    def write(self, data: bytes) -> None:
        """Send *data* to the standard input; waits while the process reads nothing."""
        for begin in range(0, len(data), MAX_PAYLOAD):
            self._send(pack(FrameKind.STDIN, data[begin : begin + MAX_PAYLOAD]))

    def end_input(self) -> None:
        """End the standard input."""
        self._send(pack(FrameKind.END))

    def resize(self, terminal: Terminal) -> None:
        """Tell the terminal's new size."""
        self._send(pack_resize(terminal))

    def signal(self, name: str) -> None:
        """Send a signal (``SIGINT``) to the process."""
        self._send(pack(FrameKind.SIGNAL, name.encode("ascii")))

    def close(self) -> None:
        """Hang up, which ends a command that still runs; idempotent."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._release()

    def _send(self, frame: bytes) -> None:
        # Whoever reads is told why it ended.
        with self._sending, contextlib.suppress(OSError):
            self._sock.sendall(frame)


def _broken() -> DaemonUnavailable:
    return DaemonUnavailable("the connection to hyperd broke; what it ran in the pod has ended")
