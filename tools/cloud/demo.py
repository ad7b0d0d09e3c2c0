"""The first pod: boot it, and show what it printed and where the time went."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from openstack.connection import Connection
from openstack.exceptions import SDKException

from cloud import command, plan, resources
from cloud.failure import CloudError
from cloud.plan import Clock
from cloud.site import Site

NAME = "demo"
FLAVOR = "hyper.nano"
CONSOLE_TIMEOUT_S = 60


def boot(site: Site, cloud: Connection, clock: Clock) -> Any:
    """Return the server ``demo``, running; make it, or start it, if need be.

    :raises CloudError: with the server's fault when it does not become ACTIVE.
    """
    server = cloud.compute.find_server(NAME)
    begin = clock.elapsed()
    if server is not None and server.status == "ERROR":
        cloud.compute.delete_server(server)
        cloud.compute.wait_for_delete(server, interval=0.3)
        server = None
    if server is None:
        clock.note(f"openstack server create --image {resources.IMAGE} --flavor {FLAVOR} {NAME}")
        server = cloud.compute.create_server(
            name=NAME,
            image_id=cloud.image.find_image(resources.IMAGE, ignore_missing=False).id,
            flavor_id=cloud.compute.find_flavor(FLAVOR, ignore_missing=False).id,
            networks=[{"uuid": _network(cloud)}],
        )
    else:
        server = cloud.compute.get_server(server)
        if server.status == "SHUTOFF":
            clock.note(f"openstack server start {NAME}")
            cloud.compute.start_server(server)
    try:
        server = cloud.compute.wait_for_server(server, wait=120, interval=0.3)
    except SDKException as exc:
        fault = (cloud.compute.get_server(server).fault or {}).get("message", str(exc))
        raise CloudError(
            f"The server {NAME} did not start: {fault}", site.log / "nova-compute.log"
        ) from exc
    clock.done(f"server {NAME} is ACTIVE", clock.elapsed() - begin)
    return server


def console(cloud: Connection, server: Any) -> str:
    """Return what the container has printed, once it has printed something."""
    printed: list[str] = []

    def prints() -> bool:
        printed[:] = [cloud.compute.get_server_console_output(server)["output"] or ""]
        return bool(printed[0].strip())

    plan.until("a word on the server's console", prints, timeout_s=CONSOLE_TIMEOUT_S)
    return printed[0]


def timeline(site: Site, server: Any) -> list[tuple[str, float]]:
    """Return the stages of the pod's start with the milliseconds at which each was done."""
    shown = command.output((site.bin("hyperctl"), "inspect", server.id, "-o", "json"))
    if shown is None:
        raise CloudError(f"hyperctl does not know the pod {server.id}.", site.log / "hyperd.log")
    marks = json.loads(shown)["timeline"]
    return [(mark["stage"], mark["at_ns"] / 1e6) for mark in marks]


def show(site: Site, cloud: Connection, clock: Clock, say: Callable[[str], None]) -> None:
    """Boot the first pod, and say what it printed and how its start went."""
    server = boot(site, cloud, clock)
    say("")
    say(f"Console of {NAME} ({', '.join(addresses(server))}):")
    for line in console(cloud, server).splitlines():
        say(f"    {line}")
    if site.driver != "hyper":
        return
    say("")
    say("Its start, as hyperd saw it:")
    before = 0.0
    for stage, at_ms in timeline(site, server):
        say(f"    {stage:<32} {at_ms:9.1f} ms  (+{at_ms - before:.1f})")
        before = at_ms


def addresses(server: Any) -> list[str]:
    """Return the addresses of *server*, of all its networks."""
    return [entry["addr"] for entries in server.addresses.values() for entry in entries]


def _network(cloud: Connection) -> str:
    network: Any = cloud.network.find_network(resources.NETWORK, ignore_missing=False)
    return str(network.id)
