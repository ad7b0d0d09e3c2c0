"""One handler for each operation that lasts, named by its operationId.

It answers on the connection that it is given; see ``daemon.api.streams``.
"""

from __future__ import annotations

import contextlib
from typing import Any

from nova_hyper.daemon.api.connection import Connection
from nova_hyper.daemon.api.duplex import Duplex, read_out, write_in
from nova_hyper.daemon.api.image_streams import ImageStreams, PullUses, SaveUses, send_archive
from nova_hyper.daemon.logs.selection import Selection
from nova_hyper.daemon.pods.commit import Commits
from nova_hyper.daemon.pods.sessions import Command, Sessions
from nova_hyper.spec import codec
from nova_hyper.spec.stream import Terminal

_FOLLOW_S = 0.2


class StreamHandlers(ImageStreams):
    """The operations with ``x-stream``; see ``openapi.yaml`` for what they take and give."""

    def __init__(
        self, sessions: Sessions, images: SaveUses, puller: PullUses, commits: Commits
    ) -> None:
        super().__init__(images, puller)
        self._sessions = sessions
        self._commits = commits

    def exec_container(self, connection: Connection, ref: str, body: dict[str, Any]) -> None:
        connection.require_upgrade()
        size = body.get("tty")
        command = Command(
            argv=tuple(body["argv"]),
            env=tuple(body.get("env", ())),
            user=body.get("user"),
            working_dir=body.get("working_dir"),
            terminal=Terminal(size["rows"], size["cols"]) if size else None,
            stdin=bool(body.get("stdin", False)),
        )
        guest = self._sessions.exec(ref, body.get("container"), command)
        Duplex(connection, guest).serve()

    def attach_container(self, connection: Connection, ref: str, body: dict[str, Any]) -> None:
        connection.require_upgrade()
        stdin = bool(body.get("stdin", False))
        guest = self._sessions.attach(ref, body.get("container"), stdin)
        Duplex(connection, guest).serve()

    def read_archive(
        self, connection: Connection, ref: str, container: str | None, path: str
    ) -> None:
        guest = self._sessions.read_archive(ref, container, path)
        read_out(connection, guest, "application/x-tar")

    def write_archive(
        self, connection: Connection, ref: str, container: str | None, path: str
    ) -> None:
        write_in(connection, self._sessions.write_archive(ref, container, path))
        connection.answer(204)

    def commit_container(self, connection: Connection, ref: str, body: dict[str, Any]) -> None:
        image = self._commits.commit(
            ref,
            body.get("container"),
            body.get("name"),
            tuple(body.get("changes", ())),
            bool(body.get("freeze", True)),
            connection.gone,
        )
        connection.answer(201, codec.encode(image))

    def snapshot_container(self, connection: Connection, ref: str, body: dict[str, Any]) -> None:
        archive = self._commits.snapshot(
            ref,
            body.get("container"),
            tuple(body.get("changes", ())),
            bool(body.get("freeze", True)),
            connection.gone,
        )
        send_archive(connection, archive)

    def read_logs(
        self,
        connection: Connection,
        ref: str,
        container: str | None,
        since: float | None,
        tail: int | None,
        after: str | None,
        follow: bool,
    ) -> None:
        pod_id = self._sessions.pod_id(ref)
        log = self._sessions.log(pod_id, Selection(container, since, tail), after)
        with contextlib.closing(log):
            connection.begin("text/plain")
            pieces = log.read()
            if follow:
                pieces = log.follow(
                    lambda: self._sessions.alive(pod_id),
                    lambda: not connection.gone(_FOLLOW_S),
                )
            for piece in pieces:
                connection.send(piece)
            connection.finish()
