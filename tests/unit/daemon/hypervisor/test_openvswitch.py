"""What is removed from Open vSwitch's database after a domain with limits."""

from __future__ import annotations

import dataclasses
import subprocess

import pytest

from nova_hyper.daemon.hypervisor import openvswitch
from nova_hyper.daemon.hypervisor.domain import to_xml
from nova_hyper.spec.tuning import Bandwidth, NicLimits, Tuning
from tests.unit.daemon.fakes import POD_ID
from tests.unit.daemon.hypervisor.test_domain import BRIDGE, OVS, PLAIN

LIMITED = Tuning(nic=NicLimits(outbound=Bandwidth(10)))


class Database:
    """ovs-vsctl over records of two tables."""

    def __init__(self):
        self.rows = {"QoS": ["q1"], "Queue": ["u1", "u2"]}
        self.calls = []
        self.fails = False

    def __call__(self, command, **options):
        self.calls.append(command)
        if self.fails:
            raise subprocess.CalledProcessError(1, command)
        if "find" in command:
            table = command[command.index("find") + 1]
            assert command[-1] == f"external_ids:vm-id={POD_ID}"
            return subprocess.CompletedProcess(command, 0, "\n\n".join(self.rows[table]), "")
        table, row = command[-2:]
        if table == "Queue":
            assert not self.rows["QoS"]
        self.rows[table].remove(row)
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def database(monkeypatch):
    made = Database()
    monkeypatch.setattr(openvswitch.subprocess, "run", made)
    return made


def xml(*nics, tuning=LIMITED):
    return to_xml(dataclasses.replace(PLAIN, nics=nics, tuning=tuning), "hyper-")


def test_the_records_of_a_domain_with_limits_go(database):
    openvswitch.forget_limits(POD_ID, xml(OVS))
    assert database.rows == {"QoS": [], "Queue": []}


@pytest.mark.parametrize("domain", [xml(), xml(BRIDGE), xml(OVS, tuning=Tuning())])
def test_nothing_is_asked_for_a_domain_that_has_none(database, domain):
    openvswitch.forget_limits(POD_ID, domain)
    assert database.calls == []


def test_a_switch_that_does_not_answer_keeps_nobody_from_ending_a_pod(database, caplog):
    database.fails = True
    openvswitch.forget_limits(POD_ID, xml(OVS))
    assert "limits of interfaces stay" in caplog.text
