"""hyperd: building the guest, the daemon, and stopping its pods."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from cloud import answers, command, libvirt, service
from cloud.service import Service
from cloud.site import HYPERD_SOCKET, Site

DOMAIN_PREFIX = "hyper-"
"""How the names of pods' libvirt domains begin; the default of hyperd.conf."""

CLOCK = r"^\[ *[0-9.]+ s\] "
"""hyperctl's own clock, before each line of progress; the quick start has one already."""


def build_guest(site: Site, heard: Callable[[str], None]) -> None:
    """Build the guest's kernel and initramfs, or find that they are built.

    *heard* gets a line for each stage of it.
    """

    def progress(line: str) -> None:
        heard(f"guest: {re.sub(CLOCK, '', line)}")

    command.run(
        site,
        "guest-build",
        (
            *(site.bin("hyperctl"), "guest", "build"),
            *("--directory", str(site.guest)),
            *("--source-dir", str(site.repo / "guest")),
        ),
        heard=progress,
        timeout_s=1800,
    )


def definition(site: Site) -> Service:
    """Return hyperd's service."""
    code = site.repo / "nova_hyper"
    return Service(
        "hyperd",
        (site.bin("hyperd"), "--config-file", str(site.etc / "hyperd/hyperd.conf")),
        ready=answers.unix(HYPERD_SOCKET),
        inputs=(
            site.etc / "hyperd/hyperd.conf",
            *(code / part for part in ("cmd", "daemon", "spec", "conf.py")),
        ),
    )


def bring_up(site: Site) -> None:
    """Start hyperd."""
    service.bring_up(site, definition(site))


def take_down(site: Site) -> None:
    """Stop all pods, then hyperd.

    The pods themselves stay: Nova starts them again when the cloud comes up.
    """
    if service.running_pid(site, "hyperd") is not None:
        running = pods(site)
        if running:
            stop = (site.bin("hyperctl"), "stop", "--time", "5")
            command.run(site, "hyperctl", (*stop, *running), timeout_s=120)
    service.stop(site, "hyperd")
    for domain in libvirt.domains():
        # Pods of a hyperd that died; status 1: it has ended by itself.
        if (site.var / "hyperd/pods" / domain.removeprefix(DOMAIN_PREFIX)).is_dir():
            virsh = ("virsh", "-c", libvirt.URI, "destroy", domain)
            command.run(site, "virsh", virsh, also=(1,))


def pods(site: Site) -> list[str]:
    """Return the ids of the pods that run."""
    listed = command.output((site.bin("hyperctl"), "ps", "-o", "json"), timeout_s=30)
    found = json.loads(listed) if listed else []
    return [pod["spec"]["id"] for pod in found]
