"""A user's websocket client of consoles: websockify's own, which Nova brings."""

from __future__ import annotations

import contextlib
import time
import urllib.parse

from websockify.websocket import WebSocket, WebSocketWantReadError

_STEP_S = 5.0


class ConsoleClient(WebSocket):
    """Types into the console at *url* and sees what comes; for ``with``."""

    def __init__(self, url, timeout_s=60.0):
        super().__init__()
        self.got = b""
        self._timeout_s = timeout_s
        self._query = urllib.parse.urlsplit(url).query
        self.connect(url, protocols=["binary"])
        self.socket.settimeout(_STEP_S)

    def send_request(self, type, path):
        """Keep the token, which websockify's own drops with the rest of the query."""
        super().send_request(type, f"{path}?{self._query}")

    def type(self, text):
        """Send *text* as if it were typed."""
        self.send(text.encode())

    def sees(self, text):
        """Read until *text* has come; return what came before it."""
        deadline = time.monotonic() + self._timeout_s
        while text.encode() not in self.got:
            assert time.monotonic() < deadline, f"no {text!r} in {self.got!r}"
            data = self._receive()
            assert data is not None, f"hung up on after {self.got!r}"
            self.got += data
        before, _, self.got = self.got.partition(text.encode())
        return before

    def rest(self):
        """Read to the end; return it as text."""
        deadline = time.monotonic() + self._timeout_s
        with contextlib.suppress(ConnectionError):
            while (data := self._receive()) is not None:
                assert time.monotonic() < deadline, f"no end after {self.got!r}"
                self.got += data
        return self.got.decode(errors="replace")

    def _receive(self):
        """Return some bytes, none when there are none yet, or None at the end."""
        try:
            return self.recvmsg()
        except (WebSocketWantReadError, TimeoutError):
            return b""

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        if self.socket is not None:  # websockify has not closed it itself
            self.socket.close()
