"""``hyperctl stats`` and ``top``."""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import sys
import time
from collections.abc import Iterable

from nova_hyper.client import HyperClient
from nova_hyper.cmd.ctl import output, verbs
from nova_hyper.spec import codec
from nova_hyper.spec.errors import Conflict, DaemonUnavailable, HyperError, PodNotFound
from nova_hyper.spec.pod import PodState
from nova_hyper.spec.stats import ContainerStats, PodStats

_FIRST_S = 0.5
_AT_ONCE = 8
_NS = 1e9
_KIB = 1024
_HOME = "\x1b[H\x1b[J"

Sample = dict[str, PodStats]


def add(parser: verbs.Verbs[argparse.ArgumentParser]) -> None:
    """Add the verbs to the parser."""
    stats = verbs.add(
        parser,
        "stats",
        "show what pods and their containers use",
        _stats,
        description="Show CPU (100 % is one processor), memory, block input and output and "
        "processes of each container, and the network traffic of the pod, again and again. The "
        "memory of a container without a limit of its own is compared to the pod's.",
        examples=(
            "hyperctl stats",
            "hyperctl stats --no-stream web",
            "hyperctl stats --no-stream -o json",
        ),
    )
    stats.add_argument("--no-stream", action="store_true", help="once only")
    stats.add_argument(
        "--interval", type=float, default=1.0, metavar="SECONDS", help="(default: %(default)s)"
    )
    verbs.add_pods(stats, "*")

    top = verbs.add(
        parser,
        "top",
        "show the processes of a container",
        _top,
        examples=("hyperctl top web", "hyperctl top -c php web"),
    )
    verbs.add_container(top)
    verbs.add_pod(top)


def _stats(client: HyperClient, args: argparse.Namespace) -> int:
    before, pause = _sample(client, args.pod), _FIRST_S
    screen = args.output == "table" and not args.no_stream and sys.stdout.isatty()
    while True:
        time.sleep(min(pause, args.interval))
        try:
            now = _sample(client, args.pod)
        except DaemonUnavailable:
            if args.no_stream:
                raise
            pause = args.interval
            continue
        if screen:
            print(_HOME, end="")
        _show(now, before, args)
        sys.stdout.flush()
        if args.no_stream:
            return 0
        before, pause = now, args.interval


def _sample(client: HyperClient, refs: list[str]) -> Sample:
    """Return the counters of the pods that run, by name."""
    pods = [client.pod(ref) for ref in refs] if refs else client.pods()
    names = [p.spec.name for p in pods if p.state is PodState.RUNNING]

    def one(name: str) -> PodStats | HyperError:
        try:
            return client.stats(name)
        except (Conflict, PodNotFound) as exc:  # it has ended meanwhile, or cannot tell
            return exc

    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        found = dict(zip(names, pool.map(one, names), strict=True))
    if found and all(isinstance(value, HyperError) for value in found.values()):
        raise next(value for value in found.values() if isinstance(value, HyperError))
    return {name: value for name, value in found.items() if isinstance(value, PodStats)}


def cpu_percent(now: int, before: int, elapsed_ns: int) -> float:
    """Return the share of one processor between two counts of CPU time, 0 after a restart."""
    return max(0.0, 100.0 * (now - before) / elapsed_ns) if elapsed_ns > 0 else 0.0


def _show(now: Sample, before: Sample, args: argparse.Namespace) -> None:
    if args.output == "table":
        header = ("POD", "CONTAINER", "CPU %", "MEMORY / LIMIT", "MEM %", "NET RX / TX")
        output.table((*header, "BLOCK R / W", "PROCESSES"), _rows(now, before))
        return
    values = [
        {"pod": name, "cpu_percent": _percents(stats, before.get(name)), **codec.encode(stats)}
        for name, stats in now.items()
    ]
    if args.output == "json" and not args.no_stream:
        print(json.dumps(values))
    else:
        output.show(values, args.output)


def _percents(now: PodStats, before: PodStats | None) -> dict[str, float]:
    """Return the CPU share of each container by name."""
    earlier = {c.name: c.cpu_ns for c in before.containers} if before else {}
    elapsed = now.uptime_ns - before.uptime_ns if before else 0
    return {
        c.name: round(cpu_percent(c.cpu_ns, earlier.get(c.name, c.cpu_ns), elapsed), 2)
        for c in now.containers
    }


def _rows(now: Sample, before: Sample) -> Iterable[tuple[str, ...]]:
    for name, stats in now.items():
        percents = _percents(stats, before.get(name))
        received = sum(nic.rx_bytes for nic in stats.nics)
        sent = sum(nic.tx_bytes for nic in stats.nics)
        network = f"{output.size(received)} / {output.size(sent)}" if stats.nics else "-"
        for index, container in enumerate(stats.containers):
            limit = _limit(stats, container)
            yield (
                name,
                container.name,
                f"{percents[container.name]:.1f}",
                f"{output.size(container.memory_bytes)} / {output.size(limit)}",
                f"{100 * container.memory_bytes / limit:.1f}" if limit else "-",
                # The containers of a pod share its interfaces.
                network if index == 0 else "",
                f"{output.size(container.read_bytes)} / {output.size(container.write_bytes)}",
                str(container.pids),
            )


def _limit(stats: PodStats, container: ContainerStats) -> int:
    pod = stats.mem_total_kib * _KIB
    return min(pod, container.memory_max) if container.memory_max else pod


def _top(client: HyperClient, args: argparse.Namespace) -> int:
    top = client.top(args.pod, args.container)
    if args.output != "table":
        output.show(codec.encode(top), args.output)
        return 0
    output.table(
        ("PID", "PPID", "USER", "RSS", "CPU TIME", "STATE", "COMMAND"),
        [
            (
                *(p.pid, p.ppid, p.user, output.size(p.rss_kib * _KIB)),
                *(_time(p.cpu_ns), p.state, p.command),
            )
            for p in top.processes
        ],
    )
    return 0


def _time(ns: int) -> str:
    minutes, seconds = divmod(ns / _NS, 60)
    return f"{int(minutes)}:{seconds:05.2f}"
