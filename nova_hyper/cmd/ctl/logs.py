"""``hyperctl logs``."""

from __future__ import annotations

import argparse
import datetime
import json
import re
import sys
import time
from typing import BinaryIO

import yaml

from nova_hyper.client import HyperClient, logs
from nova_hyper.cmd.ctl import output, verbs
from nova_hyper.spec.errors import DaemonUnavailable, InvalidRequest
from nova_hyper.spec.log import UNKNOWN, LogLine

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def add(parser: verbs.Verbs[argparse.ArgumentParser]) -> None:
    """Add the verb to the parser."""
    command = verbs.add(
        parser,
        "logs",
        "show what a pod's containers printed",
        _logs,
        description="Show what the containers of a pod printed, also of one that is stopped: "
        "standard output and standard error, each where it belongs. Of a pod with several "
        "containers every line begins with the container's name, unless -c chooses one. hyperd "
        "keeps the last few MiB. Following goes on over restarts of the containers and of hyperd, "
        "and ends with the pod.",
        examples=(
            "hyperctl logs web",
            "hyperctl logs -f --tail 20 web",
            "hyperctl logs -t --since 10m -c nginx web",
            "hyperctl logs --since 2026-11-20T12:00:00Z -o json web",
        ),
    )
    command.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    verbs.add_container(command, "all of them")
    command.add_argument("-t", "--timestamps", action="store_true", help="the time before a line")
    command.add_argument(
        "--since",
        type=moment,
        metavar="WHEN",
        help="only from then on: a duration (90s, 10m, 2h30m, 1d), RFC 3339, or Unix seconds",
    )
    command.add_argument("--tail", type=_count, metavar="N", help="only the last N lines")
    verbs.add_pod(command)


def moment(text: str) -> float:
    """Return the Unix time that *text* means: a duration before now, RFC 3339, or seconds.

    :raises argparse.ArgumentTypeError: when it is none of them.
    """
    try:
        if re.fullmatch(r"(\d+[dhms])+", text):
            parts = re.findall(r"(\d+)([dhms])", text)
            return time.time() - sum(int(number) * _UNITS[unit] for number, unit in parts)
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return float(text)
        # Without an offset it is the time on this host's clock.
        return datetime.datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a duration (10m) nor a time (2026-11-20T12:00:00Z)"
        ) from None


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of lines")
    return int(text)


def _logs(client: HyperClient, args: argparse.Namespace) -> int:
    pod = client.pod(args.pod)
    names = [c.name for c in pod.containers]
    if args.container is not None and args.container not in names:
        raise InvalidRequest(
            f"pod {args.pod} has no container {args.container}; it has {', '.join(names)}"
        )
    wanted = {"container": args.container, "since": args.since, "tail": args.tail}
    # By its id: another pod may get the name while this one is followed.
    if args.follow:
        lines = logs.follow(client, pod.spec.id, **wanted, on_break=_away)
    else:
        lines = client.logs(pod.spec.id, **wanted)
    printer = Printer(
        fmt=args.output,
        names=len(names) > 1 and args.container is None,
        times=args.timestamps,
    )
    for line in lines:
        printer.show(line)
        if args.follow:
            printer.flush()
    printer.end()
    return 0


def _away(_error: DaemonUnavailable) -> None:
    output.progress("hyperctl: hyperd is away; going on when it is back")


class Printer:
    """Prints lines where they belong, parts of lines without a line feed between them."""

    def __init__(self, fmt: str = "table", names: bool = False, times: bool = False) -> None:
        self._fmt = fmt
        self._names = names
        self._times = times
        self._open: tuple[str, str] | None = None

    def show(self, line: LogLine) -> None:
        """Print one line or a part of one."""
        if self._fmt != "table":
            self._show_object(line)
            return
        whose = (line.container, line.stream)
        out = self._stream(line.stream)
        if self._open not in (None, whose):
            self._end_line()
        if self._open is None:
            out.write(self._prefix(line))
        out.write(line.content)
        self._open = whose
        if line.whole:
            self._end_line()

    def _prefix(self, line: LogLine) -> bytes:
        words = []
        if self._times and line.time != UNKNOWN:
            words.append(line.time)
        if self._names and line.container != UNKNOWN:
            words.append(f"{line.container}:")
        return "".join(f"{word} " for word in words).encode()

    def _show_object(self, line: LogLine) -> None:
        value = {
            "time": None if line.time == UNKNOWN else line.time,
            "container": None if line.container == UNKNOWN else line.container,
            "stream": line.stream,
            "whole": line.whole,
            "text": line.content.decode(errors="replace"),
        }
        if self._fmt == "json":
            print(json.dumps(value))
        else:
            print(yaml.safe_dump([value], sort_keys=False), end="")

    def _end_line(self) -> None:
        if self._open is not None:
            out = self._stream(self._open[1])
            out.write(b"\n")
            self._open = None

    @staticmethod
    def _stream(name: str) -> BinaryIO:
        if name == "stderr":
            sys.stdout.buffer.flush()  # in the order in which it came
            return sys.stderr.buffer
        sys.stderr.buffer.flush()
        return sys.stdout.buffer

    def flush(self) -> None:
        """Show what has been printed so far."""
        sys.stdout.flush()
        sys.stderr.flush()

    def end(self) -> None:
        """Flush; a last line without its end is left as it is, so that all bytes are the pod's."""
        self._open = None
        self.flush()
