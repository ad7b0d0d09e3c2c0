"""Ephemeral disks and swap of a pod."""

from __future__ import annotations

import pytest

from nova_hyper.daemon.pods import local_disks
from nova_hyper.daemon.pods.repository import Repository
from nova_hyper.spec.container import Container
from nova_hyper.spec.disk import EphemeralDisk
from nova_hyper.spec.errors import InvalidRequest
from nova_hyper.spec.pod import PodSpec
from tests.unit.daemon.fakes import POD_ID, FakeDisks


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "pods", tmp_path / "run")


def spec(*paths, swap=0):
    disks = tuple(EphemeralDisk(2 + index, path) for index, path in enumerate(paths))
    return PodSpec(POD_ID, "web", (Container("main", "i"),), ephemerals=disks, swap_mib=swap)


def test_a_pod_without_them_has_none(repository):
    disks = FakeDisks()
    local_disks.make(disks, repository, spec(), "1:2")
    assert disks.made == []
    assert local_disks.of_domain(repository, spec()) == []
    assert local_disks.requests(spec()) == []
    assert local_disks.count(spec()) == 0


def test_each_is_a_file_of_the_pod_with_limits_of_its_own(repository):
    wanted = spec("/mnt", "/data", swap=64)
    repository.directory(POD_ID).mkdir()
    disks = FakeDisks()
    local_disks.make(disks, repository, wanted, "1:2")
    directory = repository.directory(POD_ID)
    assert disks.made == [
        (directory / "ephemeral0.img", 2, "1:2"),
        (directory / "ephemeral1.img", 3, "1:2"),
        (directory / "swap.img", 64, "1:2"),
    ]
    of_domain = local_disks.of_domain(repository, wanted)
    assert [disk.path for disk in of_domain] == [path for path, _size, _owner in disks.made]
    assert [disk.serial for disk in of_domain] == ["ephemeral0", "ephemeral1", "swap"]
    assert len({disk.group for disk in of_domain} | {"root"}) == 4
    assert local_disks.count(wanted) == 3


def test_the_agent_is_asked_to_mount_and_to_swap():
    assert local_disks.requests(spec("/mnt", swap=1)) == [
        ("disk.mount", {"serial": "ephemeral0", "path": "/mnt", "format": "ext4"}),
        ("swap.on", {"serial": "swap"}),
    ]


@pytest.mark.parametrize("paths", [("/mnt",), ("/mnt", "/mnt1"), ("/var/lib/data", "/srv")])
def test_paths_beside_each_other_are_fine(paths):
    local_disks.check(spec(*paths))


@pytest.mark.parametrize(
    ("paths", "sentence"),
    [
        (("mnt",), "absolute"),
        (("/mnt/",), "absolute"),
        (("/mnt/../etc",), "absolute"),
        (("/",), "needs that"),
        (("/proc",), "needs that"),
        (("/dev/shm",), "needs that"),
        (("/etc",), "needs that"),
        (("/mnt", "/mnt"), "one path"),
        (("/mnt/data", "/mnt"), "hold another"),
    ],
)
def test_paths_that_cannot_be_are_refused(paths, sentence):
    with pytest.raises(InvalidRequest, match=sentence):
        local_disks.check(spec(*paths))
