"""Archives that attack: each is refused with its limit, or harmless, and leaves nothing."""

import gzip
import hashlib
import io
import os
import tarfile

import pytest
import zstandard

from nova_hyper.daemon.image.limits import Limits
from tests.unit.daemon.image.archives import (
    LAYER,
    UPPER,
    D,
    F,
    L,
    S,
    archive_of,
    docker_archive,
    sha256,
    tar_of,
)
from tests.unit.daemon.image.hostile import (
    END,
    MIB,
    Endless,
    header,
    image_of,
    layer_first,
    pax,
    record,
)

# Archives inside archives


def test_an_archive_inside_an_archive_is_no_image(refusal):
    inner = docker_archive([LAYER])
    message = refusal(archive_of({"image.tar": inner}))
    assert "it has neither manifest.json nor index.json" in message


def test_an_archive_inside_a_layer_is_a_file_like_any(small_store):
    layer = tar_of(
        ("image.tar", F, docker_archive([LAYER])), ("x.tar.gz", F, gzip.compress(UPPER))
    )
    image, _ = small_store.import_archive(io.BytesIO(docker_archive([layer])))
    assert [each.diff_id for each in image.layers] == [sha256(layer)]


def test_what_is_compressed_twice_is_not_unpacked_twice(refusal):
    twice = gzip.compress(gzip.compress(docker_archive([LAYER])))
    assert "it is no tar file" in refusal(twice)
    layer = gzip.compress(gzip.compress(LAYER) + bytes(512))
    assert "the tar stream is damaged" in refusal(docker_archive([layer]))


# A billion entries


def test_a_billion_entries_in_a_layer_stop_at_the_limit(small_store, refusal):
    small_store._limits = Limits(unpacked=64 * MIB, entries=20_000)
    entries = (header(b"%d" % number) for number in range(10**9))
    source = Endless(layer_first(entries, 512 * 10**9))
    assert "a layer has more than 20000 files; squash or split the image" in refusal(source)
    assert source.given < 20 * MIB


def test_a_billion_entries_in_few_bytes_stop_at_the_limit(small_store, refusal):
    small_store._limits = Limits(unpacked=64 * MIB, entries=20_000)
    bomb = zstandard.ZstdCompressor(level=3).compress(header(b"same") * 400_000)
    assert len(bomb) < MIB
    assert "a layer has more than 20000 files" in refusal(docker_archive([bomb]))


def test_a_billion_members_of_the_archive_stop_at_the_limit(refusal):
    source = Endless(header(b"%d.json" % number) for number in range(10**9))
    assert "it has more than 10000 members" in refusal(source)
    assert source.given < 10 * MIB


def test_a_billion_directories_without_entries_stop_at_the_limit(small_store, refusal):
    small_store._limits = Limits(unpacked=64 * MIB, entries=20_000)
    layer = tar_of(*((f"{n}/" + "d/" * 1500 + "f", F, "") for n in range(20)))
    assert "a layer has more than 20000 files" in refusal(image_of(layer))


# Sizes


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (header(size=-1), "its size is -1"),
        (header(size=-(1 << 80)), "its size is -"),
        (header(size=(1 << 33) - 1), "the image unpacks to more than 0.0625 GiB"),
        (header(kind=b"L", size=-5), "a tar header of more than 1 MiB is refused"),
        (header(kind=b"x", size=2 * MIB), "a tar header of more than 1 MiB is refused"),
    ],
)
def test_an_impossible_size_is_refused(entry, words, refusal):
    assert words in refusal(image_of(entry + END))


def sparse(records, content=b"x" * 512):
    info = {"pax_headers": {f"GNU.sparse.{key}": value for key, value in records.items()}}
    return tar_of(("sparse", F, content, info))


@pytest.mark.parametrize(
    "records",
    [
        {"map": "0,512", "size": "100"},
        {"map": "0,-512", "size": "1000"},
        {"map": "600,100,0,412", "size": "1000"},
        {"map": "0,300,200,212", "size": "1000"},
        {"map": "0,511", "size": "1000"},
        {"map": "0", "size": "1000"},
        {"map": "0,512", "size": "99999999999999999999"},
        {"major": "1", "minor": "0", "realsize": "1000"},
        {"map": ",".join(["0,0"] * 100_001), "size": "1000"},
    ],
)
def test_the_map_of_a_sparse_file_must_make_sense(records, refusal):
    message = refusal(image_of(sparse(records)))
    assert "sparse" in message or "number is needed" in message


def test_a_sparse_file_counts_with_its_holes(refusal):
    layer = sparse({"map": "0,512", "size": str(1 << 50)})
    assert "the image unpacks to more than 0.0625 GiB" in refusal(image_of(layer))


# pax


@pytest.mark.parametrize(
    "payload",
    [
        b"99999999999999999999 path=x\n",
        b"-5 path=x\n",
        b"11 path=x\n",
        b"5 =x\n",
        b"9 path=x\0",
        b"\xff" * 100,
    ],
)
def test_a_malformed_pax_header_is_refused(payload, refusal):
    assert "a pax header is malformed" in refusal(image_of(pax(payload) + header() + END))


def test_pax_headers_without_end_stop_at_the_limit(refusal):
    bomb = pax(record(b"comment", b"x" * 900_000))
    source = Endless(layer_first((bomb for _ in range(10**6)), 10**12))
    assert "a file of the tar stream has too many headers" in refusal(source)
    assert source.given < 8 * MIB


def test_extended_attributes_have_a_limit_in_sum(small_store, refusal):
    small_store._limits = Limits(unpacked=64 * MIB, names=MIB)
    layer = b"".join(
        pax(record(b"SCHILY.xattr.user.x", b"%d" % number + b"v" * 60_000))
        + header(b"%d" % number)
        for number in range(100)
    )
    message = refusal(image_of(layer + END))
    assert "the names and extended attributes of a layer are too long in sum" in message


def test_an_attribute_larger_than_linux_allows_is_refused(refusal):
    layer = pax(record(b"SCHILY.xattr.user.x", b"v" * 70_000)) + header() + END
    assert "is larger than Linux allows" in refusal(image_of(layer))


# Names


def test_of_two_entries_of_one_name_the_last_counts(small_store):
    layer = tar_of(*(("same", F, str(number)) for number in range(1000)), ("same", D, ""))
    image, _ = small_store.import_archive(io.BytesIO(image_of(layer)))
    assert image.layers[0].diff_id == sha256(layer)


@pytest.mark.parametrize("target", ["../../etc/passwd", "/../etc/passwd", "a/../../x"])
def test_a_hard_link_that_leads_outside_is_refused(target, refusal):
    layer = tar_of(("a", D, ""), ("a/hard", L, target))
    assert "leads out of the image" in refusal(image_of(layer))


@pytest.mark.parametrize("target", ["/etc/passwd", "etc/passwd", "proc/self/exe"])
def test_a_hard_link_to_a_file_of_the_host_is_one_to_nothing(target, refusal):
    layer = tar_of(("hard", L, target))
    assert "which is not in the layer before it" in refusal(image_of(layer))


def test_a_hard_link_through_a_symbolic_link_stays_in_the_image(refusal):
    layer = tar_of(("up", S, "../../../../../etc"), ("hard", L, "up/passwd"))
    assert "which is not in the layer before it" in refusal(image_of(layer))


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/../evil"])
def test_a_name_that_leads_outside_is_refused(name, refusal):
    assert "leads out of the image" in refusal(image_of(tar_of((name, F, "x"))))


def test_symbolic_links_in_a_circle_are_kept_and_lead_nowhere(small_store, refusal):
    circle = (("a", S, "b"), ("b", S, "a"), ("self", S, "self"), ("dot", S, "."))
    message = refusal(image_of(tar_of(*circle, ("a/file", F, "x"))))
    assert message.endswith("a/file is below a loop of symbolic links")
    image, _ = small_store.import_archive(io.BytesIO(image_of(tar_of(*circle))))
    assert len(image.layers) == 1


def test_paths_through_ever_more_links_have_a_limit(refusal):
    # Each path walks 200,000 steps, and each is another one: the last would be remembered.
    links = [(f"l{n}", S, f"l{n + 1}/" + "x/../" * 500) for n in range(200)]
    files = [(f"l0/{n}/f", F, "") for n in range(200)]
    layer = tar_of(("x", D, ""), ("x/x", D, ""), *links, ("l200", S, "x"), *files)
    message = refusal(image_of(layer))
    assert "the paths of a layer lead through too many symbolic links in sum" in message


def test_a_name_in_a_message_is_one_printable_line(refusal):
    layer = pax(record(b"path", b"bad\nname\x1b[31m\xff/../../x")) + header() + END
    message = refusal(image_of(layer))
    assert r"bad\nname\x1b[31m\xff" in message


def test_names_with_newlines_and_invalid_utf8_are_names(small_store):
    layer = b"".join(
        pax(record(b"path", name)) + header()
        for name in (b"new\nline", b"\xff\xfe", b"tab\t", b"caf\xe9", "é".encode(), b" ", b"-rf")
    )
    image, _ = small_store.import_archive(io.BytesIO(image_of(layer + END)))
    squashfs = small_store.layer_path(image.layers[0].diff_id).read_bytes()
    assert b"new\nline" in squashfs
    assert b"\xff\xfe" in squashfs


@pytest.mark.parametrize("depth", [256, 2047])
def test_deep_paths_are_kept(depth, small_store):
    layer = tar_of(("d/" * depth + "f", F, "deep"))
    image, _ = small_store.import_archive(io.BytesIO(image_of(layer)))
    assert image.layers[0].unpacked_size == 4


def test_a_path_longer_than_linux_allows_is_refused(refusal):
    assert "at most 4096 are possible" in refusal(image_of(tar_of(("d/" * 2048 + "f", F, ""))))
    assert "at most 255 are possible" in refusal(image_of(tar_of(("n" * 256, F, ""))))


def test_directories_nested_through_links_have_a_limit(small_store, refusal):
    small_store._limits = Limits(unpacked=64 * MIB, names=4 * MIB)
    entries = [("l0", S, "d")]
    for number in range(100):
        entries.append((f"l{number}/" + "d/" * 1000, D, ""))
        entries.append((f"l{number + 1}", S, f"l{number}/" + "d/" * 1000))
    message = refusal(image_of(tar_of(*entries)))
    assert "nested too deeply" in message or "symbolic links" in message


# Bombs


def zeros(count):
    chunk = bytes(MIB)
    for _ in range(count):
        yield chunk


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_a_layer_that_decompresses_to_a_huge_file_is_refused_at_the_limit(how, refusal):
    tar = header(b"zeros", 8 << 30)
    compressor = zstandard.ZstdCompressor().compressobj()
    bomb = io.BytesIO()
    if how == "gzip":
        with gzip.GzipFile(fileobj=bomb, mode="wb", compresslevel=1) as out:
            out.write(tar)
            for part in zeros(256):
                out.write(part)
    else:
        bomb.write(compressor.compress(tar))
        for part in zeros(256):
            bomb.write(compressor.compress(part))
        bomb.write(compressor.flush())
    message = refusal(docker_archive([bomb.getvalue()]))
    assert "the image unpacks to more than 0.0625 GiB; raise [image] max_image_gib" in message


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_what_follows_the_end_of_a_layer_counts_too(how, small_store, refusal):
    small_store._limits = Limits(unpacked=MIB, entries=100)
    padding = LAYER + bytes(64 * MIB)
    bomb = gzip.compress(padding) if how == "gzip" else zstandard.compress(padding)
    assert "the layers unpack to more than this host allows" in refusal(docker_archive([bomb]))


def test_a_compressed_archive_is_bounded_as_a_whole(small_store, refusal):
    small_store._limits = Limits(unpacked=MIB, entries=100)
    bomb = gzip.compress(header(b"junk", 1 << 30) + bytes(64 * MIB))
    assert "the archive is larger than 0.00117 GiB" in refusal(bomb)
    layers = gzip.compress(docker_archive([gzip.compress(LAYER + bytes(64 * MIB))]))
    assert "unpack to more than this host allows" in refusal(layers)


def test_a_zstd_window_larger_than_the_limit_is_refused(refusal):
    # RFC 8878: frame header descriptor 0, window descriptor: exponent 21 is 2 GiB.
    frame = b"\x28\xb5\x2f\xfd" + bytes([0, 21 << 3]) + b"\x01\0\0"
    assert "the zstd stream is damaged" in refusal(docker_archive([frame + bytes(600)]))


@pytest.mark.parametrize(("magic", "name"), [(b"\xfd7zXZ\0", "xz"), (b"BZh91AY&SY", "bzip2")])
def test_other_compressions_are_refused_by_name(magic, name, refusal):
    stream = magic + bytes(2000)
    assert f"compressed with {name}" in refusal(stream)
    assert f"compressed with {name}" in refusal(docker_archive([stream]))


# What is kept


def test_devices_setuid_and_capabilities_are_kept_and_never_on_the_host(small_store, tmp_path):
    capability = bytes.fromhex("0100000200040000000000000000000000000000").decode("latin-1")
    layer = tar_of(
        ("su", F, "x", {"mode": 0o4755}),
        ("ping", F, "x", {"pax_headers": {"SCHILY.xattr.security.capability": capability}}),
        ("sda", tarfile.BLKTYPE, "", {"devmajor": 8, "devminor": 0}),
        ("mem", tarfile.CHRTYPE, "", {"devmajor": 1, "devminor": 1}),
        ("pipe", tarfile.FIFOTYPE, ""),
    )
    image, _ = small_store.import_archive(io.BytesIO(image_of(layer)))
    squashfs = small_store.layer_path(image.layers[0].diff_id).read_bytes()
    assert b"capability" in squashfs
    for path in (tmp_path / "images").rglob("*"):
        kind = path.lstat().st_mode
        assert path.is_dir() or path.is_file()
        assert not path.is_symlink()
        assert not kind & 0o6000
    assert hashlib.sha256(layer).hexdigest() == image.layers[0].diff_id[7:]


def test_a_device_with_an_impossible_number_is_refused(refusal):
    layer = tar_of(("dev", tarfile.CHRTYPE, "", {"devmajor": 1 << 20, "devminor": 0}))
    assert "has the impossible number" in refusal(image_of(layer))


def test_nothing_of_an_image_is_a_path_on_the_host(small_store, tmp_path):
    layer = tar_of(("images.json", F, "x"), ("layers", S, "/etc"), ("layers2/f", F, "x"))
    before = sorted(os.listdir(tmp_path))
    small_store.import_archive(io.BytesIO(image_of(layer)))
    assert sorted(os.listdir(tmp_path)) == before
