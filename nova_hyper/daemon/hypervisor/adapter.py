"""The hypervisor port on libvirt."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import libvirt

from nova_hyper.daemon.hypervisor import diagnostics, facts, openvswitch, power
from nova_hyper.daemon.hypervisor.connection import Connection
from nova_hyper.daemon.hypervisor.domain import Domain, name_of, pod_id_of, to_xml
from nova_hyper.daemon.hypervisor.saved import SavedDomain
from nova_hyper.daemon.ports import DomainState
from nova_hyper.spec.diagnostics import Diagnostics
from nova_hyper.spec.errors import (
    HyperError,
    HypervisorFailed,
    HypervisorUnavailable,
    InsufficientMemory,
    NetworkFailed,
    SavedStateUnusable,
)

LOG = logging.getLogger(__name__)

_GONE = {
    libvirt.VIR_ERR_SYSTEM_ERROR,
    libvirt.VIR_ERR_INTERNAL_ERROR,
    libvirt.VIR_ERR_RPC,
    libvirt.VIR_ERR_INVALID_CONN,
    libvirt.VIR_ERR_NO_CONNECT,
}
_NETWORK = (libvirt.VIR_FROM_NETWORK, libvirt.VIR_FROM_INTERFACE)
_NETWORK_WORDS = ("bridge", "ovs-vsctl", "tap device", "network interface", "mtu")


class LibvirtHypervisor:
    """Micro-VMs through libvirt; see :class:`nova_hyper.daemon.ports.Hypervisor`.

    Domains whose names begin with *prefix* are ours, to be removed when they
    belong to no pod; all others are never touched.
    """

    def __init__(self, connection: Connection, prefix: str) -> None:
        self._connection = connection
        self._prefix = prefix

    @contextlib.contextmanager
    def _connected(self, nics: bool = False) -> Iterator[libvirt.virConnect]:
        """Give the connection and translate its errors; *nics*: interfaces may be the reason."""
        connection = self._connection.get()
        try:
            yield connection
        except libvirt.libvirtError as exc:
            if self._is_broken(connection, exc):
                self._connection.lost(connection)
                raise HypervisorUnavailable(
                    f"libvirt went away during the request: {exc}; try again"
                ) from exc
            raise _translate(exc, nics) from exc

    @staticmethod
    def _is_broken(connection: libvirt.virConnect, exc: libvirt.libvirtError) -> bool:
        if exc.get_error_code() not in _GONE:
            return False
        try:
            return not connection.isAlive()
        except libvirt.libvirtError:
            return True

    def launch(self, domain: Domain) -> int:
        """See :meth:`nova_hyper.daemon.ports.Hypervisor.launch`."""
        xml = to_xml(domain, self._prefix)
        LOG.debug("domain of pod %s: %s", domain.pod_id, xml)
        with self._connected(nics=bool(domain.nics)) as connection:
            handle = connection.defineXML(xml)
            try:
                handle.create()
            except libvirt.libvirtError:
                with contextlib.suppress(libvirt.libvirtError):
                    handle.undefine()
                openvswitch.forget_limits(domain.pod_id, xml)
                raise
        return qemu_pid(name_of(domain.pod_id, self._prefix))

    def destroy(self, pod_id: str) -> None:
        """See :meth:`nova_hyper.daemon.ports.Hypervisor.destroy`."""
        with self._connected() as connection:
            handle = self._lookup(connection, pod_id)
            if handle is None:
                return
            try:
                xml = handle.XMLDesc(0)
            except libvirt.libvirtError as exc:
                if exc.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:  # another call was faster
                    return
                raise
            for step in (handle.destroy, handle.undefine):
                try:
                    step()
                except libvirt.libvirtError as exc:
                    if exc.get_error_code() not in (
                        libvirt.VIR_ERR_OPERATION_INVALID,
                        libvirt.VIR_ERR_NO_DOMAIN,
                    ):
                        raise
            openvswitch.forget_limits(pod_id, xml)

    def _lookup(self, connection: libvirt.virConnect, pod_id: str) -> libvirt.virDomain | None:
        try:
            return connection.lookupByName(name_of(pod_id, self._prefix))
        except libvirt.libvirtError as exc:
            if exc.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise

    def states(self) -> dict[str, DomainState]:
        """See :meth:`nova_hyper.daemon.ports.Hypervisor.states`."""
        found = {}
        with self._connected() as connection:
            for handle in connection.listAllDomains(0):
                pod_id = pod_id_of(handle.name(), self._prefix)
                if pod_id is not None:
                    with contextlib.suppress(libvirt.libvirtError):  # gone since the list
                        found[pod_id] = _state(handle)
        return found

    def state(self, pod_id: str) -> DomainState | None:
        """See :meth:`nova_hyper.daemon.ports.Hypervisor.state`."""
        with self._connected() as connection:
            handle = self._lookup(connection, pod_id)
            try:
                return None if handle is None else _state(handle)
            except libvirt.libvirtError as exc:
                if exc.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:  # gone since the look-up
                    return None
                raise

    @contextlib.contextmanager
    def _domain(self, pod_id: str) -> Iterator[libvirt.virDomain]:
        with self._connected() as connection:
            handle = self._lookup(connection, pod_id)
            if handle is None:
                raise HypervisorFailed(f"libvirt has no domain of pod {pod_id}")
            yield handle

    def pause(self, pod_id: str) -> None:
        """See :meth:`nova_hyper.daemon.ports.Hypervisor.pause`."""
        with self._domain(pod_id) as handle:
            power.pause(handle)

    def unpause(self, pod_id: str) -> None:
        """See :meth:`nova_hyper.daemon.ports.Hypervisor.unpause`."""
        with self._domain(pod_id) as handle:
            power.unpause(handle)

    def save(self, pod_id: str, path: Path) -> None:
        """See :meth:`nova_hyper.daemon.ports.Hypervisor.save`."""
        with self._domain(pod_id) as handle:
            xml = handle.XMLDesc(0)
            power.save(handle, path)
            openvswitch.forget_limits(pod_id, xml)

    def load(self, saved: SavedDomain) -> int:
        """See :meth:`nova_hyper.daemon.ports.Hypervisor.load`."""
        try:
            with self._connected(nics=bool(saved.nics)) as connection:
                power.load(connection, saved)
        except HypervisorFailed as exc:
            raise SavedStateUnusable(
                f"the pod's saved memory cannot be used: {exc.message}"
            ) from exc
        return qemu_pid(name_of(saved.pod_id, self._prefix))

    def inject_nmi(self, pod_id: str) -> None:
        """See :meth:`nova_hyper.daemon.ports.Hypervisor.inject_nmi`."""
        with self._domain(pod_id) as handle:
            handle.injectNMI()

    def dump(self, pod_id: str, path: Path) -> None:
        """See :meth:`nova_hyper.daemon.ports.Hypervisor.dump`."""
        with self._domain(pod_id) as handle:
            power.dump(handle, path)

    def diagnostics(self, pod_id: str) -> Diagnostics:
        """See :meth:`nova_hyper.daemon.ports.Hypervisor.diagnostics`."""
        with self._domain(pod_id) as handle:
            return diagnostics.read(handle.connect(), handle)

    def facts(self) -> facts.Facts:
        """Return what libvirt knows of the host."""
        with self._connected() as connection:
            return facts.read(
                connection.getCapabilities(),
                hypervisor_version=connection.getVersion(),
                libvirt_version=connection.getLibVersion(),
                vcpus=connection.getInfo()[2],
            )


def _state(handle: libvirt.virDomain) -> DomainState:
    state, reason = handle.state()
    if state in (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED):
        return DomainState.RUNNING
    if state == libvirt.VIR_DOMAIN_PAUSED and reason == libvirt.VIR_DOMAIN_PAUSED_SAVE:
        return DomainState.SAVING
    if state in (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PMSUSPENDED):
        return DomainState.PAUSED
    if state == libvirt.VIR_DOMAIN_CRASHED:
        return DomainState.PANICKED
    return DomainState.OFF


def qemu_pid(domain_name: str, runtime_dir: Path = Path("/run/libvirt/qemu")) -> int:
    """Return the process id that libvirt wrote down for a domain, 0 when it did not."""
    try:
        return int((runtime_dir / f"{domain_name}.pid").read_text())
    except (OSError, ValueError):
        return 0


def _translate(exc: libvirt.libvirtError, nics: bool) -> HyperError:
    text = " ".join(str(exc).removeprefix("internal error: ").split())
    lowered = text.lower()
    if "cannot allocate memory" in lowered or exc.get_error_code() == libvirt.VIR_ERR_NO_MEMORY:
        return InsufficientMemory(f"the host cannot give the pod its memory: {text}")
    of_network = exc.get_error_domain() in _NETWORK or any(w in lowered for w in _NETWORK_WORDS)
    if nics and of_network:
        return NetworkFailed(f"a network interface of the pod could not be connected: {text}")
    return HypervisorFailed(f"libvirt refused: {text}")
