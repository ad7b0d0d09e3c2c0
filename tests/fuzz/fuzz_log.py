"""Fuzzer of what reads a pod's log, every byte of which is the guest's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import atheris

with atheris.instrument_imports(include=["nova_hyper.daemon.logs"]):
    from nova_hyper.daemon.logs.lines import LogLines
    from nova_hyper.daemon.logs.selection import Selected, Selection


class _File:
    """A rotated file that has the given pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces
        self._at = 0
        self.lost = False

    def read(self) -> Iterator[bytes]:
        while self._at < len(self._pieces):
            self._at += 1
            yield self._pieces[self._at - 1]

    def twin(self) -> _File:
        return _File(self._pieces[self._at :])

    def position(self, back: int = 0) -> str:
        assert back >= 0
        return f"{back:x}-0"

    def close(self) -> None: ...


_RECORD = b"2026-01-01T00:00:00.000000000Z web stdout F "


def one_input(raw: bytes) -> None:
    """Read a log made from *raw*: no byte gets lost, and every line is a line."""
    data = atheris.FuzzedDataProvider(raw)
    is_raw = data.ConsumeBool()
    selection = Selection(
        container=(None, "web")[data.ConsumeBool()],
        since=data.ConsumeFloat() if data.ConsumeBool() else None,
        tail=data.ConsumeIntInRange(0, 20) if data.ConsumeBool() else None,
    )
    pieces = []
    while data.remaining_bytes():
        start = _RECORD if data.ConsumeBool() else b""
        piece = start + data.ConsumeBytes(data.ConsumeIntInRange(0, 90))
        piece *= data.ConsumeIntInRange(1, 400) if data.ConsumeIntInRange(0, 9) == 0 else 1
        pieces.append(piece + (b"\n" if data.ConsumeBool() else b""))
    whole = b"".join(pieces)
    file: Any = _File(pieces)
    lines = list(LogLines(file, is_raw).read())
    for line in lines:
        assert b"\n" not in line.content
        assert line.container.isprintable()
    total = sum(len(line.content) for line in lines)
    assert total <= len(whole)
    if is_raw:
        assert total == len(whole) - whole.count(b"\n")
    file = _File(pieces)
    chosen = list(Selected(LogLines(file, is_raw), selection).read())
    if selection.tail is not None and selection.since is None:
        assert sum(line.whole for line in chosen) <= selection.tail


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
