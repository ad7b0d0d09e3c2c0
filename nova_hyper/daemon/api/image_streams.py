"""The handlers of pulls and saves, which last; see :mod:`.stream_handlers`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from nova_hyper.daemon.api.connection import ClientGone, Connection
from nova_hyper.spec import codec
from nova_hyper.spec.errors import InvalidRequest
from nova_hyper.spec.image import Image


class Archive(Protocol):
    """An archive as it is made."""

    @property
    def chunks(self) -> Iterator[bytes]: ...

    @property
    def close(self) -> Callable[[], None]: ...


class Pull(Protocol):
    """A pull that is allowed and has not begun."""

    def run(
        self, tell: Callable[[dict[str, Any]], None], cancelled: threading.Event
    ) -> tuple[Image, bool]: ...


class SaveUses(Protocol):
    """The image store as saves use it."""

    def save(self, ref: str, form: str) -> Archive: ...


class PullUses(Protocol):
    """The puller as the API uses it."""

    def prepare(self, ref: str, username: str, password: str) -> Pull: ...


class ImageStreams:
    """The operations with ``x-stream`` that are about images."""

    def __init__(self, images: SaveUses, puller: PullUses) -> None:
        self._images = images
        self._puller = puller

    def pull_image(self, connection: Connection, body: dict[str, Any]) -> None:
        username, password = body.get("username", ""), body.get("password", "")
        if password and not username:
            raise InvalidRequest("a password needs a username")
        pull = self._puller.prepare(body["ref"], username, password)
        connection.begin("application/x-ndjson")
        cancelled = _HungUp(connection)
        sending = threading.Lock()

        def tell(event: dict[str, Any]) -> None:
            # Several layers have something to say at the same time.
            try:
                with sending:
                    connection.send(json.dumps(event).encode() + b"\n")
            except ClientGone:
                cancelled.set()

        try:
            image, new = pull.run(tell, cancelled)
        except Exception:
            if cancelled.is_set():
                raise ClientGone from None
            raise
        tell({"event": "done", "image": codec.encode(image), "new": new})
        connection.finish()

    def save_image(self, connection: Connection, ref: str, format: str) -> None:
        send_archive(connection, self._images.save(ref, format))


def send_archive(connection: Connection, archive: Archive) -> None:
    """Answer with an archive, and close it."""
    try:
        connection.begin("application/x-tar")
        for chunk in archive.chunks:
            connection.send(chunk)
        connection.finish()
    finally:
        archive.close()


class _HungUp(threading.Event):
    """Set when the client has hung up, also while there is nothing to tell it."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def is_set(self) -> bool:
        return super().is_set() or self._connection.gone()
