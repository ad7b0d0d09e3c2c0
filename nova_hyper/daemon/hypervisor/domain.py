"""A micro-VM as values, and its libvirt domain XML.

Source of the format: https://libvirt.org/formatdomain.html
"""

from __future__ import annotations

import dataclasses
import uuid
from pathlib import Path
from xml.etree import ElementTree as ET

from nova_hyper.daemon.hypervisor import tuning
from nova_hyper.spec.nic import FIRST_SLOT, PLACED, Nic, NicKind
from nova_hyper.spec.tuning import Tuning

AGENT_PORT = "org.nova-hyper.agent.0"
LOG_PORT = "org.nova-hyper.log.0"
NAMESPACE = "https://docs.openstack.org/nova-hyper/domain/1"

# pcie.0 holds every device a pod starts with: a root port for each would cost a bus scan in the
# guest. 0 is the host bridge and 31 the chipset; the first two of ours are fixed.
_SERIAL_SLOT = 1
_SERIAL_PORTS = 3
_RNG_SLOT = 2
_LAST_SLOT = 30
_FUNCTIONS = 8


@dataclasses.dataclass(frozen=True)
class Disk:
    """A virtio disk; the guest finds it by ``serial`` (at most 20 characters).

    ``group`` are the disks that share the pod's limits with it.
    """

    path: Path
    serial: str
    readonly: bool
    group: str = "root"


@dataclasses.dataclass(frozen=True)
class Domain:
    """What the hypervisor is asked to run.

    ``owner`` is ``uid:gid`` that QEMU runs as, empty for libvirt's default
    labelling; ``firmware`` None is QEMU's own; ``kernel_log`` is a file for what
    the guest writes to a serial port, None for no such port.
    """

    pod_id: str
    vcpus: int
    memory_mib: int
    kernel: Path
    initramfs: Path
    cmdline: str
    agent_socket: Path
    console_log: Path
    virt_type: str
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()
    firmware: Path | None = None
    owner: str = ""
    arch: str = "x86_64"
    kernel_log: Path | None = None
    tuning: Tuning = dataclasses.field(default_factory=Tuning)
    container_log: Path | None = None
    """The file for the containers' lines, which the console has raw; None for no such port."""


def name_of(pod_id: str, prefix: str) -> str:
    """Return the name of a pod's domain in libvirt."""
    return prefix + pod_id


def pod_id_of(domain_name: str, prefix: str) -> str | None:
    """Return the pod id in a domain's name, None for a domain that is not ours.

    An operator's own machine may be named with our *prefix*: what follows it
    must be a pod's id, a UUID.
    """
    if not domain_name.startswith(prefix):
        return None
    pod_id = domain_name.removeprefix(prefix)
    return pod_id if is_pod_id(pod_id) else None


def is_pod_id(text: str) -> bool:
    """Return whether *text* is the id of a pod: a UUID as libvirt and Nova write it."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def to_xml(domain: Domain, prefix: str) -> str:
    """Return the libvirt XML of *domain*, whose name begins with *prefix*."""
    root = ET.Element("domain", type=domain.virt_type)
    _text(root, "name", name_of(domain.pod_id, prefix))
    _text(root, "uuid", domain.pod_id)
    metadata = ET.SubElement(root, "metadata")
    ET.SubElement(metadata, f"{{{NAMESPACE}}}pod", id=domain.pod_id)
    _text(root, "memory", str(domain.memory_mib), unit="MiB")
    _text(root, "vcpu", str(domain.vcpus))
    tuning.add_cpu_limits(root, domain.tuning.cpu)
    _add_os(root, domain)
    _add_cpu(root, domain)
    clock = ET.SubElement(root, "clock", offset="utc")
    ET.SubElement(clock, "timer", name="hpet", present="no")
    # A guest never restarts by itself: what happens after its end is the daemon's decision. One
    # that has panicked stays until the daemon has looked, and dumped its memory where asked to.
    for event in ("on_poweroff", "on_reboot"):
        _text(root, event, "destroy")
    _text(root, "on_crash", "preserve")
    _add_devices(root, domain)
    if domain.owner:
        # Layers and the kernel are shared by all pods: libvirt must not change their owner.
        label = ET.SubElement(root, "seclabel", type="static", model="dac", relabel="no")
        uid, _, gid = domain.owner.partition(":")
        _text(label, "label", f"+{uid}:+{gid}")
    ET.register_namespace("hyper", NAMESPACE)
    return ET.tostring(root, encoding="unicode")


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    element.text = text
    return element


def _add_os(root: ET.Element, domain: Domain) -> None:
    os_ = ET.SubElement(root, "os")
    _text(os_, "type", "hvm", arch=domain.arch, machine="q35")
    if domain.firmware is not None:
        _text(os_, "loader", str(domain.firmware), readonly="yes", type="rom")
    _text(os_, "kernel", str(domain.kernel))
    _text(os_, "initrd", str(domain.initramfs))
    _text(os_, "cmdline", domain.cmdline)
    features = ET.SubElement(root, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")


def _add_cpu(root: ET.Element, domain: Domain) -> None:
    if domain.virt_type == "kvm":
        cpu = ET.SubElement(root, "cpu", mode="host-model", check="partial")
    else:
        cpu = ET.SubElement(root, "cpu", mode="custom", match="exact", check="none")
        _text(cpu, "model", "qemu64", fallback="forbid")
    tuning.add_topology(cpu, domain.tuning.topology)


def _add_devices(root: ET.Element, domain: Domain) -> None:
    devices = ET.SubElement(root, "devices")
    ET.SubElement(devices, "controller", type="usb", model="none")
    ET.SubElement(devices, "controller", type="pci", index="0", model="pcie-root")
    # Console, agent, log: the guest's kernel makes queues for as many ports as there may be, and
    # those of QEMU's default of 31 take 450 KiB of its memory.
    ports = str(_SERIAL_PORTS)
    serial = ET.SubElement(devices, "controller", type="virtio-serial", index="0", ports=ports)
    _address(serial, _SERIAL_SLOT, 0, more=False)
    devices_on_bus: list[ET.Element] = []
    # NICs first: their place must not depend on the number of layers, and users are told it.
    for nic in domain.nics:
        devices_on_bus.append(_nic(devices, nic, domain))
    for index, disk in enumerate(domain.disks):
        element = _disk(devices, disk, _disk_name(index))
        tuning.add_disk_limits(element, domain.tuning.disk, disk.group)
        devices_on_bus.append(element)
    _place(devices_on_bus, min(len(domain.nics), PLACED))
    _add_console(devices, domain)
    channel = ET.SubElement(devices, "channel", type="unix")
    ET.SubElement(channel, "source", mode="bind", path=str(domain.agent_socket))
    ET.SubElement(channel, "target", type="virtio", name=AGENT_PORT)
    _add_log(devices, domain)
    rng = tuning.add_rng(devices, domain.tuning.rng)
    if rng is not None:
        _address(rng, _RNG_SLOT, 0, more=False)
    ET.SubElement(devices, "memballoon", model="none")
    ET.SubElement(devices, "panic", model="isa")


def _add_console(devices: ET.Element, domain: Domain) -> None:
    if domain.kernel_log is not None:
        serial = ET.SubElement(devices, "serial", type="file")
        ET.SubElement(serial, "source", path=str(domain.kernel_log), append="on")
        ET.SubElement(serial, "target", type="isa-serial", port="0")
    # Written by virtlogd, which bounds it, and which outlives us.
    console = ET.SubElement(devices, "console", type="file")
    ET.SubElement(console, "source", path=str(domain.console_log), append="on")
    ET.SubElement(console, "target", type="virtio", port="0")


def _add_log(devices: ET.Element, domain: Domain) -> None:
    # After the agent's port: the first port has the same number in the guest with and without it.
    if domain.container_log is not None:
        log = ET.SubElement(devices, "channel", type="file")
        ET.SubElement(log, "source", path=str(domain.container_log), append="on")
        ET.SubElement(log, "target", type="virtio", name=LOG_PORT)


def _disk(devices: ET.Element, disk: Disk, name: str) -> ET.Element:
    element = ET.SubElement(devices, "disk", type="file", device="disk")
    attributes = {"name": "qemu", "type": "raw"}
    if not disk.readonly:
        attributes["discard"] = "unmap"
    ET.SubElement(element, "driver", attributes)
    ET.SubElement(element, "source", file=str(disk.path))
    ET.SubElement(element, "target", dev=name, bus="virtio")
    _text(element, "serial", disk.serial)
    if disk.readonly:
        ET.SubElement(element, "readonly")
    return element


def _disk_name(index: int) -> str:
    name = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        name = chr(ord("a") + letter) + name
    return "vd" + name


def _nic(devices: ET.Element, nic: Nic, domain: Domain) -> ET.Element:
    element = ET.SubElement(devices, "interface")
    ET.SubElement(element, "mac", address=nic.mac)
    plug(element, nic)
    ET.SubElement(element, "model", type="virtio")
    queues = tuning.queues(nic, domain.vcpus, domain.tuning.multiqueue)
    many = {"queues": str(queues)} if queues > 1 else {}
    driver = ET.SubElement(element, "driver", many) if many or not nic.offload else None
    if driver is not None and not nic.offload:
        off = {"csum": "off", "tso4": "off", "tso6": "off", "ecn": "off", "ufo": "off"}
        ET.SubElement(driver, "host", off | {"gso": "off", "mrg_rxbuf": "on"})
        ET.SubElement(driver, "guest", off)
    if nic.mtu:
        ET.SubElement(element, "mtu", size=str(nic.mtu))
    tuning.add_nic_limits(element, domain.tuning.nic)
    # No boot ROM: the kernel is given, and loading the ROM takes time and memory.
    ET.SubElement(element, "rom", enabled="no")
    return element


def plug(interface: ET.Element, nic: Nic) -> None:
    """Say where on the host an *interface* is plugged that is plugged nowhere."""
    interface.set("type", "ethernet" if nic.kind is NicKind.TAP else "bridge")
    if nic.kind is NicKind.TAP:
        ET.SubElement(interface, "target", dev=nic.device, managed="no")
        return
    ET.SubElement(interface, "source", bridge=nic.bridge)
    if nic.device:
        ET.SubElement(interface, "target", dev=nic.device)
    if nic.kind is NicKind.OVS:
        port = ET.SubElement(interface, "virtualport", type="openvswitch")
        ET.SubElement(port, "parameters", interfaceid=nic.interface_id)


def max_devices(nics: int) -> int:
    """Return how many disks and NICs one micro-VM with *nics* NICs may have."""
    own = min(nics, PLACED)
    return own + (_LAST_SLOT - FIRST_SLOT + 1 - own) * _FUNCTIONS


def _place(elements: list[ET.Element], own: int) -> None:
    """Give each device of *elements* a function of pcie.0.

    The first *own* have a slot each in any case.  So have the others where
    there is room for that; else they share slots, eight functions in each.

    :raises ValueError: when there are more than :func:`max_devices`.
    """
    if len(elements) > max_devices(own):
        raise ValueError(f"{len(elements)} devices are more than the {max_devices(own)} possible")
    for index, element in enumerate(elements[:own]):
        _address(element, FIRST_SLOT + index, 0, more=False)
    others = elements[own:]
    first = FIRST_SLOT + own
    per_slot = -(-len(others) // (_LAST_SLOT - first + 1))
    for index, element in enumerate(others):
        slot, function = divmod(index, per_slot)
        more = function == 0 and per_slot > 1 and index + 1 < len(others)
        _address(element, first + slot, function, more)


def _address(element: ET.Element, slot: int, function: int, more: bool) -> None:
    attributes = {
        "type": "pci",
        "domain": "0x0000",
        "bus": "0x00",
        "slot": f"0x{slot:02x}",
        "function": f"0x{function:x}",
    }
    if more:
        attributes["multifunction"] = "on"
    ET.SubElement(element, "address", attributes)
