"""The REST API as a WSGI application."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import IO, Any

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from nova_hyper.daemon.api import document, failure
from nova_hyper.daemon.api.connection import TAKE, Upload
from nova_hyper.daemon.api.handlers import Handlers, Json
from nova_hyper.daemon.api.stream_handlers import StreamHandlers
from nova_hyper.daemon.api.streams import Streams
from nova_hyper.spec.errors import InvalidRequest, NotFound

StartResponse = Callable[..., Any]

# Their bodies are files, read as they come.
_UPLOADS = ("import_image", "import_boot_file", "store_config_drive")


class App:
    """Routes requests by the OpenAPI document to the handler named like the operation.

    An operation with ``x-stream: true`` has its connection and a thread for
    itself, and is one of *streams*.
    """

    def __init__(
        self,
        handlers: Handlers,
        stream_handlers: StreamHandlers,
        streams: Streams,
        max_body: int,
    ) -> None:
        """*max_body* bounds JSON bodies, in bytes."""
        self._handlers = handlers
        self._stream_handlers = stream_handlers
        self._streams = streams
        self._max_body = max_body
        self._operations = {o.id: o for o in document.operations()}
        # A reference may hold slashes, percent-encoded or not; the longest static end wins.
        self._map = Map(
            [
                Rule(
                    o.path.replace("{ref}", "<path:ref>"),
                    endpoint=o.id,
                    methods=[o.method],
                )
                for o in self._operations.values()
            ],
            merge_slashes=False,
        )

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """See PEP 3333."""
        response = self._answer(Request(environ, populate_request=False), environ)
        # Where the connection was taken, its thread answers.
        return [] if response is None else response(environ, start_response)

    def _answer(self, request: Request, environ: dict[str, Any]) -> Response | None:
        try:
            return self._route(request, environ)
        except Exception as exc:
            error = failure.told(exc, f"{request.method} {request.path}")
            return _json(error.to_wire(), error.status)

    def _route(self, request: Request, environ: dict[str, Any]) -> Response | None:
        try:
            operation_id, path = self._map.bind_to_environ(environ).match()
        except HTTPException as exc:
            raise NotFound(f"there is no {request.method} {request.path} in this API") from exc
        operation = self._operations[operation_id]
        if "ref" in path:
            # The server keeps an encoded slash, so that it is not taken for a separator.
            path = {"ref": path["ref"].replace("%2F", "/").replace("%2f", "/")}
        arguments: dict[str, Any] = {**path, **document.check_query(operation, request.args)}
        if operation.body is not None:
            body = self._body(request, operation)
            document.check_body(operation, body)
            arguments["body"] = body
        elif operation.id in _UPLOADS:
            arguments["stream"] = _Upload(request.stream)
        if operation.stream:
            handler = getattr(self._stream_handlers, operation.id)
            upload = _Upload(request.stream)
            self._streams.start(
                lambda: environ[TAKE](upload),
                lambda connection: handler(connection, **arguments),
                f"{request.method} {request.path}",
            )
            return None
        status, value = getattr(self._handlers, operation.id)(**arguments)
        if isinstance(value, bytes):
            return Response(value, status, content_type="application/octet-stream")
        if value is None:
            return Response(status=status)
        return _json(value, status)

    def _body(self, request: Request, operation: document.Operation) -> Any:
        upload: Upload = _Upload(request.stream)
        raw = b""
        while len(raw) <= self._max_body and (part := upload.read(self._max_body + 1 - len(raw))):
            raw += part
        if len(raw) > self._max_body:
            raise InvalidRequest(f"the body is larger than {self._max_body} bytes")
        if not raw and not operation.body_required:
            return {}
        return document.parse_json(raw)


class _Upload:
    """The body of a request as it comes: errors of the connection become ours."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int, /) -> bytes:
        """Return at most *size* bytes, and none at the end only.

        :raises InvalidRequest: when the client stops in the middle.
        """
        try:
            return self._stream.read(size)
        except (HTTPException, OSError, ValueError) as exc:
            raise InvalidRequest("the client stopped in the middle of its request") from exc


def _json(value: Any, status: int) -> Response:
    text = value if isinstance(value, Json) else json.dumps(value)
    return Response(text, status, content_type="application/json")
