"""Limits and the make of a micro-VM in its domain XML."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from lxml import etree

from nova_hyper.daemon.hypervisor.domain import Disk, to_xml
from nova_hyper.spec.tuning import (
    Bandwidth,
    CpuLimits,
    CpuTopology,
    DiskLimits,
    NicLimits,
    Rng,
    Tuning,
)
from tests.unit.daemon.hypervisor.test_domain import BRIDGE, OVS, PLAIN, SCHEMA, TAP

DISKS = (
    Disk(Path("/layers/0"), "l0", readonly=True),
    Disk(Path("/pods/x/upper-main.img"), "upper0", readonly=False),
    Disk(Path("/pods/x/swap.img"), "swap", readonly=False, group="swap"),
)
WHOLE = Tuning(
    cpu=CpuLimits(shares=512, period_us=50000, quota_us=25000),
    topology=CpuTopology(1, 2, 1),
    disk=DiskLimits(read_bytes_sec=1 << 20, total_iops_sec=100),
    nic=NicLimits(Bandwidth(1000, 2000, 512), Bandwidth(500)),
    rng=Rng(True, 2048, 1000),
    multiqueue=True,
)


def xml(tuning, **changes):
    domain = dataclasses.replace(PLAIN, tuning=tuning, **changes)
    return ET.fromstring(to_xml(domain, "hyper-"))


def as_dict(element):
    return {child.tag: child.text for child in element}


def test_a_pod_without_limits_has_none_in_its_domain():
    root = xml(Tuning(), disks=DISKS, nics=(OVS, BRIDGE, TAP))
    for tag in ("cputune", "iotune", "bandwidth", "topology", "rate"):
        assert root.find(f".//{tag}") is None
    assert all("queues" not in driver.attrib for driver in root.iterfind(".//interface/driver"))


def test_cpu_limits_are_the_domains():
    assert as_dict(xml(WHOLE).find("cputune")) == {
        "shares": "512",
        "period": "50000",
        "quota": "25000",
    }
    only_shares = xml(Tuning(cpu=CpuLimits(shares=10)))
    assert as_dict(only_shares.find("cputune")) == {"shares": "10"}


@pytest.mark.parametrize("virt_type", ["kvm", "qemu"])
def test_the_guest_sees_its_cpus_as_asked(virt_type):
    topology = xml(WHOLE, virt_type=virt_type).find("cpu/topology")
    assert topology.attrib == {"sockets": "1", "dies": "1", "cores": "2", "threads": "1"}


def test_layers_and_what_is_written_share_one_limit_and_other_disks_have_their_own():
    groups = [as_dict(tune) for tune in xml(WHOLE, disks=DISKS).iterfind(".//disk/iotune")]
    limits = {"read_bytes_sec": "1048576", "total_iops_sec": "100"}
    assert groups == [
        {**limits, "group_name": "root"},
        {**limits, "group_name": "root"},
        {**limits, "group_name": "swap"},
    ]


def test_an_interface_has_the_limits_of_both_directions():
    bandwidth = xml(WHOLE, nics=(OVS,)).find(".//interface/bandwidth")
    assert {side.tag: side.attrib for side in bandwidth} == {
        "inbound": {"average": "1000", "peak": "2000", "burst": "512"},
        "outbound": {"average": "500"},
    }


def test_a_peak_without_an_average_is_no_limit():
    limits = Tuning(nic=NicLimits(inbound=Bandwidth(peak=5)))
    assert xml(limits, nics=(OVS,)).find(".//bandwidth") is None


def test_interfaces_have_a_queue_for_each_cpu_but_not_taps_of_others():
    drivers = [
        interface.find("driver")
        for interface in xml(WHOLE, nics=(OVS, BRIDGE, TAP)).iter("interface")
    ]
    assert drivers[0].get("queues") == "2"
    assert drivers[0].find("host") is not None
    assert drivers[1].attrib == {"queues": "2"}
    assert drivers[2] is None


def test_one_cpu_needs_no_more_than_one_queue():
    assert xml(WHOLE, vcpus=1, nics=(BRIDGE,)).find(".//interface/driver") is None


def test_the_random_number_generator_is_limited_or_left_out():
    assert xml(WHOLE).find(".//rng/rate").attrib == {"bytes": "2048", "period": "1000"}
    assert xml(Tuning(rng=Rng(enabled=False))).find(".//rng") is None


@pytest.mark.skipif(not SCHEMA.exists(), reason="libvirt's schemas are not installed")
def test_libvirts_schema_accepts_all_of_it():
    schema = etree.RelaxNG(etree.parse(str(SCHEMA)))
    domain = dataclasses.replace(PLAIN, tuning=WHOLE, disks=DISKS, nics=(OVS, BRIDGE, TAP))
    document = etree.fromstring(to_xml(domain, "hyper-"))
    assert schema.validate(document), schema.error_log
