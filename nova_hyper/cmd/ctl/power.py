"""``hyperctl pause``, ``unpause``, ``suspend``, ``resume``, ``crash-dump`` and ``diagnostics``."""

from __future__ import annotations

import argparse

from nova_hyper.client import HyperClient
from nova_hyper.cmd.ctl import output, verbs
from nova_hyper.spec import codec

_NS_PER_S = 1e9


def add(parser: verbs.Verbs[argparse.ArgumentParser]) -> None:
    """Add the verbs to the parser."""
    pause = verbs.add(
        parser,
        "pause",
        "stop the CPUs of running pods",
        lambda client, args: verbs.each(args.pod, client.pause_pod, args),
        description="Stop the CPUs of running pods. Their memory stays where it is.",
        examples=("hyperctl pause web", "hyperctl unpause web"),
    )
    unpause = verbs.add(
        parser,
        "unpause",
        "let paused pods run",
        lambda client, args: verbs.each(args.pod, client.unpause_pod, args),
        examples=("hyperctl unpause web",),
    )
    suspend = verbs.add(
        parser,
        "suspend",
        "save the memory of running pods to disk",
        lambda client, args: verbs.each(args.pod, client.suspend_pod, args),
        description="Save the memory of running pods to the disk of the host and end their "
        "micro-VMs. They come back where they were with 'resume', also after a boot of the host; "
        "'stop -f' discards the memory.",
        examples=("hyperctl suspend web", "hyperctl resume web"),
    )
    resume = verbs.add(
        parser,
        "resume",
        "bring suspended pods back to where they were",
        lambda client, args: verbs.each(args.pod, client.resume_pod, args),
        examples=("hyperctl resume web",),
    )
    dump = verbs.add(
        parser,
        "crash-dump",
        "make the kernels of pods panic, and keep their memory",
        lambda client, args: verbs.each(args.pod, client.crash_pod, args),
        description="Make the kernels of pods panic. Their memory is dumped on the host for "
        "'crash'; 'inspect' tells where, once a pod has crashed.",
        examples=("hyperctl crash-dump web", "hyperctl inspect web"),
    )
    for verb in (pause, unpause, suspend, resume, dump):
        verbs.add_pods(verb)
    counted = verbs.add(
        parser,
        "diagnostics",
        "show what the host counts of a pod",
        _diagnostics,
        description="Show what the host counts of a pod's micro-VM since its start; 'stats' "
        "shows what its containers use.",
        examples=("hyperctl diagnostics web", "hyperctl diagnostics -o json web"),
    )
    verbs.add_pod(counted)


def _diagnostics(client: HyperClient, args: argparse.Namespace) -> int:
    found = client.diagnostics(args.pod)
    if args.output != "table":
        output.show(codec.encode(found), args.output)
        return 0
    size, memory = output.size, found.memory
    used = "unknown" if memory.used_mib is None else f"{memory.used_mib} MiB"
    rows: list[tuple[str, object]] = [("memory", f"{used} of {memory.maximum_mib} MiB")]
    if memory.resident_mib is not None:
        rows.append(("memory on the host", f"{memory.resident_mib} MiB"))
    rows += [(f"cpu {c.id}", f"{c.time_ns / _NS_PER_S:.2f} s") for c in found.cpus]
    rows += [
        (f"disk {d.serial}", f"{size(d.read_bytes)} read, {size(d.write_bytes)} written")
        for d in found.disks
    ]
    rows += [
        (f"nic {n.mac}", f"{size(n.rx_bytes)} received, {size(n.tx_bytes)} sent")
        for n in found.nics
    ]
    output.table(("FIELD", "VALUE"), rows)
    return 0
