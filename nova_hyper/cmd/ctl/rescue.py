"""``hyperctl rescue`` and ``unrescue``."""

from __future__ import annotations

import argparse

from nova_hyper.client import HyperClient
from nova_hyper.cmd.ctl import verbs
from nova_hyper.spec.errors import Conflict, HyperError
from nova_hyper.spec.pod import Pod


def add(parser: verbs.Verbs[argparse.ArgumentParser]) -> None:
    """Add the verbs to the parser."""
    rescue = verbs.add(
        parser,
        "rescue",
        "boot another image in place of a pod, to repair it",
        _rescue,
        description="Stop a pod and boot an image in its place that has the root of the pod at "
        "/mnt/rescue, or those of its containers at /mnt/rescue/NAME. What is changed there is "
        "what the pod has after 'unrescue'; everything else that the rescue writes is gone then.",
        examples=("hyperctl rescue web", "hyperctl rescue --image tools:1 web"),
    )
    verbs.add_pod(rescue)
    verbs.completed(
        rescue.add_argument(
            "--image", metavar="IMAGE", help="what boots (default: the pod's first image)"
        ),
        verbs.image_names,
    )
    unrescue = verbs.add(
        parser,
        "unrescue",
        "end the rescue of pods and start them again",
        lambda client, args: verbs.each(args.pod, lambda ref: _unrescue(client, ref), args),
        examples=("hyperctl unrescue web",),
    )
    verbs.add_pods(unrescue)


def _rescue(client: HyperClient, args: argparse.Namespace) -> int:
    def begin(ref: str) -> None:
        pod = client.pod(ref)
        if pod.rescued is None and not pod.spec.root_gib:
            raise Conflict(
                f"pod {ref} has its root in memory, of which nothing is left to rescue once it is "
                "stopped"
            )
        client.stop_pod(ref)
        client.rescue_pod(ref, args.image)
        try:
            client.start_pod(ref)
        except HyperError as exc:
            client.unrescue_pod(ref)
            exc.message = f"{exc.message} (pod {ref} is out of rescue, and stopped)"
            raise

    return verbs.each([args.pod], begin, args)


def _unrescue(client: HyperClient, ref: str) -> Pod:
    if client.pod(ref).rescued is None:
        raise Conflict(f"pod {ref} is not in rescue")
    client.stop_pod(ref)
    client.unrescue_pod(ref)
    return client.start_pod(ref)
