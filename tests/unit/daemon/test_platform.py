"""The host as pods and clients see it."""

from __future__ import annotations

import dataclasses
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from nova_hyper.daemon import platform
from nova_hyper.daemon.hypervisor.probe import Verdict
from nova_hyper.daemon.platform import HostPlatform
from nova_hyper.spec.errors import GuestFailed, GuestMissing, HypervisorUnavailable
from tests.unit.daemon.fakes import PATIENCE_S, Failures
from tests.unit.daemon.hypervisor.test_facts import read
from tests.unit.daemon.hypervisor.test_probe import ASSETS

FACTS = read()
KVM = Verdict("kvm", "a guest booted under KVM")
TCG = Verdict("qemu", "no KVM")


class Host(Failures):
    def __init__(self, tmp_path, verdict=KVM, overhead=0):
        super().__init__()
        self.facts = FACTS
        self.verdict = verdict
        self.asked = []
        self.platform = HostPlatform(
            self._read, self._judge, self._assets, tmp_path, overhead, min_memory_mib=32
        )

    def _read(self):
        self.asked.append("facts")
        self.check("facts")
        return self.facts

    def _judge(self, facts):
        assert facts == self.facts
        self.asked.append("judge")
        self.check("judge")
        return self.verdict

    def _assets(self):
        self.check("assets")
        return ASSETS


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def test_libvirt_is_asked_once(host):
    for _ in range(3):
        assert host.platform.virt_type() == "kvm"
        assert host.platform.owner() == "64055:64055"
    assert host.asked == ["facts", "judge"]


def test_the_same_libvirt_again_is_not_judged_again(host):
    host.platform.verdict()
    host.platform.refresh()
    host.platform.verdict()
    assert host.asked.count("judge") == 1


def test_another_qemu_is_judged_again(host):
    host.platform.verdict()
    host.facts = dataclasses.replace(FACTS, hypervisor_version=9000000)
    host.verdict = TCG
    host.platform.refresh()
    assert host.platform.virt_type() == "qemu"


def test_what_libvirt_could_not_say_is_asked_again(host):
    host.fail("facts", HypervisorUnavailable("away"))
    with pytest.raises(HypervisorUnavailable):
        host.platform.facts()
    assert host.platform.facts() == FACTS


def test_facts_do_not_wait_for_a_trial(host):
    trying, go = threading.Event(), threading.Event()

    def judge(_facts):
        trying.set()
        assert go.wait(PATIENCE_S)
        return KVM

    host.platform._judge = judge
    with ThreadPoolExecutor() as pool:
        verdict = pool.submit(host.platform.verdict)
        assert trying.wait(PATIENCE_S)
        assert host.platform.owner() == "64055:64055"
        host.platform.refresh()
        go.set()
        assert verdict.result(PATIENCE_S) == KVM


def test_two_at_once_try_once(host):
    with ThreadPoolExecutor() as pool:
        assert {f.result() for f in [pool.submit(host.platform.verdict) for _ in range(8)]} == {
            KVM
        }
    assert host.asked.count("judge") == 1


def test_a_trial_that_failed_is_not_repeated_for_every_question(host, monkeypatch):
    host.fail("judge", GuestFailed("no guest boots here"))
    for _ in range(3):
        with pytest.raises(GuestFailed, match="no guest boots here"):
            host.platform.verdict()
    assert host.asked.count("judge") == 1
    monkeypatch.setattr(platform.time, "monotonic", lambda: float("inf"))
    assert host.platform.verdict() == KVM


@pytest.mark.parametrize("error", [GuestMissing("no guest"), HypervisorUnavailable("away")])
def test_what_passes_is_tried_again_at_once(host, error):
    host.fail("judge", error)
    with pytest.raises(type(error)):
        host.platform.verdict()
    assert host.platform.verdict() == KVM


def test_a_description_has_the_facts(host, tmp_path):
    found = host.platform.describe(3)
    disk = os.statvfs(tmp_path)
    assert found.pods == 3
    assert (found.virt_type, found.virt_reason) == ("kvm", "a guest booted under KVM")
    assert (found.guest_kernel, found.guest_agent) == ("6.1", "1")
    assert (found.vcpus, found.min_memory_mib) == (2, 32)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert found.memory_mib == pages >> 20
    assert found.disk_gib == disk.f_blocks * disk.f_frsize >> 30
    assert 0 < found.memory_used_mib < 1 << 24
    assert found.uptime_s > 0
    assert found.state_dir == str(tmp_path)
    assert found.cpu == FACTS.cpu


@pytest.mark.parametrize(
    ("verdict", "configured", "overhead"), [(KVM, 0, 24), (TCG, 0, 96), (TCG, 50, 50)]
)
def test_the_overhead_depends_on_the_accelerator(tmp_path, verdict, configured, overhead):
    host = Host(tmp_path, verdict, configured)
    assert host.platform.describe(0).pod_overhead_mib == overhead


@pytest.mark.parametrize("error", [GuestMissing("build one"), GuestFailed("no guest boots")])
def test_without_a_usable_guest_the_reason_is_in_the_description(host, error):
    host.fail("judge", error)
    found = host.platform.describe(0)
    assert (found.virt_type, found.virt_reason) == ("qemu", error.message)
    assert (found.guest_kernel, found.guest_agent) == ("", "")


def test_without_libvirt_there_is_no_description(host):
    host.fail("judge", HypervisorUnavailable("away"))
    with pytest.raises(HypervisorUnavailable):
        host.platform.describe(0)


@pytest.mark.parametrize(
    ("machine", "arch"), [("x86_64", "amd64"), ("aarch64", "arm64"), ("riscv64", "riscv64")]
)
def test_architectures_are_named_as_images_name_them(host, monkeypatch, machine, arch):
    uname = os.uname_result((*os.uname()[:4], machine))
    monkeypatch.setattr(os, "uname", lambda: uname)
    assert host.platform.arch() == arch
