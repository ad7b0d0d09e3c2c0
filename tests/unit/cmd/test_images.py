"""The verbs of hyperctl that bring, send, name and count images."""

import io
import json
import sys

import pytest
import yaml

from nova_hyper.cmd.ctl import output, progress
from nova_hyper.spec import codec
from nova_hyper.spec.errors import HyperError, PullRefused, RegistryDenied
from nova_hyper.spec.usage import DiskUsage, ImageUsage, PodUsage, Pruned
from tests.unit.fake_hyperd import FakeHyperd

LAYER = {"event": "layer", "digest": "sha256:" + "a" * 64, "size": 2048}
USAGE = DiskUsage(
    images=(ImageUsage("sha256:" + "b" * 64, ("web:1",), 4096, 1024, 1),),
    pods=(PodUsage("id", "shop", 1 << 20, 1 << 30),),
    layers=2,
    layer_bytes=4096,
    reclaimable=1024,
    temporary=7,
)


class Saved(io.BytesIO):
    """The body of an archive."""

    error = None

    def __iter__(self):
        yield b"archive"
        if self.error:
            raise self.error


class Hyperd(FakeHyperd):
    """With a registry that has everything, for anna and for nobody."""

    def __init__(self):
        super().__init__()
        self.asked = []
        self.saved = Saved()

    def pull(self, ref, username=None, password=None):
        self.asked.append((ref, username, password))
        if ref == "refused":
            raise PullRefused("this host may not pull from refused")
        yield {"event": "resolved", "name": ref, "id": "sha256:0", "layers": []}
        if password == "wrong":
            raise RegistryDenied("the registry refuses the password")
        for state in ("downloading", "converting", "done"):
            yield {**LAYER, "state": state, "received": 1024}
        image = self.import_image(ref, [b"archive"])
        yield {"event": "done", "image": codec.encode(image), "new": True}

    def save_image(self, ref, form="docker"):
        self.image(ref)
        self.asked.append((ref, form))
        return self.saved

    def tag_image(self, ref, name):
        self.image(ref)
        return self.import_image(name, [b"archive"])

    def prune_images(self, everything=False):
        self.asked.append(everything)
        return Pruned(("sha256:0",), ("old:1",) if everything else (), 2048)

    def disk_usage(self):
        return USAGE


@pytest.fixture
def hyperd():
    return Hyperd()


def test_pull_prints_the_id_and_tells_how_far_it_is(ctl, hyperd, monkeypatch):
    monkeypatch.setattr(progress, "_REPORT_S", 0)
    result = ctl("pull", "quay.io/web:1")
    (image,) = hyperd.images()
    assert (result.code, result.out) == (0, f"{image.id}\n")
    assert result.err.splitlines() == [
        "aaaaaaaaaaaa: 1.0 KiB (50 %)",
        "aaaaaaaaaaaa: converting",
        "aaaaaaaaaaaa: done",
    ]
    assert hyperd.asked == [("quay.io/web:1", None, None)]


def test_pull_shows_the_image_to_programs(ctl):
    assert json.loads(ctl("pull", "-o", "json", "web:1").out)["names"] == ["web:1"]


def test_the_password_comes_from_standard_input(ctl, hyperd, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("secret\n"))
    assert ctl("pull", "--username", "anna", "--password-stdin", "web").code == 0
    assert hyperd.asked == [("web", "anna", "secret")]


def test_the_password_is_asked_for(ctl, hyperd, monkeypatch):
    monkeypatch.setattr("getpass.getpass", lambda prompt: "typed")
    assert ctl("pull", "--username", "anna", "web").code == 0
    assert hyperd.asked == [("web", "anna", "typed")]


def test_a_password_of_nobody_is_misuse(ctl):
    result = ctl("pull", "--password-stdin", "web")
    assert result.code == 2
    assert "--password-stdin needs --username" in result.err


@pytest.mark.parametrize("password", ["wrong", None])
def test_a_pull_that_fails_is_its_reason(ctl, monkeypatch, password):
    monkeypatch.setattr("getpass.getpass", lambda prompt: password)
    arguments = ["--username", "anna", "web"] if password else ["refused"]
    result = ctl("pull", *arguments)
    assert result.code == 1
    assert result.err.startswith("hyperctl: ")
    assert result.out == ""


def test_save_writes_the_file_whole(ctl, hyperd, image, tmp_path):
    path = tmp_path / "web.tar"
    assert ctl("save", "--format", "oci", "web:1", path).code == 0
    assert path.read_bytes() == b"archive"
    assert hyperd.asked == [("web:1", "oci")]
    assert [p.name for p in tmp_path.iterdir()] == ["web.tar"]


def test_save_writes_to_standard_output(ctl, image):
    result = ctl("save", "web:1", "-")
    assert (result.code, result.out) == (0, "archive")


def test_a_save_that_fails_leaves_the_file_that_was_there(ctl, hyperd, image, tmp_path):
    path = tmp_path / "web.tar"
    path.write_text("before")
    hyperd.saved.error = HyperError("the layer is damaged")
    result = ctl("save", "web:1", path)
    assert (result.code, result.err) == (1, "hyperctl: the layer is damaged\n")
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["web.tar"]


def test_tag_gives_a_name(ctl, hyperd, image):
    assert ctl("tag", "web:1", "web:2").code == 0
    assert hyperd.images()[0].names == ("web:1", "web:2")
    assert ctl("tag", "none", "x").code == 1


def test_prune_says_what_went(ctl, hyperd):
    result = ctl("image", "prune")
    assert (result.out, result.err) == ("sha256:0\n", "1 images removed, 2.0 KiB freed\n")
    assert ctl("image", "prune", "--all").out == "old:1\n"
    assert hyperd.asked == [False, True]
    assert json.loads(ctl("image", "prune", "-o", "json").out)["bytes"] == 2048


def test_inspect_shows_all_of_an_image(ctl, image):
    (shown,) = yaml.safe_load(ctl("image", "inspect", "web:1").out)
    assert shown == codec.encode(image)


def test_the_use_of_disk_is_shown(ctl):
    lines = [line.split() for line in ctl("system", "df").out.splitlines()]
    assert ["layers", "2", "4.0", "KiB", "1.0", "KiB"] in lines
    assert ["bbbbbbbbbbbb", "web:1", "4.0", "KiB", "1.0", "KiB", "1"] in lines
    assert ["shop", "1.0", "MiB", "1.0", "GiB"] in lines
    assert json.loads(ctl("system", "df", "-o", "json").out) == codec.encode(USAGE)


def test_a_table_has_nothing_that_steers_a_terminal(capsys):
    # The time of creation is any text that the maker of the image likes.
    output.table(("CREATED",), [("\x1b[2J\x1b]0;x\x07\n",)])
    assert capsys.readouterr().out == "CREATED\n?[2J?]0;x??\n"


def test_on_a_terminal_there_are_bars(monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with progress.progress() as told:
        told.update("web", 512, 1024)
        told.update("web", 1024, 1024, "done")
        told.update("unknown", 5, 0)
    assert "web" in screen.getvalue()
    assert "\x1b[" in screen.getvalue()
