"""The trial boot that tells whether KVM works."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from pathlib import Path

import pytest

from nova_hyper.daemon.guest.assets import GuestAssets
from nova_hyper.daemon.hypervisor.probe import Probe, Verdict
from nova_hyper.daemon.ports import DomainState
from nova_hyper.spec.errors import (
    GuestFailed,
    HypervisorFailed,
    HypervisorUnavailable,
    InsufficientMemory,
)
from tests.unit.daemon.fakes import FakeGuests, FakeHypervisor
from tests.unit.daemon.hypervisor.test_facts import read

ASSETS = GuestAssets(Path("/guest/vmlinux"), Path("/guest/initramfs"), "key-1", "6.1", "1")
FACTS = read()


class Host:
    """A host where some accelerators work."""

    def __init__(self, tmp_path, works=("kvm", "qemu"), error=None):
        self.hypervisor = FakeHypervisor()
        self.guests = FakeGuests(self.hypervisor)
        self.memory = tmp_path / "virt_type.json"
        self.runtime = tmp_path / "run"
        self.runtime.mkdir(exist_ok=True)
        self.works = works
        self.error = error or GuestFailed("the agent did not say hello")
        self.hypervisor.on_launch = self._launch

    def _launch(self, domain):
        # Sockets of the probe are not named after the pod.
        self.hypervisor.domains["agent"] = DomainState.RUNNING
        if domain.virt_type not in self.works:
            self.guests.fail("connect", self.error)

    @property
    def tried(self):
        return [d.virt_type for d in self.hypervisor.launched]

    def probe(self):
        return Probe(self.memory, self.runtime, self.hypervisor, self.guests, None)

    def judge(self, facts=FACTS, assets=ASSETS):
        return self.probe().judge(facts, assets)

    def left(self):
        self.hypervisor.domains.pop("agent", None)
        return [*self.hypervisor.domains, *(p.name for p in self.runtime.iterdir())]


@pytest.fixture(autouse=True)
def dev_kvm(monkeypatch):
    """The device is there, whatever this machine has."""
    real = os.access
    monkeypatch.setattr(
        os, "access", lambda path, *a, **k: path == "/dev/kvm" or real(path, *a, **k)
    )


def test_where_a_guest_boots_under_kvm_it_is_kvm(tmp_path):
    host = Host(tmp_path)
    assert host.judge() == Verdict("kvm", "a guest booted under KVM")
    assert host.tried == ["kvm"]
    assert host.left() == []
    assert all(session.closed.is_set() for session in host.guests.sessions)


def test_where_it_boots_only_without_kvm_it_is_tcg_and_says_why(tmp_path):
    host = Host(tmp_path, works=("qemu",))
    verdict = host.judge()
    assert verdict.virt_type == "qemu"
    assert "TCG" in verdict.reason
    assert "the agent did not say hello" in verdict.reason
    assert host.tried == ["kvm", "qemu"]
    assert host.left() == []


def test_where_libvirt_refuses_kvm_it_is_tcg(tmp_path):
    host = Host(tmp_path, works=("qemu",))
    host.hypervisor.fail("launch", HypervisorFailed("libvirt refused: no KVM"))
    assert host.judge().virt_type == "qemu"
    assert host.left() == []


@pytest.mark.parametrize("works", [("kvm", "qemu"), ("qemu",)])
def test_the_answer_is_remembered(tmp_path, works):
    first = Host(tmp_path, works)
    verdict = first.judge()
    second = Host(tmp_path, ())
    assert second.judge() == verdict
    assert second.tried == []


@pytest.mark.parametrize(
    ("facts", "assets"),
    [
        (FACTS, dataclasses.replace(ASSETS, key="key-2")),
        (dataclasses.replace(FACTS, hypervisor_version=8000000), ASSETS),
        (dataclasses.replace(FACTS, cpu=dataclasses.replace(FACTS.cpu, model="EPYC")), ASSETS),
    ],
)
def test_after_a_change_it_is_tried_again(tmp_path, facts, assets):
    Host(tmp_path, ("qemu",)).judge()
    host = Host(tmp_path)
    assert host.judge(facts, assets).virt_type == "kvm"
    assert host.tried == ["kvm"]


def test_another_kernel_of_the_host_is_a_change(tmp_path, monkeypatch):
    Host(tmp_path, ("qemu",)).judge()
    uname = os.uname()
    newer = os.uname_result((*uname[:2], "99.9-new", *uname[3:]))
    monkeypatch.setattr(os, "uname", lambda: newer)
    assert Host(tmp_path).judge().virt_type == "kvm"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"key": 1}', "null"])
def test_a_damaged_memory_is_tried_again_and_mended(tmp_path, content):
    host = Host(tmp_path)
    host.memory.write_text(content)
    assert host.judge().virt_type == "kvm"
    assert json.loads(host.memory.read_text())["virt_type"] == "kvm"


def test_libvirt_going_away_teaches_nothing(tmp_path):
    host = Host(tmp_path)

    def go_away(_domain):
        host.hypervisor.away = True
        host.guests.fail("connect", GuestFailed("gone"))

    host.hypervisor.on_launch = go_away
    with pytest.raises(HypervisorUnavailable):
        host.judge()
    assert not host.memory.exists()
    host.hypervisor.away = False
    host.hypervisor.on_launch = host._launch
    assert host.judge().virt_type == "kvm"


def test_libvirt_coming_back_in_the_middle_teaches_nothing(tmp_path):
    """The reconciliation took the trial for an orphan and ended it."""
    host = Host(tmp_path)

    def removed(_path):
        host.hypervisor.domains.clear()
        raise GuestFailed("the guest ended")

    host.guests.check = removed
    with pytest.raises(HypervisorUnavailable, match="try again"):
        host.judge()
    assert not host.memory.exists()


def test_a_guest_that_boots_nowhere_teaches_nothing(tmp_path):
    host = Host(tmp_path, works=())
    with pytest.raises(GuestFailed, match="did not say hello"):
        host.judge()
    assert host.tried == ["kvm", "qemu"]
    assert not host.memory.exists()
    assert host.left() == []


def test_a_host_without_memory_left_teaches_nothing(tmp_path):
    host = Host(tmp_path)
    with (
        host.hypervisor.failing("launch", InsufficientMemory("no memory")),
        pytest.raises(InsufficientMemory),
    ):
        host.judge()
    assert not host.memory.exists()


def test_a_full_disk_does_not_take_the_answer_away(tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert Host(tmp_path).judge().virt_type == "kvm"


def test_without_dev_kvm_nothing_is_tried(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_args, **_kwargs: False)
    host = Host(tmp_path)
    assert host.judge().virt_type == "qemu"
    assert "/dev/kvm" in host.judge().reason
    assert host.tried == []


def test_without_libvirts_kvm_nothing_is_tried(tmp_path):
    host = Host(tmp_path)
    verdict = host.judge(dataclasses.replace(FACTS, kvm=False))
    assert verdict.virt_type == "qemu"
    assert "libvirt" in verdict.reason
    assert host.tried == []


def test_what_a_killed_trial_has_left_is_removed(tmp_path):
    host = Host(tmp_path)
    left = host.runtime / "trial-abc"
    left.mkdir()
    (left / "console.log").touch()
    (host.runtime / "agents").mkdir()
    host.probe()
    assert [p.name for p in host.runtime.iterdir()] == ["agents"]
