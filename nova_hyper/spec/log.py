"""Lines of a pod's log, as the API sends them.

A line is ``<position> <time> <container> <stdout|stderr> <F|P> <content>`` and a
line feed.  ``position`` is an opaque word: asked for what comes ``after`` it,
hyperd goes on behind this line, also in a file that has been rotated.  The rest
is the format of the Container Runtime Interface with the container's name put
in: the time is RFC 3339 in UTC with nine decimals, and ``P`` marks a part of a
line that goes on in the next one of the same container and stream.  The content
is bytes, whatever the container wrote.  Time and container are ``-`` where they
are not known.
"""

from __future__ import annotations

from typing import NamedTuple

UNKNOWN = "-"
_FIELDS = 5


class LogLine(NamedTuple):
    """One line, or a part of one when ``whole`` is False; ``content`` has no line feed.

    A log may have a hundred thousand of them: a tuple is made in a third of the time that a
    frozen dataclass takes.
    """

    position: str
    time: str
    container: str
    stream: str
    whole: bool
    content: bytes


def format_line(line: LogLine) -> bytes:
    """Return *line* as it is sent, with its line feed."""
    flag = "F" if line.whole else "P"
    head = f"{line.position} {line.time} {line.container} {line.stream} {flag} "
    return head.encode() + line.content + b"\n"


def parse_line(raw: bytes) -> LogLine:
    """Return what :func:`format_line` made; *raw* may lack its line feed.

    :raises ValueError: when it is something else.
    """
    parts = raw.removesuffix(b"\n").split(b" ", _FIELDS)
    if len(parts) != _FIELDS + 1 or parts[4] not in (b"F", b"P"):
        raise ValueError("it is no line of a log")
    position, time, container, stream = (part.decode() for part in parts[:4])
    return LogLine(position, time, container, stream, parts[4] == b"F", parts[5])
