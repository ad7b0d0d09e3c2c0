"""What a pod boots: the host's guest, or what its user has brought."""

from __future__ import annotations

from pathlib import Path

import pytest

from nova_hyper.daemon.guest import cmdline
from nova_hyper.daemon.guest.assets import GuestAssets
from nova_hyper.daemon.pods import boot
from nova_hyper.spec.boot import Boot, BootFile, BootFileKind
from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import BootFileNotFound, InvalidRequest
from nova_hyper.spec.pod import PodSpec
from tests.unit.daemon.fakes import POD_ID

KERNEL, CPIO, GZIP = "sha256:k", "sha256:c", "sha256:g"


class Files:
    def __init__(self, directory):
        self.directory = directory
        self.files = {
            KERNEL: BootFile(KERNEL, (), BootFileKind.KERNEL, "bzimage", 1),
            CPIO: BootFile(CPIO, (), BootFileKind.RAMDISK, "cpio", 1),
            GZIP: BootFile(GZIP, (), BootFileKind.RAMDISK, "gzip", 1),
        }

    def get(self, ref):
        if ref not in self.files:
            raise BootFileNotFound(f"there is no kernel or ramdisk {ref}")
        return self.files[ref]

    def path(self, ref):
        return self.directory / self.get(ref).id


@pytest.fixture
def files(tmp_path):
    (tmp_path / CPIO).write_bytes(b"070701 user")
    return Files(tmp_path)


@pytest.fixture
def assets(tmp_path):
    initramfs = tmp_path / "agent.cpio"
    initramfs.write_bytes(b"070701 agent")
    return GuestAssets(Path("/guest/vmlinux"), initramfs, "key", "6.1", "1")


def spec(**wanted):
    return PodSpec(POD_ID, "web", (Container("main", "i"),), boot=Boot(**wanted))


def test_a_pod_boots_the_hosts_guest(assets, files, tmp_path):
    booted = boot.prepare(spec(), assets, files, tmp_path)
    assert booted == boot.Booted(assets.kernel, assets.initramfs, cmdline.DEFAULT)


def test_a_kernel_of_the_users_is_heard_before_it_has_drivers(assets, files, tmp_path):
    booted = boot.prepare(spec(kernel=KERNEL), assets, files, tmp_path)
    assert booted.kernel == tmp_path / KERNEL
    assert booted.initramfs == assets.initramfs
    assert "earlyprintk=ttyS0" in booted.cmdline
    assert booted.kernel_log == tmp_path / "kernel.log"


def test_the_agent_is_unpacked_after_the_users_ramdisk(assets, files, tmp_path):
    booted = boot.prepare(spec(ramdisk=CPIO), assets, files, tmp_path)
    # An archive begins at a multiple of four bytes.
    assert booted.initramfs.read_bytes() == b"070701 user\x00070701 agent"
    assert booted.kernel == assets.kernel


def test_what_the_guest_needs_stands_whatever_the_user_says():
    line = boot.command_line(spec(cmdline="console=tty0  loglevel=7\trdinit=/bin/sh")).split()
    assert line[: len(cmdline.DEFAULT.split())] == cmdline.DEFAULT.split()
    assert line.index("loglevel=7") > line.index("loglevel=1")
    for word in ("console=hvc0", "panic=-1", "rdinit=/init"):
        assert len(line) - line[::-1].index(word) > line.index("loglevel=7")


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"cmdline": "quiet -- single"}, "may not have '--'"),
        ({"cmdline": 'a="b'}, "quotation mark"),
        ({"cmdline": "x" * 2000}, "too long"),
        ({"kernel": CPIO}, "no kernel"),
        ({"kernel": KERNEL, "ramdisk": KERNEL}, "no ramdisk"),
        ({"ramdisk": GZIP}, "uncompressed"),
    ],
)
def test_what_cannot_be_booted_is_refused(files, wanted, sentence):
    with pytest.raises(InvalidRequest, match=sentence):
        boot.check(spec(**wanted), files)


def test_what_is_not_here_is_not_found(files):
    with pytest.raises(BootFileNotFound):
        boot.check(spec(kernel="sha256:x"), files)


def test_a_kernel_that_can_unpack_it_may_have_a_compressed_ramdisk(files):
    boot.check(spec(kernel=KERNEL, ramdisk=GZIP, cmdline='a="b c" quiet'), files)
