"""One connection to a console, joined to a terminal in a guest."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
import time
from collections.abc import Callable

from nova_hyper.daemon.ports import GuestStream
from nova_hyper.spec.errors import GuestFailed, HyperError

LOG = logging.getLogger(__name__)

_PIECE = 16 * 1024
_LOOK_S = 1.0
_FAREWELL_S = 2.0
# A peer that vanished is noticed after two minutes, one that takes nothing after five.
_KEEPALIVE_S, _PROBE_S, _PROBES = 60, 15, 4
_STUCK_MS = 300_000


class Bridge:
    """Copies bytes between a client and a terminal until one of them ends.

    No more is held than the windows of the guest's stream: a client that reads
    slowly slows down what writes to the terminal.
    """

    def __init__(self, sock: socket.socket, terminal: Callable[[], GuestStream]) -> None:
        """*terminal* opens the guest's side; a HyperError of it is told to the client."""
        self._sock = sock
        self._terminal = terminal
        self._said = ""

    def serve(self) -> None:
        """Serve the connection to its end, and close it."""
        try:
            with contextlib.suppress(OSError):  # the client has hung up
                self._endure()
                self._join()
        finally:
            self.cut()
            self._sock.close()

    def end(self, said: str) -> None:
        """Tell the client why, and hang up, from any thread; does not wait."""
        self._said = said
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD)  # the receiver ends, and so does the rest
        last = threading.Timer(_FAREWELL_S, self.cut)
        last.daemon = True
        try:
            last.start()
        except RuntimeError:  # no more threads
            self.cut()

    def cut(self) -> None:
        """Hang up at once, from any thread."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def _endure(self) -> None:
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (
            (socket.TCP_NODELAY, 1),
            (socket.TCP_KEEPIDLE, _KEEPALIVE_S),
            (socket.TCP_KEEPINTVL, _PROBE_S),
            (socket.TCP_KEEPCNT, _PROBES),
            (socket.TCP_USER_TIMEOUT, _STUCK_MS),
        ):
            self._sock.setsockopt(socket.IPPROTO_TCP, option, value)

    def _join(self) -> None:
        try:
            guest = self._terminal()
        except HyperError as exc:
            self._farewell(exc.message)
            self._drain()
            return
        receiver = threading.Thread(
            target=self._receive, args=(guest,), name="console-input", daemon=True
        )
        receiver.start()
        try:
            said = self._send_output(guest)
            guest.close()
            self._farewell(self._said or said)
            receiver.join(_FAREWELL_S)  # as long as the client has for hanging up itself
        finally:
            # Each ends what the receiver may be waiting for.
            guest.close()
            self.cut()
            receiver.join()

    def _send_output(self, guest: GuestStream) -> str:
        """Copy to the client; return what there is to say about the end."""
        try:
            while (part := self._next(guest)) is not None:
                self._sock.sendall(part[1])
        except GuestFailed as exc:
            return exc.message
        return guest.error or "this session has ended"

    def _next(self, guest: GuestStream) -> tuple[int, bytes] | None:
        while True:
            try:
                return guest.read(_LOOK_S)
            except TimeoutError:
                # The receiver may be waiting for the guest to take something.
                if self._gone():
                    raise ConnectionResetError from None

    def _gone(self) -> bool:
        poll = select.poll()
        poll.register(self._sock, select.POLLRDHUP)
        return bool(poll.poll(0))

    def _receive(self, guest: GuestStream) -> None:
        """Copy what the client types until it hangs up; then whatever it started ends."""
        try:
            while data := self._sock.recv(_PIECE):
                with contextlib.suppress(GuestFailed):  # the other thread tells
                    guest.write(data, None)
        except OSError as exc:
            LOG.debug("a connection to a console broke: %s", exc)
        finally:
            guest.close()

    def _farewell(self, said: str) -> None:
        self._sock.sendall(f"\r\n[{said}]\r\n".encode())
        self._sock.shutdown(socket.SHUT_WR)

    def _drain(self) -> None:
        """Take what comes until the client hangs up: with it unread, it may lose what it got."""
        deadline = time.monotonic() + _FAREWELL_S
        while (left := deadline - time.monotonic()) > 0:
            self._sock.settimeout(left)
            if not self._sock.recv(_PIECE):
                return
