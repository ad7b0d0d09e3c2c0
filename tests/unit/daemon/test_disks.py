"""Writable disks, made with the real mkfs.ext4."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess

import pytest

from nova_hyper.daemon import disks
from nova_hyper.daemon.disks import Disks
from nova_hyper.spec.errors import DiskFull, HyperError

needs_mkfs = pytest.mark.skipif(not shutil.which("mkfs.ext4"), reason="e2fsprogs")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "upper-main.img"


@needs_mkfs
def test_a_disk_is_a_sound_sparse_ext4_of_its_size(path):
    Disks().create(path, 3, "")
    status = path.stat()
    assert status.st_size == 3 << 30
    assert status.st_blocks * 512 < 64 << 20
    assert stat.S_IMODE(status.st_mode) == 0o600
    checked = subprocess.run(["e2fsck", "-fn", path], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


@needs_mkfs
@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_disk_belongs_to_qemu(path):
    Disks().create(path, 1, "64055:109")
    assert (path.stat().st_uid, path.stat().st_gid) == (64055, 109)


def _raise(error):
    def call(*_args, **_kwargs):
        raise error

    return call


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_is_told_with_the_size_and_leaves_nothing(path, monkeypatch, number):
    monkeypatch.setattr(disks.subprocess, "run", _raise(OSError(number, "no")))
    with pytest.raises(DiskFull, match="disk of 7 GiB"):
        Disks().create(path, 7, "")
    assert not path.exists()


def test_a_missing_mkfs_is_told_by_name_and_leaves_nothing(path, monkeypatch):
    monkeypatch.setattr(disks, "_MKFS", ["mkfs.does-not-exist"])
    with pytest.raises(OSError, match=r"mkfs\.does-not-exist"):
        Disks().create(path, 1, "")
    assert not path.exists()


def test_a_failing_mkfs_is_told_with_its_words_and_leaves_nothing(path, monkeypatch):
    monkeypatch.setattr(disks, "_MKFS", ["sh", "-c", "echo bad superblock >&2; exit 1"])
    with pytest.raises(HyperError, match="bad superblock"):
        Disks().create(path, 1, "")
    assert not path.exists()


def test_an_mkfs_that_never_ends_is_ended_and_leaves_nothing(path, monkeypatch):
    monkeypatch.setattr(disks, "_MKFS", ["sh", "-c", "exec sleep 60"])
    monkeypatch.setattr(disks, "_MKFS_S", 0.05)
    with pytest.raises(HyperError, match="too slow"):
        Disks().create(path, 1, "")
    assert not path.exists()


@needs_mkfs
def test_a_disk_can_grow_while_it_is_mounted(path):
    Disks().create(path, 1, "")
    shown = subprocess.run(["dumpe2fs", "-h", path], capture_output=True, text=True, check=False)
    assert {"resize_inode", "64bit"} <= set(shown.stdout.partition("features:")[2].split())


def test_a_disk_changes_its_size_and_keeps_its_bytes(path):
    path.write_bytes(b"mine")
    Disks().resize(path, 3)
    assert path.stat().st_size == 3 << 30
    Disks().resize(path, 1)
    assert path.stat().st_size == 1 << 30
    assert path.read_bytes()[:4] == b"mine"


def test_no_room_for_a_larger_disk_is_told_with_its_size(path, monkeypatch):
    monkeypatch.setattr(disks.os, "truncate", _raise(OSError(errno.EFBIG, "no")))
    with pytest.raises(DiskFull, match="disk of 7 GiB"):
        Disks().resize(path, 7)
    monkeypatch.setattr(disks.os, "truncate", _raise(OSError(errno.EIO, "broken")))
    with pytest.raises(OSError, match="broken"):
        Disks().resize(path, 7)


def test_a_copy_has_the_same_data_and_the_same_holes(path, tmp_path):
    source = tmp_path / "source.img"
    with source.open("wb") as file:
        file.truncate(64 << 20)
        file.seek(20 << 20)
        file.write(b"in the middle" * 1000)
        file.seek((64 << 20) - 3)
        file.write(b"end")
    ticks = []
    Disks().copy(source, path, "", lambda: ticks.append(1))
    assert path.read_bytes() == source.read_bytes()
    assert path.stat().st_blocks <= source.stat().st_blocks + 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_copy_that_is_given_up_leaves_nothing(path, tmp_path, monkeypatch):
    monkeypatch.setattr(disks.sparse, "_shared", lambda *_: False)
    source = tmp_path / "source.img"
    source.write_bytes(b"data")
    with pytest.raises(HyperError, match="enough"):
        Disks().copy(source, path, "", _raise(HyperError("enough")))
    assert not path.exists()


def test_a_copy_that_finds_no_room_leaves_nothing_and_says_so(path, tmp_path, monkeypatch):
    monkeypatch.setattr(disks.sparse, "_shared", lambda *_: False)
    monkeypatch.setattr(
        os, "copy_file_range", _raise(OSError(errno.ENOSPC, "No space left on device"))
    )
    source = tmp_path / "source.img"
    source.write_bytes(b"data")
    with pytest.raises(DiskFull, match="no room for the pod's disk of up to 1 MiB"):
        Disks().copy(source, path, "", lambda: None)
    assert not path.exists()
