"""``hyperctl run``: a pod from an image or an archive, in one command."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import time
import uuid
from pathlib import Path

from nova_hyper.client import HyperClient
from nova_hyper.cmd.ctl import images, output
from nova_hyper.spec import codec
from nova_hyper.spec.errors import HyperError, PodNotFound
from nova_hyper.spec.nic import Dns, Nic, NicKind, Route
from nova_hyper.spec.pod import Container, Pod, PodSpec, PodState

_POLL_S = 0.1
_CONSOLE_BYTES = 1 << 20
_OVERLAP = 4096
_FITS = 200


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the parser."""
    run = verbs.add_parser(
        "run",
        help="start a pod of one container",
        description="Start a pod of one container from an image of this host, or from an archive "
        "file, which is loaded first. Shows its output until it ends, and exits with its code.",
        epilog="examples: hyperctl run nginx.tar; "
        "hyperctl run -d --name web -m 64 busybox httpd -f -p 80",
    )
    run.add_argument("image", help="name or id of an image, or the path of an archive")
    run.add_argument("args", nargs=argparse.REMAINDER, help="replaces the image's Cmd")
    run.add_argument("--name", help="name of the pod (default: the image's and a number)")
    run.add_argument("-d", "--detach", action="store_true", help="print the id and return")
    run.add_argument("--rm", action="store_true", help="remove the pod when it ends")
    run.add_argument("-m", "--memory", type=int, default=128, metavar="MIB")
    run.add_argument("-c", "--vcpus", type=int, default=1)
    run.add_argument("--root", type=int, default=0, metavar="GIB", help="0: in memory")
    run.add_argument("-e", "--env", action="append", default=[], metavar="KEY=VALUE")
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
    run.set_defaults(run=_run)


def _run(client: HyperClient, args: argparse.Namespace) -> int:
    if Path(args.image).is_file():
        image = images.load_archive(client, args.image, None)
    else:
        image = client.image(args.image)
    # A name says more in what is listed later; the pod keeps the image's id beside it.
    spec = _spec(args, args.image if args.image in image.names else (*image.names, image.id)[0])
    try:
        client.create_pod(spec)
        pod = client.start_pod(spec.id)
    except BaseException:
        with contextlib.suppress(HyperError):
            client.delete_pod(spec.id)
        raise
    if args.detach:
        if args.output == "table":
            print(pod.spec.id)
        else:
            output.show(codec.encode(pod), args.output)
        return 0
    return _follow(client, pod, args.rm)


def _spec(args: argparse.Namespace, image: str) -> PodSpec:
    pod_id = str(uuid.uuid4())
    base = re.sub(r"[^a-z0-9]+", "-", images.name_of(Path(args.image)).lower()).strip("-")
    name = args.name or f"{base or 'pod'}-{pod_id[:6]}"
    command = [args.entrypoint] if args.entrypoint is not None else None
    container = Container(
        name="main",
        image=image,
        command=tuple(command) if command is not None else None,
        args=tuple(args.args) or None,
        env=tuple(args.env),
        user=args.user,
        working_dir=args.workdir,
    )
    return PodSpec(
        id=pod_id,
        name=name,
        containers=(container,),
        vcpus=args.vcpus,
        memory_mib=args.memory,
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


def _follow(client: HyperClient, pod: Pod, remove: bool) -> int:
    """Show the output until the pod ends; an interrupt stops it."""
    shown = b""
    try:
        while pod.state in (PodState.READY, PodState.RUNNING):
            shown = _show_new(client, pod.spec.id, shown)
            time.sleep(_POLL_S)
            pod = client.pod(pod.spec.id)
    except KeyboardInterrupt:
        output.progress("stopping the pod; once more to leave it running")
        pod = client.stop_pod(pod.spec.id)
    _show_new(client, pod.spec.id, shown)
    if pod.state is not PodState.STOPPED:
        output.progress(f"hyperctl: {pod.message}")
    code = 1 if pod.exit_code is None else pod.exit_code
    if remove:
        with contextlib.suppress(PodNotFound):
            client.delete_pod(pod.spec.id)
    return code


def _show_new(client: HyperClient, pod_id: str, shown: bytes) -> bytes:
    """Print what the console has beyond *shown*, and return what it ends with now."""
    data = client.console(pod_id, _CONSOLE_BYTES)
    sys.stdout.buffer.write(data[overlap(shown, data) :])
    sys.stdout.flush()
    return data


def overlap(before: bytes, now: bytes) -> int:
    """Return how much of the beginning of *now* is what *before* ends with.

    Both are the last part of one growing output, read one after the other.
    """
    if now.startswith(before):
        return len(before)
    # The beginning has gone: the least shift that fits.
    tail = before[-_OVERLAP:]
    end = len(now)
    for _ in range(_FITS):
        at = now.rfind(tail, 0, end)
        if at < 0:
            break
        common = at + len(tail)
        if before.endswith(now[:common]):
            return common
        end = common - 1
    return 0
