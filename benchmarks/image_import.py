"""Time the import of an image against ``umoci unpack`` and ``podman load`` of the same one.

The image is made here: 8 layers of files of many sizes, half of which compress well, as
an OCI archive of gzip layers. Each turn runs all three, one after the other; the medians
count. Memory is the largest resident size of one process of each; disk is what is left.

Run it as root with the Python of the quick start's environment; it needs umoci, skopeo
and podman. Everything is below --work, which needs about ten times the image's size.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

MIB = 1 << 20
LAYERS = 8
SIZES = (200, 1500, 4000, 20_000, 100_000, 1_000_000, 4_000_000)
IMPORT = """
import resource, sys
from pathlib import Path
from nova_hyper.daemon.image.store import ImageStore
store = ImageStore(Path(sys.argv[1]), max_image_bytes=64 << 30, max_layers=16, arch="amd64")
with open(sys.argv[2], "rb") as archive:
    store.import_archive(archive, "image")
for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
    print(resource.getrusage(who).ru_maxrss)
"""


class Cost(NamedTuple):
    """Seconds, and the largest resident size in MiB, of hyperd's side and of all others."""

    seconds: float
    memory_mib: float
    daemon_mib: float = 0.0


def content(dice: random.Random, size: int) -> bytes:
    """Return *size* bytes: random ones, or text that shrinks to about a third."""
    if dice.random() < 0.5:
        return dice.randbytes(size)
    words = [dice.randbytes(3).hex() for _ in range(40)]
    text = " ".join(dice.choices(words, k=min(size, 60_000) // 7 + 1)).encode()
    return (text * (size // len(text) + 1))[:size]


def write_layer(path: Path, number: int, size: int) -> tuple[str, str]:
    """Write a compressed layer of about *size* bytes; return its diff ID and digest."""
    dice = random.Random(number)  # noqa: S311
    plain, packed = hashlib.sha256(), hashlib.sha256()

    class Both(io.RawIOBase):
        """Takes the tar stream, and writes it compressed."""

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            plain.update(data)
            return zipped.write(data)

    with path.open("wb") as file:
        zipped = gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6, mtime=0, filename="")
        with tarfile.open(fileobj=Both(), mode="w|", format=tarfile.PAX_FORMAT) as tar:
            written = count = 0
            while written < size:
                entry = tarfile.TarInfo(f"usr/share/layer{number}/{count % 97}/file{count}")
                entry.size = min(dice.choice(SIZES), size)
                entry.mode, entry.mtime = 0o644, 1_000_000 + count
                tar.addfile(entry, io.BytesIO(content(dice, entry.size)))
                written += entry.size
                count += 1
        zipped.close()
    with path.open("rb") as file:
        while data := file.read(MIB):
            packed.update(data)
    return f"sha256:{plain.hexdigest()}", f"sha256:{packed.hexdigest()}"


def make_image(layout: Path, mib: int) -> None:
    """Write an OCI layout of an image with *mib* MiB of files, tagged ``t``."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    diff_ids, layers = [], []
    for number in range(LAYERS):
        path = blobs / f"layer{number}"
        diff_id, digest = write_layer(path, number, mib * MIB // LAYERS)
        media = "application/vnd.oci.image.layer.v1.tar+gzip"
        layers.append({"mediaType": media, "digest": digest, "size": path.stat().st_size})
        path.rename(blobs / digest[7:])
        diff_ids.append(diff_id)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/bin/true"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    kind = "application/vnd.oci.image."
    manifest = {
        "schemaVersion": 2,
        "config": {"mediaType": f"{kind}config.v1+json", **put(json.dumps(config).encode())},
        "layers": layers,
    }
    listed = {
        "mediaType": f"{kind}manifest.v1+json",
        **put(json.dumps(manifest).encode()),
        "annotations": {"org.opencontainers.image.ref.name": "t"},
    }
    index = {"schemaVersion": 2, "manifests": [listed]}
    (layout / "index.json").write_text(json.dumps(index))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def run(*command: object) -> tuple[Cost, str]:
    """Run *command*; return what it cost, with all its children, and what it printed."""
    os.sync()
    began = time.monotonic()
    process = subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout
    printed = process.stdout.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command[0]} failed")
    return Cost(time.monotonic() - began, usage.ru_maxrss / 1024), printed


def by_us(archive: Path, place: Path) -> Cost:
    """Import *archive* into a new store."""
    cost, printed = run(sys.executable, "-c", IMPORT, place, archive)
    daemon, worker = (int(line) / 1024 for line in printed.split())
    return Cost(cost.seconds, worker, daemon)


def by_umoci(layout: Path, place: Path) -> Cost:
    """Unpack the image of *layout*."""
    return run("umoci", "unpack", "--image", f"{layout}:t", place)[0]


def by_podman(archive: Path, place: Path) -> Cost:
    """Load *archive* into a new storage."""
    # podman takes no runroot of more than 50 characters.
    with tempfile.TemporaryDirectory(prefix="import-", dir="/run") as short:
        storage = ("--root", place, "--runroot", f"{short}/run", "--tmpdir", f"{short}/t")
        load = ("--storage-driver", "overlay", "load", "-q", "-i", archive)
        return run("podman", *storage, *load)[0]


def disk_mib(place: Path) -> float:
    """Return what the files below *place* take, in MiB."""
    words = subprocess.run(["du", "-sk", place], capture_output=True, text=True, check=True)
    return int(words.stdout.split()[0]) / 1024


def main() -> None:
    """Print a table, and the ratios to the import."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-n", "--runs", type=int, default=3)
    parser.add_argument("--mib", type=int, default=1024, help="size of the image's files")
    parser.add_argument("--work", default=None, help="where everything is made (default: TMPDIR)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="image-import-", dir=args.work) as name:
        work = Path(name)
        layout, archive = work / "layout", work / "archive.tar"
        make_image(layout, args.mib)
        run("skopeo", "copy", "-q", f"oci:{layout}:t", f"oci-archive:{archive}:t")
        ways = {
            "import": (by_us, archive),
            "umoci unpack": (by_umoci, layout),
            "podman load": (by_podman, archive),
        }
        costs: dict[str, list[Cost]] = {way: [] for way in ways}
        disk: dict[str, float] = {}
        for _ in range(args.runs):
            for way, (do, source) in ways.items():
                place = work / "place"
                place.mkdir()
                costs[way].append(do(source, place / "here"))
                disk[way] = disk_mib(place)
                # What podman mounts below it is unmounted when it ends.
                shutil.rmtree(place)
        packed = archive.stat().st_size / MIB
        print(f"{args.mib} MiB of files in {LAYERS} layers, {packed:.0f} MiB as an archive")
        print(f"{'':14}{'seconds':>9}{'ratio':>7}{'memory MiB':>12}{'disk MiB':>10}")
        ours = statistics.median(cost.seconds for cost in costs["import"])
        for way, found in costs.items():
            seconds = statistics.median(cost.seconds for cost in found)
            memory = max(cost.memory_mib for cost in found)
            print(f"{way:14}{seconds:9.2f}{seconds / ours:7.2f}{memory:12.0f}{disk[way]:10.0f}")
        daemon = max(cost.daemon_mib for cost in costs["import"])
        print(f"hyperd's own side of the import: {daemon:.0f} MiB")


if __name__ == "__main__":
    main()
