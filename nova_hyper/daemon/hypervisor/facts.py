"""Facts of the host that libvirt's capabilities hold."""

from __future__ import annotations

import dataclasses
from xml.etree import ElementTree as ET

from nova_hyper.spec.host import Cpu


@dataclasses.dataclass(frozen=True)
class Facts:
    """``owner`` is the ``uid:gid`` that libvirt runs QEMU as, empty when it does not say.

    ``kvm`` tells whether libvirt offers KVM, which does not mean that it works.
    """

    cpu: Cpu
    vcpus: int
    hypervisor_version: int
    libvirt_version: int
    owner: str
    kvm: bool


def read(
    capabilities: str,
    *,
    hypervisor_version: int,
    libvirt_version: int,
    vcpus: int,
) -> Facts:
    """Return the facts in libvirt's capabilities XML.

    Source: https://libvirt.org/formatcaps.html
    """
    root = ET.fromstring(capabilities)  # noqa: S314 (libvirtd is trusted)
    cpu = root.find("host/cpu")
    arch = root.findtext("host/cpu/arch", default="x86_64")
    topology = None if cpu is None else cpu.find("topology")
    features = [] if cpu is None else [f.get("name", "") for f in cpu.findall("feature")]

    def count(name: str) -> int:
        return int(topology.get(name, "1")) if topology is not None else 1

    owner = ""
    for model in root.findall("host/secmodel"):
        if model.findtext("model") == "dac":
            for label in model.findall("baselabel"):
                owner = (label.text or "").replace("+", "")
    domains = {d.get("type") for d in root.findall(f"guest/arch[@name='{arch}']/domain")}
    return Facts(
        cpu=Cpu(
            arch=arch,
            vendor=root.findtext("host/cpu/vendor", default=""),
            model=root.findtext("host/cpu/model", default=""),
            sockets=count("sockets"),
            cores=count("cores"),
            threads=count("threads"),
            features=tuple(sorted(features)),
        ),
        vcpus=vcpus,
        hypervisor_version=hypervisor_version,
        libvirt_version=libvirt_version,
        owner=owner,
        kvm="kvm" in domains,
    )
