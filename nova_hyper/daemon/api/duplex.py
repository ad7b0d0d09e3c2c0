"""A terminal's worth of bytes both ways, between a client and a process in a guest."""

from __future__ import annotations

import contextlib
import threading

from nova_hyper.daemon.api.connection import Connection
from nova_hyper.daemon.ports import GuestStream
from nova_hyper.spec.errors import GuestFailed, HyperError, InvalidRequest
from nova_hyper.spec.stream import (
    MAX_PAYLOAD,
    FrameKind,
    FrameReader,
    pack,
    pack_json,
    parse_resize,
)

LOOK_S = 1.0
"""Seconds after which a client that has hung up while nothing happened is noticed."""

_OUT = {0: FrameKind.STDOUT, 1: FrameKind.STDERR}


class Duplex:
    """Serves one ``exec`` or ``attach`` to its end, or to that of the client."""

    def __init__(self, connection: Connection, guest: GuestStream) -> None:
        self._connection = connection
        self._guest = guest
        self._failure: HyperError | None = None

    def serve(self) -> None:
        """Answer 101, and copy until one side ends; the guest's stream is closed then.

        :raises ClientGone: when the client has hung up.
        """
        receiver = threading.Thread(target=self._receive, name="stream-input", daemon=True)
        try:
            self._connection.upgrade()
            receiver.start()
            self._send_output()
            self._connection.send(self._last_frame())
        finally:
            # Each ends what the receiver may be waiting for.
            self._guest.close()
            self._connection.cut()
            if receiver.ident is not None:
                receiver.join()

    def _send_output(self) -> None:
        try:
            while (part := self._next()) is not None:
                channel, data = part
                for begin in range(0, len(data), MAX_PAYLOAD):
                    piece = data[begin : begin + MAX_PAYLOAD]
                    self._connection.send(pack(_OUT[channel], piece))
        except GuestFailed as exc:
            self._failure = self._failure or exc

    def _next(self) -> tuple[int, bytes] | None:
        while True:
            try:
                return self._guest.read(LOOK_S)
            except TimeoutError:
                if self._connection.gone():
                    return None

    def _last_frame(self) -> bytes:
        failure = self._failure
        if failure is None and self._guest.error is not None:
            failure = GuestFailed(self._guest.error)
        if failure is not None:
            return pack_json(FrameKind.ERROR, failure.to_wire())
        return pack_json(FrameKind.EXIT, {"exit_code": self._guest.exit_code})

    def _receive(self) -> None:
        """Take what the client sends until it hangs up, which ends the process in the guest."""
        frames = FrameReader(self._connection.receive)
        try:
            while (frame := frames.next()) is not None:
                self._take(*frame)
        except ValueError as exc:
            self._failure = InvalidRequest(f"the client does not keep to the protocol: {exc}")
        except HyperError as exc:
            self._failure = exc
        finally:
            self._guest.close()

    def _take(self, kind: FrameKind, payload: bytes) -> None:
        if kind is FrameKind.STDIN:
            self._guest.write(payload, None)
        elif kind is FrameKind.END:
            self._guest.end_input()
        elif kind is FrameKind.RESIZE:
            size = parse_resize(payload)
            self._guest.resize(size.rows, size.cols)
        elif kind is FrameKind.SIGNAL:
            self._guest.signal(payload.decode("ascii"))
        else:
            raise ValueError(f"{kind.name} is not for a client to send")


def read_out(connection: Connection, guest: GuestStream, content_type: str) -> None:
    """Send what a guest's stream gives as the body of an answer.

    :raises GuestFailed: when it fails, also in the middle of the body.
    :raises ClientGone: when the client has hung up.
    """
    with contextlib.closing(guest):
        connection.begin(content_type)
        while True:
            try:
                part = guest.read(LOOK_S)
            except TimeoutError:
                if connection.gone():
                    return
                continue
            if part is None:
                break
            connection.send(part[1])
        if guest.error is not None:
            raise GuestFailed(guest.error)
        connection.finish()


def write_in(connection: Connection, guest: GuestStream) -> None:
    """Write the body of a request into a guest's stream, to its end.

    :raises InvalidRequest: when the guest refuses what it got, or the client stops in the middle.
    """
    with contextlib.closing(guest):
        while data := connection.body.read(MAX_PAYLOAD):
            guest.write(data, None)
            if guest.error is not None:
                break
        guest.end_input()
        while True:
            try:
                if guest.read(LOOK_S) is None:
                    break
            except TimeoutError:
                if connection.gone():
                    return
        if guest.error is not None:
            raise InvalidRequest(guest.error)
