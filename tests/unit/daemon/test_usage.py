"""What hyperd takes on disk: the image store's figures, and the pods' directories."""

import os
from types import SimpleNamespace

from nova_hyper.daemon.pods.repository import Repository
from nova_hyper.daemon.usage import HostUsage
from nova_hyper.spec.usage import DiskUsage, PodUsage

IMAGES = DiskUsage((), (), 3, 100, 50, 1)


def entry(pod_id, name):
    return SimpleNamespace(id=pod_id, pod=SimpleNamespace(spec=SimpleNamespace(name=name)))


def usage(tmp_path, *entries):
    repository = Repository(tmp_path / "pods", tmp_path / "run")
    return HostUsage(lambda: IMAGES, entries, repository)()


def test_a_sparse_disk_counts_as_what_it_takes_and_as_what_it_may(tmp_path):
    directory = tmp_path / "pods" / "1"
    directory.mkdir(parents=True)
    with (directory / "upper-main.img").open("wb") as disk:
        disk.truncate(1 << 30)
        os.pwrite(disk.fileno(), b"x" * 4096, 0)
    (pod,) = usage(tmp_path, entry("1", "web")).pods
    assert (pod.id, pod.name, pod.limit) == ("1", "web", 1 << 30)
    assert 4096 <= pod.size < 1 << 20


def test_directories_in_a_pods_directory_count(tmp_path):
    directory = tmp_path / "pods" / "1" / "deeper"
    directory.mkdir(parents=True)
    (directory / "file").write_bytes(b"x" * 5000)
    (pod,) = usage(tmp_path, entry("1", "web")).pods
    assert (pod.size, pod.limit) == (8192, 5000)


def test_a_pod_that_has_nothing_yet_takes_nothing(tmp_path):
    assert usage(tmp_path, entry("1", "web")).pods == (PodUsage("1", "web", 0, 0),)


def test_the_images_are_as_the_store_says(tmp_path):
    assert usage(tmp_path) == IMAGES
