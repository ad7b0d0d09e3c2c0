"""What a container sees of a hard image, against what umoci unpacks of it."""

from __future__ import annotations

import json
import subprocess
import tempfile
import uuid
from pathlib import Path

import pytest

from tests.functional import listing
from tests.functional.archives import layer, remade
from tests.functional.daemon import Daemon, wait_for

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def lister(tmp_path_factory):
    return listing.build(tmp_path_factory.mktemp("lister"))


@pytest.fixture(scope="module")
def archive(tmp_path_factory, lister):
    """The image of six layers with the lister on top."""
    directory = tmp_path_factory.mktemp("six")
    plain = directory / "plain.tar"
    subprocess.run([REPO / "tools/images/five-layers.sh", plain], check=True, capture_output=True)
    return remade(plain, directory / "hard.tar", top=layer({"list": lister.read_bytes()}))


def unpacked(archive, lister, directory):
    """The listing of what umoci makes of the image."""
    oci = f"{directory}/oci"
    copy = ["skopeo", "copy", "--quiet", f"docker-archive:{archive}", f"oci:{oci}:hard"]
    subprocess.run(copy, check=True, capture_output=True)
    unpack = ["umoci", "unpack", "--image", f"{oci}:hard", f"{directory}/bundle"]
    subprocess.run(unpack, check=True, capture_output=True)
    rootfs = f"{directory}/bundle/rootfs"
    listed = subprocess.run([lister, rootfs], check=True, capture_output=True, text=True)
    return listing.lines(listed.stdout)


def test_the_tree_in_a_container_is_what_umoci_unpacks(libvirt, guest, archive, lister, tmp_path):
    layers = json.loads(
        subprocess.run(
            ["skopeo", "inspect", f"docker-archive:{archive}"],
            check=True,
            capture_output=True,
        ).stdout
    )["Layers"]
    assert len(layers) >= 5
    with tempfile.TemporaryDirectory(prefix="hyperd-", dir="/run") as place:
        daemon = Daemon(Path(place), guest, f"t{uuid.uuid4().hex[:6]}-")
        daemon.start()
        try:
            daemon.ctl("load", str(archive), "--name", "hard")
            pod = daemon.ctl("run", "-d", "-m", "128", "--entrypoint", "/list", "hard")
            pod_id = pod.stdout.strip()
            wait_for(lambda: daemon.client.pod(pod_id).state == "stopped", 120, "the listing")
            text = daemon.client.console(pod_id, 4 << 20).decode().replace("\r\n", "\n")
        finally:
            daemon.remove()
    seen, expected = listing.lines(text), unpacked(archive, lister, tmp_path)
    assert len(expected) > 2000
    assert seen.keys() == expected.keys()
    assert {n: (seen[n], e) for n, e in expected.items() if seen[n] != e} == {}
