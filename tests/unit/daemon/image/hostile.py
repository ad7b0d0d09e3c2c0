"""What attacks are made of: endless streams, and tar headers with any values in them."""

from __future__ import annotations

import struct

from tests.unit.daemon.image.archives import docker_archive

MIB = 1 << 20
END = bytes(1024)


class Endless:
    """A stream of what *parts* yields, which counts what was taken."""

    def __init__(self, parts):
        self._parts = iter(parts)
        self._rest = memoryview(b"")
        self.given = 0

    def read(self, size):
        if not self._rest:
            # Many small parts at once, for speed.
            gathered = bytearray()
            while len(gathered) < size and (part := next(self._parts, b"")):
                gathered += part
            self._rest = memoryview(gathered)
        data, self._rest = self._rest[:size], self._rest[size:]
        self.given += len(data)
        return bytes(data)


def header(name=b"f", size=0, kind=b"0", link=b"", mode=0o644):
    """Return one tar header; a negative *size* is in GNU's base-256."""
    field = b"%011o\0" % size if size >= 0 else (size + (1 << 96)).to_bytes(12, "big")
    block = struct.pack(
        "100s8s8s8s12s12s8sc100s8s247x",
        *(name, b"%07o\0" % mode, bytes(8), bytes(8), field, b"0" * 11 + b"\0"),
        *(b" " * 8, kind, link, b"ustar\x0000"),
    )
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def image_of(layer: bytes) -> bytes:
    """Return a docker archive whose one layer is the raw stream *layer*."""
    return docker_archive([layer])


def layer_first(parts, size):
    """Yield a docker archive that begins with a layer of *size* bytes from *parts*."""
    yield header(b"layer.tar", size)
    yield from parts


def pax(payload: bytes) -> bytes:
    return header(kind=b"x", size=len(payload)) + payload + bytes(-len(payload) % 512)


def record(key: bytes, value: bytes) -> bytes:
    size = len(key) + len(value) + 3
    size += len(str(size + len(str(size))))
    return b"%d %s=%s\n" % (size, key, value)
