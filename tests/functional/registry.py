"""A real registry on loopback (Debian's docker-registry), and a proxy that cuts connections."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import bcrypt

_PROGRAM = "/usr/bin/docker-registry"
_START_S = 30.0
_ENTRY = re.compile(r'"GET /v2/(\S+) HTTP/1\.1" (\d+) ')


def free_port() -> int:
    """Return a port that nobody listens on right now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def certificate(directory: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that signs itself; return it and its key."""
    crt, key = directory / "registry.crt", directory / "registry.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=registry", "-keyout", key, "-out", crt),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return crt, key


class Registry:
    """Starts one below *directory*, with TLS and a user ``anna`` where that is asked for.

    ``host`` is its address and port.
    """

    def __init__(self, directory: Path, *, tls: bool = False, password: str = "") -> None:
        directory.mkdir()
        self.host = f"127.0.0.1:{free_port()}"
        self.crt: Path | None = None
        self.data = directory / "data"
        self._log = directory / "registry.log"
        self._options = ["--dest-tls-verify=false"]
        text = "version: 0.1\nlog: {level: warn}\n"
        text += f"storage: {{filesystem: {{rootdirectory: {self.data}}}}}\n"
        if password:
            users = directory / "htpasswd"
            hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
            users.write_text(f"anna:{hashed.replace('$2b$', '$2y$')}\n")
            text += f"auth: {{htpasswd: {{realm: test, path: {users}}}}}\n"
            self._options += ["--dest-creds", f"anna:{password}"]
        text += f"http:\n  addr: {self.host}\n  secret: test\n"
        if tls:
            self.crt, key = certificate(directory)
            text += f"  tls: {{certificate: {self.crt}, key: {key}}}\n"
        config = directory / "config.yml"
        config.write_text(text)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [_PROGRAM, "serve", config], stdout=log, stderr=log, env={"OTEL_SDK_DISABLED": "1"}
            )
        self._wait()

    def _wait(self) -> None:
        address, _, port = self.host.partition(":")
        deadline = time.monotonic() + _START_S
        while True:
            try:
                socket.create_connection((address, int(port)), 1).close()
                return
            except OSError:
                assert self._process.poll() is None, self._log.read_text()
                assert time.monotonic() < deadline, self._log.read_text()
                time.sleep(0.05)

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(20)

    def push(self, archive: Path, name: str, *options: str) -> str:
        """Put the image of a docker-archive there; return what to pull it as."""
        command = ["skopeo", "copy", "-q", *options, *self._options]
        done = subprocess.run(
            [*command, f"docker-archive:{archive}", f"docker://{self.host}/{name}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return f"{self.host}/{name}"

    def put_manifest(self, name: str, document: bytes, media_type: str) -> str:
        """Put a manifest, list or index there as it is; return what to pull it as."""
        repository, _, tag = name.partition(":")
        request = urllib.request.Request(
            f"http://{self.host}/v2/{repository}/manifests/{tag}",
            data=document,
            method="PUT",
            headers={"Content-Type": media_type},
        )
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 201
        return f"{self.host}/{name}"

    def answers(self) -> list[tuple[str, int]]:
        """Return path and status of each GET so far, as its access log has them."""
        text = self._log.read_text(errors="replace")
        return [(path, int(status)) for path, status in _ENTRY.findall(text)]

    def blobs(self) -> list[tuple[str, int]]:
        """Return digest and status of each download of a blob so far."""
        return [
            (path.rpartition("/")[2], status)
            for path, status in self.answers()
            if "/blobs/" in path
        ]


class CuttingProxy:
    """Passes connections on to *target*, and cuts each in *cuts* after so many bytes from there.

    With *stall* it passes nothing more on after so many bytes, until it is stopped.
    ``host`` is its address and port.
    """

    def __init__(self, target: str, cuts: Sequence[int] = (), stall: int | None = None) -> None:
        address, _, port = target.partition(":")
        self._target = (address, int(port))
        self._cuts = list(cuts)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._stall = stall
        self._stopped = threading.Event()
        self.cut = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """Accept no more, and hold nothing back."""
        self._stopped.set()
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            threading.Thread(target=self._upstream, args=(client, server), daemon=True).start()
            passed = 0
            with contextlib.suppress(OSError):
                while data := server.recv(1 << 14):
                    passed += len(data)
                    # Only an answer that long is a layer; the manifests pass.
                    if self._cuts and passed > self._cuts[0]:
                        self._cuts.pop(0)
                        self.cut += 1
                        client.shutdown(socket.SHUT_RDWR)
                        return
                    if self._stall is not None and passed > self._stall:
                        self._stopped.wait()
                    client.sendall(data)

    @staticmethod
    def _upstream(client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 14):
                server.sendall(data)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)
