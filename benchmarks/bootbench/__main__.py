"""``benchmarks/boot``: see its ``--help``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import openstack

from bootbench import cloud, floor, pods
from bootbench.report import LIBVIRT_STAGE, Figure, table
from nova_hyper.client import HyperClient
from nova_hyper.daemon.guest import assets
from nova_hyper.spec.errors import HyperError


def main() -> None:
    """Run all measurements and print them."""
    args = _parser().parse_args()
    client = HyperClient(args.socket)
    try:
        report = _measure(args, client)
    except (HyperError, OSError, openstack.exceptions.SDKException) as exc:
        sys.exit(f"benchmarks/boot: {exc}")
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=2) + "\n")
        print(f"written to {args.json}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks/boot",
        description="Time a pod's start in one run: (a) the floor, bare QEMU to the agent's first "
        "byte; (b) hyperd, cold, to the container's first output; (c) Nova, to ACTIVE and to that "
        "output. Ratios are to the median of (a).",
    )
    parser.add_argument("-n", "--runs", type=int, default=5, help="of each (default: 5)")
    parser.add_argument("-m", "--memory", type=int, default=64, help="MiB of (a) and (b)")
    parser.add_argument("--image", default="busybox", help="in hyperd and in Glance")
    parser.add_argument("--flavor", default="hyper.nano")
    parser.add_argument("--network", default="private")
    parser.add_argument("--os-cloud", default="hyper", help="empty: leave (c) out")
    parser.add_argument("--socket", default="/run/hyperd/hyperd.sock")
    parser.add_argument("--guest", default="/var/lib/hyperd/guest", help="[guest] directory")
    parser.add_argument("--firmware", default="/usr/share/qemu/qboot.rom")
    parser.add_argument("--archive", help="archive to load as --image when hyperd has none")
    parser.add_argument("--json", metavar="FILE", help="also write every run as JSON")
    return parser


def _measure(args: argparse.Namespace, client: HyperClient) -> dict[str, object]:
    host = client.host()
    guest = assets.current(Path(args.guest))
    image = _image(client, args)
    floors, starts, servers = [], [], []
    connection = openstack.connect(cloud=args.os_cloud) if args.os_cloud else None
    # In turn, so that a machine whose speed drifts is fair to all three.
    for run in range(args.runs):
        print(f"run {run + 1} of {args.runs}", file=sys.stderr, flush=True)
        floors.append(floor.run(guest, host.virt_type, args.memory, args.firmware))
        starts.append(pods.run(client, image, args.memory))
        if connection is not None:
            servers.append(cloud.run(connection, client, args.image, args.flavor, args.network))
    figures = [Figure("(a) bare QEMU to the agent's first byte", "s", tuple(floors))]
    figures += _pod_figures(starts)
    if servers:
        figures += [
            Figure("(c) Nova: request to hyperd", "s", tuple(s.reached_hyperd_s for s in servers)),
            Figure("(c) Nova: request to first output", "s", tuple(s.output_s for s in servers)),
            Figure("(c) Nova: request to ACTIVE", "s", tuple(s.active_s for s in servers)),
        ]
    print(f"{host.virt_type} ({host.virt_reason}); {os.cpu_count()} CPUs; {args.memory} MiB pods")
    print(table(figures, figures[0].median))
    return {
        "virt_type": host.virt_type,
        "cpus": os.cpu_count(),
        "memory_mib": args.memory,
        "guest": guest.key,
        "figures": [figure.as_json() for figure in figures],
    }


def _pod_figures(starts: list[pods.PodStart]) -> list[Figure]:
    totals = tuple(s.total_s for s in starts)
    libvirt = tuple(dict(s.stages)[LIBVIRT_STAGE] for s in starts)
    figures = [
        Figure("(b) hyperd: request to first output", "s", totals),
        Figure("    of that libvirt's own start", "s", libvirt),
        Figure(
            "    apart from libvirt's own start",
            "s",
            tuple(t - own for t, own in zip(totals, libvirt, strict=True)),
        ),
    ]
    for stage, _ in starts[0].stages:
        took = tuple(dict(s.stages)[stage] for s in starts)
        figures.append(Figure(f"    stage {stage}", "s", took))
    return [
        *figures,
        Figure("host memory of a pod (PSS of QEMU)", "MiB", tuple(s.host_pss_mib for s in starts)),
        Figure("guest memory in use", "MiB", tuple(s.guest_used_mib for s in starts)),
    ]


def _image(client: HyperClient, args: argparse.Namespace) -> str:
    if args.archive:
        with open(args.archive, "rb") as file:
            return client.import_image(args.image, iter(lambda: file.read(1 << 20), b"")).id
    wanted = args.image
    if args.os_cloud:
        found = openstack.connect(cloud=args.os_cloud).image.find_image(args.image)
        # As the driver names it: with the image's id, and its checksum.
        wanted = f"glance:{found.id}:" if found else wanted
    for image in client.images():
        if any(name == args.image or name.startswith(wanted) for name in image.names):
            return image.id
    raise HyperError(f"hyperd has no image {args.image}; load it, or give --archive")


if __name__ == "__main__":
    main()
