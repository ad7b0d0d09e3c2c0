"""Frames of ``exec`` and ``attach``: what runs both ways after ``101 Switching Protocols``.

A frame is a header of 5 bytes, a type and the length of the payload (big-endian),
and the payload, at most 64 KiB.  The client sends ``STDIN``, ``RESIZE``,
``SIGNAL`` and ``END``; the daemon ``STDOUT``, ``STDERR`` and, last of all,
``EXIT`` or ``ERROR``.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import struct
from collections.abc import Callable
from typing import Any

PROTOCOL = "hyper-stream"
"""The name in the headers ``Upgrade``."""
MAX_PAYLOAD = 64 * 1024

_HEADER = struct.Struct(">BI")
_SIZE = struct.Struct(">HH")


class FrameKind(enum.IntEnum):
    """What a frame holds."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    RESIZE = 3
    """Rows and columns of the terminal, two bytes each, big-endian."""
    SIGNAL = 4
    """The name of a signal (``SIGINT``), ASCII."""
    END = 5
    """No payload: the standard input ends."""
    EXIT = 6
    """JSON, ``{"exit_code": 0}``; null where it is not known (``attach`` that was closed)."""
    ERROR = 7
    """JSON, an error as in every answer of the API."""


@dataclasses.dataclass(frozen=True)
class Terminal:
    """The size of a terminal."""

    rows: int
    cols: int


def pack(kind: FrameKind, payload: bytes = b"") -> bytes:
    """Return one frame.

    :raises ValueError: when *payload* is larger than :data:`MAX_PAYLOAD`.
    """
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"{len(payload)} bytes do not fit a frame")
    return _HEADER.pack(kind, len(payload)) + payload


def pack_json(kind: FrameKind, value: Any) -> bytes:
    """Return a frame of plain JSON types."""
    return pack(kind, json.dumps(value).encode())


def pack_resize(terminal: Terminal) -> bytes:
    """Return the frame that tells the terminal's size."""
    return pack(FrameKind.RESIZE, _SIZE.pack(terminal.rows, terminal.cols))


def parse_resize(payload: bytes) -> Terminal:
    """Return the size in a frame of kind ``RESIZE``.

    :raises ValueError: when it is none.
    """
    if len(payload) != _SIZE.size:
        raise ValueError("a resize is two numbers of two bytes each")
    rows, cols = _SIZE.unpack(payload)
    return Terminal(rows, cols)


def parse_json(payload: bytes) -> dict[str, Any]:
    """Return the object in a frame of kind ``EXIT`` or ``ERROR``.

    :raises ValueError: when it is none.
    """
    value = json.loads(payload)
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    return value


class FrameReader:
    """Frames out of a byte stream.

    :param receive: returns at most so many bytes, none at the end only.
    """

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        self._receive = receive

    def next(self) -> tuple[FrameKind, bytes] | None:
        """Return the next frame, None where the stream ends.

        :raises ValueError: for an unknown kind, one that is too large, or an end in its middle.
        :raises OSError: what *receive* raises.
        """
        head = self._exactly(_HEADER.size, optional=True)
        if not head:
            return None
        number, length = _HEADER.unpack(head)
        if length > MAX_PAYLOAD:
            raise ValueError(f"a frame of {length} bytes is larger than {MAX_PAYLOAD}")
        return FrameKind(number), self._exactly(length)

    def _exactly(self, size: int, optional: bool = False) -> bytes:
        data = b""
        while len(data) < size:
            part = self._receive(size - len(data))
            if not part:
                if optional and not data:
                    return b""
                raise ValueError("the stream ends in the middle of a frame")
            data += part
        return data
