"""Take the cloud down, and leave nothing of it but its data."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from cloud import hyperd, libvirt, neutron, openvswitch, plan, service
from cloud.plan import Clock, Step
from cloud.site import Site

DATA = ("etc", "log", "run", "var")
"""Directories that a purge removes; the virtual environment and the guest stay."""

LAST = ("mariadb", "rabbitmq", "epmd")
"""Stopped after everything that uses them, so that nobody waits for them in vain."""

OWN_WAY = {
    "hyperd",
    "libvirtd",
    "virtlogd",
    "ovs-vswitchd",
    "ovsdb-server",
    *neutron.AGENTS,
    *LAST,
}


def take_down(site: Site, clock: Clock, *, purge: bool = False) -> None:
    """Stop all pods and services, and remove bridges, taps and namespaces.

    :raises StepError: when something cannot be removed.
    """
    if not site.run.exists():
        clock.note(f"there is no cloud in {site.home}")
        return
    # nova-compute first: it would report the pods' end to Nova as their users' wish.
    service.stop(site, "nova-compute")
    services = [name for name in service.names(site) if name not in OWN_WAY]
    steps = [
        *(Step(f"{name} stopped", _stopper(site, name)) for name in services),
        Step("pods and hyperd stopped", lambda: hyperd.take_down(site)),
        Step("Neutron's agents stopped", lambda: neutron.take_down(site)),
    ]
    before = tuple(step.name for step in steps)
    steps += [
        Step("libvirt stopped", lambda: libvirt.take_down(site), ("pods and hyperd stopped",)),
        Step(
            "Open vSwitch stopped",
            lambda: openvswitch.take_down(site),
            ("libvirt stopped", "Neutron's agents stopped"),
        ),
        *(Step(f"{name} stopped", _stopper(site, name), before) for name in LAST[:2]),
    ]
    plan.carry_out(steps, clock)
    service.stop(site, "epmd")
    if purge:
        for name in DATA:
            shutil.rmtree(site.home / name, ignore_errors=True)
        clock.note(f"databases, images, pods and logs in {site.home} removed")


def _stopper(site: Site, name: str) -> Callable[[], None]:
    def stop() -> None:
        service.stop(site, name)

    return stop
