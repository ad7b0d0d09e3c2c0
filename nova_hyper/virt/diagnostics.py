"""The diagnostics of an instance: hyperd's figures in Nova's two shapes."""

from __future__ import annotations

import time
from typing import Any

from nova.compute import power_state
from nova.objects import diagnostics as nova_diagnostics
from nova.virt import configdrive

from nova_hyper.spec.diagnostics import Diagnostics
from nova_hyper.spec.pod import Pod
from nova_hyper.virt.lifecycle import power_state_of

# Nova's API knows five drivers and no other one (HypervisorDriverField, and the schema of its
# answers); pods run through libvirt.
_DRIVER = "libvirt"
_KIB_PER_MIB = 1024


def as_object(
    instance: Any, pod: Pod, found: Diagnostics, virt_type: str
) -> nova_diagnostics.Diagnostics:
    """Return what ``get_instance_diagnostics`` does (API 2.48 and newer); memory is in MiB."""
    uptime = None if pod.started_at is None else max(0, int(time.time() - pod.started_at))
    result = nova_diagnostics.Diagnostics(
        state=power_state.STATE_MAP[power_state_of(pod)],
        driver=_DRIVER,
        config_drive=configdrive.required_by(instance),
        hypervisor=virt_type,
        hypervisor_os="linux",
        uptime=uptime,
    )
    result.memory_details = nova_diagnostics.MemoryDiagnostics(
        maximum=found.memory.maximum_mib, used=found.memory.used_mib
    )
    for cpu in found.cpus:
        result.add_cpu(id=cpu.id, time=cpu.time_ns)
    for disk in found.disks:
        result.add_disk(
            read_bytes=disk.read_bytes,
            read_requests=disk.read_requests,
            write_bytes=disk.write_bytes,
            write_requests=disk.write_requests,
        )
    for nic in found.nics:
        result.add_nic(
            mac_address=nic.mac or None,
            rx_octets=nic.rx_bytes,
            rx_packets=nic.rx_packets,
            rx_errors=nic.rx_errors,
            rx_drop=nic.rx_dropped,
            tx_octets=nic.tx_bytes,
            tx_packets=nic.tx_packets,
            tx_errors=nic.tx_errors,
            tx_drop=nic.tx_dropped,
        )
    return result


def as_dict(found: Diagnostics) -> dict[str, int]:
    """Return what ``get_diagnostics`` does (before API 2.48), with the libvirt driver's keys.

    Memory is in KiB there.  Disks are named by their serial in the guest, and
    interfaces in the order in which the guest has them.
    """
    result = {f"cpu{cpu.id}_time": cpu.time_ns for cpu in found.cpus}
    for disk in found.disks:
        result |= {
            f"{disk.serial}_read_req": disk.read_requests,
            f"{disk.serial}_read": disk.read_bytes,
            f"{disk.serial}_write_req": disk.write_requests,
            f"{disk.serial}_write": disk.write_bytes,
            f"{disk.serial}_errors": -1,
        }
    for index, nic in enumerate(found.nics):
        result |= {
            f"eth{index}_rx": nic.rx_bytes,
            f"eth{index}_rx_packets": nic.rx_packets,
            f"eth{index}_rx_errors": nic.rx_errors,
            f"eth{index}_rx_drop": nic.rx_dropped,
            f"eth{index}_tx": nic.tx_bytes,
            f"eth{index}_tx_packets": nic.tx_packets,
            f"eth{index}_tx_errors": nic.tx_errors,
            f"eth{index}_tx_drop": nic.tx_dropped,
        }
    memory = found.memory
    result["memory"] = memory.maximum_mib * _KIB_PER_MIB
    result["memory-actual"] = memory.maximum_mib * _KIB_PER_MIB
    if memory.used_mib is not None:
        result["memory-available"] = (memory.maximum_mib - memory.used_mib) * _KIB_PER_MIB
    if memory.resident_mib is not None:
        result["memory-rss"] = memory.resident_mib * _KIB_PER_MIB
    return result
