"""What goes, what stays, and what it all takes: names, leases, pruning, commits."""

import io
import json
import os
import tarfile

import pytest

from nova_hyper.daemon.image.store import ImageStore
from nova_hyper.spec.errors import (
    ImageInUse,
    ImageInvalid,
    ImageNotFound,
    ImageUnsuitable,
    InvalidRequest,
)
from tests.unit.daemon.image.archives import LAYER, UPPER, D, F, docker_archive, sha256, tar_of

OTHER = tar_of(("other", F, "o" * 5000))
TOP = tar_of(("etc", D, ""), ("etc/.wh.motd", F, ""), ("etc/new", F, "new"))


@pytest.fixture
def store(tmp_path):
    return ImageStore(tmp_path / "images", max_image_bytes=1 << 24, max_layers=16, arch="amd64")


def load(store, layers, name, **changes):
    return store.import_archive(io.BytesIO(docker_archive(layers, **changes)), name)[0]


def layers_on_disk(tmp_path):
    return {path.name[:64] for path in (tmp_path / "images" / "layers").iterdir()}


# Names


def test_a_tag_is_one_more_name(store):
    image = load(store, [LAYER], "web")
    assert store.tag("web", "web:2").names == ("web", "web:2")
    store.delete("web")
    assert store.get("web:2").id == image.id


def test_a_tag_moves_and_the_image_that_lost_it_stays(store):
    old = load(store, [LAYER], "web")
    new = load(store, [OTHER], "other")
    store.tag("other", "web")
    assert store.get("web").id == new.id
    assert store.get(old.id).names == ()


def test_a_tag_that_is_no_name_is_refused(store):
    load(store, [LAYER], "web")
    with pytest.raises(InvalidRequest):
        store.tag("web", " ")
    with pytest.raises(ImageNotFound):
        store.tag("nothing", "x")


def test_a_refusal_names_who_needs_the_image(store):
    image = load(store, [LAYER], "web")
    store.owner_name = {"1234": "shop"}.__getitem__
    store.acquire(image.id, "1234")
    with pytest.raises(ImageInUse, match="in use by shop; delete those first"):
        store.delete("web")


# Pruning


def test_pruning_takes_the_nameless_only(store, tmp_path):
    named = load(store, [LAYER], "web")
    load(store, [OTHER], "other")
    store.tag("web", "other")
    pruned = store.prune()
    assert len(pruned.images) == 1
    assert pruned.bytes >= 5000 - 4096
    assert [image.id for image in store.list()] == [named.id]
    assert layers_on_disk(tmp_path) == {sha256(LAYER)[7:]}
    assert store.prune().images == ()


def test_pruning_everything_keeps_what_is_leased(store, tmp_path):
    used = load(store, [LAYER], "used")
    store.acquire(used.id, "pod")
    other = load(store, [LAYER, OTHER], "other")
    pruned = store.prune(everything=True)
    assert pruned.images == (other.id,)
    assert pruned.names == ("other",)
    assert layers_on_disk(tmp_path) == {sha256(LAYER)[7:]}


def test_pruning_takes_nothing_of_an_import_under_way(store, tmp_path):
    class Pruning(io.BytesIO):
        seen: set[str] = set()

        def read(self, size=-1):
            if not self.seen:
                self.seen = layers_on_disk(tmp_path)
                store.prune(everything=True)
            return super().read(min(size, 1 << 16))

    # More than a pipe holds: the first layer is here while the second one comes.
    large = tar_of(("large", F, os.urandom(4 << 20)))
    stream = Pruning(docker_archive([LAYER, large]))
    image, _ = store.import_archive(stream, "web")
    assert stream.seen
    assert {layer.diff_id[7:] for layer in image.layers} == layers_on_disk(tmp_path)


# Use of disk


def test_the_use_of_disk_tells_shared_from_unique(store):
    one = load(store, [LAYER, OTHER], "one")
    two = load(store, [LAYER, UPPER], "two")
    store.acquire(one.id, "pod")
    usage = store.usage()
    first, second = usage.images
    assert (first.names, first.pods, second.names, second.pods) == (("one",), 1, ("two",), 0)
    assert usage.layers == 3
    assert usage.layer_bytes == first.size + second.unique
    assert usage.reclaimable == second.unique
    assert usage.temporary == 0
    before = usage.layer_bytes
    store.delete("two")
    assert store.usage().layer_bytes == before - second.unique
    assert two.id not in {image.id for image in store.usage().images}


# Commits


def commit(store, base, chunks=(TOP,), name="made", changes=()):
    return store.commit(base.id, chunks, name, changes)


def saved(store, ref):
    archive = store.save(ref, "docker")
    data = b"".join(archive.chunks)
    archive.close()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        contents = {m.name: tar.extractfile(m).read() for m in tar}
    (manifest,) = json.loads(contents["manifest.json"])
    return json.loads(contents[manifest["Config"]]), [contents[n] for n in manifest["Layers"]]


def test_a_commit_is_the_base_with_one_more_layer(store):
    base = load(store, [LAYER], "base")
    image = commit(store, base, [TOP[:700], b"", TOP[700:]])
    config, layers = saved(store, "made")
    assert layers == [LAYER, TOP]
    assert config["rootfs"]["diff_ids"] == [sha256(LAYER), sha256(TOP)]
    assert [layer.diff_id for layer in image.layers] == [sha256(LAYER), sha256(TOP)]
    assert image.config == base.config
    assert len(config["history"]) == 2
    assert config["created"].endswith("Z")


def test_the_history_of_the_base_goes_on(store):
    history = [
        {"created_by": "ADD rootfs"},
        {"created_by": "ENV A=1", "empty_layer": True},
    ]
    base = load(store, [LAYER], "base", history=history)
    commit(store, base, changes=("USER web",))
    config, _ = saved(store, "made")
    assert config["history"][:2] == history
    assert config["history"][2]["created_by"] == "hyperd commit USER web"


def test_changes_are_in_the_new_image_only(store):
    base = load(store, [LAYER], "base")
    image = commit(store, base, changes=("USER web", 'CMD ["x"]'))
    assert (image.config.user, image.config.cmd) == ("web", ("x",))
    assert store.get("base").config.user == ""


def test_a_commit_on_a_commit_works(store):
    base = load(store, [LAYER], "base")
    first = commit(store, base)
    second = commit(store, first, [OTHER], "second")
    assert [layer.diff_id for layer in second.layers] == [sha256(t) for t in (LAYER, TOP, OTHER)]


def test_a_commit_without_a_name_stays(store):
    image = commit(store, load(store, [LAYER], "base"), name=None)
    assert store.get(image.id).names == ()


def test_a_commit_of_nothing_is_an_image_too(store):
    image = commit(store, load(store, [LAYER], "base"), [tar_of()])
    assert len(image.layers) == 1
    assert len(saved(store, "made")[1]) == 2


def test_the_base_may_be_removed_during_and_after_a_commit(store, tmp_path):
    base = load(store, [LAYER], "base")

    def chunks():
        yield TOP[:512]
        store.delete("base")
        yield TOP[512:]

    commit(store, base, chunks())
    assert saved(store, "made")[1] == [LAYER, TOP]


@pytest.mark.parametrize(
    ("chunks", "changes", "error"),
    [
        ([b"x" * 1000], (), ImageInvalid),
        ([TOP[:900]], (), ImageInvalid),
        ([TOP], ("RUN x",), InvalidRequest),
    ],
)
def test_a_commit_that_fails_leaves_nothing(store, tmp_path, chunks, changes, error):
    base = load(store, [LAYER], "base")
    with pytest.raises(error):
        commit(store, base, chunks, changes=changes)
    assert layers_on_disk(tmp_path) == {sha256(LAYER)[7:]}
    assert len(store.list()) == 1
    assert os.listdir(tmp_path / "images" / "tmp") == []


def test_what_the_export_raises_is_passed_on(store, tmp_path):
    def chunks():
        yield TOP[:512]
        raise RuntimeError("the guest is gone")

    base = load(store, [LAYER], "base")
    with pytest.raises(RuntimeError, match="the guest is gone"):
        commit(store, base, chunks())
    assert layers_on_disk(tmp_path) == {sha256(LAYER)[7:]}


def test_a_commit_needs_a_whole_base(store, tmp_path):
    base = load(store, [LAYER], "base")
    for path in (tmp_path / "images" / "configs").iterdir():
        path.unlink()
    with pytest.raises(ImageUnsuitable, match="load or pull it again"):
        commit(store, base)
    with pytest.raises(ImageNotFound):
        store.commit("sha256:" + "0" * 64, [TOP], "x")
