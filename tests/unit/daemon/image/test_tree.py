"""What a layer's entries make of its tree; the whole of it is compared with umoci elsewhere."""

import io
import tarfile

import pytest

from nova_hyper.daemon.image.inode import Device, Directory, File, Symlink
from nova_hyper.daemon.image.limits import Limits
from nova_hyper.daemon.image.stream import ByteStream
from nova_hyper.daemon.image.tar import TarReader
from nova_hyper.daemon.image.tree import LayerTree
from nova_hyper.spec.errors import ImageInvalid
from tests.unit.daemon.image.archives import D, F, L, S, tar_of

LIMITS = Limits(unpacked=1 << 30)


def build(*entries, limits=LIMITS):
    tree = LayerTree(limits)
    reader = TarReader(ByteStream(io.BytesIO(tar_of(*entries)).read))
    while member := reader.next():
        tree.add(member)
    tree.finish()
    return tree


def outline(directory, prefix=b""):
    """Return path → what is there: a size, a link's target, 'dir', 'opaque' or 'whiteout'."""
    found = {}
    for name, child in directory.children.items():
        path = prefix + name
        if isinstance(child, Directory):
            found[path.decode()] = "opaque" if child.opaque else "dir"
            found.update(outline(child, path + b"/"))
        elif isinstance(child, Device) and child.is_whiteout:
            found[path.decode()] = "whiteout"
        elif isinstance(child, File):
            found[path.decode()] = child.size
        elif isinstance(child, Symlink):
            found[path.decode()] = "-> " + child.target.decode()
        else:
            found[path.decode()] = type(child).__name__
    return found


TREES = {
    "a whiteout": ([("d/.wh.x", F, "")], {"d": "dir", "d/x": "whiteout"}),
    "a whiteout of another type": ([(".wh.x", D, "")], {"x": "whiteout"}),
    "a whiteout after its file": ([("x", F, "1"), (".wh.x", F, "")], {"x": 1}),
    "a whiteout before its file": ([(".wh.x", F, ""), ("x", F, "1")], {"x": 1}),
    "a whiteout after its directory": (
        [("x/y", F, "1"), (".wh.x", F, "")],
        {"x": "opaque", "x/y": 1},
    ),
    "a whiteout before its directory": (
        [(".wh.x", F, ""), ("x/y", F, "1")],
        {"x": "opaque", "x/y": 1},
    ),
    "an opaque mark before its directory": (
        [("x/.wh..wh..opq", F, ""), ("x", D, ""), ("x/y", F, "1")],
        {"x": "opaque", "x/y": 1},
    ),
    "a whiteout in an opaque directory": (
        [("x/.wh..wh..opq", F, ""), ("x/.wh.y", F, "")],
        {"x": "opaque"},
    ),
    "what aufs keeps for itself": (
        [(".wh..wh.aufs", F, ""), (".wh..wh.plnk/12.3", F, "x"), ("f", F, "1")],
        {"f": 1},
    ),
    "the last of two files": ([("f", F, "1"), ("f", F, "22")], {"f": 2}),
    "the first of two under a hard link": (
        [("f", F, "1"), ("l", L, "f"), ("f", F, "22")],
        {"f": 2, "l": 1},
    ),
    "a directory over a directory": (
        [("d", D, ""), ("d/f", F, "1"), ("d", D, "")],
        {"d": "dir", "d/f": 1},
    ),
    "a file over a directory": ([("d/f", F, "1"), ("d", F, "22")], {"d": 2}),
    "a directory over a file": ([("d", F, "1"), ("d", D, "")], {"d": "opaque"}),
    "a path through a link": (
        [("l", S, "a/b"), ("l/f", F, "1")],
        {"l": "-> a/b", "a": "dir", "a/b": "dir", "a/b/f": 1},
    ),
    "a path through a link that leads out": (
        [("l", S, "../../etc"), ("l/f", F, "1")],
        {"l": "-> ../../etc", "etc": "dir", "etc/f": 1},
    ),
    "a path through an absolute link": (
        [("d/l", S, "/t"), ("d/l/f", F, "1")],
        {"d": "dir", "d/l": "-> /t", "t": "dir", "t/f": 1},
    ),
    "a link that changes between two files": (
        [("l", S, "a"), ("l/f", F, "1"), ("l", S, "b"), ("l/f", F, "22")],
        {"l": "-> b", "a": "dir", "a/f": 1, "b": "dir", "b/f": 2},
    ),
    "a hard link to a symbolic link": (
        [("s", S, "nowhere"), ("h", L, "s")],
        {"s": "-> nowhere", "h": "-> nowhere"},
    ),
    "a hard link through a symbolic link": (
        [("d/f", F, "1"), ("s", S, "d"), ("h", L, "s/f")],
        {"d": "dir", "d/f": 1, "s": "-> d", "h": 1},
    ),
    "an absolute name": ([("/d//./f", F, "1")], {"d": "dir", "d/f": 1}),
    "dots that stay inside": ([("a/../b", F, "1")], {"b": 1}),
    "the root itself": ([("./", D, "", {"mode": 0o700}), ("f", F, "1")], {"f": 1}),
    "a device like any": (
        [("n", tarfile.CHRTYPE, "", {"devmajor": 1, "devminor": 3})],
        {"n": "Device"},
    ),
}


@pytest.mark.parametrize("case", TREES)
def test_entries_make_a_tree(case):
    entries, expected = TREES[case]
    assert outline(build(*entries).root) == expected


def test_hard_links_are_one_inode():
    root = build(("f", F, "1"), ("d/l", L, "/f")).root
    assert root.children[b"f"] is root.children[b"d"].children[b"l"]


def test_a_directory_with_whiteouts_is_marked_for_overlayfs():
    root = build(("d/.wh.x", F, ""), ("e/f", F, "")).root
    assert dict(root.children[b"d"].xattrs) == {b"trusted.overlay.origin": b""}
    assert root.children[b"e"].xattrs == ()


def test_directories_without_entries_are_known_as_such():
    root = build(("a/b/f", F, ""), ("a", D, "")).root
    assert root.implied
    assert not root.children[b"a"].implied
    assert root.children[b"a"].children[b"b"].implied


def test_attributes_that_squashfs_cannot_hold_are_left_out_and_named():
    headers = {
        f"SCHILY.xattr.{name}": "v"
        for name in (
            *("user.kept", "security.capability", "trusted.overlay.redirect"),
            *("system.posix_acl_access", "security.selinux"),
        )
    }
    tree = build(("f", F, "", {"pax_headers": headers}))
    assert [name for name, _ in tree.root.children[b"f"].xattrs] == [
        *(b"security.capability", b"user.kept")
    ]
    assert tree.dropped_xattrs == {
        *(b"trusted.overlay.redirect", b"system.posix_acl_access", b"security.selinux")
    }


@pytest.mark.parametrize(("mtime", "kept"), [(-5, 0), (1 << 33, 0xFFFFFFFF), (12.9, 12)])
def test_times_are_made_to_fit(mtime, kept):
    assert build(("f", F, "", {"mtime": mtime})).root.children[b"f"].mtime == kept


BAD = {
    "a name that leads out": ([("../f", F, "")], r"the path \.\./f leads out of the image"),
    "a name that leads out later": ([("a/../../f", F, "")], "leads out of the image"),
    "a link's target that leads out": (
        [("f", F, ""), ("l", L, "../../f")],
        r"the path \.\./\.\./f leads out of the image",
    ),
    "a root that is no directory": ([("/", S, "etc")], "would replace the root directory"),
    "a hard link to nothing": (
        [("l", L, "absent")],
        "the hard link l points to absent, which is not in the layer before it",
    ),
    "a hard link to a directory": ([("d", D, ""), ("l", L, "d")], "to d, which is a directory"),
    "a hard link to the root": ([("l", L, "/")], "which is a directory"),
    "a file below a file": ([("f", F, ""), ("f/g", F, "")], "f/g is below f, which is not a dir"),
    "a loop of links": (
        [("a", S, "b"), ("b", S, "a"), ("a/f", F, "")],
        "a/f is below a loop of symbolic links",
    ),
    "a whiteout of nothing": ([(".wh.", F, "")], r"the whiteout \.wh\. names no file"),
    "a whiteout of its parent": ([("d/.wh...", F, "")], "names no file"),
    "a link to nothing at all": ([("l", S, "")], "the symbolic link l has no target"),
    "a name that is too long": ([("n" * 256, F, "")], "256 bytes long; at most 255"),
    "a path that is too long": ([("d/" * 2500 + "f", F, "")], "5001 bytes long; at most 4096"),
    "a target that is too long": ([("l", S, "t" * 5000)], "tar header of l.* is malformed"),
    "a device that cannot be": (
        [("n", tarfile.BLKTYPE, "", {"devmajor": 1 << 12})],
        "the device n has the impossible number 4096:0",
    ),
    "an attribute that is too large": (
        [("f", F, "", {"pax_headers": {"SCHILY.xattr.user.x": "v" * 70000}})],
        "an extended attribute of f is larger than Linux allows",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_an_entry_that_cannot_be_is_refused_by_name(case):
    entries, message = BAD[case]
    with pytest.raises(ImageInvalid, match=message):
        build(*entries)


def test_a_name_in_a_message_is_one_line_and_short():
    with pytest.raises(ImageInvalid) as caught:
        build(("../\n\x1b[31m" + "ü" * 300, F, ""))
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300


def test_too_many_entries_are_refused():
    files = [(f"f{n}", F, "") for n in range(11)]
    with pytest.raises(ImageInvalid, match="more than 10 files"):
        build(*files, limits=Limits(unpacked=1, entries=10))
    with pytest.raises(ImageInvalid, match="more than 10 files"):
        build(("a/" * 11 + "f", F, ""), limits=Limits(unpacked=1, entries=10))
    with pytest.raises(ImageInvalid, match="more than 10 files"):
        build(*((f".wh.{n}", F, "") for n in range(11)), limits=Limits(unpacked=1, entries=10))


def test_too_long_names_in_sum_are_refused():
    files = [("d/" + "n" * 200, S, f"{n}" * 200) for n in range(10)]
    with pytest.raises(ImageInvalid, match="too long in sum"):
        build(*files, limits=Limits(unpacked=1, names=3000))


def test_a_deep_tree_needs_no_deep_stack():
    tree = build(("d/" * 2000 + "f", F, "1"))
    assert tree.entries == 2001


def test_replaced_files_count_for_the_size_all_the_same():
    with pytest.raises(ImageInvalid, match="unpacks to more than"):
        build(("f", F, "x" * 600), ("f", F, "x" * 600), limits=Limits(unpacked=1000))
