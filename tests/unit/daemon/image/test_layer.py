"""A layer becomes a squashfs image: its structure here, what the kernel makes of it elsewhere."""

import gzip
import io
import random
import struct

import pytest

from nova_hyper.daemon.image import squashfs_format as fmt
from nova_hyper.daemon.image.compression import GzipReader, ZstdBlocks, decompressed, sniff
from nova_hyper.daemon.image.layer import convert_layer
from nova_hyper.daemon.image.limits import Limits
from nova_hyper.spec.errors import ImageInvalid
from tests.unit.daemon.image.archives import D, F, compress, sha256, tar_of

LIMITS = Limits(unpacked=1 << 30)
TREE = tar_of(
    ("d", D, ""),
    ("d/three blocks", F, "abc" * 100_000),
    ("d/zeros", F, bytes(500_000)),
    ("d/empty", F, ""),
    ("d/attributed", F, "x", {"pax_headers": {"SCHILY.xattr.user.x": "y"}}),
)


def convert(data, compression="", limits=LIMITS, level=1):
    out = io.BytesIO()
    blocks = ZstdBlocks(level) if level is not None else None
    read = io.BytesIO(data).read
    converted = convert_layer(read, compression, out, io.BytesIO(), limits, blocks)
    return converted, out.getvalue()


def superblock(image):
    return fmt.SUPERBLOCK.unpack(image[: fmt.SUPERBLOCK.size])


@pytest.mark.parametrize("how", ["", "gzip", "zstd"])
def test_digests_are_of_the_tar_and_of_the_blob(how):
    blob = compress(TREE, how)
    converted, image = convert(blob, how)
    assert converted.diff_id == sha256(TREE)
    assert converted.blob == sha256(blob)
    assert converted.unpacked_size == 800_001
    assert converted.size == len(image)
    assert len(image) % 4096 == 0


def test_the_image_does_not_depend_on_how_the_layer_came():
    images = {convert(compress(TREE, how), how)[1] for how in ("", "gzip", "zstd")}
    assert len(images) == 1


def test_the_superblock_tells_what_is_there():
    image = convert(TREE)[1]
    fields = superblock(image)
    assert fields[0] == fmt.MAGIC
    assert fields[1] == 6
    assert fields[3] == fmt.BLOCK_SIZE
    assert fields[5] == fmt.ZSTD
    used, tables = fields[12], fields[13:]
    assert len(image) - 4096 < used <= len(image)
    assert all(table < used for table in tables if table != fmt.NO_TABLE)


def test_zeros_take_no_room():
    assert convert(tar_of(("zeros", F, bytes(10 << 20))), level=None)[0].size == 4096


def test_data_that_does_not_shrink_is_stored_as_it_is():
    data = random.Random(1).randbytes(3000)
    image = convert(tar_of(("f", F, data)))[1]
    assert data in image


def test_what_follows_the_end_of_the_tar_belongs_to_the_digest():
    assert convert(TREE + b"junk" * 50_000)[0].diff_id == sha256(TREE + b"junk" * 50_000)


def test_an_empty_layer_is_a_layer():
    converted, image = convert(tar_of())
    assert converted.entries == 0
    assert superblock(image)[1] == 1


def test_more_owners_than_squashfs_holds_are_refused():
    out = io.BytesIO()
    header = bytearray(tar_of(("f", F, ""))[:512])
    for number in range(66_000):
        header[0:8] = b"%08d" % number
        header[108:116] = b"%07o\0" % number
        header[148:156] = b"        "
        header[148:156] = b"%06o\0 " % sum(header)
        out.write(header)
    with pytest.raises(ImageInvalid, match="more than 65535 different owners"):
        convert(out.getvalue())


def test_a_bomb_of_nothing_but_padding_is_refused():
    bomb = gzip.compress(bytes(100 << 20))
    with pytest.raises(ImageInvalid, match="more than this host allows"):
        convert(bomb, "gzip", Limits(unpacked=1 << 20, entries=10))


def test_a_compression_bomb_is_refused_before_it_is_unpacked():
    bomb = compress(tar_of(("f", F, bytes(64 << 20))), "zstd")
    assert len(bomb) < 10_000
    with pytest.raises(ImageInvalid, match="unpacks to more than"):
        convert(bomb, "zstd", Limits(unpacked=1 << 20))


def test_output_of_a_decompressor_is_bounded_whatever_the_input():
    for how in ("gzip", "zstd"):
        read = decompressed(io.BytesIO(compress(bytes(64 << 20), how)).read, how)
        sizes = []
        while chunk := read(1):
            sizes.append(len(chunk))
        assert sum(sizes) == 64 << 20
        assert max(sizes) <= 1 << 20


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_a_stream_of_several_frames_is_read_to_its_end(how):
    skippable = struct.pack("<II", 0x184D2A50, 4) + b"skip" if how == "zstd" else b""
    blob = skippable + compress(b"one ", how) + compress(b"two", how) + skippable
    assert sniff(blob) == how
    read = decompressed(io.BytesIO(blob).read, how)
    assert b"".join(iter(lambda: read(100), b"")) == b"one two"


def test_zeros_after_a_gzip_stream_are_padding():
    read = GzipReader(io.BytesIO(gzip.compress(b"x") + bytes(1000)).read).read
    assert [read(1), read(1), read(1)] == [b"x", b"", b""]


def test_a_source_that_fails_is_not_hidden():
    def read(size):
        raise ConnectionResetError("peer went away")

    with pytest.raises(ConnectionResetError):
        convert_layer(read, "", io.BytesIO(), io.BytesIO(), LIMITS, None)


def test_a_disk_that_fails_is_not_hidden_and_ends_the_threads():
    class Full(io.BytesIO):
        def write(self, data):
            if len(data) > 1000:
                raise OSError(28, "No space left on device")
            return super().write(data)

    data = tar_of(*((f"f{n}", F, bytes([n + 1]) * 300_000) for n in range(50)))
    with pytest.raises(OSError, match="No space"):
        convert_layer(io.BytesIO(data).read, "", Full(), io.BytesIO(), LIMITS, None)
