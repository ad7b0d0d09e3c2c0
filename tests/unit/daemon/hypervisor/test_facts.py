"""Facts from libvirt's capabilities; the sample is of libvirt 9.0 on Debian 12."""

from __future__ import annotations

from pathlib import Path

import pytest

from nova_hyper.daemon.hypervisor import facts

SAMPLE = Path(__file__).with_name("capabilities.xml").read_text()


def read(text=SAMPLE):
    return facts.read(text, hypervisor_version=7002000, libvirt_version=9000000, vcpus=2)


def test_the_facts_of_a_real_host():
    found = read()
    assert found.cpu.arch == "x86_64"
    assert (found.cpu.vendor, found.cpu.model) == ("AMD", "kvm64")
    assert (found.cpu.sockets, found.cpu.cores, found.cpu.threads) == (1, 2, 1)
    assert {"avx2", "aes", "pcid"} <= set(found.cpu.features)
    assert list(found.cpu.features) == sorted(found.cpu.features)
    assert found.vcpus == 2
    assert (found.hypervisor_version, found.libvirt_version) == (7002000, 9000000)
    assert found.owner == "64055:64055"
    assert found.kvm


def test_kvm_is_what_libvirt_offers_for_this_architecture():
    head, _, tail = SAMPLE.partition("<arch name='x86_64'>")
    assert not read(head + "<arch name='x86_64'>" + tail.replace("type='kvm'", "type='xen'")).kvm
    assert read(
        head.replace("<domain type='kvm'", "<domain type='xen'") + "<arch name='x86_64'>" + tail
    ).kvm


def test_without_dac_nobody_owns_the_files():
    assert read(SAMPLE.replace("<model>dac</model>", "<model>selinux</model>")).owner == ""


@pytest.mark.parametrize(
    "text",
    [
        "<capabilities/>",
        "<capabilities><host><cpu><arch>x86_64</arch></cpu></host></capabilities>",
    ],
)
def test_what_libvirt_does_not_say_has_a_default(text):
    found = read(text)
    assert found.cpu.arch == "x86_64"
    assert (found.cpu.sockets, found.cpu.cores, found.cpu.threads) == (1, 1, 1)
    assert (found.owner, found.kvm) == ("", False)
