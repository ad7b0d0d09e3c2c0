"""The hypervisor port on libvirt, with libvirt's own test driver."""

from __future__ import annotations

import dataclasses
import uuid

import libvirt
import pytest

from nova_hyper.daemon.hypervisor import adapter
from nova_hyper.daemon.hypervisor.adapter import LibvirtHypervisor, qemu_pid
from nova_hyper.daemon.ports import DomainState
from nova_hyper.spec.errors import (
    HypervisorFailed,
    HypervisorUnavailable,
    InsufficientMemory,
    NetworkFailed,
)
from nova_hyper.spec.nic import Nic, NicKind
from tests.unit.daemon.hypervisor.test_domain import PLAIN

NIC = Nic("52:54:00:00:00:02", NicKind.BRIDGE, bridge="br0")


@pytest.fixture
def prefix():
    return f"t{uuid.uuid4().hex[:8]}-"


@pytest.fixture
def hypervisor(libvirtd, prefix):
    made = LibvirtHypervisor(libvirtd.connection, prefix)
    yield made
    for pod_id in made.states():
        made.destroy(pod_id)


@pytest.fixture
def domain():
    return dataclasses.replace(PLAIN, pod_id=str(uuid.uuid4()), virt_type="test")


def names(libvirtd):
    return {d.name() for d in libvirtd.connection.get().listAllDomains(0)}


def test_a_launched_domain_runs(hypervisor, domain):
    hypervisor.launch(domain)
    assert hypervisor.state(domain.pod_id) is DomainState.RUNNING
    assert hypervisor.states() == {domain.pod_id: DomainState.RUNNING}


def test_a_destroyed_domain_is_forgotten_and_destroying_is_idempotent(
    hypervisor, domain, libvirtd
):
    before = names(libvirtd)
    hypervisor.launch(domain)
    hypervisor.destroy(domain.pod_id)
    hypervisor.destroy(domain.pod_id)
    assert hypervisor.state(domain.pod_id) is None
    assert names(libvirtd) == before


def test_a_domain_that_ended_is_off_until_it_is_forgotten(hypervisor, domain, libvirtd, prefix):
    hypervisor.launch(domain)
    _handle(libvirtd, prefix, domain).destroy()
    assert hypervisor.state(domain.pod_id) is DomainState.OFF
    hypervisor.destroy(domain.pod_id)
    assert hypervisor.states() == {}


def test_a_paused_domain_is_paused(hypervisor, domain, libvirtd, prefix):
    hypervisor.launch(domain)
    _handle(libvirtd, prefix, domain).suspend()
    assert hypervisor.state(domain.pod_id) is DomainState.PAUSED


def _handle(libvirtd, prefix, domain):
    return libvirtd.connection.get().lookupByName(prefix + domain.pod_id)


def test_a_domain_that_goes_while_it_is_looked_at_is_none(
    hypervisor, domain, libvirtd, prefix, monkeypatch
):
    hypervisor.launch(domain)
    look_up = hypervisor._lookup

    def looked_up(connection, pod_id):
        handle = look_up(connection, pod_id)
        other = libvirtd.connection.get().lookupByName(f"{prefix}{pod_id}")
        other.destroy()
        other.undefine()
        return handle

    monkeypatch.setattr(hypervisor, "_lookup", looked_up)
    assert hypervisor.state(domain.pod_id) is None


def test_domains_of_others_are_neither_seen_nor_touched(hypervisor, domain, libvirtd):
    other = LibvirtHypervisor(libvirtd.connection, "other-")
    other.launch(domain)
    assert hypervisor.states() == {}
    assert hypervisor.state(domain.pod_id) is None
    hypervisor.destroy(domain.pod_id)
    assert other.state(domain.pod_id) is DomainState.RUNNING
    other.destroy(domain.pod_id)
    assert "test" in names(libvirtd)  # the test driver's own


def test_the_end_of_a_domain_is_told_by_name(hypervisor, domain, libvirtd, prefix):
    hypervisor.launch(domain)
    _handle(libvirtd, prefix, domain).destroy()
    while libvirtd.event() != prefix + domain.pod_id:
        pass


def test_a_launch_that_libvirt_refuses_leaves_nothing(hypervisor, domain, libvirtd):
    before = names(libvirtd)
    with pytest.raises(HypervisorFailed, match="libvirt refused") as failed:
        hypervisor.launch(dataclasses.replace(domain, virt_type="no-such-type"))
    assert "\n" not in failed.value.message
    assert names(libvirtd) == before


def test_a_domain_that_is_defined_but_does_not_start_is_forgotten(
    hypervisor, domain, libvirtd, monkeypatch
):
    def fail(_domain):
        raise libvirt.libvirtError("no start")

    before = names(libvirtd)
    monkeypatch.setattr(libvirt.virDomain, "create", fail)
    with pytest.raises(HypervisorFailed):
        hypervisor.launch(domain)
    assert names(libvirtd) == before


def test_facts_are_read(hypervisor):
    facts = hypervisor.facts()
    assert facts.vcpus > 0
    assert facts.libvirt_version >= 9000000
    assert not facts.kvm


class Error(libvirt.libvirtError):
    """An error of libvirt as it comes from libvirtd."""

    def __init__(self, text, code=libvirt.VIR_ERR_INTERNAL_ERROR, domain=libvirt.VIR_FROM_QEMU):
        super().__init__(text)
        self.err = (code, domain, text, 2, None, None, None, -1, -1)

    def __str__(self):
        return self.err[2]


@pytest.mark.parametrize(
    ("error", "cls"),
    [
        (Error("internal error: process exited: cannot allocate memory"), InsufficientMemory),
        (Error("out of memory", libvirt.VIR_ERR_NO_MEMORY), InsufficientMemory),
        (Error("Cannot get interface MTU on 'br0': No such device"), NetworkFailed),
        (Error("Unable to add port tap7 to OVS bridge br-int"), NetworkFailed),
        (Error("no such network", domain=libvirt.VIR_FROM_NETWORK), NetworkFailed),
        (Error("internal error: qemu exited: could not load kernel"), HypervisorFailed),
    ],
)
def test_errors_are_told_by_kind_in_one_line(
    hypervisor, domain, libvirtd, monkeypatch, error, cls
):
    def fail(_connection, _xml):
        raise error

    monkeypatch.setattr(libvirt.virConnect, "defineXML", fail)
    with pytest.raises(cls) as failed:
        hypervisor.launch(dataclasses.replace(domain, nics=(NIC,)))
    assert type(failed.value) is cls
    assert "internal error: " not in failed.value.message


def test_without_interfaces_no_error_is_the_networks(hypervisor, domain, monkeypatch):
    def fail(_connection, _xml):
        raise Error("internal error: -device pcie-pci-bridge: no room on the bus")

    monkeypatch.setattr(libvirt.virConnect, "defineXML", fail)
    with pytest.raises(HypervisorFailed):
        hypervisor.launch(domain)


def test_a_connection_that_broke_is_unavailable_and_made_again(hypervisor, libvirtd, monkeypatch):
    def fail(*_args):
        raise Error("Cannot recv data: Connection reset by peer", libvirt.VIR_ERR_SYSTEM_ERROR)

    broken = libvirtd.connection.get()
    with monkeypatch.context() as patch:
        patch.setattr(libvirt.virConnect, "listAllDomains", fail)
        patch.setattr(libvirt.virConnect, "isAlive", lambda _self: False)
        with pytest.raises(HypervisorUnavailable, match="try again"):
            hypervisor.states()
    libvirtd.connected()
    assert libvirtd.connection.get() is not broken
    assert hypervisor.states() == {}


def test_an_error_on_a_connection_that_lives_is_not_the_connections(
    hypervisor, libvirtd, monkeypatch
):
    def fail(*_args):
        raise Error("internal error: something else")

    with monkeypatch.context() as patch:
        patch.setattr(libvirt.virConnect, "listAllDomains", fail)
        with pytest.raises(HypervisorFailed):
            hypervisor.states()
    assert libvirtd.connects.empty()


@pytest.mark.parametrize(
    ("content", "pid"), [("4242\n", 4242), ("4242", 4242), ("", 0), ("x", 0), (None, 0)]
)
def test_the_process_id_is_what_libvirt_wrote_down(tmp_path, content, pid):
    if content is not None:
        (tmp_path / "hyper-x.pid").write_text(content)
    assert qemu_pid("hyper-x", tmp_path) == pid


def test_every_method_of_the_port_is_there():
    from nova_hyper.daemon.ports import Hypervisor

    wanted = {n for n in vars(Hypervisor) if not n.startswith("_")}
    assert wanted <= set(vars(adapter.LibvirtHypervisor))
