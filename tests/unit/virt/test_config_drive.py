"""Config drives, made by Nova's own code of what its metadata service would tell."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from unittest import mock

import pytest
from nova import conf, objects
from nova.virt import configdrive

from nova_hyper import exception
from nova_hyper.virt import config_drive
from tests.unit.virt.instances import image_meta, instance

CONF = conf.CONF


@pytest.fixture
def server():
    made = instance(config_drive="True")
    with mock.patch.object(objects.Instance, "image_meta", image_meta()):
        yield made


@pytest.fixture
def metadata():
    """What the drive is made of; the mock is the class, called with what it should tell of."""
    with mock.patch("nova.api.metadata.base.InstanceMetadata") as made:
        made.return_value.metadata_for_config_drive.return_value = [
            ("openstack/latest/meta_data.json", b'{"uuid": "x"}'),
            ("openstack/content/0000", b"hello"),
        ]
        yield made


def test_a_server_without_one_has_none(metadata):
    with mock.patch.object(objects.Instance, "image_meta", image_meta()):
        assert config_drive.image(instance(), [], []) is None
    metadata.assert_not_called()


@pytest.mark.skipif(shutil.which("genisoimage") is None, reason="genisoimage is not installed")
def test_a_drive_is_an_iso_image_with_label_and_files(server, metadata, tmp_path, monkeypatch):
    # Or it would look for a file that only packages of Nova have.
    monkeypatch.setattr("nova.version.loaded", True)
    image = config_drive.image(server, ["network"], [("/etc/motd", b"hello")])
    (call,) = metadata.call_args_list
    assert call.kwargs == {"content": [("/etc/motd", b"hello")], "network_info": ["network"]}
    path = tmp_path / "drive.iso"
    path.write_bytes(image)
    assert image[32808:32816] == b"config-2"
    listed = subprocess.run(
        ["isoinfo", "-R", "-i", path, "-x", "/openstack/content/0000"],
        check=True,
        capture_output=True,
    )
    assert listed.stdout == b"hello"


def test_a_drive_that_a_pod_cannot_mount_is_refused(server, metadata, monkeypatch):
    monkeypatch.setattr(config_drive, "CONF", mock.Mock(config_drive_format="vfat"))
    with pytest.raises(exception.PodFailed, match="set it to iso9660"):
        config_drive.image(server, [], [])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(2, "No such file or directory"), "is missing on this node; install it"),
        (OSError(28, "No space left on device"), "No space left"),
    ],
)
def test_what_goes_wrong_on_the_node_is_told(server, metadata, error, words):
    with (
        mock.patch.object(configdrive.ConfigDriveBuilder, "make_drive", side_effect=error),
        pytest.raises(exception.PodFailed, match=words),
    ):
        config_drive.image(server, [], [])


def test_nothing_is_left_of_making_one(server, metadata, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def make(self, path):
        Path(path).write_bytes(b"image")

    with mock.patch.object(configdrive.ConfigDriveBuilder, "make_drive", make):
        assert config_drive.image(server, [], []) == b"image"
    assert list(tmp_path.iterdir()) == []
