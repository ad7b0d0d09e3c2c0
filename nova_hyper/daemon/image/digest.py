"""Content digests, ``sha256:<64 hex digits>`` (OCI image specification, descriptor.md)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HEX = re.compile(r"[0-9a-f]{64}")


def sha256(data: bytes) -> str:
    """Return the digest of *data*."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def chain_id(diff_ids: Sequence[str]) -> str:
    """Return the chain ID of layers, bottom first; one layer's is its diff ID.

    Source: OCI image specification, config.md, "Layer ChainID".
    """
    chain = diff_ids[0]
    for diff_id in diff_ids[1:]:
        chain = sha256(f"{chain} {diff_id}".encode())
    return chain


def is_digest(text: str) -> bool:
    """Tell whether *text* is a whole sha256 digest."""
    return _DIGEST.fullmatch(text) is not None


def digest_in_name(name: str) -> str:
    """Return the digest that a member's *name* claims for its content, or nothing.

    Such names are ``blobs/sha256/<hex>`` in OCI layouts, ``<hex>.tar`` (of the
    layer uncompressed) and ``<hex>.json`` in docker archives.
    """
    base = name.rpartition("/")[2]
    stem = base.removesuffix(".json").removesuffix(".tar")
    if not _HEX.fullmatch(stem):
        return ""
    if stem == base and not name.startswith("blobs/sha256/"):
        return ""
    return f"sha256:{stem}"
