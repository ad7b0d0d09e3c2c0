"""An agent made of Python, as good or as bad as a test wants it."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

HEADER = struct.Struct(">2sBBII")
Serve = Callable[["FakeAgent", int, dict[str, Any]], None]


def hello_fields(request: dict[str, Any]) -> dict[str, Any]:
    return {
        "nonce": request["nonce"],
        "version": 1,
        "agent": "0.0.1",
        "features": ["clock"],
        "state": "sandbox",
        "uptime_ns": 5,
        "mem_total_kib": 1000,
        "mem_available_kib": 900,
    }


class FakeAgent:
    """Listens as QEMU does: one client at a time, the guest behind it stays."""

    def __init__(self, path: Path, serve: Serve | None = None) -> None:
        self.path = path
        self.requests: list[dict[str, Any]] = []
        self.of_streams: queue.Queue[tuple[int, int, int, bytes]] = queue.Queue()
        """Frames with data and windows: type, flags, stream, payload."""
        self.zeros = 0
        self.greeting = b""
        self.hello: Callable[[dict[str, Any]], dict[str, Any]] = hello_fields
        self._serve = serve or (lambda agent, number, _request: agent.answer(number))
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
        self._thread.join(timeout=5)

    def hang_up(self) -> None:
        if self._connection is not None:
            # Its stream keeps the descriptor open.
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)

    def raw(self, data: bytes) -> None:
        assert self._connection is not None
        self._connection.sendall(data)

    def frame(self, kind: int, number: int, body: Any) -> None:
        payload = json.dumps(body).encode()
        self.raw(HEADER.pack(b"HV", kind, 0, number, len(payload)) + payload)

    def answer(self, number: int, **fields: Any) -> None:
        self.frame(2, number, {"ok": True, **fields})

    def refuse(self, number: int, code: Any, message: Any) -> None:
        self.frame(2, number, {"ok": False, "error": {"code": code, "message": message}})

    def event(self, **fields: Any) -> None:
        self.frame(3, 0, fields)

    def data(self, stream: int, payload: bytes, flags: int = 0) -> None:
        self.raw(HEADER.pack(b"HV", 4, flags, stream, len(payload)) + payload)

    def window(self, stream: int, more: int) -> None:
        self.raw(HEADER.pack(b"HV", 5, 0, stream, 4) + more.to_bytes(4, "big"))

    def end(self, stream: int, **fields: Any) -> None:
        self.event(event="stream.closed", stream=stream, **fields)

    def _run(self) -> None:
        while True:
            try:
                self._connection, _ = self._listener.accept()
            except OSError:
                return
            try:
                self._talk(self._connection)
            except OSError:
                pass
            finally:
                self._connection.close()

    def _talk(self, connection: socket.socket) -> None:
        stream = connection.makefile("rb")
        self.zeros = 0
        while first := stream.read(1):
            if first == b"\0":
                self.zeros += 1
                continue
            header = first + stream.read(HEADER.size - 1)
            _magic, kind, flags, number, length = HEADER.unpack(header)
            if kind in (4, 5):
                self.of_streams.put((kind, flags, number, stream.read(length)))
                continue
            request = json.loads(stream.read(length))
            self.requests.append(request)
            if request["op"] == "hello":
                self.raw(self.greeting)
                self.answer(number, **self.hello(request))
            else:
                self._serve(self, number, request)
