"""How ``hyperctl`` shows things: tables for people, JSON and YAML for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import prettytable
import yaml

FORMATS = ("table", "json", "yaml")
_KIB = 1024
_SHORT_ID = 12
_NAMES = 2


def show(value: Any, fmt: str) -> None:
    """Print plain JSON types as JSON or YAML."""
    if fmt == "json":
        print(json.dumps(value, indent=2))
    else:
        print(yaml.safe_dump(value, sort_keys=False), end="")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under *header*, without lines, as ``ps`` and ``docker`` do."""
    drawn = prettytable.PrettyTable(list(header))
    drawn.border = False
    drawn.align = "l"
    drawn.left_padding_width = 0
    drawn.right_padding_width = 3
    for row in rows:
        drawn.add_row(["" if cell is None else _printable(str(cell)) for cell in row])
    print("\n".join(line.rstrip() for line in drawn.get_string().splitlines()))


def _printable(text: str) -> str:
    """Return *text*, which may be an image's or a guest's, without what steers a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def progress(message: str) -> None:
    """Tell a person what goes on; not part of the command's answer."""
    print(message, file=sys.stderr, flush=True)


def size(count: float) -> str:
    """Return a number of bytes as people write it: ``12.3 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < _KIB:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _KIB
    return f"{count:.1f} TiB"


def names(found: Sequence[str]) -> str:
    """Return the names of an image for a table, where a hundred would leave room for nothing."""
    more = len(found) - _NAMES
    return ", ".join([*found[:_NAMES], *([f"and {more} more"] if more > 0 else [])]) or "<none>"


def age(seconds: float) -> str:
    """Return a duration in its largest unit: ``3 minutes``."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count != 1 else ''}"
    return f"{max(0, int(seconds))} s"


def ago(at: float | None) -> str:
    """Return how long ago the Unix time *at* was."""
    return "" if at is None else f"{age(time.time() - at)} ago"


def short(ref: str) -> str:
    """Return the beginning of the id of a pod, an image or a layer: enough for people."""
    return ref.removeprefix("sha256:")[:_SHORT_ID]
