"""Tagged interfaces, as the metadata service tells of them."""

from __future__ import annotations

from unittest import mock

import pytest
from nova import objects

from nova_hyper.virt import device_tags
from tests.unit.vif.ports import port
from tests.unit.virt.instances import instance

MACS = [f"fa:16:3e:00:00:0{n}" for n in range(3)]
PORTS = [port(address=mac, profile={}) for mac in MACS]


@pytest.fixture
def known():
    """What Nova's database has of a server's interfaces."""
    found = []
    with mock.patch.object(
        objects.VirtualInterfaceList, "get_by_instance_uuid", side_effect=lambda *_: found
    ):
        yield found


def test_a_tagged_interface_is_told_with_its_place(known):
    known += [
        objects.VirtualInterface(address=MACS[0], tag=None),
        objects.VirtualInterface(address=MACS[1], tag="storage"),
    ]
    (device,) = device_tags.metadata(None, instance(), PORTS).devices
    assert (device.mac, device.tags, device.vf_trusted) == (MACS[1], ["storage"], False)
    assert isinstance(device.bus, objects.PCIDeviceBus)
    assert device.bus.address == "0000:00:04.0"


def test_a_vlan_is_told_without_a_tag(known):
    ports = [port(address=MACS[0], profile={}, details={"vlan": "7"})]
    (device,) = device_tags.metadata(None, instance(), ports).devices
    assert device.vlan == 7
    assert not device.obj_attr_is_set("tags")


def test_without_tags_there_is_nothing_to_tell(known):
    assert device_tags.metadata(None, instance(), PORTS) is None
    assert device_tags.metadata(None, instance(), []) is None


def test_an_interface_beyond_those_with_places_has_none(known):
    known.append(objects.VirtualInterface(address="fa:16:3e:00:01:00", tag="last"))
    ports = [port(address=f"fa:16:3e:00:02:{n:02x}", profile={}) for n in range(16)]
    ports.append(port(address="fa:16:3e:00:01:00", profile={}))
    (device,) = device_tags.metadata(None, instance(), ports).devices
    assert not device.obj_attr_is_set("bus")
