"""Listening sockets of many pods, and the one thread that accepts for all of them."""

from __future__ import annotations

import errno
import ipaddress
import logging
import selectors
import socket
import threading
from collections.abc import Callable, Iterable, Sequence

from nova_hyper.daemon.console.settings import Network

LOG = logging.getLogger(__name__)

_BACKLOG = 4
_AGAIN_S = 0.5
Accepted = Callable[[str, socket.socket], None]


class Listeners:
    """Sockets by pod id, on one *address*.

    *accepted* is called with the pod's id and each connection from one of
    *clients*, in the one thread; it owns the socket and must not block.
    Connections from elsewhere are closed.
    """

    def __init__(self, address: str, clients: Sequence[Network], accepted: Accepted) -> None:
        self._address = address
        self._clients = clients
        self._accepted = accepted
        self._lock = threading.Lock()
        self._sockets: dict[str, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._wake_in, self._wake_out = socket.socketpair()
        self._selector.register(self._wake_in, selectors.EVENT_READ, None)
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def __contains__(self, pod_id: str) -> bool:
        return pod_id in self._sockets

    def port(self, pod_id: str) -> int | None:
        """Return the port of a pod that listens, else None."""
        with self._lock:
            sock = self._sockets.get(pod_id)
            return None if sock is None else int(sock.getsockname()[1])

    def open(self, pod_id: str, ports: Iterable[int]) -> int | None:
        """Listen for a pod on the first free one of *ports* and return it; None without any.

        :raises OSError: when the address is none of this host, or too many files are open.
        """
        for port in ports:
            try:
                sock = self._bound(port)
            except OSError as exc:
                if exc.errno != errno.EADDRINUSE:
                    raise
                continue
            with self._lock:
                if self._stopped.is_set():
                    sock.close()
                    raise OSError(errno.ESHUTDOWN, "hyperd ends")
                self._sockets[pod_id] = sock
                self._selector.register(sock, selectors.EVENT_READ, pod_id)
                if self._thread is None:  # most hosts never have a console
                    self._thread = threading.Thread(target=self._run, name="consoles", daemon=True)
                    self._thread.start()
            return port
        return None

    def close(self, pod_id: str) -> None:
        """Listen no longer for a pod; idempotent."""
        with self._lock:
            sock = self._sockets.pop(pod_id, None)
            if sock is not None:
                self._selector.unregister(sock)
                sock.close()

    def stop(self) -> None:
        """Close all and end the thread; idempotent."""
        with self._lock:
            if self._stopped.is_set():
                return
            self._stopped.set()
            pod_ids = list(self._sockets)
            thread = self._thread
        for pod_id in pod_ids:
            self.close(pod_id)
        if thread is not None:
            self._wake_out.send(b"x")
            thread.join(timeout=5)
        self._selector.close()
        self._wake_in.close()
        self._wake_out.close()

    def _bound(self, port: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            # Connections of before may linger on the port of a pod that is started again.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self._address, port))
            sock.listen(_BACKLOG)
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        return sock

    def _run(self) -> None:
        while not self._stopped.is_set():
            for key, _events in self._selector.select():
                if key.data is not None:
                    self._accept(key.data)

    def _accept(self, pod_id: str) -> None:
        with self._lock:
            listening = self._sockets.get(pod_id)
            if listening is None:  # closed since
                return
            try:
                sock, peer = listening.accept()
            except (BlockingIOError, ConnectionAbortedError):  # it has hung up already
                return
            except OSError as exc:
                problem = exc
                sock = None
        if sock is None:
            LOG.error("a connection to the console of pod %s waits: %s", pod_id, problem)
            self._stopped.wait(_AGAIN_S)  # for files that are closed, or memory
            return
        sock.setblocking(True)
        if not self._may(peer[0]):
            LOG.warning(
                "%s may not connect to consoles (of pod %s): it is not among [console] "
                "allowed_clients",
                peer[0],
                pod_id,
            )
            sock.close()
            return
        self._accepted(pod_id, sock)

    def _may(self, peer: str) -> bool:
        address = ipaddress.ip_address(peer.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(
            address.version == network.version and address in network for network in self._clients
        )
