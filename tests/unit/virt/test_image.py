"""Glance images in hyperd's store."""

from __future__ import annotations

import threading

import pytest

from nova_hyper import exception
from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import DaemonUnavailable, ImageInvalid, ImageNotFound
from nova_hyper.spec.pod import PodSpec
from nova_hyper.virt.image import ImageCache, glance_id, store_name
from tests.unit.fake_hyperd import NOT_AN_ARCHIVE, FakeHyperd
from tests.unit.virt.instances import CHECKSUM, IMAGE_ID

NAME = f"glance:{IMAGE_ID}:{CHECKSUM[:12]}"


class Glance:
    """``data`` is what images are; ``entered`` and ``go_on`` hold a download up."""

    def __init__(self, *chunks):
        self.chunks = chunks
        self.downloads = 0
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def download(self, context, image_id):
        self.downloads += 1

        def data():
            self.entered.set()
            self.go_on.wait(5)
            for chunk in self.chunks:
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk

        return data()


@pytest.fixture
def hyperd():
    return FakeHyperd()


def test_an_image_is_fetched_once_and_found_afterwards(hyperd):
    glance = Glance(b"one", b"two")
    cache = ImageCache(hyperd, glance)
    assert cache.ensure(None, IMAGE_ID, CHECKSUM) == (NAME, True)
    assert hyperd.image(NAME)
    assert cache.ensure(None, IMAGE_ID, CHECKSUM) == (NAME, False)
    # Also by metadata without a checksum, as an instance keeps them, and after a restart.
    assert ImageCache(hyperd, glance).ensure(None, IMAGE_ID, None) == (NAME, False)
    assert glance.downloads == 1


def test_two_boots_at_once_fetch_one_image_once(hyperd):
    glance = Glance(b"data")
    glance.go_on.clear()
    cache = ImageCache(hyperd, glance)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(cache.ensure(None, IMAGE_ID, CHECKSUM)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    assert glance.entered.wait(5)
    glance.go_on.set()
    for thread in threads:
        thread.join(5)
    assert glance.downloads == 1
    assert {name for name, _ in results} == {NAME}
    assert sorted(fetched for _, fetched in results) == [False, False, True]


def test_changed_data_of_one_image_are_fetched_again(hyperd):
    cache = ImageCache(hyperd, Glance(b"old"))
    old, _ = cache.ensure(None, IMAGE_ID, CHECKSUM)
    cache = ImageCache(hyperd, Glance(b"new"))
    new, fetched = cache.ensure(None, IMAGE_ID, "f" * 32)
    assert fetched and hyperd.image(new).id != hyperd.image(old).id


def test_an_image_that_breaks_off_is_named_and_nothing_is_kept(hyperd):
    cache = ImageCache(hyperd, Glance(b"first", OSError("checksum mismatch")))
    with pytest.raises(exception.ImageUnreadable, match=f"{IMAGE_ID} .*checksum mismatch"):
        cache.ensure(None, IMAGE_ID, CHECKSUM)
    assert hyperd.images() == ()


def test_what_hyperd_refuses_is_tried_again_the_next_time(hyperd):
    glance = Glance(NOT_AN_ARCHIVE)
    cache = ImageCache(hyperd, glance)
    for _ in range(2):
        with pytest.raises(ImageInvalid):
            cache.ensure(None, IMAGE_ID, CHECKSUM)
    assert glance.downloads == 2


def test_an_image_without_data_is_an_empty_archive_to_hyperd(hyperd):
    class Empty:
        def download(self, context, image_id):
            return None

    ImageCache(hyperd, Empty()).ensure(None, IMAGE_ID, CHECKSUM)
    # hyperd sees an empty archive, and it is hyperd that knows that this is none.
    assert hyperd.image(NAME).id.startswith("sha256:e3b0c442")


def test_names_say_whose_image_it_is():
    assert store_name("i", "0123456789abcdef") == "glance:i:0123456789ab"
    assert store_name("i", None) == "glance:i"
    assert glance_id("glance:i:0123456789ab") == glance_id("glance:i") == "i"
    assert glance_id("docker.io/library/nginx:latest") is None


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def cache(hyperd, clock):
    cache = ImageCache(hyperd, Glance(b"data"), clock)
    cache.ensure(None, IMAGE_ID, CHECKSUM)
    return cache


def test_an_unused_image_is_removed_when_it_is_old_enough(cache, clock, hyperd):
    cache.remove_unused(set(), 100)
    clock.now = 99
    cache.remove_unused(set(), 100)
    assert hyperd.image(NAME)
    clock.now = 100
    cache.remove_unused(set(), 100)
    with pytest.raises(ImageNotFound):
        hyperd.image(NAME)


def test_use_starts_the_count_again(cache, clock, hyperd):
    cache.remove_unused(set(), 100)
    clock.now = 90
    cache.remove_unused({IMAGE_ID}, 100)
    clock.now = 150
    cache.remove_unused(set(), 100)
    clock.now = 200
    cache.remove_unused(set(), 100)
    assert hyperd.image(NAME)


def test_an_operators_own_image_is_left_alone(cache, clock, hyperd):
    hyperd.import_image("mine:latest", [b"mine"])
    cache.remove_unused(set(), 0)
    assert [image.names for image in hyperd.images()] == [("mine:latest",)]


def test_an_image_that_a_pod_needs_stays(cache, hyperd):
    image = hyperd.image(NAME)
    hyperd.create_pod(PodSpec(id="p", name="p", containers=(Container("main", image.id),)))
    cache.remove_unused(set(), 0)
    assert hyperd.image(NAME)


def test_hyperd_away_is_for_the_caller(cache, hyperd):
    hyperd.fail_next["images"] = DaemonUnavailable("gone")
    with pytest.raises(DaemonUnavailable):
        cache.remove_unused(set(), 0)
