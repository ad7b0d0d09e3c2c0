"""Saved images are the ones that came: skopeo, podman and a guest say so."""

from __future__ import annotations

import gzip
import json
import subprocess
import tarfile
import tempfile
import uuid
from pathlib import Path

import pytest

from tests.functional import archives
from tests.functional.daemon import Daemon

pytestmark = pytest.mark.usefixtures("libvirt")
TOOLS = Path(__file__).resolve().parents[2] / "tools" / "images"
LAYERS = 40


@pytest.fixture(scope="module")
def directory():
    """A directory that QEMU's user can pass."""
    with tempfile.TemporaryDirectory(prefix="hysave-", dir="/run") as directory:
        yield Path(directory)


@pytest.fixture(scope="module")
def daemon(directory, guest):
    prefix = f"t{uuid.uuid4().hex[:6]}-"
    daemon = Daemon(directory, guest, prefix, image__max_layer_disks="4")
    daemon.start()
    yield daemon
    daemon.remove()
    assert not daemon.leftovers()


def tool(*args):
    """Return what a command prints."""
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{args}: {done.stderr}"
    return done.stdout


def facts(reference):
    """Return the id of an image and the diff IDs of its layers, as skopeo sees them."""
    raw = tool("skopeo", "inspect", "--raw", "--config", reference)
    # The digest of the manifest is another tool's own; the configuration's is the image's id.
    digest = subprocess.run(
        ["sha256sum"], input=raw.encode(), capture_output=True, check=True
    ).stdout.decode()[:64]
    return f"sha256:{digest}", json.loads(raw)["rootfs"]["diff_ids"]


@pytest.fixture(scope="module")
def image(daemon, busybox):
    return daemon.json("load", str(busybox))


@pytest.mark.parametrize("form", ["docker", "oci"])
def test_skopeo_finds_the_same_configuration_and_layers(daemon, directory, busybox, image, form):
    saved = directory / f"{form}.tar"
    daemon.ctl("save", "--format", form, image["id"], str(saved))
    assert facts(f"{form}-archive:{saved}") == facts(f"docker-archive:{busybox}")
    # Copying reads and verifies every blob.
    copied = directory / f"copied-{form}"
    tool("skopeo", "copy", "-q", f"{form}-archive:{saved}", f"dir:{copied}")
    assert (copied / "manifest.json").exists()


@pytest.mark.parametrize("form", ["docker", "oci"])
def test_podman_loads_what_was_saved_as_the_same_image(daemon, directory, image, form):
    saved = directory / f"podman-{form}.tar"
    with saved.open("wb") as file:
        for part in daemon.client.save_image(image["id"], form):
            file.write(part)
    podman = ["podman", "--root", directory / form, "--runroot", directory / f"{form}-run"]
    podman += ["--storage-driver", "vfs"]
    tool(*podman, "load", "-q", "-i", saved)
    (listed,) = json.loads(tool(*podman, "images", "--no-trunc", "--format", "json"))
    assert f"sha256:{listed['Id'].removeprefix('sha256:')}" == image["id"]
    tool(*podman, "rmi", "-f", listed["Id"])


def test_what_was_saved_is_loaded_as_the_same_image(daemon, directory, image):
    saved = directory / "again.tar"
    daemon.ctl("save", image["id"], str(saved))
    assert daemon.json("load", str(saved))["id"] == image["id"]


def test_nothing_is_left_of_a_save_that_fails(daemon, directory):
    saved = directory / "none.tar"
    failed = daemon.ctl("save", "none", str(saved), check=False)
    assert failed.returncode == 1
    assert "there is no image none" in failed.stderr
    assert not list(directory.glob("none.tar*"))


@pytest.fixture(scope="module")
def many(daemon, directory, busybox):
    """An image of busybox and many layers, each of which changes what the one before made."""
    tops = [
        archives.layer({"d/kept": b"0", "d/gone": b"0", "opaque/old": b"0", "n/0": b"0"}),
        *(archives.layer({"last": f"{i}".encode(), f"n/{i}": b"x"}) for i in range(1, LAYERS)),
        archives.layer({"d/.wh.gone": b"", "opaque/.wh..wh..opq": b"", "opaque/new": b"1"}),
    ]
    with tarfile.open(busybox) as tar:
        contents = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}
    (manifest,) = json.loads(contents["manifest.json"])
    layers = [contents[name] for name in manifest["Layers"]]
    plain = [gzip.decompress(la) if la[:2] == b"\x1f\x8b" else la for la in layers]
    return archives.write(directory / "many.tar", [*plain, *tops], {"Cmd": ["sh"]})


def test_a_merged_image_boots_and_shows_the_right_tree(daemon, many):
    image = daemon.json("load", str(many))
    assert len(image["layers"]) <= 4
    script = "echo last=$(cat /last) d=$(ls /d) opaque=$(ls /opaque) n=$(ls /n | wc -l)"
    shown = daemon.ctl("run", "--rm", "-m", "64", image["id"], "sh", "-c", script).stdout
    assert f"last={LAYERS - 1} d=kept opaque=new n={LAYERS}" in shown


def test_an_image_that_a_pod_needs_stays(daemon, image):
    daemon.ctl("tag", image["id"], "needed:1")
    daemon.ctl("run", "-d", "--name", "holder", "-m", "64", "needed:1", "sleep", "1000")
    refused = daemon.ctl("rmi", image["id"], check=False)
    assert refused.returncode == 1
    assert "in use by holder; delete those first" in refused.stderr
    daemon.ctl("image", "prune", "--all")
    usage = daemon.json("system", "df")
    assert [(i["id"], i["pods"]) for i in usage["images"]] == [(image["id"], 1)]
    assert [pod["name"] for pod in usage["pods"]] == ["holder"]
    daemon.ctl("rm", "-f", "holder")
    daemon.ctl("image", "prune", "--all")
    usage = daemon.json("system", "df")
    assert (usage["images"], usage["layer_bytes"], usage["pods"]) == ([], 0, [])


def test_a_merged_image_is_saved_with_its_own_layers(daemon, directory, many):
    saved = directory / "many-saved.tar"
    image = daemon.json("load", str(many))
    daemon.ctl("save", image["id"], str(saved))
    assert facts(f"docker-archive:{saved}") == facts(f"docker-archive:{many}")
    assert len(facts(f"docker-archive:{saved}")[1]) > LAYERS
