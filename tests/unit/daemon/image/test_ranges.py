"""Parts of files read as one."""

import pytest

from nova_hyper.daemon.image.ranges import Ranges


@pytest.fixture
def files(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"0123456789")
    two.write_bytes(b"abcdef")
    return one, two


def read(ranges, size):
    parts = []
    while part := ranges.read(size):
        assert len(part) <= size
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_parts_come_one_after_the_other(files, size):
    one, two = files
    ranges = Ranges([(one, 2, 3), (two, 0, 6), (one, 0, 1), (two, 5, 0)])
    assert read(ranges, size) == b"234abcdef0"
    assert ranges.read(1) == b""


def test_a_file_that_became_shorter_is_an_error(files):
    ranges = Ranges([(files[0], 8, 5)])
    with pytest.raises(OSError, match="shorter than it was"):
        read(ranges, 10)


def test_closing_twice_is_fine(files):
    ranges = Ranges([(files[0], 0, 5)])
    ranges.read(1)
    ranges.close()
    ranges.close()
