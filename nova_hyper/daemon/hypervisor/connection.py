"""The connection to libvirtd: made on demand, remade after a restart of libvirtd."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

import libvirt

from nova_hyper.spec.errors import HypervisorUnavailable

LOG = logging.getLogger(__name__)

_RETRY_S = 0.2
_AGAIN_S = 5.0
_KEEPALIVE_S = 5
_KEEPALIVE_COUNT = 3
# A domain is paused and unpaused by others too: QEMU itself when the disk is full, an operator.
_NOTED = (
    libvirt.VIR_DOMAIN_EVENT_STOPPED,
    libvirt.VIR_DOMAIN_EVENT_CRASHED,
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED,
    libvirt.VIR_DOMAIN_EVENT_RESUMED,
)


def _silence(_context: object, _error: object) -> None:
    """Replace libvirt's habit of printing errors to stderr: they are raised anyway."""


class Connection:
    """One libvirt connection shared by all threads.

    *on_connect* is called in a thread of its own after every (re)connection,
    *on_domain_event* with a domain's name whenever something happened to it,
    from libvirt's event thread: it must return at once.
    """

    def __init__(
        self,
        uri: str,
        on_connect: Callable[[], None],
        on_domain_event: Callable[[str], None],
        patience: float = 5.0,
    ) -> None:
        self._uri = uri
        self._on_connect = on_connect
        self._on_domain_event = on_domain_event
        self._patience = patience
        self._changed = threading.Condition()
        self._connection: libvirt.virConnect | None = None
        self._lost = threading.Event()
        self._stopped = threading.Event()
        self._error = ""
        self._callback: int | None = None

    def start(self) -> None:
        """Start libvirt's event loop and the thread that keeps the connection up."""
        libvirt.registerErrorHandler(_silence, None)
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=self._run_events, name="libvirt-events", daemon=True).start()
        threading.Thread(target=self._keep_connected, name="libvirt-connect", daemon=True).start()

    def stop(self) -> None:
        """Let the threads end; domains are not touched."""
        self._stopped.set()
        self._lost.set()

    def get(self) -> libvirt.virConnect:
        """Return a live connection, waiting a little for a libvirtd that is restarting.

        :raises HypervisorUnavailable: when it does not come back in time.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._connection is not None, self._patience)
            if self._connection is not None:
                return self._connection
        raise HypervisorUnavailable(
            f"libvirt does not answer at {self._uri}: {self._error or 'not connected'}; "
            "check that libvirtd runs"
        )

    def lost(self, connection: libvirt.virConnect) -> None:
        """Note that *connection* has broken."""
        with self._changed:
            if self._connection is connection:
                self._connection = None
                self._error = "the connection broke"
                self._lost.set()

    def _run_events(self) -> None:
        while not self._stopped.is_set():
            if libvirt.virEventRunDefaultImpl() < 0:
                time.sleep(_RETRY_S)

    def _keep_connected(self) -> None:
        told = False
        while not self._stopped.is_set():
            try:
                connection = self._open()
            except libvirt.libvirtError as exc:
                self._error = str(exc)
                if not told:
                    LOG.error("libvirt does not answer at %s: %s", self._uri, exc)
                    told = True
                self._stopped.wait(_RETRY_S)
                continue
            told = False
            LOG.info("connected to libvirt at %s", self._uri)
            while not self._lost.is_set() and not self._told():
                self._lost.wait(_AGAIN_S)
            self._lost.wait()
            self._close(connection)

    def _told(self) -> bool:
        """Return whether *on_connect* could do all that it has to do."""
        try:
            self._on_connect()
        except HypervisorUnavailable as exc:
            LOG.warning("libvirt went away again: %s", exc)
        except Exception:
            LOG.exception("could not bring pods and libvirt into agreement; trying again")
        else:
            return True
        return False

    def _open(self) -> libvirt.virConnect:
        connection = libvirt.open(self._uri)
        try:
            # A connection without works as well, only its end is noticed later.
            with contextlib.suppress(libvirt.libvirtError):
                connection.setKeepAlive(_KEEPALIVE_S, _KEEPALIVE_COUNT)
            connection.registerCloseCallback(lambda *_: self.lost(connection), None)
            self._callback = connection.domainEventRegisterAny(
                None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._lifecycle, None
            )
        except libvirt.libvirtError:
            self._close(connection)
            raise
        with self._changed:
            if not self._stopped.is_set():
                self._lost.clear()
            self._connection = connection
            self._changed.notify_all()
        return connection

    def _lifecycle(
        self,
        _connection: libvirt.virConnect,
        domain: libvirt.virDomain,
        event: int,
        _detail: int,
        _opaque: object,
    ) -> None:
        if event in _NOTED:
            self._on_domain_event(domain.name())

    def _close(self, connection: libvirt.virConnect) -> None:
        # Each by itself: a connection that is not told to forget its callbacks is never freed.
        callback, self._callback = self._callback, None
        steps: list[Callable[[], object]] = [connection.unregisterCloseCallback, connection.close]
        if callback is not None:
            steps.insert(0, lambda: connection.domainEventDeregisterAny(callback))
        for step in steps:
            try:
                step()
            except libvirt.libvirtError as exc:
                LOG.debug("closing a broken libvirt connection: %s", exc)
