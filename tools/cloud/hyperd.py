"""hyperd: building the guest, the daemon, and stopping its pods."""

from __future__ import annotations

import json

from cloud import answers, command, service
from cloud.service import Service
from cloud.site import HYPERD_SOCKET, Site


def build_guest(site: Site) -> None:
    """Build the guest's kernel and initramfs, or find that they are built."""
    command.run(
        site,
        "guest-build",
        (site.bin("hyperctl"), *config_options(site), "guest", "build"),
        timeout_s=1800,
    )


def config_options(site: Site) -> tuple[str, str]:
    """Return the options that tell hyperd and hyperctl of the site's configuration."""
    return "--config-file", str(site.etc / "hyperd/hyperd.conf")


def definition(site: Site) -> Service:
    """Return hyperd's service."""
    code = site.repo / "nova_hyper"
    return Service(
        "hyperd",
        (site.bin("hyperd"), *config_options(site)),
        ready=answers.unix(HYPERD_SOCKET),
        inputs=(
            site.etc / "hyperd/hyperd.conf",
            code / "daemon",
            code / "spec",
            code / "conf.py",
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
        for pod in pods(site):
            command.run(site, "hyperctl", (site.bin("hyperctl"), "stop", pod), timeout_s=60)
    service.stop(site, "hyperd")


def pods(site: Site) -> list[str]:
    """Return the ids of the pods that run."""
    listed = command.output((site.bin("hyperctl"), "ps", "-o", "json"), timeout_s=30)
    found = json.loads(listed) if listed else []
    return [pod["spec"]["id"] for pod in found if pod["state"] in ("ready", "running")]
