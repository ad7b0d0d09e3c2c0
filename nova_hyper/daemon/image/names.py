"""Names of archive members: made safe to walk, and safe to print."""

from __future__ import annotations

import re

from nova_hyper.spec.errors import ImageInvalid

MAX_COMPONENT = 255
"""Bytes of one name (NAME_MAX of Linux)."""
MAX_PATH = 4096
"""Bytes of a whole path (PATH_MAX of Linux)."""

_UNUSUAL = re.compile(rb"(?:^|/)\.{0,2}/|(?:^|/)\.{1,2}$|^$")
"""An empty component (other than after a last slash), ``.`` or ``..``."""


def printable(name: bytes) -> str:
    """Return *name* for a message: one line, valid UTF-8, at most 200 characters."""
    text = name.decode("utf-8", "backslashreplace")
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:400])
    return text if len(text) <= 200 else text[:197] + "..."


def components(name: bytes) -> list[bytes]:
    """Return the path components of *name*, without empty ones, ``.`` and ``..``.

    A leading ``/`` is dropped, as docker and umoci do; ``..`` is resolved
    lexically.  The empty list is the root directory.

    :raises ImageInvalid: when ``..`` leads out of the root, or a name is too long.
    """
    if len(name) > MAX_PATH:
        raise ImageInvalid(
            f"the path {printable(name)} is {len(name)} bytes long; "
            f"at most {MAX_PATH} are possible"
        )
    if len(name) <= MAX_COMPONENT and not _UNUSUAL.search(name):
        return name.removesuffix(b"/").split(b"/")
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part in (b"", b"."):
            continue
        if part == b"..":
            if not parts:
                raise ImageInvalid(f"the path {printable(name)} leads out of the image")
            parts.pop()
        elif len(part) > MAX_COMPONENT:
            raise ImageInvalid(
                f"the name {printable(part)} is {len(part)} bytes long; "
                f"at most {MAX_COMPONENT} are possible"
            )
        else:
            parts.append(part)
    return parts
