"""A registry in this process that misbehaves as a test wants."""

from __future__ import annotations

import http.server
import json
import threading
from typing import Any

from tests.unit.daemon.image.archives import oci_manifest, sha256


class FakeRegistry:
    """``host`` is address and port; ``odd`` maps a path below /v2/ to what answers instead.

    Such a function takes the handler and returns True when it has answered.
    """

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.odd: dict[str, Any] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.token = ""
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                """Stay quiet."""

            def do_GET(self):
                registry.requests.append((self.path, dict(self.headers)))
                registry.answer(self)

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.host = f"127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, name: str, layers: list[bytes], how: str = "gzip", **changes: Any) -> str:
        """Put an image there; return the digest of its manifest."""
        manifest, blobs = oci_manifest(layers, how, **changes)
        for data in blobs.values():
            self.blobs[sha256(data)] = data
        self.manifests[name] = self.manifests[sha256(manifest)] = manifest
        return sha256(manifest)

    def count(self, part: str) -> int:
        """Return how many requests had *part* in their path."""
        return sum(part in path for path, _ in self.requests)

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        path = handler.path.removeprefix("/v2/")
        odd = self.odd.get(path) or self.odd.get(path.partition("?")[0])
        if odd and odd(handler):
            return
        if self.token and handler.headers.get("Authorization") != self.token:
            send(handler, 401, b"", {"WWW-Authenticate": self.challenge()})
            return
        kind, _, key = path.rpartition("/")
        found = (self.manifests if kind.endswith("/manifests") else self.blobs).get(key)
        if found is None:
            send(handler, 404, b"{}")
            return
        start = 0
        if "Range" in handler.headers:
            start = int(handler.headers["Range"].removeprefix("bytes=").rstrip("-"))
        extra = {"Content-Range": f"bytes {start}-{len(found) - 1}/{len(found)}"} if start else {}
        send(handler, 206 if start else 200, found[start:], extra)

    def challenge(self) -> str:
        return f'Bearer realm="http://{self.host}/v2/token",service="fake"'

    def give_tokens(self, value: str = "t", needs: str = "") -> None:
        """Want a token from now on, which is given to who brings the Authorization *needs*."""
        self.token = f"Bearer {value}"

        def token(handler: http.server.BaseHTTPRequestHandler) -> bool:
            if needs and handler.headers.get("Authorization") != needs:
                send(handler, 401, b"")
            else:
                send(handler, 200, json.dumps({"token": value}).encode())
            return True

        self.odd["token"] = token


def send(
    handler: http.server.BaseHTTPRequestHandler,
    status: int,
    body: bytes,
    headers: dict[str, str] | None = None,
    length: int | None = None,
) -> bool:
    """Answer; *length* may promise more than *body* has, and then the connection is cut."""
    handler.send_response(status)
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)
    if length is not None:
        handler.close_connection = True
    return True
