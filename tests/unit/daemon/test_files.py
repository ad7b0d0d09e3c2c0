"""Files that survive a crash whole."""

from __future__ import annotations

import errno
import json
import os
import stat

import pytest

from nova_hyper.daemon.files import write_atomically, write_json


def test_the_content_is_replaced(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_it_is_not_for_everybody(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"")
    assert not stat.S_IMODE(path.stat().st_mode) & 0o007


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_when_it_cannot_be_written_the_old_content_stands(tmp_path, monkeypatch, where):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, where, full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_the_data_is_on_disk_before_the_name_is(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("replace"), replace(a, b)))
    write_atomically(tmp_path / "file", b"x")
    assert order == ["fsync", "replace"]


def test_what_a_kill_has_left_is_written_over(tmp_path):
    path = tmp_path / "file"
    (tmp_path / ".file.new").write_bytes(b"half of someth")
    write_json(path, {"a": ["ü", None]})
    assert json.loads(path.read_bytes()) == {"a": ["ü", None]}
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
