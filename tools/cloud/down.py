"""Take the cloud down, and leave nothing of it but its data."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from cloud import host_port, hyperd, libvirt, neutron, openvswitch, plan, service
from cloud.plan import Clock, Step
from cloud.site import Site

DATA = ("etc", "log", "run", "tempest", "var")
"""Directories that a purge removes; the virtual environment and the guest stay."""

SERVERS = ("mariadb", "rabbitmq")
"""Stopped after everything that uses them, so that nobody waits for them in vain."""

OWN_WAY = ("hyperd", "libvirtd", "virtlogd", "ovs-vswitchd", "ovsdb-server", "epmd", *SERVERS)
"""Services whose end is a step of its own."""


def take_down(site: Site, clock: Clock, *, purge: bool = False) -> None:
    """Stop all pods and services, and remove bridges, taps and namespaces.

    :raises StepError: when something cannot be removed.
    """
    if not site.run.exists():
        clock.note(f"there is no cloud in {site.home}")
        return
    plan.carry_out(_steps(site), clock)
    service.stop(site, "epmd")
    if purge:
        for name in DATA:
            shutil.rmtree(site.home / name, ignore_errors=True)
        clock.note(f"databases, images, pods and logs in {site.home} removed")


def _steps(site: Site) -> list[Step]:
    plain = [name for name in service.names(site) if name not in OWN_WAY]
    stops = [Step(name, _stopper(site, name)) for name in plain]
    rest = [
        # nova-compute first: it would tell Nova that the pods' users had stopped them.
        Step("pods and hyperd", lambda: hyperd.take_down(site), ("nova-compute",)),
        Step("namespaces", lambda: neutron.remove_namespaces(site), neutron.AGENTS),
        Step("libvirt", lambda: libvirt.take_down(site), ("pods and hyperd",)),
        Step("host's port", lambda: host_port.unplug(site), neutron.AGENTS),
        Step(
            "Open vSwitch",
            lambda: openvswitch.take_down(site),
            ("libvirt", "namespaces", "host's port"),
        ),
        *(Step(name, _stopper(site, name), tuple(plain)) for name in SERVERS),
    ]
    return plan.join(stops, rest)


def _stopper(site: Site, name: str) -> Callable[[], None]:
    def stop() -> None:
        service.stop(site, name)

    return stop
