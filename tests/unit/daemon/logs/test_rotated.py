"""A file that is rotated while it is read."""

from __future__ import annotations

import os

import pytest

from nova_hyper.daemon.logs.rotated import RotatedFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "container.log"


def rotate(path, keep=3):
    """As virtlogd does it."""
    names = [path, *(path.with_name(f"{path.name}.{n}") for n in range(keep))]
    names[-1].unlink(missing_ok=True)
    for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
        if newer.exists():
            newer.rename(older)
    path.touch()


def append(path, data):
    with path.open("ab") as file:
        file.write(data)


def everything(file):
    return b"".join(file.read())


def test_the_oldest_comes_first(path):
    for part in (b"1", b"2", b"3", b"4"):
        append(path, part)
        rotate(path)
    assert everything(RotatedFile(path)) == b"234"


def test_reading_goes_on_over_rotations(path):
    append(path, b"1")
    file = RotatedFile(path)
    assert everything(file) == b"1"
    append(path, b"2")
    rotate(path)
    append(path, b"3")
    rotate(path)
    append(path, b"4")
    assert everything(file) == b"234"
    assert not file.lost
    append(path, b"5")
    assert everything(file) == b"5"


def test_a_file_that_comes_later_is_read(path):
    file = RotatedFile(path)
    assert everything(file) == b""
    append(path, b"1")
    assert everything(file) == b"1"


def test_what_went_by_unread_is_told(path):
    append(path, b"old")
    file = RotatedFile(path)
    for number in range(6):
        rotate(path)
        append(path, b"%d" % number)
    # The file it had open is still read to its end.
    assert everything(file) == b"old2345"
    assert file.lost


def test_a_rotation_that_is_half_done_loses_nothing(path):
    append(path, b"1")
    file = RotatedFile(path)
    path.rename(path.with_name("container.log.0"))
    assert everything(file) == b"1"
    append(path, b"2")
    assert everything(file) == b"2"
    assert not file.lost


def test_files_that_are_gone_end_it(path, tmp_path):
    append(path, b"1")
    file = RotatedFile(path)
    path.unlink()
    tmp_path.rmdir()
    assert everything(file) == b"1"
    assert everything(file) == b""


def test_a_position_is_found_again_after_rotations(path):
    append(path, b"one\ntwo\n" * 50)
    file = RotatedFile(path)
    everything(file)
    place = file.position(back=4)
    rotate(path)
    append(path, b"three\n")
    again = RotatedFile(path)
    assert again.seek(place)
    assert everything(again) == b"two\nthree\n"


def test_a_position_at_the_beginning_of_a_file_is_found(path):
    append(path, b"12345")
    file = RotatedFile(path)
    everything(file)
    place = file.position(back=3)
    again = RotatedFile(path)
    assert again.seek(place)
    assert everything(again) == b"345"


@pytest.mark.parametrize(
    "place", ["", "x", "5", "-", "1-zz", "ffffffffffffffffffff-00000000", "3-00000001", "-1-0"]
)
def test_a_position_that_is_none_is_refused(path, place):
    append(path, b"12345")
    file = RotatedFile(path)
    assert not file.seek(place)
    assert everything(file) == b"12345"


def test_a_twin_reads_on_its_own(path):
    append(path, b"1")
    rotate(path)
    append(path, b"2")
    file = RotatedFile(path)
    twin = file.twin()
    assert everything(twin) == everything(file) == b"12"
    twin.close()
    append(path, b"3")
    assert everything(file) == b"3"


def test_a_link_is_not_followed(path, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"x")
    path.symlink_to(secret)
    assert everything(RotatedFile(path)) == b""


def test_nothing_stays_open(path):
    before = len(os.listdir("/proc/self/fd"))
    append(path, b"1")
    file = RotatedFile(path)
    for _ in range(9):
        everything(file)
        append(path, b"2")
        rotate(path)
    file.twin().close()
    file.close()
    file.close()
    assert len(os.listdir("/proc/self/fd")) == before
