"""``hyperctl guest build``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from nova_hyper.client import HyperClient
from nova_hyper.cmd.ctl import output
from nova_hyper.daemon.guest import build


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the parser."""
    guest = verbs.add_parser("guest", help="the kernel and the agent that pods boot")
    nouns = guest.add_subparsers(required=True, metavar="VERB")
    command = nouns.add_parser(
        "build",
        help="build the kernel and the agent",
        description="Build the minimal kernel and the initramfs with the agent. The result is "
        "cached by the hash of what goes into it. Pods that run keep what they booted.",
    )
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "--source",
        type=Path,
        metavar="TARBALL",
        help="kernel source (default: the distribution's)",
    )
    which.add_argument(
        "--kernel", type=Path, metavar="FILE", help="a ready uncompressed vmlinux with PVH entry"
    )
    command.add_argument(
        "--directory",
        type=Path,
        default=Path("/var/lib/hyperd/guest"),
        help="where the result goes, as in hyperd.conf (default: %(default)s)",
    )
    command.add_argument(
        "--source-dir",
        type=Path,
        help="agent source and kernel fragment (default: installed ones)",
    )
    command.add_argument(
        "-j", "--jobs", type=int, default=os.cpu_count() or 1, help="compilers at once"
    )
    command.set_defaults(run=_build, offline=True)


def _build(_client: HyperClient, args: argparse.Namespace) -> int:
    assets = build.build(
        args.directory,
        args.source_dir,
        kernel_source=args.source,
        kernel=args.kernel,
        progress=output.progress,
        jobs=args.jobs,
    )
    if args.output == "table":
        print(f"kernel {assets.kernel_version}, agent {assets.agent_version}: {assets.key}")
    else:
        output.show(
            {
                "key": assets.key,
                "kernel": str(assets.kernel),
                "kernel_version": assets.kernel_version,
                "initramfs": str(assets.initramfs),
                "agent_version": assets.agent_version,
            },
            args.output,
        )
    return 0
