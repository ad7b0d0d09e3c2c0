"""Where in its pod a server's tagged interface is, as the metadata service tells it.

Source: ``LibvirtDriver._build_device_metadata``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nova import objects
from nova.virt import netutils

from nova_hyper.spec.nic import pci_address


def metadata(
    context: Any, instance: Any, network_info: Iterable[Mapping[str, Any]]
) -> objects.InstanceDeviceMetadata | None:
    """Return the tagged and the VLAN interfaces of *instance*, None when there are none.

    A pod's first interfaces have their places on the PCI bus by their number.
    """
    ports = list(network_info)
    if not ports:
        return None
    known = objects.VirtualInterfaceList.get_by_instance_uuid(context, instance.uuid)
    tags = {vif.address: vif.tag for vif in known if "tag" in vif and vif.tag}
    vlans = netutils.get_cached_vifs_with_vlan(ports)
    trusted = netutils.get_cached_vifs_with_trusted(ports)
    devices = []
    for index, port in enumerate(ports):
        mac = port["address"]
        if mac not in tags and mac not in vlans:
            continue
        device = objects.NetworkInterfaceMetadata(mac=mac, vf_trusted=trusted.get(mac, False))
        if mac in tags:
            device.tags = [tags[mac]]
        if mac in vlans:
            device.vlan = int(vlans[mac])
        address = pci_address(index)
        if address is not None:
            device.bus = objects.PCIDeviceBus(address=address)
        devices.append(device)
    return objects.InstanceDeviceMetadata(devices=devices) if devices else None
