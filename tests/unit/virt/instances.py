"""Nova's objects as a driver gets them."""

from __future__ import annotations

from nova import objects

UUID = "d7a5e1f0-0000-4000-8000-000000000001"
IMAGE_ID = "c905cedb-7281-47e4-8a62-f26bc5fc4c77"
CHECKSUM = "0123456789abcdef0123456789abcdef"

objects.register_all()


def flavor(**options):
    values = {
        "id": 1,
        "name": "hyper.small",
        "vcpus": 1,
        "memory_mb": 256,
        "root_gb": 2,
        "ephemeral_gb": 0,
        "swap": 0,
        "extra_specs": {},
        **options,
    }
    return objects.Flavor(**values)


def instance(**options):
    values = {
        "id": 7,
        "uuid": UUID,
        "project_id": "project",
        "user_id": "user",
        "display_name": "web",
        "hostname": "web",
        "image_ref": IMAGE_ID,
        "kernel_id": "",
        "ramdisk_id": "",
        "config_drive": "",
        "launched_at": None,
        "numa_topology": None,
        "pci_requests": None,
        "system_metadata": {},
        "task_state": None,
        "trusted_certs": None,
        "flavor": flavor(),
        **options,
    }
    return objects.Instance(**values)


def image_meta(**options):
    values = {
        "id": IMAGE_ID,
        "container_format": "docker",
        "disk_format": "raw",
        "checksum": CHECKSUM,
        "properties": objects.ImageMetaProps(),
        **options,
    }
    return objects.ImageMeta(**{k: v for k, v in values.items() if v is not None})
