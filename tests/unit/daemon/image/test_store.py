import errno
import io
import itertools
import json
import os
import threading

import pytest

from nova_hyper.daemon.image import atomic, import_session
from nova_hyper.daemon.image.digest import chain_id
from nova_hyper.daemon.image.store import ImageStore
from nova_hyper.spec.errors import (
    DiskFull,
    HyperError,
    ImageInUse,
    ImageInvalid,
    ImageNotFound,
    InvalidRequest,
)
from tests.unit.daemon.image.archives import (
    LAYER,
    UPPER,
    D,
    F,
    archive_of,
    docker_archive,
    docker_members,
    oci_members,
    sha256,
    tar_of,
)

OTHER = tar_of(("other", F, "o"))


def open_store(path, **kwargs):
    arguments = {"max_image_bytes": 1 << 20, "max_layers": 16, "arch": "x86_64", **kwargs}
    return ImageStore(path / "images", **arguments)


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path)


def load(store, archive, name=None):
    return store.import_archive(io.BytesIO(archive), name)


def files(tmp_path):
    """Return the files of the store, without its two indexes."""
    return sorted(
        name
        for _, _, names in os.walk(tmp_path / "images")
        for name in names
        if name not in ("images.json", "leases.json")
    )


class Trickle:
    """A stream that gives few bytes at a time, as a socket may."""

    def __init__(self, data, most=7919):
        self._data = io.BytesIO(data)
        self._most = most

    def read(self, size):
        return self._data.read(min(size, self._most))


def test_an_image_is_what_its_configuration_says(store):
    image, new = load(store, docker_archive([LAYER, UPPER]))
    assert new
    assert image.names == ("web:1",)
    assert image.architecture == "amd64"
    assert [layer.diff_id for layer in image.layers] == [sha256(LAYER), sha256(UPPER)]
    assert image.layers[0].unpacked_size == 6
    assert image.config.cmd == ("/bin/true",)
    for layer in image.layers:
        assert store.layer_path(layer.diff_id).stat().st_size == layer.size


def test_the_id_is_the_digest_of_the_configuration(store):
    members = docker_members([LAYER])
    config = next(data for name, data in members.items() if name.endswith(".json"))
    assert load(store, archive_of(members))[0].id == sha256(config)


def test_a_stream_may_give_few_bytes_at_a_time(store):
    image, _ = store.import_archive(Trickle(docker_archive([LAYER])))
    assert store.get(image.id) == image


def test_what_was_imported_is_there_after_a_restart(store, tmp_path):
    image, _ = load(store, docker_archive([LAYER, UPPER]), "glance:1")
    store.acquire(image.id, "pod")
    again = open_store(tmp_path)
    assert again.list() == [image]
    with pytest.raises(ImageInUse):
        again.delete("glance:1")


@pytest.mark.parametrize("ref", ["web:1", "{id}", "{hex}", "{prefix}", "sha256:{prefix}"])
def test_an_image_is_found_by_name_id_and_beginning_of_an_id(store, ref):
    image, _ = load(store, docker_archive([LAYER]))
    text = ref.format(id=image.id, hex=image.id[7:], prefix=image.id[7:19])
    assert store.get(text) == image


@pytest.mark.parametrize("tag", ["docker.io/library/nginx:latest", "localhost/nginx:latest"])
def test_a_short_name_finds_what_docker_and_podman_call_it(store, tag):
    image, _ = load(store, docker_archive([LAYER], tags=(tag,)))
    assert store.find("nginx") == image
    assert store.get("nginx:latest") == image
    assert store.find("other") is None


def test_an_unknown_image_is_refused_with_what_to_do(store):
    with pytest.raises(ImageNotFound, match=r"no image nothing on this host; import it"):
        store.get("nothing")


def test_an_ambiguous_beginning_of_an_id_is_refused(store):
    seen = {}
    for number in itertools.count():
        members = docker_members([LAYER], tags=(str(number),), created=str(number))
        beginning = next(name for name in members if name.endswith(".json"))[:4]
        if beginning in seen:
            break
        seen[beginning] = members
    load(store, archive_of(members))
    load(store, archive_of(seen[beginning]))
    with pytest.raises(ImageNotFound, match="several images"):
        store.get(beginning)


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 256, "sha256:abc", "a" * 64])
def test_a_name_that_is_none_is_refused(store, name):
    with pytest.raises(InvalidRequest, match="cannot be the name of an image"):
        load(store, docker_archive([LAYER]), name)


def test_an_unusable_name_in_an_archive_is_refused_unless_another_is_given(store):
    archive = docker_archive([LAYER], tags=("sha256:abc",))
    with pytest.raises(ImageInvalid, match="import it with a name"):
        load(store, archive)
    assert load(store, archive, "mine")[1]


def test_a_given_name_replaces_those_of_the_archive(store):
    assert load(store, docker_archive([LAYER]), "mine")[0].names == ("mine",)


def test_an_archive_without_names_gives_an_image_without(store, tmp_path):
    image, _ = load(store, docker_archive([LAYER], tags=()))
    assert image.names == ()
    store.collect()
    assert open_store(tmp_path).list() == [image]
    store.delete(image.id)
    assert files(tmp_path) == []


def test_importing_the_same_again_changes_nothing(store, tmp_path):
    first, _ = load(store, docker_archive([LAYER]))
    before = files(tmp_path)
    assert load(store, docker_archive([LAYER])) == (first, False)
    assert files(tmp_path) == before


def test_a_name_moves_to_the_new_image_and_the_old_one_goes(store, tmp_path):
    old, _ = load(store, docker_archive([LAYER]), "n")
    new, _ = load(store, docker_archive([UPPER]), "n")
    assert store.get("n") == new
    assert store.list() == [new]
    assert not store.layer_path(old.layers[0].diff_id).exists()


def test_an_image_that_lost_its_name_stays_while_it_is_leased(store):
    old, _ = load(store, docker_archive([LAYER]), "n")
    store.acquire(old.id, "pod")
    load(store, docker_archive([UPPER]), "n")
    assert store.get(old.id).names == ()
    assert store.layer_path(old.layers[0].diff_id).exists()
    store.release("pod")
    with pytest.raises(ImageNotFound):
        store.get(old.id)
    assert not store.layer_path(old.layers[0].diff_id).exists()


def test_deleting_removes_the_layers_that_no_other_image_has(store, tmp_path):
    load(store, docker_archive([LAYER, UPPER], tags=("one",)))
    two, _ = load(store, docker_archive([LAYER, OTHER], tags=("two",)))
    store.delete("one")
    assert store.list() == [two]
    assert store.layer_path(sha256(LAYER)).exists()
    assert not store.layer_path(sha256(UPPER)).exists()
    store.delete(two.id)
    assert files(tmp_path) == []


def test_deleting_one_of_two_names_keeps_the_image(store):
    image, _ = load(store, docker_archive([LAYER], tags=("one", "two")))
    store.acquire(image.id, "pod")
    store.delete("one")
    assert store.get("two").names == ("two",)
    with pytest.raises(ImageNotFound):
        store.get("one")


def test_deleting_by_id_removes_all_names(store):
    image, _ = load(store, docker_archive([LAYER], tags=("one", "two")))
    store.delete(image.id[7:20])
    assert store.list() == []


def test_an_image_in_use_is_not_deleted_and_says_by_whom(store):
    image, _ = load(store, docker_archive([LAYER]))
    store.acquire(image.id, "pod-7")
    with pytest.raises(ImageInUse, match="pod-7"):
        store.delete("web:1")
    store.release("pod-7")
    store.release("pod-7")
    store.delete("web:1")


def test_leases_of_owners_that_are_gone_are_dropped(store):
    image, _ = load(store, docker_archive([LAYER]))
    store.acquire(image.id, "here")
    store.acquire(image.id, "gone")
    store.retain({"here"})
    with pytest.raises(ImageInUse, match="in use by here;"):
        store.delete("web:1")


def test_leases_that_an_owner_does_not_need_any_more_are_dropped(store):
    image, _ = load(store, docker_archive([LAYER]))
    other, _ = load(store, docker_archive([UPPER]), "other")
    for found in (image, other):
        store.acquire(found.id, "pod")
    store.narrow("pod", {other.id})
    store.narrow("pod", {other.id})
    store.narrow("nobody", set())
    store.delete("web:1")
    with pytest.raises(ImageInUse):
        store.delete("other")


def test_a_lease_on_nothing_is_refused(store):
    with pytest.raises(ImageNotFound):
        store.acquire(sha256(b""), "pod")


@pytest.mark.parametrize("how", ["gzip", "zstd", "plain"])
def test_all_compressions_of_a_layer_are_one_layer(store, how):
    load(store, docker_archive([LAYER]), "docker")
    image, _ = load(store, archive_of(oci_members([LAYER], how)), "oci")
    assert [layer.diff_id for layer in image.layers] == [sha256(LAYER)]


@pytest.mark.parametrize("how", ["gzip", "zstd", "plain"])
def test_layers_that_are_here_are_not_converted_again(store, how, monkeypatch):
    archive = archive_of(oci_members([LAYER, UPPER], how))
    load(store, archive)
    monkeypatch.setattr(import_session.ImportSession, "files", None)
    assert load(store, archive)[1] is False


def test_a_layer_that_is_here_is_verified_all_the_same(store, tmp_path):
    members = docker_members([LAYER])
    load(store, archive_of(members))
    damaged = {
        name: data.replace(b"hello", b"hullo") if name.endswith(".tar") else data
        for name, data in members.items()
    }
    with pytest.raises(ImageInvalid, match="wrong digest: expected sha256:"):
        load(store, archive_of(damaged))


def test_empty_and_repeated_layers_are_left_out(store):
    empty = tar_of()
    image, _ = load(store, docker_archive([empty, LAYER, UPPER, empty, LAYER]))
    assert [layer.diff_id for layer in image.layers] == [sha256(UPPER), sha256(LAYER)]


def test_layers_below_an_opaque_root_are_kept_for_saving_but_not_mounted(store, tmp_path):
    top = tar_of((".wh..wh..opq", F, ""), ("only", F, ""))
    image, _ = load(store, docker_archive([LAYER, UPPER, top]))
    assert [layer.diff_id for layer in image.layers] == [sha256(top)]
    assert len([name for name in files(tmp_path) if name.endswith(".squashfs")]) == 3


def test_implied_directories_get_the_attributes_of_the_layers_below(store):
    below = tar_of(("srv", D, "", {"mode": 0o700, "uid": 5}))
    image, _ = load(store, docker_archive([below, tar_of(("srv/file", F, ""))]))
    assert len(image.layers) == 3
    again, new = load(store, docker_archive([below, tar_of(("srv/file", F, ""))]))
    assert (again, new) == (image, False)


MANY = [tar_of((f"f{n}", F, str(n))) for n in range(6)]


def test_the_bottom_layers_of_too_many_are_merged(tmp_path):
    store = open_store(tmp_path, max_layers=4)
    image, _ = load(store, docker_archive(MANY))
    assert len(image.layers) == 4
    assert [layer.diff_id for layer in image.layers[1:]] == [sha256(tar) for tar in MANY[3:]]
    assert image.layers[0].diff_id == chain_id([sha256(tar) for tar in MANY[:3]])
    assert image.layers[0].unpacked_size == 3


def test_images_share_what_was_merged_for_them(tmp_path):
    store = open_store(tmp_path, max_layers=4)
    one, _ = load(store, docker_archive(MANY))
    made = store.layer_path(one.layers[0].diff_id).stat()
    other, new = load(store, docker_archive(MANY, config={"Cmd": ["other"]}), "other")
    assert new
    assert other.layers == one.layers
    assert store.layer_path(one.layers[0].diff_id).stat().st_mtime_ns == made.st_mtime_ns
    store.delete(one.id)
    assert store.layer_path(one.layers[0].diff_id).exists()
    store.delete(other.id)
    assert files(tmp_path) == []


def test_merging_leaves_room_for_a_layer_of_directories(tmp_path):
    store = open_store(tmp_path, max_layers=3)
    tars = [tar_of(("srv", D, "", {"mode": 0o700})), *MANY, tar_of(("srv/x", F, ""))]
    image, _ = load(store, docker_archive(tars))
    assert len(image.layers) == 3


def test_one_disk_is_enough_for_any_image(tmp_path):
    store = open_store(tmp_path, max_layers=1)
    tars = [tar_of(("srv", D, "", {"mode": 0o700})), *MANY, tar_of(("srv/x", F, ""))]
    image, _ = load(store, docker_archive(tars))
    assert len(image.layers) == 1


def test_layers_that_remove_each_other_are_no_layers(tmp_path):
    store = open_store(tmp_path, max_layers=1)
    with pytest.raises(ImageInvalid, match="the image is empty"):
        load(store, docker_archive([tar_of(("a", F, "")), tar_of((".wh.a", F, ""))]))


def test_an_image_larger_than_allowed_is_refused(tmp_path):
    store = open_store(tmp_path, max_image_bytes=1000)
    layers = [tar_of((f"f{n}", F, "x" * 400)) for n in range(3)]
    with pytest.raises(ImageInvalid, match="unpacks to more than"):
        load(store, docker_archive(layers))
    assert files(tmp_path) == []


def test_a_failed_import_leaves_nothing(store, tmp_path):
    archive = docker_archive([LAYER, UPPER])
    with pytest.raises(ImageInvalid):
        load(store, archive[: len(archive) // 2])
    assert files(tmp_path) == []
    assert store.list() == []


def test_what_an_archive_has_beside_the_image_is_not_kept(store, tmp_path):
    load(store, archive_of({"stray/layer.tar": OTHER, **docker_members([LAYER])}))
    assert len([name for name in files(tmp_path) if name.endswith(".squashfs")]) == 1


def test_a_name_that_is_replaced_during_a_failed_save_is_as_before(store, monkeypatch):
    old, _ = load(store, docker_archive([LAYER]), "n")
    real = atomic.write_whole

    def full(path, data, temporary):
        if path.name == "images.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, data, temporary)

    monkeypatch.setattr("nova_hyper.daemon.image.index.write_whole", full)
    with pytest.raises(DiskFull):
        load(store, docker_archive([UPPER]), "n")
    assert store.get("n") == old
    assert store.layer_path(old.layers[0].diff_id).exists()
    assert not store.layer_path(sha256(UPPER)).exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_full_disk_leaves_nothing_whenever_it_shows(tmp_path, monkeypatch, code, call):
    archive = docker_archive([LAYER, UPPER])
    real = getattr(os, call)
    for allowed in range(40):
        store = open_store(tmp_path)
        left = [allowed]

        def limited(*args, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise OSError(code, "full")
            return real(*args)

        monkeypatch.setattr(os, call, limited)
        try:
            load(store, archive)
        except DiskFull as exc:
            assert "is full; make room" in exc.message
            monkeypatch.setattr(os, call, real)
            assert files(tmp_path) == []
            assert open_store(tmp_path).list() == []
        else:
            assert allowed > 2
            return
    pytest.fail("it never succeeded")


def test_other_input_output_errors_are_not_hidden(store, tmp_path):
    class Broken:
        def read(self, size):
            raise ConnectionResetError("peer went away")

    with pytest.raises(ConnectionResetError):
        store.import_archive(Broken())
    assert files(tmp_path) == []


def test_collect_removes_what_a_killed_daemon_left(store, tmp_path):
    image, _ = load(store, docker_archive([LAYER]))
    directory = tmp_path / "images"
    (directory / "tmp" / "0123").write_bytes(b"half a layer")
    (directory / "layers" / ("a" * 64 + ".squashfs")).write_bytes(b"of no image")
    (directory / "layers" / ("b" * 64 + ".json")).write_bytes(b"{}")
    again = open_store(tmp_path)
    assert len(again.collect()) == 3
    assert again.collect() == ()
    assert again.list() == [image]
    assert again.layer_path(image.layers[0].diff_id).exists()


def test_collect_keeps_what_an_import_under_way_needs(store, tmp_path):
    archive = docker_archive([LAYER, UPPER])
    collected = []

    class Stream(io.BytesIO):
        def read(self, size=-1):
            collected.append(store.collect())
            return super().read(min(size, 512))

    image, _ = store.import_archive(Stream(archive))
    assert len(collected) > 5
    assert all(store.layer_path(layer.diff_id).exists() for layer in image.layers)


def test_imports_at_once_of_images_that_share_a_layer_all_succeed(store, tmp_path):
    archives = [
        docker_archive([LAYER, tar_of((f"f{n}", F, "x"))], tags=(f"t{n}",)) for n in range(8)
    ]
    failures = []

    def work(archive):
        try:
            store.import_archive(Trickle(archive, 100))
        except Exception as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(archive,)) for archive in archives]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [image.names for image in store.list()] == [(f"t{n}",) for n in range(8)]
    assert len([name for name in files(tmp_path) if name.endswith(".squashfs")]) == 9
    assert store.collect() == ()


def test_an_image_whose_layer_vanished_is_forgotten(store, tmp_path, caplog):
    image, _ = load(store, docker_archive([LAYER, UPPER]))
    store.layer_path(image.layers[0].diff_id).unlink()
    again = open_store(tmp_path)
    assert again.list() == []
    assert "import it again" in caplog.text
    assert load(again, docker_archive([LAYER, UPPER])) == (image, True)


def test_a_damaged_index_is_refused_with_what_to_do(store, tmp_path):
    load(store, docker_archive([LAYER]))
    (tmp_path / "images" / "images.json").write_text("{")
    with pytest.raises(HyperError, match=r"images\.json cannot be read .* move .* away"):
        open_store(tmp_path)


def test_a_configuration_without_command_is_no_error(store):
    image, _ = load(store, docker_archive([LAYER], config={}))
    assert image.config.cmd == ()
    assert image.config.entrypoint == ()


def test_every_file_of_the_index_is_json_with_a_version(store, tmp_path):
    image, _ = load(store, docker_archive([LAYER]))
    store.acquire(image.id, "pod")
    for name in ("images.json", "leases.json"):
        assert json.loads((tmp_path / "images" / name).read_text())["version"] == 1


def test_layers_can_be_opened_by_qemu_and_listed_by_nobody(store, tmp_path):
    image, _ = load(store, docker_archive([LAYER]))
    path = store.layer_path(image.layers[0].diff_id)
    assert path.stat().st_mode & 0o777 == 0o444
    for directory in (path.parent, path.parent.parent):
        assert directory.stat().st_mode & 0o777 == 0o711
    assert (tmp_path / "images" / "images.json").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "images" / "tmp").stat().st_mode & 0o777 == 0o700
