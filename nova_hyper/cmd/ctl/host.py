"""``hyperctl info`` and ``version``."""

from __future__ import annotations

import argparse

from nova_hyper import version
from nova_hyper.client import HyperClient
from nova_hyper.cmd.ctl import output, verbs
from nova_hyper.spec import codec


def add(parser: verbs.Verbs[argparse.ArgumentParser]) -> None:
    """Add the verbs to the parser."""
    verbs.add(
        parser,
        "info",
        "facts of the host and of the daemon",
        _info,
        examples=("hyperctl info", "hyperctl info -o json"),
    )
    verbs.add(
        parser,
        "version",
        "versions of the client and the daemon",
        _version,
        examples=("hyperctl version",),
    )


def _info(client: HyperClient, args: argparse.Namespace) -> int:
    host = codec.encode(client.host())
    if args.output != "table":
        output.show(host, args.output)
        return 0
    cpu = host.pop("cpu")
    host["cpu"] = f"{cpu['vendor']} {cpu['model']} ({cpu['arch']})"
    output.table(("FIELD", "VALUE"), sorted(host.items()))
    return 0


def _version(client: HyperClient, args: argparse.Namespace) -> int:
    versions = {"hyperctl": version.release(), **codec.encode(client.version())}
    if args.output != "table":
        output.show(versions, args.output)
        return 0
    output.table(("COMPONENT", "VERSION"), versions.items())
    return 0
