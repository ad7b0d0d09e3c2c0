"""Tar streams as real tools write them, and damaged ones."""

import contextlib
import io
import random
import subprocess
import tarfile

import pytest

from nova_hyper.daemon.image.stream import ByteStream
from nova_hyper.daemon.image.tar import (
    CHARDEV,
    DIRECTORY,
    FIFO,
    HARDLINK,
    REGULAR,
    SYMLINK,
    TarReader,
    is_header,
)
from nova_hyper.daemon.image.tar_fields import parse_number, parse_pax, parse_time
from nova_hyper.spec.errors import ImageInvalid
from tests.unit.daemon.image.archives import D, F, L, S, tar_of

BLOCK = 4096
ZERO = bytes(BLOCK)


def members(data):
    """Return (member, content) of all in the tar *data*."""
    reader = TarReader(ByteStream(io.BytesIO(data).read))
    found = []
    while member := reader.next():
        found.append((member, b"".join(reader.blocks(member, BLOCK, ZERO))))
    return found


FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


@pytest.mark.parametrize("format", FORMATS)
def test_every_kind_of_entry_is_read(format):
    data = tar_of(
        ("d", D, "", {"mode": 0o1777, "uid": 5, "gid": 6, "mtime": 7}),
        ("d/f", F, "content", {"mode": 0o4755}),
        ("d/s", S, "../target"),
        ("d/l", L, "d/f"),
        ("d/c", tarfile.CHRTYPE, "", {"devmajor": 1, "devminor": 3}),
        ("d/p", tarfile.FIFOTYPE, ""),
        format=FORMATS[format],
    )
    d, f, s, link, c, p = members(data)
    assert [m.kind for m, _ in (d, f, s, link, c, p)] == [
        *(DIRECTORY, REGULAR, SYMLINK, HARDLINK, CHARDEV, FIFO)
    ]
    assert (d[0].mode, d[0].uid, d[0].gid, d[0].mtime) == (0o1777, 5, 6, 7)
    assert (f[0].mode, f[1]) == (0o4755, b"content")
    assert (s[0].link, link[0].link) == (b"../target", b"d/f")
    assert (c[0].major, c[0].minor) == (1, 3)


@pytest.mark.parametrize("format", ["gnu", "pax"])
def test_names_of_any_length_are_read(format):
    name, target = "n" * 90 + "/" + "m" * 200, "t" * 300
    data = tar_of((name, F, "x"), ("s", S, target), format=FORMATS[format])
    (file, content), (link, _) = members(data)
    assert (file.name, content, link.link) == (name.encode(), b"x", target.encode())


def test_a_name_in_the_prefix_field_is_read():
    name = "p" * 120 + "/" + "n" * 90
    assert members(tar_of((name, F, ""), format=FORMATS["ustar"]))[0][0].name == name.encode()


@pytest.mark.parametrize("format", FORMATS)
def test_names_need_not_be_utf8(format):
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert members(tar_of((name, F, ""), format=FORMATS[format]))[0][0].name == b"caf\xe9"


@pytest.mark.parametrize("format", ["gnu", "pax"])
def test_large_owners_are_read(format):
    data = tar_of(("f", F, "", {"uid": 4_000_000_000, "gid": 3_000_000}), format=FORMATS[format])
    member = members(data)[0][0]
    assert (member.uid, member.gid) == (4_000_000_000, 3_000_000)


def test_extended_attributes_are_read_with_any_bytes():
    value = bytes(range(1, 256)).decode("utf-8", "surrogateescape")
    data = tar_of(("f", F, "", {"pax_headers": {"SCHILY.xattr.user.x": value}}))
    assert members(data)[0][0].xattrs == {b"user.x": bytes(range(1, 256))}


def test_a_value_may_hold_newlines_and_equals_signs():
    assert parse_pax(b"8 a=b=c\n") == [(b"a", b"b=c")]
    assert parse_pax(b"12 k=a\nb=c\n\n") == [(b"k", b"a\nb=c\n")]


def test_a_version_7_name_with_a_slash_is_a_directory():
    data = bytearray(tar_of(("dir/", F, ""), format=FORMATS["ustar"]))
    data[156] = 0
    data[148:156] = b"        "
    data[148:156] = b"%06o\0 " % sum(data[:512])
    assert members(bytes(data))[0][0].kind == DIRECTORY


def test_global_headers_are_passed_over():
    out = io.BytesIO()
    with tarfile.open(
        fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "git"}
    ) as archive:
        archive.addfile(tarfile.TarInfo("f"))
    assert [m.name for m, _ in members(out.getvalue())] == [b"f"]


@pytest.mark.parametrize(
    "options",
    [
        ["--format=gnu"],
        ["--format=posix", "--sparse-version=0.0"],
        ["--format=posix", "--sparse-version=0.1"],
        ["--format=posix", "--sparse-version=1.0"],
    ],
)
@pytest.mark.parametrize("parts", [1, 3, 60])
def test_sparse_files_have_their_holes(tmp_path, options, parts):
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        for number in range(parts):
            file.seek(number * 100_000 + 5000)
            file.write(f"part {number}".encode() * 100)
        file.truncate(parts * 100_000 + 12345)
    done = subprocess.run(
        ["tar", "--create", "--sparse", *options, "--directory", tmp_path, "sparse", "sparse"],
        capture_output=True,
        check=True,
    )
    first, *_ = found = members(done.stdout)
    assert first[0].sparse is not None
    assert first[0].name == b"sparse"
    assert first[1] == path.read_bytes()
    assert all(member.name == b"sparse" for member, _ in found)


def test_whole_blocks_of_a_hole_are_the_given_zeros(tmp_path):
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        file.truncate(10 * BLOCK)
        file.seek(5 * BLOCK)
        file.write(b"x")
    done = subprocess.run(
        ["tar", "--create", "--sparse", "--directory", tmp_path, "sparse"],
        capture_output=True,
        check=True,
    )
    reader = TarReader(ByteStream(io.BytesIO(done.stdout).read))
    blocks = list(reader.blocks(reader.next(), BLOCK, ZERO))
    assert [block is ZERO for block in blocks] == [True] * 5 + [False] + [True] * 4


NUMBERS = {
    b"0000644\0": 0o644,
    b"   644 \0": 0o644,
    b"644    \0": 0o644,
    b"0000644 ": 0o644,
    b"00000644": 0o644,
    b"\0\0\0\0\0\0\0\0": 0,
    b"        ": 0,
    b"\x80\0\0\0\0\0\1\0": 256,
    b"\xff\xff\xff\xff\xff\xff\xff\xff": -1,
}


@pytest.mark.parametrize("field", NUMBERS)
def test_a_number_is_octal_or_binary(field):
    assert parse_number(field) == NUMBERS[field]


@pytest.mark.parametrize(
    "field", [b"0000_644", b"+0000644", b"-000064\0", b"0x00064\0", b"9\0\0\0"]
)
def test_what_is_no_number_is_refused(field):
    with pytest.raises(ValueError):
        parse_number(field)


TIMES = {b"0": 0, b"12.999999999": 12, b"-1": -1, b"-1.5": -2, b"-2.000": -2, b"7.": 7}


@pytest.mark.parametrize("text", TIMES)
def test_times_are_rounded_down(text):
    assert parse_time(text) == TIMES[text]


@pytest.mark.parametrize("text", [b"", b"x", b"1e5", b"--1", b"1" * 40, b"\xb2"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ImageInvalid):
        parse_time(text)


BAD_PAX = [
    b"x",
    b"5 a=b\n",
    b"99 a=b\n",
    b"0 a=b\n",
    b"7 a=bc",
    b"5 ab\n",
    b"6 =abc\n",
    b"-6 a=b\n",
]


@pytest.mark.parametrize("data", BAD_PAX)
def test_malformed_pax_records_are_refused(data):
    with pytest.raises(ImageInvalid, match="pax header is malformed"):
        parse_pax(data)


def header(**fields):
    """Return a header block with raw *fields* by offset."""
    block = bytearray(tarfile.TarInfo("name").tobuf(tarfile.USTAR_FORMAT)[:512])
    for offset, value in fields.items():
        at = int(offset[1:])
        block[at : at + len(value)] = value
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


BAD = {
    "a wrong checksum": (b"x" + header()[1:] + bytes(1024), "wrong checksum"),
    "half a header": (header()[:300], "truncated"),
    "an unknown type": (header(_156=b"V"), "name is of the unknown tar type 'V'"),
    "a size that is none": (header(_124=b"zzz"), "the tar header of name is malformed"),
    "a negative size": (header(_124=b"\xff" * 12), "the tar header of name is malformed"),
    "an impossible owner": (header(_108=b"\xff" * 8), "its owner is -1"),
    "a long name of 2 MiB": (header(_156=b"L", _124=b"00010000000\0"), "more than 1 MiB"),
    "pax records of 2 MiB": (header(_156=b"x", _124=b"00010000000\0"), "more than 1 MiB"),
    "content that ends": (header(_124=b"00000002000\0") + b"x" * 100, "truncated"),
    "a sparse map of the wrong size": (
        header(_156=b"S", _386=b"00000000000\x0000000001000\0", _483=b"00000001000\0"),
        "map of a sparse file is malformed",
    ),
    "a sparse map that goes back": (
        header(
            _156=b"S",
            _124=b"00000000002\0",
            _386=b"00000000010\x0000000000001\x0000000000001\x0000000000001\0",
            _483=b"00000001000\0",
        )
        + bytes(512),
        "map of a sparse file is malformed",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_stream_is_refused(case):
    data, message = BAD[case]
    with pytest.raises(ImageInvalid, match=message):
        members(data)


def test_random_damage_raises_nothing_else():
    whole = tar_of(
        ("d", D, ""),
        ("f" * 150, F, "content" * 100, {"pax_headers": {"SCHILY.xattr.user.x": "y"}}),
        ("s", S, "t" * 200),
    )
    source = random.Random(3)
    for _ in range(2000):
        damaged = bytearray(whole)
        for _ in range(source.randrange(1, 5)):
            position = source.randrange(len(damaged))
            damaged[position] = source.randrange(256)
            # With the right checksum more of the parser is reached.
            start = position // 512 * 512
            block = damaged[start : start + 512]
            block[148:156] = b"        "
            damaged[start + 148 : start + 156] = b"%06o\0 " % sum(block)
        with contextlib.suppress(ImageInvalid):
            members(bytes(damaged))


def test_a_header_is_told_from_other_data():
    assert is_header(tar_of(("f", F, "")))
    assert is_header(bytes(512))
    assert not is_header(b"x" * 512)
    assert not is_header(bytes(100))
