"""What the families of the client's calls share."""

from __future__ import annotations

import urllib.parse
from typing import Any, Protocol

from nova_hyper.client.body import Body


class Caller(Protocol):
    """Makes the requests."""

    def _json(
        self, method: str, target: str, body: Any = None, extra_seconds: float = 0.0
    ) -> Any: ...

    def _put(self, target: str, data: bytes) -> Any: ...

    def _body(
        self, target: str, method: str = "GET", body: Any = None, extra_seconds: float = 0.0
    ) -> Body: ...


def quote(ref: str) -> str:
    """Return an id or a name as a part of a path."""
    return urllib.parse.quote(ref, safe="")
