"""Pods on disk."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
import stat
from pathlib import Path

import pytest

from nova_hyper.daemon.pods.repository import Repository
from nova_hyper.spec.pod import Pod, PodState
from tests.unit.daemon.api.test_document import POD
from tests.unit.daemon.fakes import OTHER_ID, POD_ID, spec


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "pods", tmp_path / "run")


def test_a_saved_pod_is_loaded_whole(repository):
    other = Pod(spec(OTHER_ID, "other"), PodState.CREATING, ())
    repository.save(POD)
    repository.save(other)
    assert list(repository.load()) == [POD, other]


def test_the_latest_record_counts(repository):
    repository.save(POD)
    newer = dataclasses.replace(POD, state=PodState.DELETING)
    repository.save(newer)
    assert list(repository.load()) == [newer]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_qemu_can_pass_the_directories_whatever_our_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        repository = Repository(tmp_path / "pods", tmp_path / "run")
        repository.save(POD)
    finally:
        os.umask(before)
    directory = repository.directory(POD_ID)
    for path in (directory, directory.parent, repository.agent_socket(POD_ID).parent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o711
    assert not stat.S_IMODE((directory / "pod.json").stat().st_mode) & 0o007


def test_removing_takes_everything_and_can_be_repeated(repository):
    repository.save(POD)
    directory = repository.directory(POD_ID)
    repository.upper(POD_ID, "main").touch()
    repository.console(POD_ID).touch()
    repository.console(POD_ID).with_name("console.log.0").touch()
    (directory / "deep").mkdir()
    (directory / "deep" / "file").touch()
    (directory / "link").symlink_to("/etc")
    repository.agent_socket(POD_ID).touch()
    repository.remove(POD_ID)
    assert not directory.exists()
    assert not repository.agent_socket(POD_ID).exists()
    assert os.path.isdir("/etc")
    repository.remove(POD_ID)


def test_a_save_on_a_full_disk_keeps_the_old_record(repository, monkeypatch):
    repository.save(POD)

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        repository.save(dataclasses.replace(POD, state=PodState.DELETING))
    assert list(repository.load()) == [POD]
    assert [p.name for p in repository.directory(POD_ID).iterdir()] == ["pod.json"]


def test_a_directory_that_never_got_a_record_is_removed(repository):
    directory = repository.directory(POD_ID)
    directory.mkdir()
    (directory / ".pod.json.new").write_bytes(b"{")
    assert list(repository.load()) == []
    assert not directory.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff", b'{"spec": 1}', b"null"])
def test_a_record_that_cannot_be_read_is_left_alone(repository, content, caplog):
    repository.save(POD)
    record = repository.directory(POD_ID) / "pod.json"
    record.write_bytes(content)
    assert list(repository.load()) == []
    assert record.read_bytes() == content
    assert str(repository.directory(POD_ID)) in caplog.text


def test_a_record_on_a_bad_disk_keeps_no_other_pod_from_being_read(repository, monkeypatch):
    repository.save(POD)
    other = dataclasses.replace(POD, spec=dataclasses.replace(POD.spec, id=OTHER_ID))
    repository.save(other)
    read = Path.read_bytes

    def broken(path):
        if path.parent.name == POD_ID:
            raise OSError(errno.EIO, "Input/output error")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", broken)
    assert list(repository.load()) == [other]
    assert repository.ids() == {POD_ID, OTHER_ID}


def test_a_copy_of_another_pods_directory_is_no_pod(repository, caplog):
    repository.save(POD)
    shutil.copytree(repository.directory(POD_ID), repository.directory(OTHER_ID))
    assert list(repository.load()) == [POD]
    assert POD_ID in caplog.text


def test_a_stray_file_is_left_alone(repository):
    repository.save(POD)
    stray = repository.directory(POD_ID).parent / "notes.txt"
    stray.touch()
    assert list(repository.load()) == [POD]
    assert stray.exists()
