"""``hyperctl run``: a pod from an image, an archive or a manifest, in one command."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import re
import sys
import time
import uuid
from pathlib import Path

from nova_hyper.client import HyperClient, logs
from nova_hyper.client.protocol import Session
from nova_hyper.cmd.ctl import manifests, output, terminal, transfer, verbs
from nova_hyper.cmd.ctl.logs import Printer
from nova_hyper.spec import codec
from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import HyperError, InvalidRequest, PodNotFound
from nova_hyper.spec.image import Image
from nova_hyper.spec.nic import Dns, Nic, NicKind, Route
from nova_hyper.spec.pod import Pod, PodSpec, PodState

_POLL_S = 0.1
_ENDED = (PodState.STOPPED, PodState.CRASHED, PodState.DELETING)
_MEMORY_MIB = 128


def add(parser: verbs.Verbs[argparse.ArgumentParser]) -> None:
    """Add the verb to the parser."""
    run = verbs.add(
        parser,
        "run",
        "start a pod: an image, an archive, or a Kubernetes Pod manifest",
        _run,
        description="Start a pod of one container from an image of this host or from an archive "
        "file, which is loaded first; or one of several containers from a Pod manifest (YAML). "
        "Shows the output until the pod ends, and exits with its code. Of several containers "
        "every line begins with the container's name.",
        examples=(
            "hyperctl run nginx.tar",
            "hyperctl run -d --name web -m 64 busybox httpd -f -p 80",
            "hyperctl run -it --rm busybox sh",
            "hyperctl run pod.yaml",
            "hyperctl run --dry-run pod.yaml",
            "hyperctl run -d - <pod.yaml",
        ),
    )
    run.add_argument(
        "image",
        help="name or id of an image, or the path of an archive or of a Pod manifest (- is a "
        "manifest on standard input)",
    )
    run.add_argument("args", nargs=argparse.REMAINDER, help="replaces the image's Cmd")
    run.add_argument("--name", help="name of the pod (default: the image's and a number)")
    run.add_argument("-i", "--interactive", action="store_true", help="send our standard input")
    run.add_argument("-t", "--tty", action="store_true", help="give it a terminal")
    run.add_argument("-d", "--detach", action="store_true", help="print the id and return")
    run.add_argument("--rm", action="store_true", help="remove the pod when it ends; not with -d")
    run.add_argument(
        "--dry-run", action="store_true", help="print the pod's specification and make nothing"
    )
    run.add_argument(
        "-m", "--memory", type=int, metavar="MIB", help="default: 128, or what a manifest needs"
    )
    run.add_argument("-c", "--vcpus", type=int, help="default: 1, or what a manifest needs")
    run.add_argument("--root", type=int, default=0, metavar="GIB", help="0: in memory")
    run.add_argument("-e", "--env", action="append", default=[], metavar="KEY[=VALUE]")
    run.add_argument("--entrypoint", help="replaces the image's Entrypoint")
    run.add_argument("-u", "--user", help="user[:group], names or numbers of the image")
    run.add_argument("-w", "--workdir")
    run.add_argument("--hostname", default="")
    run.add_argument(
        "--bridge", help="Linux bridge for a network interface (see also --ovs, --address)"
    )
    run.add_argument("--ovs", action="store_true", help="--bridge is an Open vSwitch bridge")
    run.add_argument(
        "--no-offload",
        action="store_true",
        help="no checksum offload: for Open vSwitch with datapath_type=netdev",
    )
    run.add_argument("--address", action="append", default=[], metavar="CIDR")
    run.add_argument("--gateway", help="default route")
    run.add_argument("--dns", action="append", default=[], metavar="ADDRESS")


def _run(client: HyperClient, args: argparse.Namespace) -> int:
    if args.rm and args.detach:
        args.misused("--rm is done by hyperctl itself, so it cannot be given with -d")
    file = manifests.find(args.image)
    spec = _of_image(client, args) if file is None else _of_manifest(client, args, file)
    if args.dry_run:
        output.show(codec.encode(spec), "yaml" if args.output == "table" else args.output)
        return 0
    join = (args.interactive or args.tty) and not args.detach
    session: Session | None = None
    try:
        client.create_pod(spec)
        if join:  # before it starts, so that nothing of it is missed
            session = client.attach(spec.id, stdin=args.interactive)
        pod = client.start_pod(spec.id)
    except BaseException:
        if session is not None:
            session.close()
        with contextlib.suppress(HyperError):
            client.delete_pod(spec.id)
        raise
    if args.detach:
        if args.output == "table":
            print(pod.spec.id)
        else:
            output.show(codec.encode(pod), args.output)
        return 0
    if session is None:
        _follow(client, pod)
    elif not _join(session, args):
        output.progress("hyperctl: detached; the pod goes on")
        return 0
    return _end(client, pod.spec.id, args.rm)


def _join(session: Session, args: argparse.Namespace) -> bool:
    raw = args.tty and args.interactive
    if args.tty:
        session.resize(terminal.size())
    return terminal.join(
        session, stdin=args.interactive, raw=raw, detach=terminal.DETACH if raw else b""
    )


def _of_image(client: HyperClient, args: argparse.Namespace) -> PodSpec:
    if args.tty and args.interactive and not args.detach and not sys.stdin.isatty():
        raise InvalidRequest("-t needs a terminal, and standard input is none; use -i only")
    if args.dry_run:
        name = args.image
    elif Path(args.image).is_file():
        name = _name(transfer.load_archive(client, args.image, None), args.image)
    else:
        name = _name(client.image(args.image), args.image)
    base = transfer.name_of(Path(args.image))
    pod = _base(args, args.name, base, args.memory or _MEMORY_MIB, args.vcpus or 1)
    container = Container(
        name="main",
        image=name,
        command=None if args.entrypoint is None else (args.entrypoint,),
        args=tuple(args.args) or None,
        env=(*(("TERM=xterm",) if args.tty else ()), *verbs.environment(args.env)),
        user=args.user,
        working_dir=args.workdir,
        stdin=args.interactive,
        tty=args.tty,
    )
    return dataclasses.replace(pod, containers=(container,))


def _name(image: Image, wanted: str) -> str:
    # A name says more in what is listed later; the pod keeps the image's id beside it.
    return wanted if wanted in image.names else (*image.names, image.id)[0]


def _of_manifest(client: HyperClient, args: argparse.Namespace, file: manifests.File) -> PodSpec:
    for option in ("args", "env", "entrypoint", "user", "workdir", "interactive", "tty"):
        if getattr(args, option):
            args.misused(f"{option} cannot be given with a Pod manifest, which says it itself")
    manifest, memory_mib, vcpus = manifests.read(file, args.memory, args.vcpus)
    if args.dry_run:
        found = tuple(r.name for r in manifest.references)
    else:
        found = manifests.fetch(client, manifest, file.directory)
    base = Path(args.image).stem if args.image != "-" else "pod"
    pod = _base(args, args.name or manifest.name, base, memory_mib, vcpus)
    return manifest.complete(pod, found)


def _base(
    args: argparse.Namespace, name: str | None, base: str, memory_mib: int, vcpus: int
) -> PodSpec:
    """Return a pod without containers, as the command line has it."""
    pod_id = str(uuid.uuid4())
    base = re.sub(r"[^a-z0-9]+", "-", base.lower()).strip("-") or "pod"
    return PodSpec(
        id=pod_id,
        name=name or f"{base}-{pod_id[:6]}",
        containers=(),
        vcpus=vcpus,
        memory_mib=memory_mib,
        root_gib=args.root,
        hostname=args.hostname,
        nics=_nics(args, pod_id),
        dns=Dns(nameservers=tuple(args.dns)),
    )


def _nics(args: argparse.Namespace, pod_id: str) -> tuple[Nic, ...]:
    if not args.bridge:
        return ()
    digits = pod_id.replace("-", "")
    # Locally administered, in the range that KVM and QEMU use.
    mac = "52:54:00:" + ":".join(digits[i : i + 2] for i in (0, 2, 4))
    routes = (Route("0.0.0.0/0", args.gateway),) if args.gateway else ()
    return (
        Nic(
            mac=mac,
            kind=NicKind.OVS if args.ovs else NicKind.BRIDGE,
            bridge=args.bridge,
            interface_id=pod_id if args.ovs else "",
            offload=not args.no_offload,
            addresses=tuple(args.address),
            routes=routes,
        ),
    )


def _follow(client: HyperClient, pod: Pod) -> None:
    """Show the output until the pod ends; an interrupt stops it."""
    printer = Printer(names=len(pod.containers) > 1)
    try:
        for line in logs.follow(client, pod.spec.id):
            printer.show(line)
            printer.flush()
    except KeyboardInterrupt:
        output.progress("stopping the pod; once more to leave it running")
        client.stop_pod(pod.spec.id)
    printer.end()


def _end(client: HyperClient, pod_id: str, remove: bool) -> int:
    """Return the exit code of a pod that ends, and remove it where that is wanted."""
    pod = _ended(client, pod_id)
    if pod.state is not PodState.STOPPED or (pod.exit_code and len(pod.containers) > 1):
        output.progress(f"hyperctl: {pod.message}")
    code = 1 if pod.exit_code is None else pod.exit_code
    if remove:
        with contextlib.suppress(PodNotFound):
            client.delete_pod(pod.spec.id)
    return code


def _ended(client: HyperClient, pod_id: str) -> Pod:
    """Return the pod once it is down: the log may end a moment earlier."""
    while (pod := client.pod(pod_id)).state not in _ENDED:
        time.sleep(_POLL_S)
    return pod
