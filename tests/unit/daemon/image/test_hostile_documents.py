"""Documents that attack, and archives that are cut or damaged: refused in words, or harmless."""

import gzip
import io
import json
import random

import pytest

from nova_hyper.daemon.image.archive import read_archive, resolve
from nova_hyper.daemon.image.layer import convert_layer
from nova_hyper.daemon.image.limits import Limits
from nova_hyper.spec.errors import ImageInvalid, ImageUnsuitable
from tests.unit.daemon.image.archives import (
    LAYER,
    UPPER,
    archive_of,
    blob_name,
    config_of,
    docker_archive,
    docker_members,
    oci_members,
    sha256,
)
from tests.unit.daemon.image.hostile import END, MIB, Endless, header

# Documents


def oci_with(change):
    """Return an OCI archive whose manifest *change* has changed."""
    config, layer = config_of([LAYER]), gzip.compress(LAYER, mtime=0)
    manifest = {
        "schemaVersion": 2,
        "config": {"digest": sha256(config), "size": len(config)},
        "layers": [{"digest": sha256(layer), "size": len(layer)}],
    }
    index = {"digest": "", "size": None, "mediaType": "application/vnd.oci.image.manifest.v1+json"}
    change(manifest, index)
    raw = json.dumps(manifest).encode()
    index["digest"] = sha256(raw)
    blobs = {blob_name(blob): blob for blob in (config, layer, raw)}
    return archive_of({**blobs, "index.json": json.dumps({"manifests": [index]}).encode()})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m, i: m["layers"][0].update(size=1), "has the wrong size: expected 1 bytes, got"),
        (lambda m, i: m["layers"][0].update(size=-1), "a size that is no number of bytes"),
        (lambda m, i: m["config"].update(size=10**12), "has the wrong size"),
        (lambda m, i: m["config"].update(size="9"), "a size that is no number of bytes"),
        (lambda m, i: i.update(size=3), "has the wrong size: expected 3 bytes"),
        (lambda m, i: m["layers"][0].update(digest=sha256(b"")), "it is missing in the archive"),
        (lambda m, i: m["layers"][0].update(digest="../../x"), "it is missing in the archive"),
        (lambda m, i: m["config"].update(digest=sha256(b"")), "lacks the image configuration"),
        (lambda m, i: m["layers"].clear(), "the manifest has 0 layers and the image"),
    ],
)
def test_a_manifest_with_wrong_sizes_or_digests_is_refused(change, words, refusal):
    assert words in refusal(oci_with(change))


def test_a_manifest_with_right_sizes_is_taken(small_store):
    image, _ = small_store.import_archive(io.BytesIO(oci_with(lambda manifest, index: None)))
    assert image.layers[0].diff_id == sha256(LAYER)


def test_a_blob_that_is_not_what_its_name_says_is_refused(refusal):
    members = oci_members([LAYER])
    for name in [name for name in members if name.startswith("blobs/")]:
        changed = dict(members)
        changed[name] = changed[name][:-1] + bytes([changed[name][-1] ^ 1])
        message = refusal(archive_of(changed))
        assert "has the wrong digest" in message or "damaged" in message


def test_a_configuration_of_100_mb_is_refused(refusal):
    def parts():
        yield header(b"config.json", 100 * MIB) + b'{"a":"'
        yield b"x" * (100 * MIB - 8)
        yield b'"}'
        manifest = json.dumps([{"Config": "config.json", "Layers": []}]).encode()
        yield header(b"manifest.json", len(manifest)) + manifest.ljust(512, b"\0") + END

    message = refusal(Endless(parts()))
    assert "the image configuration config.json cannot be used" in message
    assert "it is a JSON document of more than 4 MiB" in message


def test_many_large_documents_are_refused_in_sum(refusal):
    document = b'{"a":"' + b"x" * (4 * MIB - 8) + b'"}'
    source = Endless(header(b"%d.json" % n, len(document)) + document for n in range(10**6))
    assert "the archive has too many JSON documents" in refusal(source)
    assert source.given < 80 * MIB


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_json_nested_100000_deep_is_refused(opening, refusal):
    nested = opening * 100_000
    assert "manifest.json is not valid JSON" in refusal(archive_of({"manifest.json": nested}))
    members = docker_members([LAYER])
    name = next(name for name in members if name.endswith(".json") and name != "manifest.json")
    members["c.json"] = nested
    members["manifest.json"] = members["manifest.json"].replace(name.encode(), b"c.json")
    assert "the image configuration is not valid JSON" in refusal(archive_of(members))


def test_json_of_millions_of_values_costs_the_daemon_nothing(refusal):
    # 4 MB that take 100 MB as Python objects.
    values = b"[" + b"[]," * 10**6 + b"0]"
    assert "lists too many images" in refusal(archive_of({"manifest.json": values}))


def test_a_layer_listed_10000_times_is_refused(refusal):
    config = config_of([LAYER] * 10_000)
    names = ["layer.tar"] * 10_000
    manifest = [{"Config": "c.json", "RepoTags": [], "Layers": names}]
    members = {
        "layer.tar": LAYER,
        "c.json": config,
        "manifest.json": json.dumps(manifest).encode(),
    }
    message = refusal(archive_of(members))
    assert "the image configuration lists 10000 layers; at most 512 are possible" in message


def test_a_layer_listed_500_times_is_one(small_store):
    config = config_of([LAYER] * 500)
    manifest = [{"Config": "c.json", "RepoTags": [], "Layers": ["layer.tar"] * 500}]
    members = {
        "layer.tar": LAYER,
        "c.json": config,
        "manifest.json": json.dumps(manifest).encode(),
    }
    image, _ = small_store.import_archive(io.BytesIO(archive_of(members)))
    assert [layer.diff_id for layer in image.layers] == [sha256(LAYER)]


def test_an_image_listed_10000_times_is_refused(refusal):
    members = docker_members([LAYER])
    entry = json.loads(members["manifest.json"])[0]
    members["manifest.json"] = json.dumps([entry] * 10_000).encode()
    assert "manifest.json of the archive lists too many images" in refusal(archive_of(members))


def test_half_a_character_in_a_configuration_is_no_crash(small_store):
    archive = docker_archive([LAYER], config={"Labels": {"a": "\ud800"}, "Cmd": ["x"]})
    try:
        small_store.import_archive(io.BytesIO(archive))
    except (ImageInvalid, ImageUnsuitable) as exc:
        assert exc.message.isprintable()


# Truncated and damaged


class Sink:
    """Converts layers and keeps nothing."""

    def known(self, digest, compressed):
        return ""

    def convert(self, read, compression, what):
        limits = Limits(unpacked=4 * MIB, entries=1000)
        made = convert_layer(read, compression, io.BytesIO(), io.BytesIO(), limits, None)
        return made.diff_id, made.blob


def read_whole(data):
    limits = Limits(unpacked=4 * MIB, entries=1000)
    return resolve(read_archive(io.BytesIO(data), Sink(), limits), "amd64", None)


ARCHIVES = {
    "docker": docker_archive([LAYER, UPPER]),
    "oci": archive_of(oci_members([LAYER, UPPER])),
    "oci zstd": archive_of(oci_members([LAYER, UPPER], "zstd")),
    "compressed": gzip.compress(docker_archive([LAYER, UPPER])),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_cut_at_any_512_bytes_is_refused_or_whole(kind):
    archive = ARCHIVES[kind]
    whole = read_whole(archive)
    step = 512 if kind != "compressed" else 32
    taken = 0
    for cut in range(0, len(archive), step):
        try:
            found = read_whole(archive[:cut])
        except ImageInvalid as exc:
            assert exc.message
        else:
            # Only the padding after the last member is missing.
            assert found == whole
            assert not archive[cut:].strip(b"\0")
            taken += 1
    assert taken <= 25


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_a_cut_archive_leaves_nothing(share, refusal):
    archive = ARCHIVES["oci"]
    refusal(archive[: int(len(archive) * share)])


def corrupt(archive, dice):
    """Return *archive* with some of it changed, cut out, repeated or moved."""
    data = bytearray(archive)
    for _ in range(dice.randint(1, 8)):
        at = dice.randrange(len(data))
        what = dice.randrange(4)
        if what == 0:
            data[at] = dice.randrange(256)
        elif what == 1:
            data[at : at + dice.choice((1, 8, 512))] = b""
        elif what == 2:
            data[at:at] = dice.randbytes(dice.choice((1, 12, 512)))
        else:
            source = dice.randrange(len(data))
            data[at : at + 512] = data[source : source + 512]
        data = data or bytearray(b"\0")
    return bytes(data)


@pytest.mark.parametrize("kind", ARCHIVES)
def test_a_damaged_archive_is_refused_in_words_or_fine(kind):
    dice = random.Random(f"seed {kind}")
    for _ in range(150):
        damaged = corrupt(ARCHIVES[kind], dice)
        try:
            read_whole(damaged)
        except (ImageInvalid, ImageUnsuitable) as exc:
            assert exc.message
            assert len(exc.message) < 1200


def test_damaged_archives_leave_nothing_in_the_store(small_store, tmp_path):
    dice = random.Random(7)
    for _ in range(25):
        damaged = corrupt(ARCHIVES["oci"], dice)
        try:
            image, _ = small_store.import_archive(io.BytesIO(damaged))
        except (ImageInvalid, ImageUnsuitable):
            continue
        small_store.delete(image.id)
    left = [path.name for path in (tmp_path / "images").rglob("*") if path.is_file()]
    assert set(left) <= {"images.json", "leases.json"}
