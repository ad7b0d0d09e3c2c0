"""What archives may look like, and the sentence for each way of being wrong."""

import gzip
import io
import json
import lzma
import random

import pytest
import zstandard

from nova_hyper.daemon.image.archive import read_archive, resolve
from nova_hyper.daemon.image.layer import convert_layer
from nova_hyper.daemon.image.limits import Limits
from nova_hyper.spec.errors import HyperError, ImageInvalid, ImageUnsuitable
from tests.unit.daemon.image.archives import (
    LAYER,
    OCI,
    UPPER,
    F,
    archive_of,
    blob_name,
    compress,
    config_of,
    descriptor,
    docker_archive,
    docker_members,
    index_of,
    oci_manifest,
    oci_members,
    sha256,
    tar_of,
)

LIMITS = Limits(unpacked=1 << 20)


class Sink:
    """Converts every layer into the void."""

    def known(self, digest, compressed):
        return ""

    def convert(self, read, compression, what):
        converted = convert_layer(read, compression, io.BytesIO(), io.BytesIO(), LIMITS, None)
        return converted.diff_id, converted.blob


def find(archive, arch="amd64", name=None, limits=LIMITS):
    return resolve(read_archive(io.BytesIO(archive), Sink(), limits), arch, name)


DOCKER = docker_members([LAYER, UPPER])
CONFIG = next(name for name in DOCKER if name.endswith(".json") and name != "manifest.json")
LAYER_NAME = sha256(LAYER)[7:] + ".tar"


def legacy(links=None, **members):
    """Return the members of what docker save wrote before version 25."""
    config = config_of([LAYER, UPPER])
    name = sha256(config)[7:] + ".json"
    manifest = [{"Config": name, "RepoTags": None, "Layers": ["aa/layer.tar", "bb/layer.tar"]}]
    return {
        "aa/VERSION": b"1.0",
        "aa/json": b"{}",
        "aa/layer.tar": LAYER,
        "bb/layer.tar": UPPER,
        name: config,
        "manifest.json": json.dumps(manifest).encode(),
        "repositories": b"{}",
        **members,
    }


def docker_25(**changes):
    """Return the members of what docker save writes since version 25: both formats in one."""
    manifest, blobs = oci_manifest([LAYER, UPPER], "plain", **changes)
    config = config_of([LAYER, UPPER], **changes)
    listed = [
        {
            "Config": blob_name(config),
            "RepoTags": ["web:1"],
            "Layers": [blob_name(LAYER), blob_name(UPPER)],
        }
    ]
    return {
        **blobs,
        **index_of([descriptor(manifest, OCI + "manifest.v1+json")]),
        "manifest.json": json.dumps(listed).encode(),
    }


def without_end(archive):
    """Return *archive* without the zero blocks after its last member."""
    while archive.endswith(bytes(512)):
        archive = archive[:-512]
    return archive


GOOD = {
    "podman save": archive_of(DOCKER),
    "manifest first": archive_of(dict(reversed(DOCKER.items()))),
    "docker save before version 25": archive_of(legacy()),
    "docker save since version 25": archive_of(docker_25()),
    "names with a leading dot": archive_of({f"./{k}": v for k, v in DOCKER.items()}),
    "compressed as a whole with gzip": gzip.compress(archive_of(DOCKER)),
    "compressed as a whole with zstd": zstandard.compress(archive_of(DOCKER)),
    "compressed as a whole in two gzip members": (
        gzip.compress(archive_of(DOCKER)[:1000]) + gzip.compress(archive_of(DOCKER)[1000:])
    ),
    "docker with gzip layers under the diff ID's name": archive_of(
        {k: compress(v, "gzip") if k.endswith(".tar") else v for k, v in DOCKER.items()}
    ),
    "OCI with gzip layers": archive_of(oci_members([LAYER, UPPER], "gzip")),
    "OCI with zstd layers": archive_of(oci_members([LAYER, UPPER], "zstd")),
    "OCI with plain layers": archive_of(oci_members([LAYER, UPPER], "plain")),
    "OCI with index.json first": archive_of(
        dict(reversed(oci_members([LAYER, UPPER], "gzip").items()))
    ),
    "no end-of-archive mark": without_end(archive_of(DOCKER)),
    "junk after the end": archive_of(DOCKER) + b"junk" * 1000,
}


@pytest.mark.parametrize("case", GOOD)
def test_an_archive_is_understood(case):
    found = find(GOOD[case])
    assert found.config.diff_ids == (sha256(LAYER), sha256(UPPER))
    assert found.id == sha256(config_of([LAYER, UPPER]))


def test_names_come_from_repo_tags_and_from_the_oci_annotation():
    assert find(archive_of(DOCKER)).names == ("web:1",)
    assert find(archive_of(legacy())).names == ()
    assert find(archive_of(oci_members([LAYER], tag="a/b:c"))).names == ("a/b:c",)


def test_a_layer_may_be_a_link_to_another_member():
    config = config_of([LAYER, LAYER])
    name = sha256(config)[7:] + ".json"
    manifest = [{"Config": name, "Layers": ["aa/layer.tar", "bb/layer.tar"]}]
    members = {
        "aa/layer.tar": LAYER,
        name: config,
        "manifest.json": json.dumps(manifest).encode(),
    }
    found = find(archive_of(members, links={"bb/layer.tar": "../aa/layer.tar"}))
    assert found.config.diff_ids == (sha256(LAYER), sha256(LAYER))


def two_platforms(*platforms):
    members, descriptors = {}, []
    for arch in platforms:
        manifest, blobs = oci_manifest([LAYER, tar_of(("arch", F, arch))], architecture=arch)
        members.update(blobs)
        descriptors.append(
            descriptor(
                manifest, OCI + "manifest.v1+json", platform={"os": "linux", "architecture": arch}
            )
        )
    return members, descriptors


def test_of_several_platforms_the_hosts_is_chosen():
    members, descriptors = two_platforms("arm64", "amd64")
    archive = archive_of({**members, **index_of(descriptors)})
    for arch in ("arm64", "amd64"):
        assert find(archive, arch).config.architecture == arch


def test_an_index_inside_the_index_is_followed_and_attestations_are_not():
    members, descriptors = two_platforms("arm64", "amd64")
    attestation = {
        "mediaType": OCI + "manifest.v1+json",
        "digest": sha256(b"not in the archive"),
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
    }
    inner = index_of([*descriptors, attestation])["index.json"]
    outer = index_of(
        [
            descriptor(
                inner,
                OCI + "index.v1+json",
                annotations={"org.opencontainers.image.ref.name": "multi:1"},
            )
        ]
    )
    found = find(archive_of({**members, blob_name(inner): inner, **outer}))
    assert found.config.architecture == "amd64"
    assert found.names == ("multi:1",)


def test_other_platforms_need_not_be_in_the_archive():
    members, descriptors = two_platforms("amd64")
    absent = {
        **descriptors[0],
        "digest": sha256(b"absent"),
        "platform": {"os": "linux", "architecture": "s390x"},
    }
    assert find(archive_of({**members, **index_of([absent, *descriptors])})).id


def two_docker_images():
    one = docker_members([LAYER], tags=("one:1",))
    two = docker_members([UPPER], tags=("two:1",))
    listed = json.loads(one.pop("manifest.json")) + json.loads(two.pop("manifest.json"))
    return archive_of({**one, **two, "manifest.json": json.dumps(listed).encode()})


def test_of_several_images_the_named_one_is_chosen():
    assert find(two_docker_images(), name="two:1").config.diff_ids == (sha256(UPPER),)


def docker_with(**changes):
    """Return a docker archive with other members; None takes one away."""
    members = {**DOCKER, **changes}
    return archive_of({k: v for k, v in members.items() if v is not None})


def manifest_with(**changes):
    entry = {**json.loads(DOCKER["manifest.json"])[0], **changes}
    return docker_with(**{"manifest.json": json.dumps([entry]).encode()})


def oci_with(change):
    members = oci_members([LAYER, UPPER])
    change(members)
    return archive_of(members)


def drop_blob(number):
    def change(members):
        del members[list(members)[number]]

    return change


def damage_blob(members):
    name = next(iter(members))
    members[name] = compress(LAYER.replace(b"hello", b"hullo"), "gzip")


WHOLE = archive_of(DOCKER)
BAD = {
    "nothing": (b"", "not a docker or OCI archive: it is empty"),
    "text": (b"hello\n" * 200, "not a docker or OCI archive: it is no tar file"),
    "short text": (b"hello", "not a docker or OCI archive: it is no tar file"),
    "a qcow2 image": (b"QFI\xfb" + bytes(600), "looks like a qcow2 disk image"),
    "a web page": (b"<!DOCTYPE html>" + b" " * 600, "looks like an HTML or XML page"),
    "random bytes": (random.Random(1).randbytes(4096), "it is no tar file"),
    "an xz archive": (lzma.compress(WHOLE), "compressed with xz; use gzip, zstd or none"),
    "gzip of text": (gzip.compress(b"hello" * 999), "not a docker or OCI archive: it is no tar"),
    "a root file tree": (LAYER, "it has neither manifest.json nor index.json; make one with"),
    "truncated in a layer": (WHOLE[:1000], "is truncated"),
    "truncated between members": (WHOLE[: 512 + len(LAYER)], "the archive is truncated"),
    "truncated gzip": (gzip.compress(WHOLE)[:-500], "the gzip stream is truncated"),
    "damaged gzip": (gzip.compress(WHOLE)[:200] + b"\xff" * 200, "the gzip stream is damaged"),
    "damaged zstd": (
        zstandard.compress(WHOLE)[:6] + b"\xff" * 400,
        "the zstd stream is damaged",
    ),
    "truncated zstd": (zstandard.compress(WHOLE)[:-99], "stream is empty or truncated"),
    "no configuration": (
        docker_with(**{CONFIG: None}),
        r"the image configuration [0-9a-f]+\.json cannot be used: it is missing",
    ),
    "no layer": (
        docker_with(**{LAYER_NAME: None}),
        r"layer 1 of 2 \([0-9a-f]+\.tar\) cannot be used: it is missing in the archive",
    ),
    "another configuration than its name says": (
        docker_with(**{CONFIG: DOCKER[CONFIG] + b" "}),
        r"\.json has the wrong digest: expected sha256:[0-9a-f]+, got sha256:",
    ),
    "another layer than its name says": (
        docker_with(**{LAYER_NAME: UPPER}),
        rf"the layer {LAYER_NAME} has the wrong digest: expected sha256:.*, got {sha256(UPPER)}",
    ),
    "another layer than the configuration says": (
        archive_of(legacy(**{"aa/layer.tar": UPPER})),
        r"layer 1 of 2 \(aa/layer.tar\) has the wrong digest: expected sha256:.*, got sha256:",
    ),
    "layers in the wrong order": (
        manifest_with(Layers=list(reversed(json.loads(DOCKER["manifest.json"])[0]["Layers"]))),
        "layer 1 of 2 .* has the wrong digest",
    ),
    "fewer layers than the configuration says": (
        manifest_with(Layers=[LAYER_NAME]),
        "the manifest has 1 layers and the image configuration 2",
    ),
    "a layer that is not tar": (
        archive_of(legacy(**{"aa/layer.tar": b"text" * 500})),
        "layer 1 of 2 .* cannot be used: it is no tar file",
    ),
    "a layer compressed with xz": (
        archive_of(legacy(**{"aa/layer.tar": lzma.compress(LAYER)})),
        "layer 1 of 2 .* cannot be used: it is compressed with xz; use gzip or zstd",
    ),
    "a layer that is truncated inside": (
        archive_of(legacy(**{"aa/layer.tar": LAYER[:600]})),
        "the layer aa/layer.tar: .*truncated",
    ),
    "a layer that leads out": (
        docker_archive([tar_of(("a/../../../etc/passwd", F, "x"))]),
        r"the layer .*: the path a/\.\./\.\./\.\./etc/passwd leads out of the image",
    ),
    "a link loop to a layer": (
        archive_of(
            {k: v for k, v in legacy().items() if k != "bb/layer.tar"},
            links={"bb/layer.tar": "layer.tar"},
        ),
        "layer 2 of 2 .* it is missing in the archive",
    ),
    "a manifest that is no JSON": (docker_with(**{"manifest.json": b"[{"}), "not valid JSON"),
    "a manifest nested too deeply": (
        docker_with(**{"manifest.json": b"[" * 100_000}),
        "manifest.json is not valid JSON",
    ),
    "a manifest that is too long": (
        docker_with(**{"manifest.json": b"[" + b" " * (5 << 20) + b"]"}),
        "the manifest .* cannot be used: it is a JSON document of more than 4 MiB",
    ),
    "a manifest of nothing": (docker_with(**{"manifest.json": b"[]"}), "it lists no image"),
    "a manifest without configuration": (manifest_with(Config=None), "has no Config"),
    "layers that are no strings": (manifest_with(Layers=[1, 2]), "is not a string"),
    "two images": (two_docker_images(), r"has 2 images for linux/amd64 \(one:1, two:1\)"),
    "an OCI archive without its manifest": (oci_with(drop_blob(3)), "lacks the manifest sha256:"),
    "an OCI archive without configuration": (
        oci_with(drop_blob(2)),
        "lacks the image configuration sha256:",
    ),
    "an OCI archive without a layer": (
        oci_with(drop_blob(0)),
        r"layer 1 of 2 \(sha256:[0-9a-f]+\) cannot be used: it is missing in the archive",
    ),
    "an OCI blob that is damaged": (
        oci_with(damage_blob),
        r"the layer blobs/sha256/[0-9a-f]+ has the wrong digest: expected sha256:.*, got sha256:",
    ),
    "an OCI index without images": (archive_of(index_of([])), "it lists no image"),
    "an OCI index with another digest": (
        archive_of(index_of([{"mediaType": OCI + "manifest.v1+json", "digest": "sha512:00"}])),
        "the digest 'sha512:00', not one of sha256",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_archive_gets_a_sentence_that_says_why(case):
    archive, message = BAD[case]
    with pytest.raises(ImageInvalid, match=message) as caught:
        find(archive)
    assert "\n" not in caught.value.message
    assert "Traceback" not in caught.value.message


FOREIGN_BLOBS, FOREIGN_DESCRIPTORS = two_platforms("arm64", "s390x")
FOREIGN = archive_of({**FOREIGN_BLOBS, **index_of(FOREIGN_DESCRIPTORS)})


@pytest.mark.parametrize(
    "archive",
    [
        docker_archive([LAYER], architecture="arm64"),
        docker_archive([LAYER], os="windows"),
        archive_of(oci_members([LAYER], architecture="arm64")),
        FOREIGN,
    ],
)
def test_an_image_for_another_platform_is_refused_with_both(archive):
    with pytest.raises(ImageUnsuitable, match="this host runs linux/amd64; use an image for that"):
        find(archive)


def test_an_archive_of_too_many_members_is_refused():
    archive = archive_of({f"f{n}": b"" for n in range(20)})
    with pytest.raises(ImageInvalid, match="more than 10 members"):
        find(archive, limits=Limits(unpacked=1 << 20, members=10))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_archive_without_end_is_refused(pack):
    limits = Limits(unpacked=1 << 20, entries=10)
    with pytest.raises(ImageInvalid, match="the archive is larger than"):
        find(pack(archive_of(DOCKER) + bytes(2 << 20)), limits=limits)


def test_documents_beyond_the_limit_are_refused():
    archive = archive_of({f"f{n}": b"{}" + b" " * 1000 for n in range(20)})
    with pytest.raises(ImageInvalid, match="too many JSON documents"):
        find(archive, limits=Limits(unpacked=1 << 20, json_total=10_000))


@pytest.mark.parametrize("whole", [WHOLE, archive_of(oci_members([LAYER, UPPER], "zstd"))])
def test_a_truncated_archive_is_refused_wherever_it_ends(whole):
    last = len(whole.rstrip(b"\0"))
    for end in range(0, last, 211):
        with pytest.raises(ImageInvalid):
            find(whole[:end])


@pytest.mark.parametrize("whole", [WHOLE, GOOD["OCI with gzip layers"]])
def test_random_damage_is_either_noticed_or_harmless(whole):
    source = random.Random(7)
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(source.randrange(1, 4)):
            damaged[source.randrange(len(damaged))] = source.randrange(256)
        try:
            found = find(bytes(damaged))
        except HyperError:
            continue
        assert found.config.diff_ids == (sha256(LAYER), sha256(UPPER))
