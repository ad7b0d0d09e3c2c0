"""Time the import of an image against ``umoci unpack`` of the same one, in turn, in one run.

Run it with the Python of the quick start's environment; it needs umoci and skopeo.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

IMPORT = """
import sys
from pathlib import Path
from nova_hyper.daemon.image.store import ImageStore
store = ImageStore(Path(sys.argv[1]), max_image_bytes=8 << 30, max_layers=16, arch="amd64")
with open(sys.argv[2], "rb") as archive:
    store.import_archive(archive, "image")
"""


def run(*command: object) -> float:
    """Run *command* and return the seconds it took."""
    began = time.monotonic()
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def main() -> None:
    """Print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--runs", type=int, default=3)
    parser.add_argument(
        "--tree", default=sysconfig.get_path("stdlib"), help="what the layer holds"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="image-import-") as name:
        work = Path(name)
        layer, layout = work / "layer.tar", work / "layout"
        run("tar", "--create", "--file", layer, "--directory", args.tree, ".")
        run("umoci", "init", "--layout", layout)
        run("umoci", "new", "--image", f"{layout}:t")
        run("umoci", "raw", "add-layer", "--image", f"{layout}:t", layer)
        run("skopeo", "copy", "-q", f"oci:{layout}:t", f"oci-archive:{work}/archive.tar:t")
        ours, theirs = [], []
        for turn in range(args.runs):
            theirs.append(
                run("umoci", "unpack", "--image", f"{layout}:t", work / f"bundle-{turn}")
            )
            store = work / f"store-{turn}"
            ours.append(run(sys.executable, "-c", IMPORT, store, work / "archive.tar"))
        a, b = statistics.median(ours), statistics.median(theirs)
        size = layer.stat().st_size >> 20
        print(f"{size} MiB: import {a:.2f} s, umoci unpack {b:.2f} s, ratio {a / b:.2f}")


if __name__ == "__main__":
    main()
