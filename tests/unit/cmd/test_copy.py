"""hyperctl cp: which side, which name, and what is sent."""

from __future__ import annotations

import io
import os
import socket
import sys
import tarfile

import pytest

from nova_hyper.cmd.ctl import copy
from nova_hyper.spec.container import Container
from nova_hyper.spec.pod import PodSpec
from tests.unit.daemon.fakes import POD_ID


@pytest.fixture
def pod(hyperd, image):
    hyperd.create_pod(PodSpec(POD_ID, "web", (Container("main", "web:1"),)))
    return hyperd.start_pod("web")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tar_of_directory(name="srv"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        made = tarfile.TarInfo(name)
        made.type = tarfile.DIRTYPE
        tar.addfile(made)
    return out.getvalue()


def members(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {m.name: m for m in tar}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("web:/etc/x", ("web", "/etc/x")),
        ("web:etc", ("web", "/etc")),
        ("web:/a:b", ("web", "/a:b")),
        ("./web:x", None),
        ("/a/b:c", None),
        ("-", None),
        ("file", None),
        (":x", None),
    ],
)
def test_a_colon_tells_a_pod_from_a_path(text, place):
    assert copy._place(text) == place


@pytest.mark.parametrize(("source", "target"), [("a", "b"), ("web:/a", "web:/b"), ("-", "-")])
def test_one_side_must_be_a_pod(ctl, pod, source, target):
    result = ctl("cp", source, target)
    assert result.code == 1
    assert "one of the two, and only one, must be POD:PATH" in result.err


def test_a_file_comes_out(ctl, pod, here):
    assert ctl("cp", "web:/etc/hosts", "copy").code == 0
    assert (here / "copy").read_bytes() == b"127.0.0.1 localhost\n"
    assert ctl("cp", "web:/etc/hosts", ".").code == 0
    assert (here / "hosts").exists()
    result = ctl("cp", "web:/etc/hosts", "none/")
    assert (result.code, result.err) == (1, "hyperctl: none/: there is no such directory\n")


def test_a_tar_comes_out(ctl, pod, monkeypatch):
    result = ctl("cp", "web:/etc/hosts", "-")
    assert set(members(result.out.encode())) == {"hosts"}


def test_what_is_no_tar_is_an_error(ctl, hyperd, pod, here):
    hyperd.archives["/x"] = b"no tar" * 1000
    result = ctl("cp", "web:/x", ".")
    assert result.code == 1
    assert "what the guest sent is no tar archive" in result.err


def tar_of(*names):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in names:
            made = tarfile.TarInfo(name.rstrip("/"))
            made.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            made.mode = 0o755
            tar.addfile(made)
    return out.getvalue()


@pytest.mark.parametrize(
    ("path", "entries", "expected"),
    [
        # The guest says how what it sends is called; where it goes is not for it to say.
        ("/etc/hosts", [".bashrc"], {"hosts"}),
        ("/etc", [".ssh/", ".ssh/authorized_keys"], {"etc", "etc/authorized_keys"}),
        ("/etc", ["./", "./.bashrc"], {"etc", "etc/.bashrc"}),
        ("/etc/", ["x/", "x/y"], {"etc", "etc/y"}),
        ("/srv/current/", ["42/", "42/y"], {"current", "current/y"}),
        # Their content, as docker and cp do it.
        ("/etc/.", ["etc/", "etc/hosts"], {"hosts"}),
        ("/", ["./", "./hosts"], {"hosts"}),
    ],
)
def test_a_copy_is_called_as_it_was_asked_for(ctl, hyperd, pod, here, path, entries, expected):
    hyperd.archives[path.removesuffix("/.")] = tar_of(*entries)
    assert ctl("cp", f"web:{path}", ".").code == 0
    assert {str(p.relative_to(here)) for p in here.rglob("*")} == expected


def test_a_file_in_place_of_a_directory_goes_nowhere(ctl, hyperd, pod, here):
    hyperd.archives["/etc"] = tar_of(".bashrc")
    result = ctl("cp", "web:/etc/.", ".")
    assert (result.code, list(here.iterdir())) == (1, [])


def test_what_is_left_out_makes_exit_1(ctl, hyperd, pod, here):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        made = tarfile.TarInfo("x")
        made.type = tarfile.DIRTYPE
        tar.addfile(made)
        made = tarfile.TarInfo("x/pipe")
        made.type = tarfile.FIFOTYPE
        tar.addfile(made)
    hyperd.archives["/x"] = out.getvalue()
    result = ctl("cp", "web:/x", ".")
    assert (result.code, result.err) == (
        1,
        "hyperctl: x/pipe is not copied: it is a device or a pipe\n",
    )


def test_a_file_goes_in_under_the_name_of_its_target(ctl, hyperd, pod, here):
    (here / "f").write_bytes(b"content")
    assert ctl("cp", "f", "web:/etc/other").code == 0
    directory, data = hyperd.received[-1]
    assert (directory, set(members(data))) == ("/etc", {"other"})


def test_a_file_goes_into_a_directory(ctl, hyperd, pod, here):
    hyperd.archives["/srv"] = tar_of_directory()
    (here / "f").write_bytes(b"content")
    for target in ("web:/srv", "web:/srv/"):
        assert ctl("cp", "f", target).code == 0
        directory, data = hyperd.received[-1]
        assert (directory.rstrip("/"), set(members(data))) == ("/srv", {"f"})
    result = ctl("cp", "f", "web:/none/")
    assert (result.code, result.err) == (1, "hyperctl: there is no directory /none/ in pod web\n")


def test_a_tree_goes_in_as_roots_and_links_as_links(ctl, hyperd, pod, here):
    (here / "t" / "d").mkdir(parents=True)
    (here / "t" / "d" / "f").write_bytes(b"x" * 1000)
    os.link(here / "t" / "d" / "f", here / "t" / "same")
    (here / "t" / "l").symlink_to("/etc/passwd")
    os.mkfifo(here / "t" / "pipe")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(here / "t" / "sock"))
    assert ctl("cp", "t", "web:/opt/t").code == 0
    found = members(hyperd.received[-1][1])
    assert set(found) == {"t", "t/d", "t/d/f", "t/same", "t/l", "t/pipe"}
    assert {(m.uid, m.gid, m.uname) for m in found.values()} == {(0, 0, "")}
    assert found["t/l"].linkname == "/etc/passwd"
    assert found["t/same"].isreg() and found["t/same"].size == 1000


def test_standard_input_goes_in_as_it_is(ctl, hyperd, pod, here, monkeypatch):
    (here / "in.tar").write_bytes(tar_of_directory())
    with (here / "in.tar").open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert ctl("cp", "-", "web:/srv").code == 0
    assert hyperd.received == [("/srv", tar_of_directory())]


def test_a_file_that_is_not_there_is_named(ctl, pod, here):
    result = ctl("cp", "none", "web:/x")
    assert result.code == 1
    assert "none: No such file or directory" in result.err


@pytest.mark.parametrize(("size", "told"), [(1000, 400), (1000, 2000), (512, 512), (0, 5), (5, 0)])
def test_a_file_that_changes_meanwhile_is_as_long_as_was_told(tmp_path, size, told):
    (tmp_path / "f").write_bytes(b"x" * size)
    data = b"".join(copy._content(tmp_path / "f", told))
    assert len(data) == -(-told // 512) * 512
    assert data.rstrip(b"\0") == b"x" * min(size, told)
