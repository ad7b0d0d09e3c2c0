"""Many pods on one host: does the last one start as the first, and what does each cost."""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import time
import uuid
from pathlib import Path

from bootbench.pods import output_s, pss_mib, wait_for_output
from nova_hyper.client import HyperClient
from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import HyperError
from nova_hyper.spec.pod import PodSpec

_KIB_PER_MIB = 1024
_LISTS = 20
_GROUP = 5


def main() -> None:
    """Start the pods one after the other, measure, and remove them."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/density",
        description="Start many idle pods and keep them all: the time to create the first ones "
        "and the last ones, to list all, hyperd's memory, and the host's memory for each pod.",
    )
    parser.add_argument("-n", "--pods", type=int, default=30, help="default: 30")
    parser.add_argument("-m", "--memory", type=int, default=64, help="MiB of each (default: 64)")
    parser.add_argument("--image", default="busybox", help="name or id in hyperd's store")
    parser.add_argument("--socket", default="/run/hyperd/hyperd.sock")
    args = parser.parse_args()
    client = HyperClient(args.socket)
    made: list[str] = []
    try:
        _measure(client, args, made)
    except (HyperError, OSError) as exc:
        sys.exit(f"benchmarks/density: {exc}")
    finally:
        for pod_id in made:
            client.delete_pod(pod_id)


def _measure(client: HyperClient, args: argparse.Namespace, made: list[str]) -> None:
    daemon = _daemon_pid(args.socket)
    image = _image(client, args.image)
    before_kib, rss_before = _available_kib(), _rss_mib(daemon)
    creates, outputs, pids = [], [], []
    for number in range(args.pods):
        print(f"pod {number + 1} of {args.pods}", file=sys.stderr, flush=True)
        spec = PodSpec(
            id=str(uuid.uuid4()),
            name=f"density-{number}-{uuid.uuid4().hex[:6]}",
            containers=(
                Container("main", image, command=("/bin/sh", "-c", "echo up; exec sleep 86400")),
            ),
            memory_mib=args.memory,
        )
        made.append(spec.id)
        began = time.monotonic()
        client.create_pod(spec)
        creates.append(time.monotonic() - began)
        client.start_pod(spec.id)
        pod = wait_for_output(client, spec.id)
        outputs.append(output_s(pod))
        pids.append(pod.qemu_pid or 0)
    lists = []
    for _ in range(_LISTS):
        began = time.monotonic()
        client.pods()
        lists.append(time.monotonic() - began)
    first, last = creates[:_GROUP], creates[-_GROUP:]
    ratio = statistics.median(last) / statistics.median(first)
    used = (before_kib - _available_kib()) / _KIB_PER_MIB / args.pods
    print(f"{args.pods} pods of {args.memory} MiB, {client.host().virt_type}")
    print(f"create, median of the first {_GROUP}:  {statistics.median(first) * 1000:.0f} ms")
    print(f"create, median of the last {_GROUP}:   {statistics.median(last) * 1000:.0f} ms")
    print(f"last to first:                 {ratio:.2f}")
    print(f"request to first output:       {statistics.median(outputs) * 1000:.0f} ms, median")
    print(f"list of all, median:           {statistics.median(lists) * 1000:.1f} ms")
    print(f"hyperd's RSS, before and with: {rss_before:.1f} and {_rss_mib(daemon):.1f} MiB")
    print(f"PSS of a pod's QEMU, median:   {statistics.median(map(pss_mib, pids)):.1f} MiB")
    print(f"host memory a pod, all in all: {used:.1f} MiB (from MemAvailable)")


def _image(client: HyperClient, ref: str) -> str:
    for image in client.images():
        # Glance's images are named by their ids: one that Nova has brought will do.
        if ref in image.names:
            return image.id
    return client.image(ref).id


def _daemon_pid(socket: str) -> int:
    """Return the process that listens on *socket*: the one that has it open as its config says."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if not any(w.endswith((b"/hyperd", b"nova_hyper.cmd.hyperd")) for w in words):
                continue
            inodes = {link.readlink().name for link in (process / "fd").iterdir()}
        except OSError:
            continue
        for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[-1].rpartition("/")[0] == socket.rpartition("/")[0] and (
                f"socket:[{fields[6]}]" in inodes
            ):
                return int(process.name)
    raise OSError(f"no hyperd listens on {socket}")


def _rss_mib(pid: int) -> float:
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)
    return int(found[1]) / _KIB_PER_MIB if found else 0.0


def _available_kib() -> int:
    found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.M)
    return int(found[1]) if found else 0


if __name__ == "__main__":
    main()
