"""Real HTTP servers on unix sockets, for tests of the client."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nova_hyper.daemon.api.connection import Connection
from nova_hyper.daemon.api.duplex import Duplex
from nova_hyper.spec import codec
from nova_hyper.spec.boot import BootFileKind
from nova_hyper.spec.console import ConsoleKind
from nova_hyper.spec.errors import HyperError, NotFound
from nova_hyper.spec.log import format_line
from nova_hyper.spec.nic import Dns, Nic
from nova_hyper.spec.pod import PodSpec
from nova_hyper.spec.setup import Setup
from nova_hyper.spec.shape import Shape
from nova_hyper.spec.stream import Terminal
from tests.unit.fake_hyperd import FakeHyperd


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path: Path, handler: type) -> None:
        super().__init__(str(path), handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, request, client_address):
        """A client that went away is no news."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "unix"

    def log_message(self, *args):
        """Stay quiet."""

    def chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def answer(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True


class Received:
    """The input of a request, as the daemon's server has it."""

    def __init__(self, file) -> None:
        self._file = file

    def has_data(self) -> bool:
        return True

    def read1(self, size: int) -> bytes:
        try:
            return self._file.read1(size)
        except OSError:
            return b""

    read = read1


def api_handler(hyperd: FakeHyperd) -> type[Handler]:
    """hyperd's REST API over a hyperd in memory."""

    class Api(Handler):
        def do_GET(self):
            self.dispatch()

        do_POST = do_DELETE = do_PUT = do_GET  # noqa: N815

        def dispatch(self) -> None:
            try:
                url = urllib.parse.urlsplit(self.path)
                query = {k: v[0] for k, v in urllib.parse.parse_qs(url.query).items()}
                parts = [urllib.parse.unquote(p) for p in url.path.split("/")[2:]]
                if self.lasts(parts, query):
                    return
                status, value = self.route()
            except HyperError as error:
                self.answer(error.status, json.dumps(error.to_wire()).encode())
                return
            if isinstance(value, bytes):
                self.answer(status, value, "application/octet-stream")
            else:
                body = b"" if value is None else json.dumps(codec.encode(value)).encode()
                self.answer(status, body)

        def lasts(self, parts: list[str], query: dict[str, str]) -> bool:
            """Serve what lasts, as the daemon does; False where it does not."""
            received = Received(self.rfile)
            upgrade = self.headers.get("Upgrade", "")
            connection = Connection(self.connection, received, received, upgrade, lambda: None)
            match self.command, parts:
                case "POST", ["pods", ref, "exec"]:
                    body = self.json()
                    tty = body.pop("tty")
                    body["terminal"] = tty and Terminal(**tty)
                    Duplex(connection, hyperd.exec(ref, **body).guest).serve()
                case "POST", ["pods", ref, "attach"]:
                    Duplex(connection, hyperd.attach(ref, **self.json()).guest).serve()
                case "GET", ["pods", ref, "logs"]:
                    wanted = dict(query)
                    wanted["tail"] = int(wanted["tail"]) if "tail" in wanted else None
                    wanted["since"] = float(wanted["since"]) if "since" in wanted else None
                    lines = hyperd.logs(ref, **wanted)
                    connection.begin("text/plain")
                    for line in lines:
                        connection.send(format_line(line))
                    connection.finish()
                case "GET", ["pods", ref, "archive"]:
                    data = hyperd.read_archive(ref, **query).read()
                    connection.begin("application/x-tar")
                    connection.send(data)
                    connection.finish()
                case "POST", ["pods", ref, "snapshot"]:
                    data = hyperd.snapshot(ref, **self.json()).read()
                    connection.begin("application/x-tar")
                    connection.send(data)
                    connection.finish()
                case "PUT", ["pods", ref, "archive"]:
                    hyperd.write_archive(ref, query["path"], self.chunks(), query.get("container"))
                    connection.answer(204)
                case _:
                    return False
            self.close_connection = True
            return True

        def json(self) -> Any:
            return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

        def route(self) -> tuple[int, Any]:
            url = urllib.parse.urlsplit(self.path)
            query = {k: v[0] for k, v in urllib.parse.parse_qs(url.query).items()}
            parts = [urllib.parse.unquote(p) for p in url.path.split("/")[2:]]
            match self.command, parts:
                case "GET", ["version"]:
                    return 200, hyperd.version()
                case "GET", ["host"]:
                    return 200, hyperd.host()
                case "GET", ["openapi.json"]:
                    return 200, hyperd.openapi()
                case "GET", ["events"]:
                    return 200, hyperd.events(int(query["after"]), float(query["wait"]))
                case "POST", ["images"]:
                    return 201, hyperd.import_image(query["name"], self.chunks())
                case "GET", ["images"]:
                    return 200, {"images": hyperd.images()}
                case "GET", ["images", ref]:
                    return 200, hyperd.image(ref)
                case "DELETE", ["images", ref]:
                    return 204, hyperd.delete_image(ref)
                case "POST", ["boot-files"]:
                    kind = BootFileKind(query["kind"])
                    return 201, hyperd.import_boot_file(query["name"], kind, self.chunks())
                case "GET", ["boot-files"]:
                    return 200, {"boot_files": hyperd.boot_files()}
                case "GET", ["boot-files", ref]:
                    return 200, hyperd.boot_file(ref)
                case "DELETE", ["boot-files", ref]:
                    return 204, hyperd.delete_boot_file(ref)
                case "POST", ["pods"]:
                    return 201, hyperd.create_pod(codec.decode(PodSpec, self.json()))
                case "GET", ["pods"]:
                    return 200, {"pods": hyperd.pods()}
                case "GET", ["pods", ref]:
                    return 200, hyperd.pod(ref)
                case "DELETE", ["pods", ref]:
                    return 204, hyperd.delete_pod(ref)
                case "POST", ["pods", ref, "boot"]:
                    body = self.json()
                    nics = body.get("nics")
                    return 200, hyperd.boot_pod(
                        ref,
                        None if nics is None else tuple(codec.decode(Nic, n) for n in nics),
                        codec.decode(Dns, body["dns"]) if "dns" in body else None,
                    )
                case "POST", ["pods", ref, "setup"]:
                    return 200, hyperd.setup_pod(ref, codec.decode(Setup, self.json()))
                case "PUT", ["pods", ref, "config-drive"]:
                    data = self.rfile.read(int(self.headers["Content-Length"]))
                    return 204, hyperd.store_config_drive(ref, data)
                case "POST", ["pods", ref, "start"]:
                    return 200, hyperd.start_pod(ref)
                case "POST", ["pods", ref, "stop"]:
                    return 200, hyperd.stop_pod(ref, **self.json())
                case "POST", ["pods", ref, ("pause" | "unpause" | "suspend") as verb]:
                    return 200, getattr(hyperd, f"{verb}_pod")(ref)
                case "POST", ["pods", ref, "resume"]:
                    body = self.json()
                    nics = body.get("nics")
                    return 200, hyperd.resume_pod(
                        ref,
                        None if nics is None else tuple(codec.decode(Nic, n) for n in nics),
                        codec.decode(Dns, body["dns"]) if "dns" in body else None,
                        body["paused"],
                    )
                case "PUT", ["pods", ref, "shape"]:
                    shape = codec.decode(Shape, self.json())
                    return 200, hyperd.reshape_pod(ref, shape, query.get("dry_run") == "true")
                case "PUT", ["pods", ref, "restore-point"]:
                    return 200, hyperd.make_restore_point(ref)
                case "DELETE", ["pods", ref, "restore-point"]:
                    return 200, hyperd.drop_restore_point(ref)
                case "POST", ["pods", ref, "restore"]:
                    return 200, hyperd.restore_pod(ref)
                case "POST", ["pods", ref, "rescue"]:
                    return 200, hyperd.rescue_pod(ref, **self.json())
                case "POST", ["pods", ref, "unrescue"]:
                    return 200, hyperd.unrescue_pod(ref)
                case "POST", ["pods", ref, "crash-dump"]:
                    return 202, hyperd.crash_pod(ref)
                case "GET", ["pods", ref, "diagnostics"]:
                    return 200, hyperd.diagnostics(ref)
                case "POST", ["pods", ref, "kill"]:
                    return 204, hyperd.kill_pod(ref, **self.json())
                case "GET", ["pods", ref, "stats"]:
                    return 200, hyperd.stats(ref)
                case "GET", ["pods", ref, "top"]:
                    return 200, hyperd.top(ref, query.get("container"))
                case "POST", ["pods", ref, "console-port"]:
                    return 200, hyperd.open_console(ref, ConsoleKind(self.json()["kind"]))
                case "GET", ["pods", ref, "console"]:
                    return 200, hyperd.console(ref, int(query["max_bytes"]))
            raise NotFound(f"there is no {self.path}")

    return Api
