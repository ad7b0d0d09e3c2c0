"""An image that is saved is the one that was loaded: same configuration, same layers."""

import io
import json
import tarfile

import pytest

from nova_hyper.daemon.image.save import tagged
from nova_hyper.daemon.image.store import ImageStore
from nova_hyper.spec.errors import HyperError, ImageNotFound, ImageUnsuitable
from tests.unit.daemon.image.archives import (
    LAYER,
    UPPER,
    F,
    archive_of,
    docker_archive,
    docker_members,
    oci_members,
    sha256,
    tar_of,
)

MANY = [tar_of((f"f{n}", F, str(n) * 1000)) for n in range(5)]


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path)


def open_store(path):
    return ImageStore(path / "images", max_image_bytes=1 << 24, max_layers=3, arch="x86_64")


def load(store, archive, name=None):
    return store.import_archive(io.BytesIO(archive), name)[0]


def save(store, ref, form):
    archive = store.save(ref, form)
    data = b"".join(archive.chunks)
    archive.close()
    assert len(data) == archive.size
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar}


@pytest.mark.parametrize("how", ["gzip", "zstd", ""])
def test_a_docker_archive_has_the_configuration_and_the_layers_that_came(store, how):
    members = oci_members([LAYER, UPPER], how, tag="web:1")
    image = load(store, archive_of(members))
    saved = save(store, "web:1", "docker")
    (manifest,) = json.loads(saved["manifest.json"])
    assert sha256(saved[manifest["Config"]]) == image.id
    assert [saved[name] for name in manifest["Layers"]] == [LAYER, UPPER]
    assert manifest["RepoTags"] == ["web:1"]


def test_an_oci_archive_has_them_as_blobs(store):
    image = load(store, docker_archive([LAYER, UPPER]))
    saved = save(store, image.id, "oci")
    (entry,) = json.loads(saved["index.json"])["manifests"]
    assert entry["annotations"] == {"org.opencontainers.image.ref.name": "web:1"}
    blobs = {f"sha256:{name[-64:]}": data for name, data in saved.items() if "blobs/" in name}
    assert all(sha256(data) == digest for digest, data in blobs.items())
    manifest = json.loads(blobs[entry["digest"]])
    assert manifest["config"]["digest"] == image.id
    assert [blobs[layer["digest"]] for layer in manifest["layers"]] == [LAYER, UPPER]
    assert [layer["size"] for layer in manifest["layers"]] == [len(LAYER), len(UPPER)]


@pytest.mark.parametrize("form", ["docker", "oci"])
def test_what_was_saved_can_be_loaded(store, tmp_path, form):
    image = load(store, docker_archive([LAYER, UPPER]))
    other = open_store(tmp_path / "other")
    archive = store.save(image.id, form)
    again = load(other, b"".join(archive.chunks))
    assert (again.id, again.layers) == (image.id, image.layers)


def test_layers_that_are_merged_or_not_mounted_are_saved_as_they_came(store):
    empty = tar_of()
    tars = [LAYER, empty, *MANY, LAYER, empty]
    image = load(store, docker_archive(tars))
    assert len(image.layers) == 3
    saved = save(store, image.id, "docker")
    (manifest,) = json.loads(saved["manifest.json"])
    assert [saved[name] for name in manifest["Layers"]] == tars


def test_an_image_saved_by_id_has_all_its_names_that_others_take(store):
    image = load(store, docker_archive([LAYER]), "My Image")
    for name in ("web", "quay.io/a/b:2", "quay.io/a/b@sha256:" + "a" * 64):
        load(store, docker_archive([LAYER]), name)
    saved = save(store, image.id, "docker")
    assert json.loads(saved["manifest.json"])[0]["RepoTags"] == ["quay.io/a/b:2", "web:latest"]
    assert tagged("localhost:5000/x") == "localhost:5000/x:latest"


def test_the_layers_of_an_image_that_is_removed_meanwhile_stay_until_the_end(store, tmp_path):
    image = load(store, docker_archive([LAYER, UPPER]))
    archive = store.save(image.id, "docker")
    store.delete(image.id)
    data = b"".join(archive.chunks)
    assert len(data) == archive.size
    archive.close()
    assert list((tmp_path / "images" / "layers").iterdir()) == []


def test_a_layer_damaged_on_disk_is_not_given_out_as_whole(store):
    image = load(store, docker_archive([tar_of(("a", F, "x" * 100))]))
    path = store.layer_path(image.layers[0].diff_id)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(110)
        file.write(b"spoilt")
    archive = store.save(image.id, "docker")
    with pytest.raises(HyperError, match="damaged"):
        list(archive.chunks)


def test_an_image_of_a_hyperd_that_kept_no_recipes_says_what_to_do(store, tmp_path):
    image = load(store, docker_archive([LAYER]))
    for path in (tmp_path / "images" / "layers").glob("*.recipe"):
        path.unlink()
    with pytest.raises(ImageUnsuitable, match="load or pull it again"):
        store.save(image.id, "docker")
    load(store, docker_archive([LAYER]))
    assert save(store, image.id, "docker")


def test_what_is_not_here_cannot_be_saved(store):
    with pytest.raises(ImageNotFound):
        store.save("nothing", "docker")


def test_the_configuration_is_kept_byte_for_byte(store):
    members = docker_members([LAYER])
    name = next(name for name in members if name.endswith(".json") and name != "manifest.json")
    odd = b"  " + members.pop(name).replace(b": ", b" :  ") + b"\n"
    manifest = json.loads(members.pop("manifest.json"))
    manifest[0]["Config"] = "odd.json"
    documents = {"odd.json": odd, "manifest.json": json.dumps(manifest).encode()}
    image = load(store, archive_of({**members, **documents}))
    saved = save(store, image.id, "docker")
    assert saved[f"{image.id[7:]}.json"] == odd


def layer_files(tmp_path):
    return sorted(path.name for path in (tmp_path / "images/layers").iterdir())


def test_a_snapshot_has_one_layer_more_and_nothing_of_it_is_kept(store, tmp_path):
    image = load(store, docker_archive([LAYER]), "web:1")
    before, files = store.list(), layer_files(tmp_path)
    archive = store.snapshot(image.id, [UPPER[:700], UPPER[700:]], ("ENV A=b",))
    assert len(layer_files(tmp_path)) > len(files)
    store.delete("web:1")  # what is being read stays
    data = b"".join(archive.chunks)
    assert len(data) == archive.size
    archive.close()
    assert layer_files(tmp_path) == []
    assert store.list() == []
    again = load(store, data, "again:1")
    assert len(again.layers) == len(before[0].layers) + 1
    assert "A=b" in again.config.env
    assert again.names == ("again:1",)


def test_a_snapshot_that_nobody_reads_leaves_nothing(store, tmp_path):
    image = load(store, docker_archive([LAYER]), "web:1")
    before, files = store.list(), layer_files(tmp_path)
    store.snapshot(image.id, [UPPER]).close()
    assert (store.list(), layer_files(tmp_path)) == (before, files)


def test_a_daemon_that_is_killed_over_a_snapshot_leaves_nothing(store, tmp_path):
    image = load(store, docker_archive([LAYER]), "web:1")
    files = layer_files(tmp_path)
    archive = store.snapshot(image.id, [UPPER])
    next(archive.chunks)
    again = open_store(tmp_path)
    again.collect()
    assert layer_files(tmp_path) == files
    assert [found.id for found in again.list()] == [image.id]


def test_a_snapshot_of_what_is_no_layer_leaves_nothing(store, tmp_path):
    image = load(store, docker_archive([LAYER]), "web:1")
    files = layer_files(tmp_path)

    def broken():
        yield UPPER[:700]
        raise HyperError("the guest is lost")

    for chunks in ([b"no tar" * 200], broken()):
        with pytest.raises(HyperError):
            store.snapshot(image.id, chunks)
    with pytest.raises(ImageNotFound):
        store.snapshot("sha256:" + "0" * 64, [UPPER])
    assert layer_files(tmp_path) == files
    assert not list((tmp_path / "images/tmp").iterdir())


def test_a_chain_of_snapshots_is_shown_by_as_many_disks_as_may_be(store, tmp_path):
    image = load(store, docker_archive([LAYER]), "web:0")
    for number in range(1, 11):
        layer = tar_of((f"of-{number}", F, str(number)))
        archive = store.snapshot(image.id, [layer])
        data = b"".join(archive.chunks)
        archive.close()
        store.delete(f"web:{number - 1}")
        image = load(store, data, f"web:{number}")
        assert len(image.layers) <= 3
    assert len(store.list()) == 1
