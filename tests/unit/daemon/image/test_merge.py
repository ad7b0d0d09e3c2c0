"""Merged layers show what overlayfs would show of them; the real one is asked elsewhere."""

import io

import pytest

from nova_hyper.daemon.image import squashfs_format as fmt
from nova_hyper.daemon.image.compression import ZstdBlocks
from nova_hyper.daemon.image.digest import chain_id
from nova_hyper.daemon.image.inode import Device, Directory, Fifo, File, Symlink
from nova_hyper.daemon.image.layer import convert_layer
from nova_hyper.daemon.image.limits import Limits
from nova_hyper.daemon.image.merge import Part, merge_layers
from nova_hyper.daemon.image.skeleton import dump_skeleton
from nova_hyper.daemon.image.squashfs_reader import read_tree
from nova_hyper.daemon.image.stream import ByteStream
from nova_hyper.spec.errors import HyperError, ImageInvalid
from tests.unit.daemon.image.archives import D, F, L, S, sha256, tar_of

LIMITS = Limits(unpacked=1 << 30)
DATA = b"0123456789abcdef" * 20_000


def convert(tar):
    squashfs = io.BytesIO()
    read = io.BytesIO(tar).read
    made = convert_layer(read, "", squashfs, io.BytesIO(), LIMITS, ZstdBlocks(1))
    return squashfs.getvalue(), dump_skeleton(made.skeleton)


def split(image):
    layout = fmt.Layout.of(image[: fmt.SUPERBLOCK.size])
    return layout, image[layout.inodes :]


def merged(*tars, spoil=lambda image: image):
    heads, bodies, parts = b"", b"", []
    for tar in tars:
        image, skeleton = convert(tar)
        image = spoil(image)
        layout, tables = split(image)
        data = image[fmt.SUPERBLOCK.size : layout.inodes]
        heads += skeleton + image[: fmt.SUPERBLOCK.size] + tables
        bodies += data
        parts.append(Part(len(skeleton), len(tables), len(data)))
    out = io.BytesIO()
    made = merge_layers(ByteStream(io.BytesIO(heads + bodies).read), parts, out)
    assert made.size == len(out.getvalue())
    return made, out.getvalue()


def content(image, file):
    from nova_hyper.daemon.image.recipe import _Blocks

    blocks = _Blocks(io.BytesIO(image), bytes(file.blocks))
    blocks._file.seek(file.start)
    return b"".join(blocks.file(file.size))


def tree(image, directory=None, path=""):
    """Return what a squashfs holds, by path: type, mode, and content, target or number."""
    if directory is None:
        directory = read_tree(*split(image))
    found = {}
    for name, inode in sorted(directory.children.items()):
        here = f"{path}{name.decode()}"
        if isinstance(inode, Directory):
            found[here] = ("d", inode.mode)
            found |= tree(image, inode, f"{here}/")
        elif isinstance(inode, File):
            found[here] = ("f", inode.mode, content(image, inode))
        elif isinstance(inode, Symlink):
            found[here] = ("l", inode.target)
        elif isinstance(inode, Device):
            found[here] = ("b" if inode.block else "c", inode.major, inode.minor)
        else:
            assert isinstance(inode, Fifo)
            found[here] = ("p",)
    return found


def test_everything_in_a_squashfs_is_read_back():
    tar = tar_of(
        ("d", D, "", {"mode": 0o1777, "uid": 70_000, "gid": 5}),
        ("d/file", F, DATA, {"pax_headers": {"SCHILY.xattr.user.x": "y"}}),
        ("d/link", L, "d/file"),
        ("d/zeros", F, bytes(300_000)),
        ("s", S, "../x"),
        ("c", b"3", "", {"devmajor": 5, "devminor": 70_001}),
        ("p", b"6", ""),
        *((f"many/{i:04}", F, str(i)) for i in range(3000)),
    )
    image = convert(tar)[0]
    root = read_tree(*split(image))
    directory = root.children[b"d"]
    assert (directory.mode, directory.uid, directory.gid) == (0o1777, 70_000, 5)
    assert directory.children[b"file"] is directory.children[b"link"]
    assert directory.children[b"file"].xattrs == ((b"user.x", b"y"),)
    assert directory.children[b"zeros"].holes == 300_000
    assert (root.children[b"c"].major, root.children[b"c"].minor) == (5, 70_001)
    assert len(root.children[b"many"].children) == 3000
    assert tree(image)["many/2999"] == ("f", 0o644, b"2999")


def test_upper_layers_win_and_whiteouts_remove():
    _, image = merged(
        tar_of(
            ("a", F, "old"),
            ("gone", F, DATA),
            ("dir", D, "", {"mode": 0o700}),
            ("dir/kept", F, "kept"),
            ("dir/gone", F, "gone"),
            ("opaque", D, ""),
            ("opaque/old", F, "old"),
            ("turned", D, ""),
            ("turned/x", F, "x"),
        ),
        tar_of(
            ("a", F, DATA),
            (".wh.gone", F, ""),
            ("dir", D, "", {"mode": 0o755}),
            ("dir/.wh.gone", F, ""),
            ("dir/new", F, "new"),
            ("opaque", D, ""),
            ("opaque/.wh..wh..opq", F, ""),
            ("opaque/new", F, "new"),
            ("turned", F, "a file now"),
        ),
        tar_of((".wh.nothing", F, ""), ("last", S, "a")),
    )
    assert tree(image) == {
        "a": ("f", 0o644, DATA),
        "dir": ("d", 0o755),
        "dir/kept": ("f", 0o644, b"kept"),
        "dir/new": ("f", 0o644, b"new"),
        "last": ("l", b"a"),
        "opaque": ("d", 0o755),
        "opaque/new": ("f", 0o644, b"new"),
        "turned": ("f", 0o644, b"a file now"),
    }


def test_a_directory_without_an_entry_keeps_its_attributes_from_below():
    made, image = merged(
        tar_of(("srv", D, "", {"mode": 0o700})),
        tar_of(("srv/www/index", F, "hello")),
    )
    assert tree(image)["srv"] == ("d", 0o700)
    assert tree(image)["srv/www"] == ("d", 0o755)
    assert made.skeleton.implied == {b"", b"srv/www"}
    assert b"srv" in made.skeleton.described


def test_nothing_of_overlayfs_is_left():
    made, image = merged(
        tar_of(("d/.wh..wh..opq", F, ""), (".wh.x", F, "")), tar_of(("d/y", F, ""))
    )
    root = read_tree(*split(image))
    assert b"x" not in root.children
    assert not root.children[b"d"].opaque
    assert b"trusted.overlay" not in image
    assert not made.skeleton.opaque and not made.skeleton.hidden


def test_hard_links_stay_links():
    _, image = merged(
        tar_of(("a", F, DATA), ("b", L, "a"), ("c", L, "a")), tar_of((".wh.a", F, ""))
    )
    root = read_tree(*split(image))
    assert root.children[b"b"] is root.children[b"c"]
    assert content(image, root.children[b"b"]) == DATA


def test_what_was_removed_takes_no_room():
    made, image = merged(tar_of(("big", F, DATA * 4), ("a", F, "a")), tar_of((".wh.big", F, "")))
    assert len(image) == 4096
    assert (made.entries, made.unpacked_size) == (1, 1)


def test_merging_gives_the_same_bytes_again():
    tars = (tar_of(("a", F, DATA), ("d/b", F, "b")), tar_of(("d/c", F, "c")))
    assert merged(*tars)[1] == merged(*tars)[1]


def test_files_below_a_symbolic_link_of_a_lower_layer_are_refused():
    with pytest.raises(ImageInvalid, match="/lib, which is a symbolic link"):
        merged(tar_of(("lib", S, "usr/lib")), tar_of(("lib/x", F, "x")))


@pytest.mark.parametrize("at", [0, 44, 64, 80, -300, -200, -40])
def test_a_damaged_layer_is_an_error(at):
    def spoil(image):
        raw = bytearray(image)
        raw[at] ^= 0xFF
        return bytes(raw)

    tar = tar_of(*((f"{i:03}", F, str(i), {"uid": i}) for i in range(300)))
    try:
        _, image = merged(tar, spoil=spoil)
    except (HyperError, ValueError):
        return
    # A flipped bit may be a number of a file, say; it must not be more than that.
    assert set(tree(image)) == {f"{i:03}" for i in range(300)}


def test_the_chain_id_is_that_of_the_specification():
    assert chain_id(["a"]) == "a"
    assert chain_id(["a", "b"]) == sha256(b"a b")
    assert chain_id(["a", "b", "c"]) == sha256(f"{sha256(b'a b')} c".encode())
