"""Which disks a pod has, and what of them belongs to which container."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from nova_hyper.daemon.pods import layout
from nova_hyper.daemon.pods.repository import Repository
from nova_hyper.spec.container import Container
from nova_hyper.spec.image import Layer
from nova_hyper.spec.volume import Volume
from tests.unit.daemon.fakes import POD_ID, image, spec

TWO = (Container("a", "web:1"), Container("b", "db:1"))
ONE = TWO[:1]


def layered(names):
    return dataclasses.replace(image(), layers=tuple(Layer(name, 1, 2) for name in names))


def test_a_layer_that_two_containers_have_is_one_disk():
    disks = layout.Disks(spec(containers=TWO), [layered("xy"), layered("xz")])
    assert disks.diff_ids == ("x", "y", "z")
    assert disks.of_container(0)[0] == ["l0", "l1"]
    assert disks.of_container(1)[0] == ["l0", "l2"]


def test_a_layer_that_an_image_has_twice_is_one_disk_mounted_twice():
    disks = layout.Disks(spec(), [layered("xyx")])
    assert disks.diff_ids == ("x", "y")
    assert disks.of_container(0)[0] == ["l0", "l1", "l0"]


def test_serial_numbers_fit_virtio_and_belong_to_their_paths():
    images = [layered([f"d{i}" for i in range(200)])]
    disks = layout.Disks(spec(root_gib=1), images)
    paths = [Path("/layers", d) for d in disks.diff_ids]
    made = disks.of_domain(paths, Path("/upper"))
    assert [d.path for d in made] == [*paths, Path("/upper")]
    assert len({d.serial for d in made}) == len(made) == disks.count
    assert max(len(d.serial) for d in made) <= 20
    assert [d.readonly for d in made] == [True] * 200 + [False]


@pytest.mark.parametrize(
    ("changes", "uppers"),
    [
        ({"containers": ONE, "root_gib": 1}, [{"serial": "upper0"}]),
        ({"containers": ONE}, [{"tmpfs_mib": 32}]),
        (
            {"containers": TWO, "root_gib": 1},
            [{"serial": "upper", "dir": "a"}, {"serial": "upper", "dir": "b"}],
        ),
        (
            {"containers": TWO},
            [
                {"tmpfs_mib": 32, "tmpfs": "upper", "dir": "a"},
                {"tmpfs_mib": 32, "tmpfs": "upper", "dir": "b"},
            ],
        ),
        (
            {"containers": ONE, "root_gib": 1, "volumes": (Volume("v"),)},
            [{"serial": "upper", "dir": "a"}],
        ),
        (
            {"containers": ONE, "root_gib": 1, "init_containers": TWO[1:]},
            [{"serial": "upper", "dir": "b"}, {"serial": "upper", "dir": "a"}],
        ),
        ({"containers": ONE, "memory_mib": 1}, [{"tmpfs_mib": 1}]),
    ],
)
def test_what_containers_write_is_on_one_disk_within_the_pods_quota(changes, uppers):
    made = spec(**changes)
    disks = layout.Disks(made, [image()] * len(made.all_containers))
    assert [disks.of_container(i)[1] for i in range(len(made.all_containers))] == uppers


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"containers": ONE, "root_gib": 1}, "upper-a.img"),
        ({"containers": TWO, "root_gib": 1}, "upper.img"),
        ({"containers": TWO}, None),
    ],
)
def test_the_writable_disk_is_a_file_of_the_pod(tmp_path, changes, name):
    repository = Repository(tmp_path / "pods", tmp_path / "run")
    path = layout.upper(repository, spec(**changes))
    assert path == (name and repository.directory(POD_ID) / name)
