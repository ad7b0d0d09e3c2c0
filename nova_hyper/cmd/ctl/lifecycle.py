"""``hyperctl start``, ``stop``, ``restart``, ``kill``, ``rm``, ``prune`` and ``wait``."""

from __future__ import annotations

import argparse
import math
import sys
import time

from nova_hyper.client import HyperClient
from nova_hyper.cmd.ctl import output, verbs
from nova_hyper.spec.errors import Conflict, DaemonUnavailable, InvalidRequest
from nova_hyper.spec.pod import Pod, PodState

_DOWN = (PodState.STOPPED, PodState.CRASHED)
# What a removal would lose without a warning.
_LIVE = (PodState.RUNNING, PodState.PAUSED, PodState.SUSPENDED)
_WAIT_S = 20.0
_PAUSE_S = 1.0


def add(parser: verbs.Verbs[argparse.ArgumentParser]) -> None:
    """Add the verbs to the parser."""
    start = verbs.add(
        parser, "start", "start stopped pods", _start, examples=("hyperctl start web db",)
    )
    verbs.add_pods(start)

    stop = verbs.add(
        parser,
        "stop",
        "stop pods",
        _stop,
        description="Stop pods: the stop signal of their images, the grace period, then SIGKILL.",
        examples=("hyperctl stop web", "hyperctl stop -t 2 web db", "hyperctl stop -a"),
    )
    _add_stop_options(stop)

    restart = verbs.add(
        parser,
        "restart",
        "stop pods and start them again",
        _restart,
        description="Stop pods as 'stop' does and start them again. What they wrote to memory "
        "(pods with --root 0) is gone.",
        examples=("hyperctl restart web",),
    )
    _add_stop_options(restart)

    kill = verbs.add(
        parser,
        "kill",
        "send a signal to containers",
        _kill,
        description="Send a signal to the process of each container of a pod, or of one. A "
        "container that ends by it is restarted where the pod says so.",
        examples=("hyperctl kill web", "hyperctl kill -s HUP -c nginx web"),
    )
    kill.add_argument("-s", "--signal", default="SIGKILL", help="name or number (%(default)s)")
    verbs.add_container(kill, "all of them")
    verbs.add_pods(kill)

    rm = verbs.add(
        parser,
        "rm",
        "remove pods",
        _rm,
        examples=("hyperctl rm web", "hyperctl rm -f web db", "hyperctl rm -a"),
    )
    rm.add_argument("-f", "--force", action="store_true", help="also pods that run")
    _add_all(rm, "all pods, with -f also those that run")

    prune = verbs.add(
        parser,
        "prune",
        "remove all pods that do not run",
        _prune,
        description="Remove all pods that do not run; 'hyperctl image prune' is for images.",
        examples=("hyperctl prune", "hyperctl prune -f"),
    )
    prune.add_argument("-f", "--force", action="store_true", help="do not ask")

    wait = verbs.add(
        parser,
        "wait",
        "wait until pods end, and print their exit codes",
        _wait,
        description="Wait until each pod has ended and print its exit code; 1 for one whose "
        "micro-VM crashed. Also over restarts of hyperd.",
        examples=("hyperctl wait job", "code=$(hyperctl wait job)"),
    )
    verbs.add_pods(wait)


def _add_all(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("-a", "--all", action="store_true", help=text)
    verbs.add_pods(parser, "*")


def _add_stop_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-t", "--time", type=int, help="seconds of grace (default: hyperd's)")
    parser.add_argument("-f", "--force", action="store_true", help="end the micro-VM at once")
    _add_all(parser, "all pods that run")


def _asked(
    client: HyperClient, args: argparse.Namespace, states: tuple[PodState, ...] | None
) -> list[str]:
    """Return what is asked for by name, or with ``-a`` the pods in *states* (None: in any)."""
    if bool(args.pod) == args.all:
        args.misused("name pods, or use -a for all of them")
    if not args.all:
        return list(args.pod)
    return [p.spec.name for p in client.pods() if states is None or p.state in states]


def _start(client: HyperClient, args: argparse.Namespace) -> int:
    return verbs.each(args.pod, client.start_pod, args)


def _stop(client: HyperClient, args: argparse.Namespace) -> int:
    refs = _asked(client, args, (PodState.READY, PodState.RUNNING, PodState.PAUSED))
    return verbs.each(refs, lambda ref: _stop_one(client, ref, args), args)


def _stop_one(client: HyperClient, ref: str, args: argparse.Namespace) -> Pod:
    grace_s = args.time
    if grace_s is None and not args.force:
        # Said, so that the answer is waited for as long as that may take.
        own = client.pod(ref).spec.termination_grace_s
        grace_s = None if own is None else math.ceil(own)
    return client.stop_pod(ref, grace_s, args.force)


def _restart(client: HyperClient, args: argparse.Namespace) -> int:
    def restart(ref: str) -> Pod:
        _stop_one(client, ref, args)
        return client.start_pod(ref)

    return verbs.each(_asked(client, args, (PodState.READY, PodState.RUNNING)), restart, args)


def _kill(client: HyperClient, args: argparse.Namespace) -> int:
    signal = str(args.signal).upper()
    return verbs.each(args.pod, lambda ref: client.kill_pod(ref, signal, args.container), args)


def _rm(client: HyperClient, args: argparse.Namespace) -> int:
    def remove(ref: str) -> None:
        pod = client.pod(ref)
        if pod.state in _LIVE and not args.force:
            runs = "runs" if pod.state is PodState.RUNNING else f"is {pod.state}"
            raise Conflict(f"pod {ref} {runs}; stop it first, or use rm -f")
        client.delete_pod(pod.spec.id)

    return verbs.each(_asked(client, args, None if args.force else _DOWN), remove, args)


def _prune(client: HyperClient, args: argparse.Namespace) -> int:
    stopped = [p for p in client.pods() if p.state in _DOWN]
    names = [p.spec.name for p in stopped]
    if names and not args.force:
        if not sys.stdin.isatty():
            raise InvalidRequest("removing pods is not asked about here; use prune -f")
        output.progress(f"This removes {', '.join(names)} and all they wrote. Go on? [y/N] ")
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            return 1
    return verbs.each(names, client.delete_pod, args)


def _wait(client: HyperClient, args: argparse.Namespace) -> int:
    ids = [client.pod(ref).spec.id for ref in args.pod]
    codes = []
    for pod_id in ids:
        pod = _ended(client, pod_id)
        codes.append(1 if pod.exit_code is None else pod.exit_code)
        if args.output == "table":
            print(codes[-1], flush=True)
    if args.output != "table":
        output.show(dict(zip(args.pod, codes, strict=True)), args.output)
    return 0


def _ended(client: HyperClient, pod_id: str) -> Pod:
    """Return a pod once it has ended.

    :raises PodNotFound: when it is removed.
    """
    while True:
        try:
            # Asked for first: what happens after it is an event that ends the wait.
            last = client.events(-1, 0).last
            pod = client.pod(pod_id)
            if pod.state in _DOWN:
                return pod
            client.events(last, _WAIT_S)
        except DaemonUnavailable:
            time.sleep(_PAUSE_S)
