"""``hyperctl events``."""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Callable

from nova_hyper.client import EventStream, HyperClient, Lost
from nova_hyper.cmd.ctl import output, verbs
from nova_hyper.cmd.ctl.logs import moment
from nova_hyper.spec import codec
from nova_hyper.spec.event import Event, EventKind


def add(parser: verbs.Verbs[argparse.ArgumentParser]) -> None:
    """Add the verb to the parser."""
    command = verbs.add(
        parser,
        "events",
        "show what happens to pods",
        _events,
        description="Show events as they come, until interrupted; with --since or --after those "
        "that hyperd still has come first. After a break it goes on where it was.",
        examples=(
            "hyperctl events",
            "hyperctl events --since 1h --no-follow",
            "hyperctl events --kind crashed --kind exited web",
        ),
    )
    command.add_argument(
        "-f", "--follow", action="store_true", help="go on with what comes (the default)"
    )
    command.add_argument(
        "--no-follow", action="store_true", help="only those there are (with --since or --after)"
    )
    command.add_argument(
        "--since",
        type=moment,
        metavar="WHEN",
        help="from then on: a duration (10m), RFC 3339, or Unix seconds",
    )
    command.add_argument("--after", type=int, help="go on after the event of this number")
    command.add_argument(
        "--kind",
        action="append",
        choices=[kind.value for kind in EventKind],
        metavar="KIND",
        help="only of this kind, or these: " + ", ".join(kind.value for kind in EventKind),
    )
    verbs.add_pods(command, "*")


def _events(client: HyperClient, args: argparse.Namespace) -> int:
    wanted = _filter(args)
    after = args.after
    if after is None:
        after = 0 if args.since is not None or args.no_follow else -1
    if args.no_follow:
        for event in client.events(max(after, 0), 0).events:
            if wanted(event):
                _print_event(codec.encode(event), args.output)
        return 0
    for item in EventStream(client, after):
        if isinstance(item, Lost):
            output.progress("hyperctl: older events are gone; 'hyperctl ps -a' shows the pods")
        elif wanted(item):
            _print_event(codec.encode(item), args.output)
    return 0


def _filter(args: argparse.Namespace) -> Callable[[Event], bool]:
    def wanted(event: Event) -> bool:
        return (
            (args.since is None or event.at >= args.since)
            and (not args.kind or event.kind.value in args.kind)
            # Also of pods that are gone: their names are in the events.
            and (not args.pod or any(_is(event, ref) for ref in args.pod))
        )

    return wanted


def _is(event: Event, ref: str) -> bool:
    return event.pod_name == ref or event.pod_id.startswith(ref)


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
