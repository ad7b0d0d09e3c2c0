"""Copies of sparse files."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace

import pytest

from nova_hyper.daemon import sparse
from nova_hyper.spec.errors import Conflict, DiskFull

MIB = 1 << 20


def never():
    """A tick that lets the copy go on."""


@pytest.fixture
def source(tmp_path):
    """A disk of 64 MiB with data at its beginning, in its middle and at its end."""
    path = tmp_path / "upper.img"
    with path.open("wb") as file:
        for at in (0, 17 * MIB, 64 * MIB - 4096):
            file.seek(at)
            file.write(os.urandom(4096))
    return path


def test_a_copy_has_the_bytes_and_the_holes(source, tmp_path):
    sparse.copy(source, tmp_path / "copy", never)
    status = (tmp_path / "copy").stat()
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    assert status.st_blocks <= source.stat().st_blocks + 8
    assert (status.st_mode & 0o777, status.st_uid) == (0o600, source.stat().st_uid)


@pytest.mark.parametrize("size", [0, 5, 4096, 3 * MIB])
def test_a_file_of_holes_only_is_copied(tmp_path, size):
    (tmp_path / "a").touch()
    os.truncate(tmp_path / "a", size)
    sparse.copy(tmp_path / "a", tmp_path / "b", never)
    assert (tmp_path / "b").read_bytes() == bytes(size)
    assert (tmp_path / "b").stat().st_blocks == 0


def test_where_blocks_are_shared_nothing_is_copied(source, tmp_path, monkeypatch):
    monkeypatch.setattr(sparse, "_shared", lambda _source, _target: True)
    monkeypatch.setattr(sparse, "_require_room", pytest.fail)
    sparse.copy(source, tmp_path / "copy", pytest.fail)


def test_no_room_is_told_before_anything_is_written(source, tmp_path, monkeypatch):
    monkeypatch.setattr(sparse, "_shared", lambda _source, _target: False)
    full = SimpleNamespace(f_bavail=256, f_frsize=MIB)
    monkeypatch.setattr(sparse.os, "statvfs", lambda _path: full)
    with pytest.raises(DiskFull, match=r"a copy of upper\.img takes .* 256 MiB free"):
        sparse.copy(source, tmp_path / "copy", never, spare=256 * MIB)
    assert not (tmp_path / "copy").exists()


def test_a_copy_of_a_pod_that_is_deleted_ends_and_leaves_nothing(source, tmp_path, monkeypatch):
    monkeypatch.setattr(sparse, "_shared", lambda _source, _target: False)

    def deleted():
        raise Conflict("the pod was deleted")

    with pytest.raises(Conflict, match="deleted"):
        sparse.copy(source, tmp_path / "copy", deleted)
    assert not (tmp_path / "copy").exists()


def test_a_failure_leaves_nothing(source, tmp_path, monkeypatch):
    monkeypatch.setattr(sparse, "_shared", lambda _source, _target: False)
    monkeypatch.setattr(sparse.os, "copy_file_range", lambda *_args: 0)
    with pytest.raises(OSError, match="shorter") as caught:
        sparse.copy(source, tmp_path / "copy", never)
    assert caught.value.errno == errno.EIO
    assert not (tmp_path / "copy").exists()
