"""Messages between hyperd and the process that converts images, over a unix socket.

A message is its length and one JSON object; hyperd's may carry open files.
The other side is not trusted: what it sends is bounded in size and time.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any

_HEADER = struct.Struct(">I")
_MAX_FILES = 3


class WireError(Exception):
    """The peer sent something that is no message, or nothing whole in time."""


class Ended(WireError):
    """The peer closed its end."""


def send(sock: socket.socket, message: dict[str, Any], files: tuple[int, ...] = ()) -> None:
    """Send *message*, and the open *files* with it.

    :raises OSError: when the peer is gone, or does not take it.
    """
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    # JSON may name half a character, and Python keeps it.
    data = text.encode("utf-8", "surrogatepass")
    whole = _HEADER.pack(len(data)) + data
    sent = socket.send_fds(sock, [whole], files) if files else 0
    if sent < len(whole):
        sock.sendall(whole[sent:])


def receive(sock: socket.socket, limit: int, timeout: float) -> dict[str, Any]:
    """Return the next message, of at most *limit* bytes; files that come with it are dropped.

    :param timeout: seconds until the whole of it must be there.
    :raises Ended: when the peer closed its end before.
    :raises WireError: for anything else that is not a message.
    """
    deadline = time.monotonic() + timeout
    (size,) = _HEADER.unpack(_exactly(sock, _HEADER.size, deadline))
    if size > limit:
        raise WireError(f"a message of {size} bytes")
    return _object(_exactly(sock, size, deadline))


def receive_with_files(sock: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Return the next message of hyperd, who is trusted, and the files that came with it.

    :raises Ended: when hyperd closed its end.
    """
    data, files, _, _ = socket.recv_fds(sock, _HEADER.size, _MAX_FILES)
    if not data:
        raise Ended
    data += _exactly(sock, _HEADER.size - len(data), None)
    return _object(_exactly(sock, _HEADER.unpack(data)[0], None)), files


def _exactly(sock: socket.socket, size: int, deadline: float | None) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        if deadline is not None:
            sock.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            part = sock.recv(min(size - len(parts), 1 << 16))
        except TimeoutError:
            raise WireError("a message that does not end") from None
        except ConnectionError:
            raise Ended from None
        if not part:
            raise Ended
        parts += part
    return bytes(parts)


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise WireError("a message that is not JSON") from None
    if not isinstance(value, dict):
        raise WireError("a message that is not an object")
    return value
