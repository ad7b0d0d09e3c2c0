"""How an image is spoken of: by name, by id, by the beginning of an id."""

from __future__ import annotations

import re

from nova_hyper.spec.errors import InvalidRequest

_MAX_NAME = 255
_ID_PREFIX = re.compile(r"(?:sha256:)?([0-9a-f]{4,64})")
_WHOLE_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}|sha256:.*")


def check_name(name: str) -> None:
    """Refuse a name that could not be told from an id, or printed.

    :raises InvalidRequest: for such a name.
    """
    if not 0 < len(name) <= _MAX_NAME or not name.isprintable() or name != name.strip():
        raise InvalidRequest(
            f"{name[:100]!r} cannot be the name of an image: "
            f"1 to {_MAX_NAME} printable characters are needed"
        )
    if _WHOLE_ID.fullmatch(name):
        raise InvalidRequest(f"{name[:100]!r} cannot be the name of an image: it looks like an id")


def familiar_names(name: str) -> list[str]:
    """Return the full names that *name* may stand for, the likeliest first.

    docker and podman store ``nginx`` as ``docker.io/library/nginx:latest`` or
    ``localhost/nginx:latest``.
    """
    tagged = [name]
    if ":" not in name.rpartition("/")[2] and "@" not in name:
        tagged.append(f"{name}:latest")
    found = list(tagged)
    for prefix in ("docker.io/library/", "docker.io/", "localhost/"):
        found += [prefix + each for each in tagged]
    return found


def id_prefix(ref: str) -> str:
    """Return the beginning of an id that *ref* may be, as ``sha256:...``, or nothing."""
    match = _ID_PREFIX.fullmatch(ref)
    return f"sha256:{match[1]}" if match else ""
