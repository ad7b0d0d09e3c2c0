"""Kernels and ramdisks of images: fetched once, removed when unused."""

from __future__ import annotations

import pytest
from nova import exception as nova_exception

from nova_hyper.spec.boot import Boot, BootFileKind
from nova_hyper.spec.errors import BootFileInvalid
from nova_hyper.virt.bootfiles import BootFiles
from tests.unit.fake_hyperd import NOT_AN_ARCHIVE, FakeHyperd
from tests.unit.virt.instances import instance

KERNEL = "11111111-7281-47e4-8a62-f26bc5fc4c77"
RAMDISK = "22222222-7281-47e4-8a62-f26bc5fc4c77"


class Glance:
    def __init__(self):
        self.data = {KERNEL: b"kernel", RAMDISK: b"ramdisk"}
        self.downloads = []

    def get(self, context, image_id):
        if image_id not in self.data:
            raise nova_exception.ImageNotFound(image_id=image_id)
        return {"id": image_id, "checksum": image_id.replace("-", "")}

    def download(self, context, image_id):
        self.downloads.append(image_id)
        return iter([self.data[image_id]])


@pytest.fixture
def hyperd():
    return FakeHyperd()


@pytest.fixture
def glance():
    return Glance()


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def files(hyperd, glance, now):
    return BootFiles(hyperd, glance, clock=lambda: now[0])


def test_an_image_that_names_none_needs_none(files, glance):
    assert files.fetch(None, instance(), "quiet") == Boot(cmdline="quiet")
    assert glance.downloads == []


def test_each_is_fetched_once(files, glance, hyperd):
    server = instance(kernel_id=KERNEL, ramdisk_id=RAMDISK)
    boot = files.fetch(None, server, "")
    assert files.fetch(None, server, "") == boot
    assert glance.downloads == [KERNEL, RAMDISK]
    kinds = {file.id: file.kind for file in hyperd.boot_files()}
    assert kinds == {boot.kernel: BootFileKind.KERNEL, boot.ramdisk: BootFileKind.RAMDISK}


def test_what_is_not_there_is_named(files):
    with pytest.raises(BootFileInvalid, match="kernel_id gone is no image that you may use"):
        files.fetch(None, instance(kernel_id="gone"), "")


def test_what_does_not_boot_is_named(files, glance, hyperd):
    glance.data[RAMDISK] = NOT_AN_ARCHIVE
    with pytest.raises(BootFileInvalid, match=f"ramdisk_id {RAMDISK} cannot be used: .*cpio"):
        files.fetch(None, instance(ramdisk_id=RAMDISK), "")
    assert hyperd.boot_files() == ()


def test_what_no_instance_has_used_for_a_while_is_removed(files, hyperd, now):
    files.fetch(None, instance(kernel_id=KERNEL, ramdisk_id=RAMDISK), "")
    files.remove_unused({KERNEL}, 100)
    now[0] = 99.0
    files.remove_unused({KERNEL}, 100)
    assert len(hyperd.boot_files()) == 2
    now[0] = 100.0
    files.remove_unused({KERNEL}, 100)
    (left,) = hyperd.boot_files()
    assert left.kind is BootFileKind.KERNEL


def test_what_was_brought_by_hand_stays(files, hyperd):
    hyperd.import_boot_file("mine", BootFileKind.KERNEL, [b"k"])
    files.remove_unused(set(), 0)
    assert hyperd.boot_file("mine")
