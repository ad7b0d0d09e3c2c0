"""``hyperctl ps`` and ``inspect``."""

from __future__ import annotations

import argparse

from nova_hyper.client import HyperClient
from nova_hyper.cmd.ctl import output, verbs
from nova_hyper.spec import codec
from nova_hyper.spec.container import ContainerStatus
from nova_hyper.spec.pod import Mark, Pod, PodState

_NS_PER_MS = 1e6
_DOWN = (PodState.STOPPED, PodState.CRASHED)


def add(parser: verbs.Verbs[argparse.ArgumentParser]) -> None:
    """Add the verbs to the parser."""
    ps = verbs.add(
        parser,
        "ps",
        "list pods",
        _ps,
        examples=("hyperctl ps -a", "hyperctl ps -o json", "hyperctl ps -q"),
    )
    ps.add_argument("-a", "--all", action="store_true", help="also those that do not run")
    ps.add_argument("-q", "--quiet", action="store_true", help="only the ids")
    inspect = verbs.add(
        parser,
        "inspect",
        "show a pod, with the timeline of its start",
        _inspect,
        examples=("hyperctl inspect web", "hyperctl inspect -o yaml web"),
    )
    verbs.add_pod(inspect)


def _ps(client: HyperClient, args: argparse.Namespace) -> int:
    pods = [p for p in client.pods() if args.all or p.state not in _DOWN]
    if args.quiet:
        for pod in pods:
            print(pod.spec.id)
    elif args.output != "table":
        output.show(codec.encode(pods), args.output)
    else:
        output.table(
            ("POD ID", "NAME", "IMAGES", "STATUS", "CREATED", "ADDRESSES"),
            [
                (
                    output.short(p.spec.id),
                    p.spec.name,
                    ", ".join(c.image for c in p.spec.containers),
                    status(p),
                    output.ago(p.created_at),
                    ", ".join(a for n in p.spec.nics for a in n.addresses),
                )
                for p in pods
            ],
        )
    return 0


def status(pod: Pod) -> str:
    """Return a pod's state in a few words."""
    if pod.state is PodState.RUNNING:
        return f"running since {output.ago(pod.started_at)}"
    if pod.state is PodState.STOPPED and pod.exit_code is not None:
        return f"stopped ({pod.exit_code}) {output.ago(pod.stopped_at)}"
    return pod.state.value


def _container(container: ContainerStatus) -> str:
    words = [container.state.value]
    if container.exit_code is not None:
        words.append(f"exit code {container.exit_code}")
    if container.restarts:
        words.append(f"{container.restarts} restart{'s' if container.restarts != 1 else ''}")
    words += [word for word in (container.health, container.reason, container.message) if word]
    return f"{container.image} ({', '.join(words)})"


def _inspect(client: HyperClient, args: argparse.Namespace) -> int:
    pod = client.pod(args.pod)
    if args.output != "table":
        output.show({**codec.encode(pod), "id": pod.spec.id, "name": pod.spec.name}, args.output)
        return 0
    spec = pod.spec
    rows: list[tuple[str, object]] = [
        ("id", spec.id),
        ("name", spec.name),
        ("state", status(pod)),
        ("message", pod.message),
        ("vcpus", spec.vcpus),
        ("memory", f"{spec.memory_mib} MiB"),
        ("root", f"{spec.root_gib} GiB" if spec.root_gib else "tmpfs"),
        ("qemu pid", pod.qemu_pid),
    ]
    rows += [
        (f"{'init ' if c.init else ''}container {c.name}", _container(c)) for c in pod.containers
    ]
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
