"""``hyperctl ps``, ``inspect``, ``logs``, ``start``, ``stop`` and ``rm``."""

from __future__ import annotations

import argparse
import sys

from nova_hyper.client import HyperClient
from nova_hyper.cmd.ctl import output
from nova_hyper.spec import codec
from nova_hyper.spec.pod import Mark, Pod, PodState

_SHORT_ID = 12
_CONSOLE_BYTES = 4 << 20
_NS_PER_MS = 1e6


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs to the parser."""
    ps = verbs.add_parser("ps", help="list pods")
    ps.add_argument("-a", "--all", action="store_true", help="also those that do not run")
    ps.set_defaults(run=_ps)

    inspect = verbs.add_parser("inspect", help="show a pod, with the timeline of its start")
    inspect.add_argument("pod", help="id, beginning of an id, or name")
    inspect.set_defaults(run=_inspect)

    logs = verbs.add_parser("logs", help="show what a pod's containers printed")
    logs.add_argument("pod", help="id, beginning of an id, or name")
    logs.add_argument("--bytes", type=int, default=_CONSOLE_BYTES, help="at most, from the end")
    logs.set_defaults(run=_logs)

    start = verbs.add_parser("start", help="start stopped pods")
    start.add_argument("pod", nargs="+")
    start.set_defaults(run=_start)

    stop = verbs.add_parser("stop", help="stop pods: stop signal, grace period, SIGKILL")
    stop.add_argument("pod", nargs="+")
    stop.add_argument("-t", "--time", type=int, help="seconds of grace (default: hyperd's)")
    stop.add_argument("-f", "--force", action="store_true", help="end the micro-VM at once")
    stop.set_defaults(run=_stop)

    rm = verbs.add_parser("rm", help="remove pods")
    rm.add_argument("pod", nargs="+")
    rm.add_argument("-f", "--force", action="store_true", help="also pods that run")
    rm.set_defaults(run=_rm)


def _ps(client: HyperClient, args: argparse.Namespace) -> int:
    pods = [p for p in client.pods() if args.all or p.state in (PodState.READY, PodState.RUNNING)]
    if args.output != "table":
        output.show(codec.encode(pods), args.output)
        return 0
    output.table(
        ("POD ID", "NAME", "IMAGES", "STATUS", "CREATED", "ADDRESSES"),
        [
            (
                p.spec.id[:_SHORT_ID],
                p.spec.name,
                ", ".join(c.image for c in p.spec.containers),
                _status(p),
                output.ago(p.created_at),
                ", ".join(a for n in p.spec.nics for a in n.addresses),
            )
            for p in pods
        ],
    )
    return 0


def _status(pod: Pod) -> str:
    if pod.state is PodState.RUNNING:
        return f"running since {output.ago(pod.started_at)}"
    if pod.state is PodState.STOPPED and pod.exit_code is not None:
        return f"stopped ({pod.exit_code}) {output.ago(pod.stopped_at)}"
    return pod.state.value


def _inspect(client: HyperClient, args: argparse.Namespace) -> int:
    pod = client.pod(args.pod)
    if args.output != "table":
        output.show({**codec.encode(pod), "id": pod.spec.id, "name": pod.spec.name}, args.output)
        return 0
    spec = pod.spec
    rows: list[tuple[str, object]] = [
        ("id", spec.id),
        ("name", spec.name),
        ("state", _status(pod)),
        ("message", pod.message),
        ("vcpus", spec.vcpus),
        ("memory", f"{spec.memory_mib} MiB"),
        ("root", f"{spec.root_gib} GiB" if spec.root_gib else "tmpfs"),
        ("qemu pid", pod.qemu_pid),
    ]
    rows += [(f"container {c.name}", f"{c.image} ({c.state.value})") for c in pod.containers]
    rows += [(f"nic {n.mac}", ", ".join(n.addresses) or n.kind.value) for n in spec.nics]
    output.table(("FIELD", "VALUE"), rows)
    print()
    timeline(pod.timeline)
    return 0


def timeline(marks: tuple[Mark, ...]) -> None:
    """Print the stages of a start: when each was done, and how long it took."""
    rows, before = [], 0
    for mark in marks:
        took = (mark.at_ns - before) / _NS_PER_MS
        rows.append((mark.stage, f"{mark.at_ns / _NS_PER_MS:.1f}", f"{took:.1f}"))
        before = mark.at_ns
    output.table(("STAGE", "DONE AT (ms)", "TOOK (ms)"), rows)


def _logs(client: HyperClient, args: argparse.Namespace) -> int:
    data = client.console(args.pod, min(max(args.bytes, 0), _CONSOLE_BYTES))
    sys.stdout.buffer.write(data)
    sys.stdout.flush()
    return 0


def _start(client: HyperClient, args: argparse.Namespace) -> int:
    for ref in args.pod:
        client.start_pod(ref)
        print(ref)
    return 0


def _stop(client: HyperClient, args: argparse.Namespace) -> int:
    for ref in args.pod:
        client.stop_pod(ref, args.time, args.force)
        print(ref)
    return 0


def _rm(client: HyperClient, args: argparse.Namespace) -> int:
    failed = 0
    for ref in args.pod:
        pod = client.pod(ref)
        if pod.state is PodState.RUNNING and not args.force:
            output.progress(f"hyperctl: pod {ref} runs; stop it first, or use rm -f")
            failed = 1
            continue
        client.delete_pod(pod.spec.id)
        print(ref)
    return failed
