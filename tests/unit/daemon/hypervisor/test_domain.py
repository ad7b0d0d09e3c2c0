"""The domain XML of a micro-VM."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from lxml import etree

from nova_hyper.daemon.hypervisor import domain as module
from nova_hyper.daemon.hypervisor.domain import (
    Disk,
    Domain,
    max_devices,
    name_of,
    pod_id_of,
    to_xml,
)
from nova_hyper.spec.nic import PLACED, Nic, NicKind, pci_address
from tests.unit.daemon.fakes import POD_ID

SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")
PLAIN = Domain(
    pod_id=POD_ID,
    vcpus=2,
    memory_mib=256,
    kernel=Path("/guest/vmlinux"),
    initramfs=Path("/guest/initramfs.cpio"),
    cmdline="console=hvc0 panic=-1",
    agent_socket=Path("/run/hyperd/agents/x.sock"),
    console_log=Path("/var/lib/hyperd/pods/x/console.log"),
    virt_type="qemu",
)
OVS = Nic(
    "52:54:00:00:00:01",
    NicKind.OVS,
    bridge="br-int",
    interface_id="0f0e0d0c-0000-4000-8000-00000000000a",
    device="tap0f0e0d0c-00",
    mtu=1450,
    offload=False,
)
BRIDGE = Nic("52:54:00:00:00:02", NicKind.BRIDGE, bridge="br0")
TAP = Nic("52:54:00:00:00:03", NicKind.TAP, device="tap7", mtu=9000)


def layers(count):
    return tuple(Disk(Path(f"/layers/{i}"), f"l{i}", readonly=True) for i in range(count))


UPPER = Disk(Path("/pods/x/upper-main.img"), "upper0", readonly=False)
SHAPES = {
    "plain": PLAIN,
    "kvm": dataclasses.replace(PLAIN, virt_type="kvm"),
    "log": dataclasses.replace(PLAIN, container_log=Path("/pods/x/container.log")),
    "firmware": dataclasses.replace(PLAIN, firmware=Path("/usr/share/qemu/qboot.rom")),
    "owner": dataclasses.replace(PLAIN, owner="64055:109"),
    "nics": dataclasses.replace(PLAIN, nics=(OVS, BRIDGE, TAP)),
    "disks": dataclasses.replace(PLAIN, disks=(*layers(5), UPPER)),
    "many disks": dataclasses.replace(PLAIN, disks=layers(60), nics=(OVS,)),
    "all that fits": dataclasses.replace(PLAIN, disks=layers(max_devices(1) - 1), nics=(TAP,)),
}


def xml(domain=PLAIN, **changes):
    return ET.fromstring(to_xml(dataclasses.replace(domain, **changes), "hyper-"))


def attributes(element):
    assert element is not None
    return dict(element.attrib)


@pytest.mark.skipif(not SCHEMA.exists(), reason="libvirt's schemas are not installed")
@pytest.mark.parametrize("shape", SHAPES)
def test_libvirts_schema_accepts_it(shape):
    schema = _schema()
    document = etree.fromstring(to_xml(SHAPES[shape], "hyper-"))
    assert schema.validate(document), schema.error_log


def _schema(_cache=[]):  # noqa: B006 (it takes a second to read)
    if not _cache:
        _cache.append(etree.RelaxNG(etree.parse(str(SCHEMA))))
    return _cache[0]


def test_the_domain_is_named_and_numbered_after_the_pod():
    root = xml()
    assert root.findtext("name") == f"hyper-{POD_ID}"
    assert root.findtext("uuid") == POD_ID
    assert root.find(f"metadata/{{{module.NAMESPACE}}}pod").get("id") == POD_ID


@pytest.mark.parametrize(
    ("name", "pod_id"),
    [
        (f"hyper-{POD_ID}", POD_ID),
        ("hyper-", None),
        ("hyper-v-test", None),  # an operator's own machine
        (f"hyper-{POD_ID.upper()}", None),
        (f"hyper-{POD_ID}0", None),
        (f"instance-{POD_ID}", None),
        (POD_ID, None),
        ("", None),
    ],
)
def test_only_a_prefix_and_a_uuid_is_a_pods_domain(name, pod_id):
    assert pod_id_of(name, "hyper-") == pod_id


def test_two_daemons_have_their_own_domains():
    assert pod_id_of(name_of(POD_ID, "hyper-a-"), "hyper-b-") is None
    assert pod_id_of(name_of(POD_ID, "hyper-a-"), "hyper-a-") == POD_ID


def test_it_has_its_memory_and_processors():
    root = xml()
    assert (root.find("memory").get("unit"), root.findtext("memory")) == ("MiB", "256")
    assert root.findtext("vcpu") == "2"


def test_the_kernel_is_booted_directly():
    root = xml()
    assert root.find("os/type").attrib == {"arch": "x86_64", "machine": "q35"}
    assert root.findtext("os/kernel") == "/guest/vmlinux"
    assert root.findtext("os/initrd") == "/guest/initramfs.cpio"
    assert root.findtext("os/cmdline") == "console=hvc0 panic=-1"


def test_special_characters_are_escaped():
    nasty = Disk(Path("/a <&\"'> b"), "l0", readonly=True)
    root = xml(disks=(nasty,), cmdline='a="<&>"')
    assert root.find("devices/disk/source").get("file") == "/a <&\"'> b"
    assert root.findtext("os/cmdline") == 'a="<&>"'


@pytest.mark.parametrize(("firmware", "found"), [(None, None), (Path("/qboot.rom"), "/qboot.rom")])
def test_the_firmware_is_ours_or_qemus_own(firmware, found):
    assert xml(firmware=firmware).findtext("os/loader") == found


@pytest.mark.parametrize(
    ("virt_type", "mode", "model"), [("kvm", "host-model", None), ("qemu", "custom", "qemu64")]
)
def test_the_processor_is_the_hosts_under_kvm_only(virt_type, mode, model):
    root = xml(virt_type=virt_type)
    assert root.get("type") == virt_type
    assert root.find("cpu").get("mode") == mode
    assert root.findtext("cpu/model") == model


def test_a_guest_that_ends_stays_down():
    root = xml()
    ends = {root.findtext(event) for event in ("on_poweroff", "on_reboot")}
    assert ends == {"destroy"}


def test_a_guest_that_panics_is_kept_for_the_daemon_to_look():
    root = xml()
    assert root.findtext("on_crash") == "preserve"
    assert attributes(root.find("devices/panic")) == {"model": "isa"}


def test_with_an_owner_libvirt_changes_no_files_owner():
    label = xml(owner="64055:109").find("seclabel")
    assert attributes(label) == {"type": "static", "model": "dac", "relabel": "no"}
    assert label.findtext("label") == "+64055:+109"
    assert xml(owner="").find("seclabel") is None


def test_the_agent_and_the_console_have_their_ports():
    devices = xml().find("devices")
    assert devices.find("channel/target").get("name") == "org.nova-hyper.agent.0"
    assert attributes(devices.find("channel/source")) == {
        "mode": "bind",
        "path": "/run/hyperd/agents/x.sock",
    }
    assert attributes(devices.find("console/source")) == {
        "path": "/var/lib/hyperd/pods/x/console.log",
        "append": "on",
    }


def test_there_is_nothing_a_pod_does_not_need():
    devices = xml().find("devices")
    assert devices.find("controller[@type='usb']").get("model") == "none"
    assert devices.find("memballoon").get("model") == "none"
    for absent in ("graphics", "video", "input", "sound", "tpm"):
        assert devices.find(absent) is None


def test_layers_are_read_only_and_the_upper_gives_space_back():
    layer, upper = xml(disks=(*layers(1), UPPER)).findall("devices/disk")
    assert layer.find("readonly") is not None
    assert attributes(layer.find("driver")) == {"name": "qemu", "type": "raw"}
    assert layer.findtext("serial") == "l0"
    assert upper.find("readonly") is None
    assert upper.find("driver").get("discard") == "unmap"
    assert upper.findtext("serial") == "upper0"
    assert {d.find("target").get("bus") for d in (layer, upper)} == {"virtio"}


def test_disks_have_names_of_their_own_beyond_the_alphabet():
    names = [d.get("dev") for d in xml(disks=layers(60)).findall("devices/disk/target")]
    assert names[:2] + names[25:28] + names[51:54] == [
        "vda",
        "vdb",
        "vdz",
        "vdaa",
        "vdab",
        "vdaz",
        "vdba",
        "vdbb",
    ]
    assert len(set(names)) == 60


def interface(nic):
    return xml(nics=(nic,)).find("devices/interface")


@pytest.mark.parametrize(
    ("nic", "kind", "source", "target"),
    [
        (OVS, "bridge", {"bridge": "br-int"}, {"dev": "tap0f0e0d0c-00"}),
        (BRIDGE, "bridge", {"bridge": "br0"}, None),
        (TAP, "ethernet", None, {"dev": "tap7", "managed": "no"}),
    ],
)
def test_an_interface_is_connected_as_its_kind_says(nic, kind, source, target):
    found = interface(nic)
    assert found.get("type") == kind
    assert found.find("mac").get("address") == nic.mac
    for name, expected in (("source", source), ("target", target)):
        element = found.find(name)
        assert (None if element is None else dict(element.attrib)) == expected


def test_only_ovs_has_a_virtual_port():
    port = interface(OVS).find("virtualport")
    assert port.get("type") == "openvswitch"
    assert port.find("parameters").get("interfaceid") == OVS.interface_id
    assert interface(BRIDGE).find("virtualport") is None
    assert interface(TAP).find("virtualport") is None


def test_without_offload_nothing_is_left_to_the_host():
    driver = interface(OVS).find("driver")
    guest = attributes(driver.find("guest"))
    host = attributes(driver.find("host"))
    assert guest == dict.fromkeys(("csum", "tso4", "tso6", "ecn", "ufo"), "off")
    assert host == guest | {"gso": "off", "mrg_rxbuf": "on"}


def test_with_offload_qemus_defaults_count():
    assert interface(BRIDGE).find("driver") is None


@pytest.mark.parametrize(("nic", "mtu"), [(OVS, "1450"), (TAP, "9000"), (BRIDGE, None)])
def test_the_mtu_is_set_where_it_is_known(nic, mtu):
    found = interface(nic).find("mtu")
    assert (None if found is None else found.get("size")) == mtu


def places(domain):
    root = ET.fromstring(to_xml(domain, "hyper-"))
    return [
        (
            int(a.get("slot"), 16),
            int(a.get("function"), 16),
            a.get("multifunction") == "on",
        )
        for a in root.findall("devices/*/address")
    ]


@pytest.mark.parametrize("count", [0, 1, 27, 28, 29, 56, 57, 100, 223, 224])
def test_every_device_has_a_place_of_its_own_on_the_root_bus(count):
    found = places(dataclasses.replace(PLAIN, disks=layers(count)))
    taken = [(slot, function) for slot, function, _more in found]
    assert len(set(taken)) == len(taken) == count + 2  # and virtio-serial and rng
    assert all(1 <= slot <= 30 and 0 <= function <= 7 for slot, function in taken)
    shared = {slot for slot, function in taken if function > 0}
    for slot, function, more in found:
        # The guest looks at functions 1 to 7 only where function 0 says that there are more.
        assert more == (function == 0 and slot in shared)
    assert {slot for slot, function in taken if function == 0} == {slot for slot, _f in taken}


def test_few_devices_do_not_share_slots():
    found = places(dataclasses.replace(PLAIN, disks=layers(27), nics=(OVS,)))
    assert {function for _slot, function, _more in found} == {0}


def test_a_nics_place_does_not_depend_on_the_number_of_layers():
    few = xml(disks=layers(1), nics=(OVS, TAP)).findall("devices/interface/address")
    more = xml(disks=layers(20), nics=(OVS, TAP)).findall("devices/interface/address")
    most = xml(disks=layers(200), nics=(OVS, TAP)).findall("devices/interface/address")
    assert [dict(a.attrib) for a in few] == [dict(a.attrib) for a in more]
    assert [dict(a.attrib) for a in few] == [dict(a.attrib) for a in most]


@pytest.mark.parametrize("disks", [0, 3, 90])
def test_nics_are_where_users_are_told(disks):
    nics = tuple(dataclasses.replace(OVS, mac=f"52:54:00:00:00:{n:02x}") for n in range(20))
    found = [
        f"{int(a.get('domain'), 16):04x}:{int(a.get('bus'), 16):02x}:"
        f"{int(a.get('slot'), 16):02x}.{int(a.get('function'), 16)}"
        for a in xml(disks=layers(disks), nics=nics).findall("devices/interface/address")
    ]
    assert found[:PLACED] == [pci_address(n) for n in range(PLACED)]
    assert pci_address(PLACED) is None
    everything = places(dataclasses.replace(PLAIN, disks=layers(disks), nics=nics))
    assert len(set(everything)) == len(everything) == disks + 20 + 2


def test_too_many_devices_are_an_error():
    with pytest.raises(ValueError, match="225 devices are more than the 224 possible"):
        to_xml(dataclasses.replace(PLAIN, disks=layers(225)), "hyper-")


def test_the_containers_log_is_a_second_port_that_virtlogd_writes() -> None:
    devices = xml(container_log=Path("/pods/x/container.log")).find("devices")
    first, second = devices.findall("channel")
    assert first.find("target").get("name") == "org.nova-hyper.agent.0"
    assert second.get("type") == "file"
    assert attributes(second.find("source")) == {"path": "/pods/x/container.log", "append": "on"}
    assert attributes(second.find("target")) == {"type": "virtio", "name": "org.nova-hyper.log.0"}


def test_a_domain_without_a_log_has_one_port() -> None:
    assert len(xml().findall("devices/channel")) == 1
