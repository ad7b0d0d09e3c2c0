"""Attributes of directories that a layer has no entry for."""

import io

import pytest

from nova_hyper.daemon.image.completion import completion, completion_tar
from nova_hyper.daemon.image.layer import convert_layer
from nova_hyper.daemon.image.limits import Limits
from nova_hyper.daemon.image.skeleton import Attributes, dump_skeleton, load_skeleton
from nova_hyper.spec.errors import ImageInvalid
from tests.unit.daemon.image.archives import D, F, S, tar_of


def skeleton(*entries):
    read = io.BytesIO(tar_of(*entries)).read
    return convert_layer(
        read, "", io.BytesIO(), io.BytesIO(), Limits(unpacked=1 << 20), None
    ).skeleton


BASE = skeleton(
    ("srv", D, "", {"mode": 0o711}),
    ("srv/www", D, "", {"mode": 0o750, "uid": 33, "mtime": 99}),
    ("plain", D, ""),
    ("link", S, "srv"),
)
SRV, WWW = Attributes(0o711), Attributes(0o750, 33, 0, 99)

CASES = {
    "nothing is implied": ([BASE, skeleton(("srv", D, ""), ("srv/f", F, ""))], {}),
    "the directory below is like any": ([BASE, skeleton(("plain/f", F, ""))], {}),
    "there is none below": ([BASE, skeleton(("new/f", F, ""))], {}),
    "it has attributes below": ([BASE, skeleton(("srv/f", F, ""))], {b"srv": SRV}),
    "it and its parent have": (
        [BASE, skeleton(("srv/www/f", F, ""))],
        {b"srv": SRV, b"srv/www": WWW},
    ),
    "its parent has an entry above": (
        [BASE, skeleton(("srv", D, "", {"mode": 0o500}), ("srv/www/f", F, ""))],
        {b"srv": Attributes(0o500), b"srv/www": WWW},
    ),
    "two layers imply it": (
        [BASE, skeleton(("srv/f", F, "")), skeleton(("srv/g", F, ""))],
        {b"srv": SRV},
    ),
    "a layer above describes it": (
        [BASE, skeleton(("srv/f", F, "")), skeleton(("srv", D, ""))],
        {},
    ),
    "a layer above removes it": (
        [BASE, skeleton(("srv/f", F, "")), skeleton((".wh.srv", F, ""))],
        {},
    ),
    "a layer between removed it": (
        [BASE, skeleton((".wh.srv", F, "")), skeleton(("srv/f", F, ""))],
        {},
    ),
    "its own layer removed what was there": (
        [BASE, skeleton((".wh.srv", F, ""), ("srv/f", F, ""))],
        {},
    ),
    "its own layer made it opaque": (
        [BASE, skeleton(("srv/.wh..wh..opq", F, ""), ("srv/f", F, ""))],
        {b"srv": SRV},
    ),
    "its parent is opaque": (
        [BASE, skeleton(("srv", D, ""), ("srv/.wh..wh..opq", F, ""), ("srv/www/f", F, ""))],
        {},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_implied_directories_get_what_they_have_below(case):
    layers, expected = CASES[case]
    assert completion([load_skeleton(dump_skeleton(layer)) for layer in layers]) == expected


def test_files_below_a_link_of_another_layer_are_refused():
    with pytest.raises(ImageInvalid, match="below /link, which is a symbolic link in a layer"):
        completion([BASE, skeleton(("link/f", F, ""))])


def test_the_layer_that_is_made_has_just_the_directories_and_is_always_the_same():
    attributes = Attributes(0o2750, 33, 44, 99, ((b"user.x", b"\xff\n="),))
    tar = completion_tar({b"srv": attributes, b"srv/caf\xe9": WWW})
    assert tar == completion_tar({b"srv": attributes, b"srv/caf\xe9": WWW})
    read = io.BytesIO(tar).read
    made = convert_layer(read, "", io.BytesIO(), io.BytesIO(), Limits(unpacked=1), None).skeleton
    assert made.described == {b"srv": attributes, b"srv/caf\xe9": WWW}
    assert made.implied == {b""}
