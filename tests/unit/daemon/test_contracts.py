"""What the ports promise, of the fakes that the other tests use and of the real ones."""

from __future__ import annotations

import inspect
import io
import shutil
import tarfile
from pathlib import Path

import pytest

from nova_hyper.daemon import ports
from nova_hyper.daemon.disks import Disks
from nova_hyper.daemon.guest.channel import AgentChannel
from nova_hyper.daemon.hypervisor.adapter import LibvirtHypervisor
from nova_hyper.daemon.image.store import ImageStore
from nova_hyper.daemon.platform import HostPlatform
from nova_hyper.spec.errors import ImageNotFound
from tests.unit.daemon import fakes
from tests.unit.daemon.image.archives import docker_archive, tar_of

IMPLEMENTATIONS = [
    (ports.Hypervisor, LibvirtHypervisor),
    (ports.Hypervisor, fakes.FakeHypervisor),
    (ports.GuestSession, AgentChannel),
    (ports.GuestSession, fakes.FakeSession),
    (ports.Guests, fakes.FakeGuests),
    (ports.Images, ImageStore),
    (ports.Images, fakes.FakeImages),
    (ports.WritableDisks, Disks),
    (ports.WritableDisks, fakes.FakeDisks),
    (ports.Platform, HostPlatform),
    (ports.Platform, fakes.FakePlatform),
]


@pytest.mark.parametrize(("port", "implementation"), IMPLEMENTATIONS)
def test_every_method_of_a_port_is_there_with_its_parameters(port, implementation):
    for name, method in inspect.getmembers(port, inspect.isfunction):
        if not name.startswith("_"):
            wanted = inspect.signature(method).parameters
            found = inspect.signature(getattr(implementation, name)).parameters
            assert list(found) == list(wanted), name


# The image store


@pytest.fixture(params=["fake", "store"])
def images(request, tmp_path):
    if request.param == "fake":
        made = fakes.FakeImages(fakes.image(names=("web:1", "web:2")))
    else:
        made = ImageStore(tmp_path, max_image_bytes=1 << 30, max_layers=16, arch="amd64")
        archive = docker_archive([tar_of(("file", tarfile.REGTYPE, b"content"))])
        for name in ("web:1", "web:2"):
            made.import_archive(io.BytesIO(archive), name)
    return made


def test_an_image_is_found_by_each_of_its_names_and_by_its_id(images):
    image = images.get("web:1")
    assert {"web:1", "web:2"} <= set(images.get(image.id).names)
    assert images.get("web:2").id == image.id


def test_an_image_that_is_not_there_is_an_error(images):
    with pytest.raises(ImageNotFound, match="nginx"):
        images.get("nginx")


def test_leases_may_be_taken_and_released_again_and_again(images):
    image = images.get("web:1")
    for _ in range(2):
        images.acquire(image.id, "pod-1")
    for _ in range(2):
        images.release("pod-1")
    images.release("nobody")
    images.retain({"pod-1"})
    images.retain(set())
    assert images.get("web:1") == image


def test_every_layer_has_a_path(images):
    for layer in images.get("web:1").layers:
        assert images.layer_path(layer.diff_id).is_absolute()


# Writable disks


@pytest.mark.parametrize(
    "disks",
    [
        fakes.FakeDisks(),
        pytest.param(
            Disks(),
            marks=pytest.mark.skipif(not shutil.which("mkfs.ext4"), reason="e2fsprogs"),
        ),
    ],
)
def test_a_disk_is_made_where_it_is_asked_for(disks, tmp_path):
    path = Path(tmp_path, "upper.img")
    disks.create(path, 1, "")
    disks.create(path, 1, "")
    assert path.is_file()
