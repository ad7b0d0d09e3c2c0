"""Frames of the agent's protocol (doc/source/contributor/agent-protocol.rst, "Frames").

Pure: bytes in, values out.  The guest is hostile: a decoder never holds more
than one frame of the largest size beyond what it was fed.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import struct
from typing import Any

MAX_REQUEST = 256 * 1024
"""Bytes of the largest payload that the host sends."""
MAX_ANSWER = 64 * 1024
"""Bytes of the largest payload that the guest may send."""

MAX_DATA = 32 * 1024
"""Bytes of a stream in one frame, both ways."""
CHANNEL = 0x03
"""The bits of the flags of data that say the channel: 0 stdin or stdout, 1 stderr."""
END = 0x80
"""The flag of data after which nothing follows on its channel."""

_HEADER = struct.Struct(">2sBBII")
HEADER_SIZE = _HEADER.size
_MAGIC = b"HV"

RESYNC = bytes(MAX_REQUEST + HEADER_SIZE)
"""What completes any half request that another daemon has left in the agent."""


class FrameType(enum.IntEnum):
    REQUEST = 1
    RESPONSE = 2
    EVENT = 3
    DATA = 4
    WINDOW = 5


_WINDOW = struct.Struct(">I")
_MAX_PAYLOAD = {
    FrameType.RESPONSE: MAX_ANSWER,
    FrameType.EVENT: MAX_ANSWER,
    FrameType.DATA: MAX_DATA,
    FrameType.WINDOW: _WINDOW.size,
}


class FrameError(Exception):
    """The bytes are not a frame of the protocol; says why."""


@dataclasses.dataclass(frozen=True)
class Frame:
    """A frame from the guest; ``id`` is the request's or stream's, 0 for an event."""

    type: FrameType
    id: int
    payload: bytes
    flags: int = 0


def encode_request(request_id: int, body: dict[str, Any]) -> bytes:
    """Return the bytes of a request.

    :raises FrameError: when *body* is too large, or has text that is not Unicode.
    """
    try:
        payload = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise FrameError("the request contains text that is not valid Unicode") from None
    if len(payload) > MAX_REQUEST:
        raise FrameError(
            f"the request is {len(payload)} bytes, and the agent takes {MAX_REQUEST}; command, "
            "arguments and environment are too long"
        )
    return _HEADER.pack(_MAGIC, FrameType.REQUEST, 0, request_id, len(payload)) + payload


def encode_data(stream_id: int, channel: int, data: bytes, *, end: bool) -> bytes:
    """Return a frame of a stream with at most :data:`MAX_DATA` bytes; *end* for the last one."""
    flags = channel | (END if end else 0)
    return _HEADER.pack(_MAGIC, FrameType.DATA, flags, stream_id, len(data)) + data


def encode_window(stream_id: int, more: int) -> bytes:
    """Return a frame that lets the agent send *more* bytes on a stream."""
    header = _HEADER.pack(_MAGIC, FrameType.WINDOW, 0, stream_id, _WINDOW.size)
    return header + _WINDOW.pack(more)


def decode_window(payload: bytes) -> int:
    """Return the bytes that a window frame of the agent allows.

    :raises FrameError: when it is not one.
    """
    if len(payload) != _WINDOW.size:
        raise FrameError("a window is not a number")
    return int(_WINDOW.unpack(payload)[0])


def response_mark(request_id: int) -> bytes:
    """Return the bytes with which the response to a request begins."""
    return _HEADER.pack(_MAGIC, FrameType.RESPONSE, 0, request_id, 0)[:-4]


def decode_object(payload: bytes) -> dict[str, Any]:
    """Return the JSON object in *payload*.

    :raises FrameError: when it is anything else.
    """
    try:
        value = json.loads(payload.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError) as exc:
        raise FrameError(f"a payload is not JSON: {type(exc).__name__}") from None
    if not isinstance(value, dict):
        raise FrameError("a payload is not a JSON object")
    return value


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


class Decoder:
    """Cuts what the guest sends into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take bytes as they came."""
        self._buffer += data

    @property
    def buffered(self) -> int:
        """Bytes that are not part of a frame yet given."""
        return len(self._buffer)

    def next(self) -> Frame | None:
        """Return the next whole frame, None when more bytes are needed.

        :raises FrameError: for a wrong magic, type, flag or length; the stream
            cannot be used after that.
        """
        if len(self._buffer) < HEADER_SIZE:
            return None
        magic, kind, flags, frame_id, length = _HEADER.unpack_from(self._buffer)
        if magic != _MAGIC:
            raise FrameError("a frame does not begin with its magic")
        if kind not in _MAX_PAYLOAD or (flags != 0 and kind != FrameType.DATA):
            raise FrameError(f"a frame has type {kind} and flags {flags}")
        if length > _MAX_PAYLOAD[kind]:
            raise FrameError(f"a frame claims {length} bytes")
        end = HEADER_SIZE + length
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[HEADER_SIZE:end])
        del self._buffer[:end]
        return Frame(FrameType(kind), frame_id, payload, flags)

    def skip_to(self, mark: bytes) -> bool:
        """Discard everything before *mark*; True when it is there.

        What could be the beginning of *mark* is kept.
        """
        at = self._buffer.find(mark)
        if at >= 0:
            del self._buffer[:at]
            return True
        keep = min(len(self._buffer), len(mark) - 1)
        del self._buffer[: len(self._buffer) - keep]
        return False
