"""The file of a saved memory, and the XML that a micro-VM is made again from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from nova_hyper.daemon.hypervisor.domain import to_xml
from nova_hyper.daemon.hypervisor.saved import (
    SavedDomain,
    is_complete,
    make_durable,
    updated_xml,
)
from nova_hyper.spec.nic import Nic, NicKind
from tests.unit.daemon.hypervisor.test_domain import PLAIN

MAC = "fa:16:3e:00:00:01"
OVS = Nic(MAC, NicKind.OVS, bridge="br-int", interface_id="p1", device="tap1", mtu=1442)


def updated(before, *nics, kernel=Path("/new/vmlinux")):
    xml = to_xml(dataclasses.replace(PLAIN, nics=before), "hyper-")
    saved = SavedDomain(PLAIN.pod_id, Path("/m"), nics, kernel, Path("/new/initramfs"))
    return ET.fromstring(updated_xml(xml, saved))


@pytest.mark.parametrize(
    ("content", "complete"),
    [(b"LibvirtQemudSave...", True), (b"LibvirtQemudPart...", False), (b"", False), (None, False)],
)
def test_a_memory_is_complete_when_libvirt_has_said_so_at_its_end(tmp_path, content, complete):
    path = tmp_path / "memory.save"
    if content is not None:
        path.write_bytes(content)
        make_durable(path)
    assert is_complete(path) is complete


@pytest.mark.parametrize(
    ("nic", "kind", "source", "device", "port"),
    [
        (
            dataclasses.replace(OVS, bridge="br-new", interface_id="p2", device="tap2"),
            "bridge",
            {"bridge": "br-new"},
            "tap2",
            "p2",
        ),
        (Nic(MAC.upper(), NicKind.BRIDGE, bridge="br0"), "bridge", {"bridge": "br0"}, None, None),
        (Nic(MAC, NicKind.TAP, device="tap9"), "ethernet", None, "tap9", None),
    ],
)
def test_an_interface_is_plugged_where_it_is_now_and_stays_what_the_guest_knows(
    nic, kind, source, device, port
):
    (element,) = updated((OVS,), nic).findall("devices/interface")
    assert element.get("type") == kind
    assert element.find("mac").get("address") == MAC
    assert element.find("mtu").get("size") == "1442"
    assert (None if element.find("source") is None else element.find("source").attrib) == source
    target = element.find("target")
    assert (None if target is None else target.get("dev")) == device
    parameters = element.find("virtualport/parameters")
    assert (None if parameters is None else parameters.get("interfaceid")) == port


def test_an_interface_of_which_nothing_is_known_stays_as_it_was():
    (element,) = updated((OVS,)).findall("devices/interface")
    assert element.find("virtualport/parameters").get("interfaceid") == "p1"


def test_a_kernel_that_is_gone_is_replaced_and_one_that_is_there_stays(tmp_path):
    kernel = tmp_path / "vmlinux"
    kernel.touch()
    assert updated((), kernel=kernel).findtext("os/kernel") == str(kernel)
    xml = to_xml(dataclasses.replace(PLAIN, kernel=kernel), "hyper-")
    saved = SavedDomain(PLAIN.pod_id, Path("/m"), (), Path("/new/vmlinux"), Path("/new/initrd"))
    root = ET.fromstring(updated_xml(xml, saved))
    assert root.findtext("os/kernel") == str(kernel)
    assert root.findtext("os/initrd") == "/new/initrd"
