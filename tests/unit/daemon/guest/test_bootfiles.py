"""The store of kernels and ramdisks."""

from __future__ import annotations

import hashlib
import io
import stat

import pytest

from nova_hyper.daemon.guest.bootfiles import BootFileStore
from nova_hyper.spec.boot import BootFileKind
from nova_hyper.spec.errors import BootFileInUse, BootFileInvalid, BootFileNotFound, DiskFull

RAMDISK = BootFileKind.RAMDISK
ONE = b"070701" + b"1" * 200
TWO = b"070701" + b"2" * 200


@pytest.fixture
def used():
    return set()


@pytest.fixture
def make(tmp_path, used):
    return lambda: BootFileStore(tmp_path / "boot", 1 << 20, lambda: used)


@pytest.fixture
def store(make):
    return make()


def add(store, data, name="r"):
    return store.add(io.BytesIO(data), name, RAMDISK)


def files(tmp_path):
    return sorted(path.name for path in (tmp_path / "boot").iterdir())


def test_a_file_is_kept_by_its_digest_where_qemu_can_read_it(store):
    file, new = add(store, ONE)
    assert new
    assert file.id == "sha256:" + hashlib.sha256(ONE).hexdigest()
    path = store.path("r")
    assert path == store.path(file.id)
    assert path.read_bytes() == ONE
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_the_same_content_again_is_not_new(store, tmp_path):
    add(store, ONE, "a")
    file, new = add(store, ONE, "b")
    assert not new
    assert file.names == ("a", "b")
    assert len(files(tmp_path)) == 2


def test_a_name_moves_to_the_newest_content(store):
    old, _ = add(store, ONE)
    new, _ = add(store, TWO)
    assert store.get("r").id == new.id
    assert store.get(old.id).names == ()


def test_it_is_all_there_after_a_restart_and_nothing_else(store, make, tmp_path):
    file, _ = add(store, ONE)
    (tmp_path / "boot" / "draft-1-2").write_bytes(b"half")
    (tmp_path / "boot" / ("0" * 64)).write_bytes(b"without a record")
    assert make().list() == [file]
    assert files(tmp_path) == sorted([file.id[7:], file.id[7:] + ".json"])


def test_a_damaged_record_is_a_file_less(store, make, tmp_path):
    file, _ = add(store, ONE)
    (tmp_path / "boot" / (file.id[7:] + ".json")).write_text("{")
    again = make()
    assert again.list() == []
    assert add(again, ONE)[1]


def test_a_file_is_gone_with_its_last_name(store, tmp_path):
    add(store, ONE, "a")
    add(store, ONE, "b")
    store.delete("a")
    assert store.get("b").names == ("b",)
    store.delete("b")
    assert store.list() == []
    assert files(tmp_path) == []
    with pytest.raises(BootFileNotFound):
        store.delete("b")


def test_what_a_pod_boots_stays(store, used):
    file, _ = add(store, ONE)
    used.add(file.id)
    with pytest.raises(BootFileInUse, match="delete the pod first"):
        store.delete("r")
    assert store.path("r").exists()


@pytest.mark.parametrize("data", [b"no archive", ONE + bytes(1 << 20)])
def test_nothing_is_left_of_what_is_refused(store, tmp_path, data):
    with pytest.raises(BootFileInvalid):
        add(store, data)
    assert files(tmp_path) == []


def test_nothing_is_left_when_the_disk_is_full(store, tmp_path):
    class Full:
        def read(self, size):
            raise OSError(28, "No space left on device")

    with pytest.raises(DiskFull, match="ramdisk"):
        store.add(Full(), "r", RAMDISK)
    assert files(tmp_path) == []
