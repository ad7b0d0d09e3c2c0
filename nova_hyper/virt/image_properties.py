"""Image properties that are about hardware: honoured, or refused by name.

The names are the fields of ``nova.objects.ImageMetaProps``.  What is in no table
here is refused, so that a property of a later Nova is not ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nova_hyper.spec.console import ConsoleKind
from nova_hyper.spec.pod import RestartPolicy
from nova_hyper.virt import flavor

RESTART_POLICY = "hyper_restart_policy"
"""A property of our own: it is in the instance's system metadata, as any other is."""
CONSOLE = "hyper_console"

_VALUES = {
    "hw_architecture": ("x86_64",),
    "hw_emulation_architecture": ("x86_64",),
    "hw_cdrom_bus": ("virtio",),
    "hw_disk_bus": ("virtio",),
    "hw_firmware_type": ("bios",),
    "hw_rescue_bus": ("virtio",),
    "hw_rescue_device": ("disk",),
    "hw_rng_model": ("virtio",),
    "hw_serial_port_count": (1, 0),
    "hw_redirected_usb_ports": (0,),
    "hw_video_model": ("none",),
    "hw_vif_model": ("virtio",),
    "hw_vm_mode": ("exe",),
    "hw_watchdog_action": ("disabled", "none"),
    "img_hv_type": ("docker",),
    "os_secure_boot": ("disabled", "optional"),
    "os_type": ("linux",),
}
"""What each can be: the only way in which a pod has it."""

_SWITCHES = frozenset(
    (
        "hw_boot_menu",
        "hw_ephemeral_encryption",
        "hw_firmware_stateless",
        "hw_ipxe_boot",
        "hw_locked_memory",
        "hw_mem_encryption",
        "hw_pmu",
        "hw_time_hpet",
        "hw_virtio_packed_ring",
        "img_hide_hypervisor_id",
    )
)
"""What a pod has not got: they may only be false."""

_ELSEWHERE = frozenset(
    (
        # Nova's functions for CPUs and NUMA read these, see flavor.tuning and requirements.
        "hw_cpu_cores",
        "hw_cpu_max_cores",
        "hw_cpu_max_sockets",
        "hw_cpu_max_threads",
        "hw_cpu_policy",
        "hw_cpu_realtime_mask",
        "hw_cpu_sockets",
        "hw_cpu_thread_policy",
        "hw_cpu_threads",
        "hw_mem_page_size",
        "hw_numa_cpus",
        "hw_numa_mem",
        "hw_numa_nodes",
        "hw_pci_numa_affinity_policy",
        "hw_vif_multiqueue_enabled",
        # The scheduler's, Glance's, the API's, or a record of where the image is from.
        "img_bdm_v2",
        "img_block_device_mapping",
        "img_cache_in_nova",
        "img_config_drive",
        "img_hv_requested_version",
        "img_mappings",
        "img_owner_id",
        "img_root_device_name",
        "img_signature",
        "img_signature_certificate_uuid",
        "img_signature_hash_method",
        "img_signature_key_type",
        "img_version",
        "os_admin_user",
        "os_command_line",
        "os_distro",
        "traits_required",
        # The pod's agent does what these ask another agent for.
        "hw_qemu_guest_agent",
        "img_use_agent",
        "os_require_quiesce",
        "os_skip_agent_inject_files_at_boot",
        "os_skip_agent_inject_ssh",
        # Of other hypervisors, where they choose among things that a pod does not have.
        "hw_auto_disk_config",
        "hw_device_id",
        "hw_disk_type",
        "img_bittorrent",
        "img_compression_level",
        "img_linked_clone",
    )
)


def problems(image_meta: Any) -> Iterator[str]:
    """Yield why a pod cannot have what the image asks for, a sentence for each property."""
    properties = image_meta.properties
    for name in sorted(properties.fields):
        if name in _ELSEWHERE or not properties.obj_attr_is_set(name):
            continue
        value = getattr(properties, name)
        reason = _problem(name, value)
        if value is not None and reason is not None:
            yield f"the image has {name}={value}, but {reason}; change the image's property"


def _problem(name: str, value: Any) -> str | None:
    if name == "hw_machine_type":
        fits = value == "q35" or str(value).startswith("pc-q35-")
        return None if fits else "a pod's machine is a q35"
    if name in _VALUES:
        allowed = _VALUES[name]
        return None if value in allowed else f"for a pod it can only be {allowed[0]}"
    if name in _SWITCHES:
        return None if not value else "a pod has no such thing"
    return "a pod has no such thing"


def restart_policy(instance: Any) -> RestartPolicy | None:
    """Return the restart policy in the image's property, None when it has none."""
    value = (instance.system_metadata or {}).get(f"image_{RESTART_POLICY}")
    return flavor.policy_of(RESTART_POLICY, value) if value else None


def console(instance: Any) -> ConsoleKind | None:
    """Return the kind of console in the image's property, None when it has none."""
    value = (instance.system_metadata or {}).get(f"image_{CONSOLE}")
    return flavor.console_of(CONSOLE, value) if value else None


def command_line(image_meta: Any) -> str:
    """Return what the image adds to the kernel's command line."""
    return str(image_meta.properties.get("os_command_line", "") or "")
