"""Files out of tars that a hostile guest has made."""

from __future__ import annotations

import io
import os
import stat
import tarfile

import pytest

from nova_hyper.cmd.ctl import untar
from nova_hyper.spec.errors import HyperError


def entry(name, content=b"", **fields):
    made = tarfile.TarInfo(name)
    made.mode = 0o644
    for field, value in fields.items():
        setattr(made, field, value)
    made.size = len(content)
    return made, content


def directory(name, **fields):
    return entry(name, type=tarfile.DIRTYPE, **{"mode": 0o755, **fields})


def link(name, target):
    return entry(name, type=tarfile.SYMTYPE, linkname=target)


def hard(name, target):
    return entry(name, type=tarfile.LNKTYPE, linkname=target)


@pytest.fixture
def home(tmp_path):
    """What must not change: a file and a directory beside the place of the copy."""
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "mine").write_text("mine")
    return tmp_path


@pytest.fixture
def extract(home):
    def run(*entries, target="place/out", name="asked-for"):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for made, content in entries:
                tar.addfile(made, io.BytesIO(content))
        buffer.seek(0)
        told = []
        with tarfile.open(fileobj=buffer, mode="r|") as tar:
            untar.extract(tar, home / target, name, told.append)
        assert (home / "mine").read_text() == "mine"
        assert [p.name for p in (home / "place").iterdir() if p.name.startswith(".")] == []
        return told

    return run


def test_a_file_takes_the_name_of_its_target(extract, home):
    assert extract(entry("etc-hosts", b"x", mode=0o750, mtime=5)) == []
    out = home / "place/out"
    assert out.read_bytes() == b"x"
    assert stat.S_IMODE(out.stat().st_mode) == 0o750
    assert out.stat().st_mtime == 5
    assert extract(entry(".bashrc", b"y"), target="place", name="hosts") == []
    assert (home / "place/hosts").read_bytes() == b"y"


def test_a_tree_comes_with_its_links_and_directories(extract, home):
    told = extract(
        directory("t"),
        directory("t/d", mode=0o500, mtime=7),
        entry("t/d/f", b"content"),
        link("t/l", "d/f"),
        link("t/d/up", "../d/f"),
        hard("t/h", "t/d/f"),
        link("t/dangling", "nothing"),
    )
    assert told == []
    out = home / "place/out"
    assert (out / "l").read_bytes() == (out / "d/up").read_bytes() == b"content"
    assert (out / "h").samefile(out / "d/f")
    assert os.readlink(out / "dangling") == "nothing"
    assert (out / "d").stat().st_mtime == 7


@pytest.mark.parametrize(
    ("hostile", "why"),
    [
        (entry("../mine", b"evil"), "its name leads outside"),
        (entry("t/../../mine", b"evil"), "its name leads outside"),
        (entry("mine", b"evil"), "its name leads outside"),
        (entry("t/" + "d/" * 600 + "f", b"evil"), "its name leads outside"),
        (link("t/l", "/etc/passwd"), "outside of what is copied"),
        (link("t/l", "../mine"), "outside of what is copied"),
        (link("t/l", "d/../../mine"), "outside of what is copied"),
        (hard("t/l", "/etc/passwd"), "a hard link to something that is not copied"),
        (hard("t/l", "../mine"), "a hard link to something that is not copied"),
        (hard("t/l", "t/nothing"), "a hard link to something that is not copied"),
        (hard("t/l", "t/d"), "a hard link to something that is not copied"),
        (entry("t/dev", type=tarfile.CHRTYPE), "a device or a pipe"),
        (entry("t/dev", type=tarfile.BLKTYPE), "a device or a pipe"),
        (entry("t/pipe", type=tarfile.FIFOTYPE), "a device or a pipe"),
        (entry("t/missing/f", b"x"), "another file is in its way"),
        (entry("t/f/f", b"x"), "another file is in its way"),
        (entry("t/f", b"twice"), "another file is in its way"),
        (directory("t/f"), "another file is in its way"),
    ],
)
def test_what_is_hostile_is_left_out_and_named(extract, home, hostile, why):
    told = extract(directory("t"), directory("t/d"), entry("t/f", b"good"), hostile)
    assert len(told) == 1 and why in told[0], told
    out = home / "place/out"
    assert (out / "f").read_bytes() == b"good"
    assert sorted(p.name for p in out.iterdir()) == ["d", "f"]
    assert (home / "place/mine").read_text() == "mine"


def test_nothing_is_written_through_a_link(extract, home):
    told = extract(directory("t"), link("t/l", ".."), entry("t/l/mine", b"evil"))
    assert len(told) == 2
    assert (home / "place/mine").read_text() == "mine"


def test_links_that_lead_outside_only_together_are_left_out(extract, home):
    """Each alone, and by its words, leads inside."""
    told = extract(directory("t"), link("t/here", "."), link("t/l", "here/../mine"))
    assert len(told) == 1 and "t/l" in told[0]
    assert os.readlink(home / "place/out/here") == "."


def test_links_in_a_circle_end(extract, home):
    extract(directory("t"), link("t/a", "b"), link("t/b", "a"))


def test_names_cannot_write_on_the_terminal(extract):
    told = extract(directory("t"), entry("t/\x1b[2J\n", type=tarfile.FIFOTYPE))
    assert told == ["t/?[2J? is not copied: it is a device or a pipe"]


def test_setuid_is_not_taken_over(extract, home):
    extract(entry("f", b"x", mode=0o6755))
    assert stat.S_IMODE((home / "place/out").stat().st_mode) == 0o755


def test_directories_are_merged_and_links_in_the_way_replaced(extract, home):
    out = home / "place/t"
    out.mkdir()
    (out / "old").write_text("old")
    (out / "f").symlink_to(home / "mine")
    (out / "d").symlink_to(home / "place")
    assert extract(directory("t"), entry("t/f", b"new"), target="place", name="t") == []
    assert (out / "old").read_text() == "old"
    assert (out / "f").read_bytes() == b"new" and not (out / "f").is_symlink()
    # A directory does not take a link's place, nor go through it.
    with pytest.raises(OSError):
        extract(
            directory("t"), directory("t/d"), entry("t/d/mine", b"evil"), target="place", name="t"
        )
    assert (home / "place/mine").read_text() == "mine"


def test_a_file_does_not_take_a_directorys_place(extract, home):
    (home / "place/t").mkdir()
    with pytest.raises(IsADirectoryError):
        extract(entry("t", b"x"), target="place", name="t")


@pytest.mark.parametrize("own", [".", "./"])
def test_a_tree_without_a_name_is_content(extract, home, own):
    tree = (directory(own), directory("./d"), entry("./d/f", b"1"), hard("h", "./d/f"))
    assert extract(*tree, target="place", name="") == []
    assert (home / "place/d/f").read_bytes() == (home / "place/h").read_bytes() == b"1"
    assert extract(*tree, entry("../mine", b"evil")) == [
        "../mine is not copied: its name leads outside"
    ]
    assert (home / "place/out/d/f").read_bytes() == b"1"


def test_where_all_is_left_out_that_is_all_that_is_told(extract, home):
    (told,) = extract(link("l", "/etc/passwd"))
    assert "outside of what is copied" in told
    assert not os.path.lexists(home / "place/out")


def test_an_empty_tar_is_an_error(extract):
    with pytest.raises(HyperError, match="nothing to copy"):
        extract()


def test_a_place_that_is_not_there_is_named(extract):
    with pytest.raises(FileNotFoundError, match="no such directory"):
        extract(entry("f"), target="place/none/out")
