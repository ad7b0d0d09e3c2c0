"""Real images, made by buildah, umoci and tar, give the file tree that ``umoci unpack`` gives.

The layers are mounted as overlayfs in a mount namespace of the test's own; the daemon never
mounts one.  Needs root, buildah, skopeo, umoci, libcap2-bin and attr.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import stat
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools" / "images"


def dump(top: str) -> dict:
    """Return what there is below *top*: every attribute that a program could notice."""
    found, inodes = {}, {}
    for directory, subdirectories, files in os.walk(os.fsencode(top)):
        for name in [b".", *subdirectories, *files]:
            full = os.path.normpath(os.path.join(directory, name))
            path = os.path.relpath(full, os.fsencode(top)).decode("latin-1")
            if path in found:
                continue
            info = os.lstat(full)
            entry = {
                "mode": oct(info.st_mode),
                "owner": [info.st_uid, info.st_gid],
                "mtime": int(info.st_mtime) if path != "." else None,
                "xattrs": {
                    key: os.getxattr(full, key, follow_symlinks=False).hex()
                    for key in os.listxattr(full, follow_symlinks=False)
                },
            }
            if stat.S_ISREG(info.st_mode):
                entry["size"] = info.st_size
                with open(full, "rb") as file:
                    entry["content"] = hashlib.file_digest(file, "sha256").hexdigest()
            if stat.S_ISLNK(info.st_mode):
                entry["target"] = os.readlink(full).decode("latin-1")
            if stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode):
                entry["device"] = [os.major(info.st_rdev), os.minor(info.st_rdev)]
            if not stat.S_ISDIR(info.st_mode):
                inodes.setdefault((info.st_dev, info.st_ino), []).append(path)
            found[path] = entry
    for paths in inodes.values():
        for path in paths:
            found[path]["same as"] = sorted(paths)
    return found


if __name__ == "__main__":
    json.dump(dump(sys.argv[1]), sys.stdout)
    sys.exit()


from nova_hyper.daemon.image.store import ImageStore  # noqa: E402


def run(*command, **kwargs):
    """Run *command*; its output is shown when it fails."""
    done = subprocess.run(
        [str(c) for c in command], capture_output=True, check=False, timeout=300, **kwargs
    )
    assert done.returncode == 0, f"{command}: {done.stderr.decode()}"
    return done.stdout.decode()


def dump_layers(paths, work):
    """Return the dump of an overlay of the squashfs files *paths*, bottom first."""
    script = ["set -e"]
    mounts = []
    for number, path in enumerate(paths):
        place = work / f"layer{number}"
        place.mkdir(parents=True)
        mounts.append(str(place))
        script.append(f"mount -t squashfs -o loop,ro {path} {place}")
    merged = work / "merged"
    for each in (merged, work / "upper", work / "work"):
        each.mkdir()
    script.append(
        f"mount -t tmpfs none {work}/upper; mkdir {work}/upper/u {work}/upper/w;"
        f"mount -t overlay overlay -o lowerdir={':'.join(reversed(mounts))},"
        f"upperdir={work}/upper/u,workdir={work}/upper/w {merged}"
    )
    script.append(f"exec {sys.executable} {__file__} {merged}")
    return json.loads(run("unshare", "--mount", "sh", "-c", "\n".join(script)))


def dump_umoci(layout, work):
    """Return the dump of what umoci unpacks from the OCI layout *layout* (``dir:tag``)."""
    run("umoci", "unpack", "--image", layout, work / "bundle")
    return dump(work / "bundle" / "rootfs")


def differences(ours, theirs):
    """Return the paths that differ, with both sides; the root's own owner is the upper's."""
    skip = {"."}
    return {
        path: (ours.get(path), theirs.get(path))
        for path in (ours.keys() | theirs.keys()) - skip
        if ours.get(path) != theirs.get(path)
    }


def import_file(store, path, name=None):
    with open(path, "rb") as file:
        return store.import_archive(file, name)


@pytest.fixture
def store(tmp_path):
    return ImageStore(
        tmp_path / "store", max_image_bytes=8 << 30, max_layers=16, arch=os.uname().machine
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The image with six layers as docker archive, OCI archives and OCI layout."""
    made = tmp_path_factory.mktemp("images")
    docker = made / "docker.tar"
    run(TOOLS / "five-layers.sh", docker)
    source = f"docker-archive:{docker}"
    run("skopeo", "copy", "-q", source, f"oci:{made}/layout:five")
    run("skopeo", "copy", "-q", f"oci:{made}/layout:five", f"oci-archive:{made}/gzip.tar:five")
    run(
        *("skopeo", "copy", "-q", "--dest-compress-format", "zstd", source),
        f"oci-archive:{made}/zstd.tar:five",
    )
    run("skopeo", "copy", "-q", "--dest-decompress", source, f"dir:{made}/plain")
    run("gzip", "-1", "--keep", docker)
    return made


def test_a_buildah_image_has_at_least_five_layers_with_whiteouts_and_an_opaque_directory(images):
    with tarfile.open(images / "docker.tar") as archive:
        layers = [m for m in archive if m.isreg() and m.name.endswith(".tar")]
        names = []
        for layer in layers:
            with tarfile.open(fileobj=archive.extractfile(layer)) as inner:
                names += inner.getnames()
    assert len(layers) >= 5
    assert any(name.endswith("/.wh..wh..opq") for name in names)
    assert any("/.wh." in name and not name.endswith(".opq") for name in names)


@pytest.mark.parametrize("archive", ["docker.tar", "docker.tar.gz", "gzip.tar", "zstd.tar"])
def test_the_file_tree_is_that_of_umoci(archive, images, store, tmp_path):
    image, new = import_file(store, images / archive)
    assert new
    ours = dump_layers([store.layer_path(layer.diff_id) for layer in image.layers], tmp_path / "o")
    theirs = dump_umoci(f"{images}/layout:five", tmp_path)
    assert len(theirs) > 2000
    found = differences(ours, theirs)
    assert not found, "\n".join(f"{p}: {a} | {b}" for p, (a, b) in sorted(found.items())[:12])


@pytest.mark.parametrize("disks", [1, 2, 4])
def test_merged_layers_show_the_tree_of_umoci(disks, images, tmp_path):
    store = ImageStore(tmp_path / "store", max_image_bytes=8 << 30, max_layers=disks, arch="amd64")
    image, _ = import_file(store, images / "docker.tar")
    assert len(image.layers) <= disks
    ours = dump_layers([store.layer_path(layer.diff_id) for layer in image.layers], tmp_path / "o")
    found = differences(ours, dump_umoci(f"{images}/layout:five", tmp_path))
    assert not found, "\n".join(f"{p}: {a} | {b}" for p, (a, b) in sorted(found.items())[:12])


def test_every_layer_of_a_real_image_is_given_back_byte_for_byte(images, store, tmp_path):
    image, _ = import_file(store, images / "zstd.tar")
    archive = store.save(image.id, "docker")
    with (tmp_path / "saved.tar").open("wb") as file:
        file.writelines(archive.chunks)
    archive.close()
    config = json.loads(run("skopeo", "inspect", "--config", "--raw", f"oci:{images}/layout:five"))
    with tarfile.open(tmp_path / "saved.tar") as saved:
        for diff_id in config["rootfs"]["diff_ids"]:
            layer = saved.extractfile(f"{diff_id[7:]}.tar")
            assert f"sha256:{hashlib.file_digest(layer, 'sha256').hexdigest()}" == diff_id


@pytest.mark.parametrize("archive", ["docker.tar", "gzip.tar", "zstd.tar"])
def test_the_id_is_the_digest_of_the_configuration_and_layers_are_those_of_skopeo(
    archive, images, store
):
    image, _ = import_file(store, images / archive)
    kind = "docker-archive" if archive == "docker.tar" else "oci-archive"
    config = run("skopeo", "inspect", "--config", "--raw", f"{kind}:{images / archive}")
    assert image.id == "sha256:" + hashlib.sha256(config.encode()).hexdigest()
    assert [layer.diff_id for layer in image.layers] == json.loads(config)["rootfs"]["diff_ids"]
    assert list(image.config.cmd) == json.loads(config)["config"]["Cmd"]


def test_all_formats_of_an_image_share_their_layers(images, store):
    first, new = import_file(store, images / "docker.tar", "one")
    assert new
    for archive in ("docker.tar.gz", "gzip.tar", "zstd.tar"):
        other, _ = import_file(store, images / archive, archive)
        assert other.layers == first.layers
    names = {path.name for path in store.layer_path(first.layers[0].diff_id).parent.iterdir()}
    assert len([name for name in names if name.endswith(".squashfs")]) == len(first.layers)


@pytest.mark.parametrize("archive", ["docker.tar", "gzip.tar", "zstd.tar"])
def test_importing_again_converts_nothing(archive, images, store, monkeypatch):
    import_file(store, images / archive)
    monkeypatch.setattr("nova_hyper.daemon.image.import_session.ImportSession.files", None)
    _, new = import_file(store, images / archive)
    assert not new


def test_the_same_layer_is_the_same_file_on_every_host(images, tmp_path):
    files = []
    for host in ("a", "b"):
        store = ImageStore(tmp_path / host, max_image_bytes=8 << 30, max_layers=16, arch="amd64")
        image, _ = import_file(store, images / ("docker.tar" if host == "a" else "zstd.tar"))
        files.append([store.layer_path(layer.diff_id).read_bytes() for layer in image.layers])
    assert files[0] == files[1]


def test_two_imports_at_once_give_one_image(images, store):
    results = []

    def work(archive):
        results.append(import_file(store, images / archive, archive))

    threads = [threading.Thread(target=work, args=(a,)) for a in ("docker.tar", "docker.tar.gz")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0][0].id == results[1][0].id
    assert store.get("docker.tar").names == ("docker.tar", "docker.tar.gz")
    assert store.collect() == ()


def test_the_busybox_image_is_small_and_imports(store, tmp_path):
    run(TOOLS / "busybox.sh", tmp_path / "busybox.tar")
    image, _ = import_file(store, tmp_path / "busybox.tar")
    assert image.names == ("busybox:latest",)
    assert store.find("busybox") == image
    assert image.size < 4 << 20
    tree = dump_layers([store.layer_path(layer.diff_id) for layer in image.layers], tmp_path / "o")
    assert tree["bin/sh"]["target"] == "/bin/busybox"
    assert stat.S_IMODE(int(tree["tmp"]["mode"], 8)) == 0o1777


def test_building_twice_and_at_once_leaves_nothing_behind(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    running = [
        subprocess.Popen([TOOLS / script, out / f"{script}.tar"], env=environment)
        for script in ("busybox.sh", "busybox.sh", "five-layers.sh", "five-layers.sh")
    ]
    assert [process.wait(120) for process in running] == [0, 0, 0, 0]
    assert sorted(p.name for p in out.iterdir()) == ["busybox.sh.tar", "five-layers.sh.tar"]
    assert list((tmp_path / "tmp").iterdir()) == []


# Layers that no builder makes, but that an archive may hold


def tar_of(*entries):
    """Return a tar; an entry is (name, type, content or target, {attributes})."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, kind, content, *rest in entries:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
            info.mtime = 1_000_000
            attributes = dict(rest[0]) if rest else {}
            cut = attributes.pop("cut", None)
            for key, value in attributes.items():
                setattr(info, key, value)
            data = b""
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname = content
            else:
                data = content.encode()[:cut]
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


D, F, S, L = tarfile.DIRTYPE, tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
BASE = (
    ("etc", D, "", {"mode": 0o750, "uid": 7}),
    ("etc/a", F, "a"),
    ("etc/b", F, "b"),
    ("etc/sub", D, "", {"mode": 0o700}),
    ("etc/sub/c", F, "c"),
    ("usr", D, ""),
    ("usr/lib", D, "", {"gid": 9, "mode": 0o775}),
    ("usr/lib/x", F, "x"),
    ("home", D, "", {"mode": 0o711}),
    ("home/user", D, "", {"uid": 1000, "gid": 1000, "mode": 0o700, "mtime": 12345}),
)
HANDMADE = {
    "an opaque mark after the directory's files": [
        BASE,
        (("etc", D, ""), ("etc/new", F, "n"), ("etc/.wh..wh..opq", F, "")),
    ],
    "an opaque mark before the directory itself": [
        BASE,
        (("etc/.wh..wh..opq", F, ""), ("etc/new", F, "n"), ("etc", D, "", {"mode": 0o701})),
    ],
    "an opaque root": [BASE, ((".wh..wh..opq", F, ""), ("only", F, "1"))],
    "a whiteout of what the same layer brings": [
        BASE,
        (("etc", D, ""), ("etc/.wh.a", F, ""), ("etc/a", F, "new"), ("etc/.wh.b", F, "")),
    ],
    "a whiteout of a directory that the same layer fills, before": [
        BASE,
        (("etc", D, ""), ("etc/.wh.sub", F, ""), ("etc/sub", D, ""), ("etc/sub/d", F, "d")),
    ],
    "a whiteout of a directory that the same layer fills, after": [
        BASE,
        (("etc", D, ""), ("etc/sub", D, ""), ("etc/sub/d", F, "d"), ("etc/.wh.sub", F, "")),
    ],
    "a whiteout of nothing, in a directory of its own": [
        BASE,
        (("fresh", D, ""), ("fresh/.wh.nothing", F, ""), ("fresh/file", F, "f")),
    ],
    "a whiteout in the bottom layer": [(("d", D, ""), ("d/.wh.x", F, ""), ("d/y", F, "y"))],
    "directories without entries, with those of a layer below": [
        BASE,
        (("home/user/file", F, "f"), ("usr/lib/deep/er/y", F, "y")),
        (("home/user/file2", F, "g"),),
    ],
    "directories without entries below an opaque one": [
        BASE,
        (("home", D, "", {"mode": 0o705}), ("home/.wh..wh..opq", F, ""), ("home/user/f", F, "f")),
        (("home/user", D, "", {"mode": 0o777}),),
    ],
    "two entries of one name": [
        (("d", D, ""), ("d/f", F, "first"), ("d/f", F, "the second")),
        (("d", D, ""), ("d/f", F, "1"), ("d/g", L, "d/f"), ("d/f", F, "2"), ("d", D, "")),
    ],
    "a directory that becomes a file, and a file that becomes one": [
        BASE,
        (("etc/sub", F, "now a file"), ("etc/a", D, ""), ("etc/a/inside", F, "i")),
    ],
    "paths through a symbolic link of the same layer": [
        (
            ("real", D, ""),
            ("link", S, "real"),
            ("link/file", F, "f"),
            ("abs", S, "/real/"),
            ("abs/file2", F, "g"),
            ("up", S, "../../../real"),
            ("up/file3", F, "h"),
        ),
    ],
    "absolute names, dots and doubled slashes": [
        (("/abs", D, ""), ("/abs//file", F, "f"), ("./abs/./x/../y", F, "y")),
    ],
    "directories of very many names": [
        (("d", D, ""), *((f"d/{n}" + "n" * (n % 200), F, "") for n in range(700))),
        (("d", D, ""), *((f"d/{n}" + "n" * (n % 200), F, "x") for n in range(0, 1400, 2))),
    ],
    "very many sets of extended attributes, some of them large": [
        tuple(
            (f"f{n}", F, "", {"pax_headers": {"SCHILY.xattr.user.x": f"{n}" * (1 + n % 100)}})
            for n in range(1, 600)
        ),
    ],
    "files of every size around a block": [
        tuple(
            (f"f{n}-{more}", F, "abcdefg" * 60_000, {"cut": (131072 * n + more)})
            for n in (0, 1, 2, 3)
            for more in (-1, 0, 1)
            if n or more >= 0
        ),
    ],
    "a file that is repeated in three layers, one of which is repeated": [
        (("f", F, "1"),),
        (("f", F, "2"), ("g", F, "g")),
        (("f", F, "1"),),
    ],
}


@pytest.mark.parametrize("case", HANDMADE)
def test_an_odd_layer_gives_the_tree_of_umoci(case, store, tmp_path):
    started = int(time.time())
    layout = tmp_path / "layout"
    run("umoci", "init", "--layout", layout)
    run("umoci", "new", "--image", f"{layout}:t")
    for number, entries in enumerate(HANDMADE[case]):
        layer = tmp_path / f"{number}.tar"
        layer.write_bytes(tar_of(*entries))
        run("umoci", "raw", "add-layer", "--image", f"{layout}:t", layer)
    run("skopeo", "copy", "-q", f"oci:{layout}:t", f"oci-archive:{tmp_path}/archive.tar:t")
    image, _ = import_file(store, tmp_path / "archive.tar")
    ours = dump_layers([store.layer_path(layer.diff_id) for layer in image.layers], tmp_path / "o")
    theirs = dump_umoci(f"{layout}:t", tmp_path)
    # umoci leaves the time of day on directories without an entry, or with a late whiteout.
    for path in ours.keys() & theirs.keys():
        is_directory = stat.S_ISDIR(int(theirs[path]["mode"], 8))
        if is_directory and path != "." and theirs[path]["mtime"] >= started:
            theirs[path]["mtime"] = ours[path]["mtime"]
    found = differences(ours, theirs)
    assert not found, "\n".join(f"{p}: {a} | {b}" for p, (a, b) in sorted(found.items())[:12])


# What goes wrong

IMPORT = """
import sys, pathlib
from nova_hyper.daemon.image.store import ImageStore
from nova_hyper.spec.errors import HyperError
store = ImageStore(pathlib.Path(sys.argv[1]), max_image_bytes=8 << 30, max_layers=16, arch="amd64")
print(store.collect(), flush=True)
try:
    for number, archive in enumerate(sys.argv[2:]):
        with open(archive, "rb") as file:
            store.import_archive(file, f"name-{number % 3}")
except HyperError as exc:
    print(exc.code, exc.message)
"""


def files_of(store_directory, images):
    """Return the layer and temporary files that are there, and those that *images* need."""
    found = {
        str(path.relative_to(store_directory))
        for path in store_directory.rglob("*")
        if path.is_file() and path.parent != store_directory
    }
    needed = {
        f"layers/{layer.diff_id[7:]}{suffix}"
        for image in images
        for layer in image.layers
        for suffix in (".squashfs", ".json", ".tree", ".recipe")
    }
    return found, needed | {f"configs/{image.id[7:]}.json" for image in images}


def test_a_daemon_killed_at_any_moment_leaves_nothing_that_the_next_does_not_remove(
    images, tmp_path
):
    run(TOOLS / "busybox.sh", tmp_path / "busybox.tar")
    archives = [images / "docker.tar", images / "zstd.tar", tmp_path / "busybox.tar"] * 20
    moment = random.Random(5)
    garbage = 0
    for turn in range(15):
        # A new store each time: one that has the layers converts nothing that could be left.
        directory = tmp_path / f"store-{turn}"
        child = subprocess.Popen(
            [sys.executable, "-c", IMPORT, directory, *archives], stdout=subprocess.PIPE
        )
        child.stdout.readline()
        time.sleep(moment.uniform(0, 0.8))
        child.kill()
        child.wait()
        child.stdout.close()
        store = ImageStore(directory, max_image_bytes=8 << 30, max_layers=16, arch="amd64")
        garbage += len(store.collect())
        found, needed = files_of(directory, store.list())
        assert found == needed
        for image in store.list():
            assert image.names
            for layer in image.layers:
                assert store.layer_path(layer.diff_id).stat().st_size == layer.size
    assert garbage > 0


@pytest.mark.parametrize("size", ["64k", "1m", "2m", "3m"])
def test_a_full_disk_is_said_and_leaves_nothing(size, images, tmp_path):
    directory = tmp_path / "disk"
    directory.mkdir()
    script = (
        f"mount -t tmpfs -o size={size} none {directory};"
        f"{sys.executable} -c '{IMPORT}' {directory}/store {images}/docker.tar;"
        f"find {directory}/store -type f"
    )
    lines = run("unshare", "--mount", "sh", "-c", script).splitlines()
    assert lines[1].startswith(
        f"disk_full the disk that holds {directory}/store is full; make room"
    )
    assert lines[2:] == []
