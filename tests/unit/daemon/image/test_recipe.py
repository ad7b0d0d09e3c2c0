"""A tar stream comes back from squashfs and recipe byte for byte, whatever odd things it has."""

import io
import os
import random
import subprocess
import tarfile

import pytest

from nova_hyper.daemon.image.compression import ZstdBlocks
from nova_hyper.daemon.image.layer import convert_layer
from nova_hyper.daemon.image.limits import Limits
from nova_hyper.daemon.image.recipe import restore, verified
from nova_hyper.spec.errors import HyperError
from tests.unit.daemon.image.archives import D, F, L, S, sha256, tar_of

LIMITS = Limits(unpacked=1 << 30)
NOISE = random.Random(1).randbytes(300_001)


def made(tar, level=1):
    squashfs, recipe = io.BytesIO(), io.BytesIO()
    blocks = ZstdBlocks(level) if level is not None else None
    converted = convert_layer(io.BytesIO(tar).read, "", squashfs, recipe, LIMITS, blocks)
    return converted, squashfs, recipe


def restored(tar, level=1):
    _, squashfs, recipe = made(tar, level)
    return b"".join(restore(recipe, squashfs))


def gnu_sparse(tmp_path, version):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 20)
        for at in (5, 200_000, 700_001):
            os.pwrite(file.fileno(), NOISE[:9000], at)
    form = ["--format=gnu"] if version is None else ["--format=pax", f"--sparse-version={version}"]
    done = subprocess.run(
        ["tar", "-c", "-S", *form, "-C", str(tmp_path), "sparse"], capture_output=True, check=True
    )
    return done.stdout


TARS = {
    "files of all sizes": tar_of(
        ("d", D, ""),
        ("d/empty", F, ""),
        ("d/one", F, "1"),
        ("d/block", F, b"x" * (1 << 17)),
        ("d/noise", F, NOISE),
        ("d/zeros", F, bytes(400_000)),
        ("d/hole", F, b"a" * (1 << 17) + bytes(1 << 18) + b"b"),
    ),
    "links": tar_of(("a", F, "a"), ("b", L, "a"), ("c", S, "a")),
    "a name that comes twice": tar_of(("a", F, NOISE), ("a", F, "second"), ("a", D, "")),
    "whiteouts, one with content": tar_of(
        (".wh.a", F, ""), ("d/.wh..wh..opq", F, ""), (".wh.b", F, NOISE)
    ),
    "the files of aufs": tar_of((".wh..wh.plnk/1", F, NOISE), ("a", F, "a")),
    "extended attributes": tar_of(
        ("a", F, "a", {"pax_headers": {"SCHILY.xattr.user.x": "y", "SCHILY.xattr.nfs4.x": "z"}})
    ),
    "GNU long names": tar_of(("n" * 150 + "/" + "m" * 150, F, "x"), format=tarfile.GNU_FORMAT),
    "nothing": tar_of(),
    "no end": tar_of(("a", F, "a"))[:1024],
    "something after the end": tar_of(("a", F, "a")) + NOISE + bytes(3 << 20) + b"end",
    "no padding at the end": tar_of(("a", F, "a"))[:2048],
}


@pytest.mark.parametrize("level", [1, None])
@pytest.mark.parametrize("tar", TARS.values(), ids=TARS)
def test_the_tar_comes_back_byte_for_byte(tar, level):
    assert restored(tar, level) == tar


@pytest.mark.parametrize("version", [None, "0.0", "0.1", "1.0"])
def test_a_sparse_file_comes_back_as_sparse_as_it_was(tmp_path, version):
    tar = gnu_sparse(tmp_path, version)
    assert len(tar) < 1 << 19
    assert restored(tar) == tar


def test_the_size_of_the_tar_is_known():
    tar = TARS["files of all sizes"]
    assert made(tar)[0].tar_size == len(tar)


def test_a_recipe_is_small():
    tar = tar_of(*((f"d/{i}", F, NOISE[i : i + 5000]) for i in range(500)))
    recipe = made(tar)[2]
    assert len(recipe.getvalue()) < 500 * 40


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: b"",
        lambda raw: raw[:-1],
        lambda raw: raw[:40] + b"\0\0\0\0" + raw[44:],
        lambda raw: raw[-16:],
    ],
)
def test_a_damaged_recipe_is_an_error(spoil):
    _, squashfs, recipe = made(TARS["files of all sizes"])
    with pytest.raises(HyperError, match="the recipe of a layer is damaged"):
        list(restore(io.BytesIO(spoil(recipe.getvalue())), squashfs))


def test_a_damaged_squashfs_is_an_error():
    tar = tar_of(("noise", F, NOISE))
    converted, squashfs, recipe = made(tar)
    raw = bytearray(squashfs.getvalue())
    raw[1000] ^= 1
    with pytest.raises(HyperError, match="damaged"):
        list(verified(restore(recipe, io.BytesIO(raw)), converted.diff_id))


def test_a_whole_layer_passes_the_verification():
    tar = TARS["links"]
    _, squashfs, recipe = made(tar)
    assert b"".join(verified(restore(recipe, squashfs), sha256(tar))) == tar
