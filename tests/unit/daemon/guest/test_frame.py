from __future__ import annotations

import random
import struct

import pytest

from nova_hyper.daemon.guest import frame
from nova_hyper.daemon.guest.frame import Decoder, Frame, FrameError, FrameType


def packed(kind: int = 2, number: int = 7, payload: bytes = b"{}", **over: object) -> bytes:
    fields = {"magic": b"HV", "flags": 0, "length": len(payload)} | over
    header = struct.pack(
        ">2sBBII", fields["magic"], kind, fields["flags"], number, fields["length"]
    )
    return header + payload


def drain(decoder: Decoder) -> list[Frame]:
    frames = []
    while (found := decoder.next()) is not None:
        frames.append(found)
    return frames


def test_a_request_is_a_header_and_json() -> None:
    data = frame.encode_request(0x01020304, {"op": "hello", "text": "ä"})
    assert data[:8] == b"HV\x01\x00\x01\x02\x03\x04"
    assert data[8:12] == struct.pack(">I", len(data) - 12)
    assert data[12:].decode() == '{"op":"hello","text":"ä"}'


def test_a_request_that_is_too_large_is_refused_with_its_size() -> None:
    with pytest.raises(FrameError, match=r"is 262160 bytes, and the agent takes 262144"):
        frame.encode_request(1, {"a": "x" * (256 * 1024 + 8)})


def test_text_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(FrameError, match="not valid Unicode"):
        frame.encode_request(1, {"a": "\udcff"})


@pytest.mark.parametrize("step", [1, 2, 5, 11, 12, 13, 1000])
def test_frames_are_found_however_the_bytes_are_cut(step: int) -> None:
    data = packed(payload=b'{"a":1}') + packed(3, 0, b"[]") + packed(payload=b"")
    decoder, frames = Decoder(), []
    for at in range(0, len(data), step):
        decoder.feed(data[at : at + step])
        frames += drain(decoder)
    assert [(f.type, f.id, f.payload) for f in frames] == [
        (FrameType.RESPONSE, 7, b'{"a":1}'),
        (FrameType.EVENT, 0, b"[]"),
        (FrameType.RESPONSE, 7, b""),
    ]
    assert decoder.buffered == 0


@pytest.mark.parametrize(
    "data",
    [
        packed(magic=b"XX"),
        packed(kind=1),
        packed(kind=0),
        packed(kind=6),
        packed(flags=1),
        packed(kind=4, length=frame.MAX_DATA + 1),
        packed(kind=5, length=5),
        packed(kind=5, flags=1, length=4),
        packed(length=frame.MAX_ANSWER + 1),
        packed(length=2**32 - 1),
        bytes(12),
    ],
)
def test_a_wrong_header_is_an_error_at_once(data: bytes) -> None:
    decoder = Decoder()
    decoder.feed(data[:12])
    with pytest.raises(FrameError):
        decoder.next()


def test_the_largest_answer_is_taken() -> None:
    decoder = Decoder()
    decoder.feed(packed(payload=bytes(frame.MAX_ANSWER)))
    found = decoder.next()
    assert found is not None
    assert len(found.payload) == frame.MAX_ANSWER


def test_random_bytes_give_frames_or_an_error_and_keep_little() -> None:
    source = random.Random(1)
    for _ in range(3000):
        decoder = Decoder()
        data = bytearray(source.randbytes(source.randrange(200)))
        if source.random() < 0.7:
            data[0:0] = packed(source.choice([2, 3]), 1, source.randbytes(source.randrange(50)))
        try:
            for byte in data:
                decoder.feed(bytes([byte]))
                drain(decoder)
        except FrameError:
            continue
        assert decoder.buffered <= frame.HEADER_SIZE + frame.MAX_ANSWER


def test_what_comes_before_the_mark_is_discarded() -> None:
    decoder = Decoder()
    mark = frame.response_mark(7)
    decoder.feed(b"HV\x02garbage" * 1000 + packed()[:5])
    assert not decoder.skip_to(mark)
    assert decoder.buffered < len(mark)
    decoder.feed(packed()[5:])
    assert decoder.skip_to(mark)
    assert drain(decoder) == [Frame(FrameType.RESPONSE, 7, b"{}")]


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"7", b"null", b'{"a":NaN}', b'{"a":Infinity}', b"\xff", b"[" * 60000, b"{" * 9],
)
def test_a_payload_that_is_no_json_object_is_an_error(payload: bytes) -> None:
    with pytest.raises(FrameError):
        frame.decode_object(payload)


def test_a_huge_number_is_an_error_and_not_a_long_computation() -> None:
    with pytest.raises(FrameError):
        frame.decode_object(b'{"a":' + b"9" * 60000 + b"}")


def test_the_resynchronisation_covers_the_largest_request() -> None:
    largest = frame.HEADER_SIZE + frame.MAX_REQUEST
    assert bytes(largest) == frame.RESYNC
