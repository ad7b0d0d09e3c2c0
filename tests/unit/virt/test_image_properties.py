"""Image properties: honoured, or refused by name."""

from __future__ import annotations

import pytest
from nova import objects

from nova_hyper.spec.pod import RestartPolicy
from nova_hyper.virt import image_properties
from tests.unit.virt.instances import image_meta, instance


def meta(**properties):
    return image_meta(properties=objects.ImageMetaProps(**properties))


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"img_hv_type": "docker", "hw_vm_mode": "exe", "hw_architecture": "x86_64"},
        {"hw_disk_bus": "virtio", "hw_vif_model": "virtio", "hw_rng_model": "virtio"},
        {"hw_machine_type": "q35"},
        {"hw_machine_type": "pc-q35-7.2"},
        {"hw_firmware_type": "bios", "os_secure_boot": "disabled"},
        {"hw_video_model": "none", "hw_watchdog_action": "disabled"},
        {"hw_pmu": False, "hw_mem_encryption": False},
        {"hw_vif_multiqueue_enabled": True, "hw_cpu_sockets": 1},
        {"os_type": "linux", "os_distro": "debian", "hw_qemu_guest_agent": True},
        {"os_command_line": "quiet", "traits_required": ["CUSTOM_HYPER"]},
    ],
)
def test_what_a_pod_has_is_fine(properties):
    assert list(image_properties.problems(meta(**properties))) == []


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("hw_disk_bus", "scsi", "only be virtio"),
        ("hw_cdrom_bus", "ide", "only be virtio"),
        ("hw_vif_model", "e1000", "only be virtio"),
        ("hw_machine_type", "pc", "q35"),
        ("hw_firmware_type", "uefi", "only be bios"),
        ("hw_video_model", "vga", "only be none"),
        ("hw_serial_port_count", 2, "only be 1"),
        ("hw_video_ram", 16, "no such thing"),
        ("hw_sound_model", "ich6", "no such thing"),
        ("hw_tpm_version", "2.0", "no such thing"),
        ("hw_scsi_model", "virtio-scsi", "no such thing"),
        ("hw_watchdog_action", "reset", "only be disabled"),
        ("hw_mem_encryption", True, "no such thing"),
        ("hw_pmu", True, "no such thing"),
        ("hw_viommu_model", "virtio", "no such thing"),
        ("hw_architecture", "aarch64", "only be x86_64"),
        ("os_type", "windows", "only be linux"),
        ("os_secure_boot", "required", "only be disabled"),
        ("img_hv_type", "kvm", "only be docker"),
        ("hw_vm_mode", "hvm", "only be exe"),
    ],
)
def test_what_it_has_not_is_refused_by_name(name, value, sentence):
    (problem,) = image_properties.problems(meta(**{name: value}))
    assert f"{name}={value}" in problem
    assert sentence in problem


def test_every_property_of_nova_is_honoured_or_refused():
    tables = set(image_properties._VALUES) | image_properties._SWITCHES
    known = set(objects.ImageMetaProps.fields)
    assert tables | image_properties._ELSEWHERE <= known, "a property that Nova does not have"
    assert not tables & image_properties._ELSEWHERE


def test_a_property_of_our_own_says_how_containers_are_restarted():
    server = instance(system_metadata={"image_hyper_restart_policy": "always"})
    assert image_properties.restart_policy(server) is RestartPolicy.ALWAYS
    assert image_properties.restart_policy(instance()) is None


def test_the_kernels_words():
    assert image_properties.command_line(meta(os_command_line="a b")) == "a b"
    assert image_properties.command_line(meta()) == ""
