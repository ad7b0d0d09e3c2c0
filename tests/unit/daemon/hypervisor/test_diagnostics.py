"""libvirt's statistics as the pod's figures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from nova_hyper.daemon.hypervisor.diagnostics import parse
from nova_hyper.daemon.hypervisor.domain import Disk, to_xml
from nova_hyper.spec.diagnostics import CpuTime, DiskCount, Memory, NicCount
from nova_hyper.spec.nic import Nic, NicKind
from tests.unit.daemon.hypervisor.test_domain import PLAIN

NIC = Nic("fa:16:3e:00:00:01", NicKind.TAP, device="tap1")
XML = to_xml(
    dataclasses.replace(PLAIN, nics=(NIC,), disks=(Disk(Path("/l"), "l0", readonly=True),)), "h-"
)
STATS = {
    "vcpu.current": 1,
    "vcpu.maximum": 2,
    "vcpu.0.time": 7,
    "balloon.maximum": 65536,
    "balloon.rss": 91000,
    "net.count": 1,
    "net.0.name": "tap1",
    "net.0.rx.bytes": 1,
    "net.0.rx.pkts": 2,
    "net.0.rx.errs": 3,
    "net.0.rx.drop": 4,
    "net.0.tx.bytes": 5,
    "net.0.tx.pkts": 6,
    "net.0.tx.errs": 7,
    "net.0.tx.drop": 8,
    "block.count": 1,
    "block.0.name": "vda",
    "block.0.rd.reqs": 9,
    "block.0.rd.bytes": 10,
    "block.0.wr.reqs": 11,
    "block.0.wr.bytes": 12,
}


def test_figures_have_the_names_that_the_guest_knows():
    found = parse(STATS, XML)
    assert found.cpus == (CpuTime(0, 7),)
    assert found.memory == Memory(64, None, 88)
    assert found.nics == (NicCount(NIC.mac, 1, 2, 3, 4, 5, 6, 7, 8),)
    assert found.disks == (DiskCount("l0", 10, 9, 12, 11),)


def test_what_libvirt_does_not_count_is_nothing():
    found = parse({"net.count": 1, "block.count": 1}, XML)
    assert found.cpus == ()
    assert found.memory == Memory(0)
    assert found.nics[0].rx_bytes == 0
    assert found.disks[0].read_bytes == 0
