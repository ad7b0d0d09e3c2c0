"""Lines of a pod's log out of the bytes of its file, every one of which is the guest's."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nova_hyper.daemon.logs.rotated import RotatedFile
from nova_hyper.spec.log import UNKNOWN, LogLine

# The agent cuts at 8 KiB of content; what is longer is not its own and is cut here.
_MAX_LINE = 16 * 1024
# Kubernetes' format of container logs (design-proposals, kubelet-cri-logging), with the container.
_RECORD = re.compile(
    rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) "
    rb"([A-Za-z0-9_][A-Za-z0-9_.-]{0,62}) (stdout|stderr) ([FP]) "
)


class LogLines:
    """The lines of a rotated file.

    :param raw: the file has plain output (a console), not records; then what has
        no line feed yet is given as a part of a line.
    """

    def __init__(self, file: RotatedFile, raw: bool = False) -> None:
        self._file = file
        self._raw = raw
        self._positions = True
        self._pending = b""
        self._cut: LogLine | None = None

    def twin(self) -> LogLines:
        """Return another one that stands where this one does, to count: it tells no positions."""
        other = LogLines(self._file.twin(), self._raw)
        other._positions = False
        other._pending, other._cut = self._pending, self._cut
        return other

    def close(self) -> None:
        """Close the file; idempotent."""
        self._file.close()

    def read(self) -> Iterator[LogLine]:
        """Yield what there is; calling again goes on."""
        for data in self._file.read():
            self._pending += data
            yield from self._split()
        if self._raw and self._pending:
            rest, self._pending = self._pending, b""
            yield self._line(rest, 0, ended=False)

    def _split(self) -> Iterator[LogLine]:
        pending, begin = self._pending, 0
        while True:
            end = pending.find(b"\n", begin, begin + _MAX_LINE + 1)
            if end < 0 and len(pending) - begin <= _MAX_LINE:
                break
            stop = end if end >= 0 else begin + _MAX_LINE
            after = stop + (end >= 0)
            yield self._line(pending[begin:stop], len(pending) - after, ended=end >= 0)
            begin = after
        self._pending = pending[begin:]

    def _line(self, content: bytes, back: int, ended: bool) -> LogLine:
        position = self._file.position(back) if self._positions else ""
        match = None if self._raw or self._cut else _RECORD.match(content)
        if self._cut is not None:
            line = self._cut._replace(position=position, whole=ended, content=content)
        elif match is None:
            line = LogLine(position, UNKNOWN, UNKNOWN, "stdout", ended, content)
        else:
            time, container, stream, flag = match.groups()
            line = LogLine(
                position,
                time.decode(),
                container.decode(),
                stream.decode(),
                ended and flag == b"F",
                content[match.end() :],
            )
        self._cut = None if ended else line
        return line
