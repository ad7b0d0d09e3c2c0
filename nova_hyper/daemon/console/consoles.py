"""The consoles of this host's pods: asked for, connected to, and closed with their pods."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from nova_hyper.daemon.console.bridge import Bridge
from nova_hyper.daemon.console.listeners import Listeners
from nova_hyper.daemon.console.reservations import Reservations
from nova_hyper.daemon.console.settings import ConsoleSettings
from nova_hyper.daemon.pods.registry import Entry, Registry
from nova_hyper.daemon.pods.sessions import Command
from nova_hyper.daemon.ports import GuestStream
from nova_hyper.spec.console import ConsoleKind, ConsolePort
from nova_hyper.spec.errors import (
    Conflict,
    ContainerFailed,
    HyperError,
    PodNotFound,
    PortsExhausted,
)
from nova_hyper.spec.event import Event, EventKind
from nova_hyper.spec.pod import PodState
from nova_hyper.spec.stream import Terminal

LOG = logging.getLogger(__name__)

PER_POD = 4
"""Connections to one pod's console at once."""
_FINISH_S = 3.0
_LIVE = (PodState.RUNNING, PodState.PAUSED)
_ENDS = {
    EventKind.EXITED: "the pod has ended",
    EventKind.STOPPED: "the pod was stopped",
    EventKind.SUSPENDED: "the pod was suspended",
    EventKind.CRASHED: "the pod has crashed",
    EventKind.DELETED: "the pod was deleted",
}
_SIZE = Terminal(rows=24, cols=80)
_ENVIRONMENT = ("TERM=xterm",)
_FULL = b"\r\n[too many connections to consoles are open; end one]\r\n"


class ConsoleSessions(Protocol):
    """What a console needs of the sessions with containers."""

    def exec(self, ref: str, container: str | None, command: Command) -> GuestStream: ...

    def attach(self, ref: str, container: str | None, stdin: bool) -> GuestStream: ...


class Consoles:
    """Every method may be called by any thread."""

    def __init__(
        self,
        registry: Registry,
        sessions: ConsoleSessions,
        file: Callable[[str], Path],
        settings: ConsoleSettings,
    ) -> None:
        """*file* is where the port of a pod is written down."""
        self._registry = registry
        self._sessions = sessions
        self._settings = settings
        self._lock = threading.Lock()
        self._kinds: dict[str, ConsoleKind] = {}
        self._bridges: dict[Bridge, tuple[str, threading.Thread]] = {}
        self._stopped = False
        self._listeners = Listeners(settings.address, settings.clients, self._accepted)
        self._reservations = Reservations(settings.ports, file)
        self._reservations.load(entry.id for entry in registry)

    def open(self, ref: str, kind: ConsoleKind) -> ConsolePort:
        """Listen for the console of a pod that runs, and return where; idempotent.

        *kind* holds for connections from now on.

        :raises Conflict: when the pod does not run.
        :raises PortsExhausted: when no port is left.
        """
        entry = self._registry.get(ref)
        with self._lock:
            self._require_live(entry)
            port = self._listeners.port(entry.id) or self._listen(entry)
            self._kinds[entry.id] = kind
            if entry.gone or entry.pod.state not in _LIVE:
                # It ended meanwhile, and its end may have been told before there was anything
                # to close.
                self._close(entry.id)
                self._reservations.forget(entry.id)
                self._require_live(entry)
        return ConsolePort(self._settings.address, port)

    @staticmethod
    def _require_live(entry: Entry) -> None:
        pod = entry.pod
        if entry.gone or pod.state is PodState.DELETING:
            raise PodNotFound(f"pod {pod.spec.name} is being deleted")
        if pod.state not in _LIVE:
            raise Conflict(
                f"pod {pod.spec.name} does not run (it is {pod.state}), so it has no console; "
                "start it first"
            )

    def _listen(self, entry: Entry) -> int:
        candidates = self._reservations.candidates(entry.id, self._listeners.__contains__)
        address = self._settings.address
        try:
            port = self._listeners.open(entry.id, candidates)
        except OSError as exc:
            raise HyperError(
                f"hyperd cannot listen on {address} ([console] listen_address): {exc.strerror}"
            ) from exc
        if port is None:
            first, last = self._settings.ports[0], self._settings.ports[-1]
            raise PortsExhausted(
                f"all ports for consoles are in use ({first} to {last} on {address}); close a "
                "console by stopping its pod, or enlarge [console] port_range in hyperd.conf"
            )
        self._reservations.give(entry.id, port)
        return port

    def take(self, event: Event) -> None:
        """Close the console of a pod that has ended; does not wait."""
        said = _ENDS.get(event.kind)
        if said is None:
            return
        with self._lock:
            self._close(event.pod_id)
            if event.kind is EventKind.DELETED:
                self._reservations.forget(event.pod_id)
            ended = [b for b, (pod_id, _) in self._bridges.items() if pod_id == event.pod_id]
        for bridge in ended:
            bridge.end(said)

    def _close(self, pod_id: str) -> None:
        self._listeners.close(pod_id)
        self._kinds.pop(pod_id, None)

    def stop(self) -> None:
        """Close everything: the daemon ends.  A pod has its port back when it is asked for."""
        with self._lock:
            self._stopped = True
            running = dict(self._bridges)
        self._listeners.stop()
        for bridge in running:
            bridge.end("hyperd ends; connect again")
        deadline = time.monotonic() + _FINISH_S
        for _, thread in running.values():
            with contextlib.suppress(RuntimeError):  # it has not begun yet
                thread.join(timeout=max(0.0, deadline - time.monotonic()))

    def _accepted(self, pod_id: str, sock: socket.socket) -> None:
        bridge = Bridge(sock, lambda: self._terminal(pod_id))
        thread = threading.Thread(
            target=self._serve, args=(bridge, pod_id), name="console", daemon=True
        )
        with self._lock:
            mine = sum(1 for owner, _ in self._bridges.values() if owner == pod_id)
            full = mine >= PER_POD or len(self._bridges) >= self._settings.max_connections
            if not full and not self._stopped and pod_id in self._kinds:
                self._bridges[bridge] = (pod_id, thread)
        if bridge not in self._bridges:
            LOG.warning("a connection to the console of pod %s is one too many", pod_id)
            with contextlib.suppress(OSError):
                sock.send(_FULL)
            sock.close()
            return
        try:
            thread.start()
        except RuntimeError as exc:  # no more threads
            LOG.error("a connection to the console of pod %s is not served: %s", pod_id, exc)
            with self._lock:
                del self._bridges[bridge]
            sock.close()

    def _serve(self, bridge: Bridge, pod_id: str) -> None:
        LOG.info("pod %s: a connection to its console begins", pod_id)
        try:
            bridge.serve()
        except Exception:
            LOG.exception("a connection to the console of pod %s failed", pod_id)
        finally:
            with self._lock:
                del self._bridges[bridge]
            LOG.info("pod %s: a connection to its console has ended", pod_id)

    def _terminal(self, pod_id: str) -> GuestStream:
        """Open what a connection is joined to.

        :raises HyperError: saying why there is nothing.
        """
        kind = self._kinds.get(pod_id, ConsoleKind.AUTO)
        container = self._registry.get(pod_id).pod.spec.containers[0]
        if kind is ConsoleKind.AUTO:
            own = container.tty and container.stdin
            kind = ConsoleKind.ATTACH if own else ConsoleKind.SHELL
        if kind is ConsoleKind.ATTACH:
            return self._sessions.attach(pod_id, None, container.stdin)
        return self._shell(pod_id)

    def _shell(self, pod_id: str) -> GuestStream:
        failed = ""
        for shell in self._settings.shells:
            command = Command((shell,), env=_ENVIRONMENT, terminal=_SIZE, stdin=True)
            try:
                return self._sessions.exec(pod_id, None, command)
            except ContainerFailed as exc:
                failed = exc.message
        raise ContainerFailed(
            f"there is no shell to start here: {failed or 'none is configured'}; what the pod "
            "prints is in the console log"
        )
