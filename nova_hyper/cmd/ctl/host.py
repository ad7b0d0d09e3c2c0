"""``hyperctl info``, ``events`` and ``version``."""

from __future__ import annotations

import argparse
import datetime
import json

from nova_hyper import version
from nova_hyper.client import EventStream, HyperClient, Lost
from nova_hyper.cmd.ctl import output
from nova_hyper.spec import codec


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs to the parser."""
    info = verbs.add_parser("info", help="facts of the host and of the daemon")
    info.set_defaults(run=_info)
    events = verbs.add_parser(
        "events",
        help="show what happens to pods",
        description="Show events as they come, until interrupted. After a break it goes on where "
        "it was.",
    )
    events.add_argument(
        "--after", type=int, default=-1, help="go on after this number (default: from now)"
    )
    events.add_argument(
        "--no-follow", action="store_true", help="only those there are (with --after)"
    )
    events.set_defaults(run=_events)
    show = verbs.add_parser("version", help="versions of the client and the daemon")
    show.set_defaults(run=_version)


def _info(client: HyperClient, args: argparse.Namespace) -> int:
    host = codec.encode(client.host())
    if args.output != "table":
        output.show(host, args.output)
        return 0
    cpu = host.pop("cpu")
    host["cpu"] = f"{cpu['vendor']} {cpu['model']} ({cpu['arch']})"
    output.table(("FIELD", "VALUE"), sorted(host.items()))
    return 0


def _events(client: HyperClient, args: argparse.Namespace) -> int:
    if args.no_follow:
        for event in client.events(max(args.after, 0), 0).events:
            _print_event(codec.encode(event), args.output)
        return 0
    for item in EventStream(client, args.after):
        if isinstance(item, Lost):
            output.progress("hyperctl: older events are gone; 'hyperctl ps -a' shows the pods")
        else:
            _print_event(codec.encode(item), args.output)
    return 0


def _print_event(event: dict[str, object], fmt: str) -> None:
    if fmt == "json":
        print(json.dumps(event), flush=True)
    elif fmt == "yaml":
        print("---")
        output.show(event, fmt)
    else:
        at = datetime.datetime.fromtimestamp(float(str(event["at"])), datetime.UTC)
        print(
            f"{event['seq']} {at:%Y-%m-%dT%H:%M:%S.%fZ} {event['kind']} {event['pod_id']} "
            f"{event['pod_name']} {event['message']}".rstrip(),
            flush=True,
        )


def _version(client: HyperClient, args: argparse.Namespace) -> int:
    versions = {"hyperctl": version.release(), **codec.encode(client.version())}
    if args.output != "table":
        output.show(versions, args.output)
        return 0
    output.table(("COMPONENT", "VERSION"), versions.items())
    return 0
