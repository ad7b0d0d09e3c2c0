"""As whom a registry is asked: what a request brings, or the host's file of credentials."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
from pathlib import Path
from typing import Any

from nova_hyper.daemon.image.registry.reference import DOCKER_HUB, Reference
from nova_hyper.spec.errors import HyperError

_MAX_FILE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Credentials:
    """A user's name and password, or an identity token (then ``username`` is ``<token>``)."""

    username: str
    password: str = dataclasses.field(repr=False)


def from_file(path: Path, reference: Reference) -> Credentials | None:
    """Return what the docker-style file *path* has for *reference*; None without an entry.

    The file is what ``docker login`` and ``podman login`` write; the entry whose
    key is the longest beginning of the image's name counts (containers-auth.json(5)).
    Credential helpers, which are programs to run, are not used.

    :raises HyperError: when the file cannot be read as such.
    """
    try:
        with path.open("rb") as file:
            data = json.loads(file.read(_MAX_FILE))
        auths = data.get("auths", {})
        for key in _keys(reference):
            if key in auths:
                return _decoded(auths[key])
    except (OSError, ValueError, TypeError, AttributeError, binascii.Error) as exc:
        raise HyperError(
            f"[image] registry_auth_file {path} of hyperd cannot be used: {_reason(exc)}"
        ) from None
    return None


def _reason(exc: Exception) -> str:
    # Nothing of the content: it is secret.
    return exc.strerror or "unreadable" if isinstance(exc, OSError) else "it is not as docker's"


def _keys(reference: Reference) -> list[str]:
    path = f"{reference.registry}/{reference.repository}"
    found = []
    while path:
        found += [path, f"https://{path}"]
        path = path.rpartition("/")[0]
    found += [f"https://{reference.registry}/v1/", f"https://{reference.registry}/v2/"]
    if reference.registry == DOCKER_HUB:
        found += ["https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io"]
    return found


def _decoded(entry: dict[str, Any]) -> Credentials | None:
    token = entry.get("identitytoken")
    if token:
        return Credentials("<token>", str(token))
    if entry.get("auth"):
        user, colon, password = base64.b64decode(entry["auth"]).decode().partition(":")
        if not colon:
            raise ValueError("auth")
        return Credentials(user, password.rstrip("\0"))
    if entry.get("username"):
        return Credentials(str(entry["username"]), str(entry.get("password", "")))
    return None
