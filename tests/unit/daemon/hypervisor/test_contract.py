"""What the hypervisor port promises, of the fake and of libvirt."""

from __future__ import annotations

import dataclasses
import uuid

import pytest

from nova_hyper.daemon.hypervisor.adapter import LibvirtHypervisor
from nova_hyper.daemon.ports import DomainState
from tests.unit.daemon.fakes import FakeHypervisor
from tests.unit.daemon.hypervisor.test_domain import PLAIN


@pytest.fixture(params=["fake", "libvirt"])
def hypervisor(request, libvirtd):
    if request.param == "fake":
        yield FakeHypervisor()
        return
    made = LibvirtHypervisor(libvirtd.connection, f"t{uuid.uuid4().hex[:8]}-")
    yield made
    for pod_id in made.states():
        made.destroy(pod_id)


@pytest.fixture
def domain(tmp_path):
    return dataclasses.replace(
        PLAIN,
        pod_id=str(uuid.uuid4()),
        virt_type="test",
        agent_socket=tmp_path / "agent.sock",
        console_log=tmp_path / "console.log",
    )


def test_a_domain_is_there_from_its_launch_until_it_is_destroyed(hypervisor, domain):
    assert hypervisor.state(domain.pod_id) is None
    assert isinstance(hypervisor.launch(domain), int)
    assert hypervisor.state(domain.pod_id) is DomainState.RUNNING
    assert hypervisor.states() == {domain.pod_id: DomainState.RUNNING}
    hypervisor.destroy(domain.pod_id)
    assert hypervisor.state(domain.pod_id) is None
    assert hypervisor.states() == {}


def test_destroying_what_is_not_there_is_no_error(hypervisor, domain):
    hypervisor.destroy(domain.pod_id)
    hypervisor.launch(domain)
    hypervisor.destroy(domain.pod_id)
    hypervisor.destroy(domain.pod_id)


def test_a_destroyed_domain_can_be_launched_again(hypervisor, domain):
    for _ in range(2):
        hypervisor.launch(domain)
        hypervisor.destroy(domain.pod_id)
    assert hypervisor.states() == {}
