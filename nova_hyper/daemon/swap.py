"""The header of a swap area, as ``mkswap`` writes it.

Source: ``union swap_header`` of ``include/linux/swap.h``.
"""

from __future__ import annotations

import struct
import uuid

PAGE = 4096
_SIGNATURE = b"SWAPSPACE2"
_BOOT_BITS = 1024
_VERSION = 1
MIN_PAGES = 10


def header(size: int) -> bytes:
    """Return the first page of a swap area of *size* bytes.

    :raises ValueError: for a size that is too small.
    """
    pages = size // PAGE
    if pages < MIN_PAGES:
        raise ValueError(f"{size} bytes are too few for a swap area")
    info = struct.pack("=III16s", _VERSION, pages - 1, 0, uuid.uuid4().bytes)
    body = bytes(_BOOT_BITS) + info
    return body.ljust(PAGE - len(_SIGNATURE), b"\0") + _SIGNATURE
