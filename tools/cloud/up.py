"""Bring the cloud up, from whatever state it is in."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path

from openstack.connection import Connection

from cloud import (
    bus,
    config,
    database,
    glance,
    hyperd,
    identity,
    libvirt,
    neutron,
    nova,
    openvswitch,
    placement,
    plan,
    resources,
)
from cloud.plan import Clock, Step
from cloud.site import Site

SCHEMA_OWNERS = ("keystone", "openstack-placement", "glance", "nova", "neutron")


def bring_up(site: Site, clock: Clock) -> Connection:
    """Bring up all services and make what a user needs; return the administrator's connection.

    What runs already, as it should, is left alone.

    :raises StepError: when something does not come up.
    """
    configure(site)
    stamp = _schema_stamp(site)
    schemas = [] if stamp.exists() else _schemas(site)
    plan.carry_out(plan.join(_infrastructure(site), schemas, _services(site)), clock)
    stamp.touch()
    cloud = identity.connect(site)
    plan.carry_out(_resources(site, cloud), clock)
    return cloud


def configure(site: Site) -> None:
    """Make the site's directories and configuration files."""
    site.make_directories()
    config.render(site, openvswitch.datapath_type())


def _infrastructure(site: Site) -> list[Step]:
    steps = [
        Step("MariaDB", lambda: database.bring_up(site)),
        Step("RabbitMQ", lambda: bus.bring_up(site)),
        Step("Open vSwitch", lambda: _switch(site)),
    ]
    if site.driver == "hyper":
        steps += [
            Step("libvirt", lambda: libvirt.bring_up(site)),
            Step("hyperd", lambda: hyperd.bring_up(site), ("libvirt",)),
        ]
    return steps


def _switch(site: Site) -> None:
    if openvswitch.bring_up(site):
        neutron.forget_dhcp(site)


def _schemas(site: Site) -> list[Step]:
    """Three chains side by side; Neutron's migrations alone take as long as each of the others."""
    return [
        Step("schema of Keystone", lambda: identity.make_schema(site), ("MariaDB",)),
        Step("schema of Neutron", lambda: neutron.make_schema(site), ("MariaDB",)),
        Step("schemas of Nova", lambda: nova.make_schema(site), ("MariaDB",)),
        Step("schema of Placement", lambda: placement.make_schema(site), ("schema of Keystone",)),
        Step("schema of Glance", lambda: glance.make_schema(site), ("schema of Placement",)),
    ]


def _services(site: Site) -> list[Step]:
    """Return the steps of the services; the schemas in them count only where they are made."""
    return [
        Step("Keystone", lambda: identity.bring_up(site), ("MariaDB", "schema of Keystone")),
        Step("users and catalogue", lambda: identity.fill_catalogue(site), ("Keystone",)),
        Step("Placement", lambda: placement.bring_up(site), ("MariaDB", "schema of Placement")),
        Step("Glance", lambda: glance.bring_up(site), ("MariaDB", "schema of Glance")),
        Step(
            "Neutron",
            lambda: neutron.bring_up_control(site),
            ("RabbitMQ", "MariaDB", "schema of Neutron"),
        ),
        # The conductor and the scheduler end at once when they cannot log in.
        Step(
            "Nova",
            lambda: nova.bring_up_control(site),
            ("RabbitMQ", "MariaDB", "schemas of Nova", "users and catalogue"),
        ),
        Step(
            "Neutron's agents started",
            lambda: neutron.bring_up_agents(site),
            ("Neutron", "Open vSwitch"),
        ),
        Step("nova-compute started", lambda: nova.bring_up_compute(site), ("Nova", "Placement")),
    ]


def _resources(site: Site, cloud: Connection) -> list[Step]:
    demo = identity.connect(site, "demo")
    return [
        Step("Neutron's agents", lambda: neutron.wait_for_agents(site, cloud)),
        Step("nova-compute", lambda: nova.wait_for_node(site, cloud)),
        Step("network", lambda: resources.make_network(cloud), ("Neutron's agents",)),
        Step("security groups", lambda: _open_ports(cloud, demo)),
        Step("flavors", lambda: resources.make_flavors(site, cloud)),
        Step("aggregate", lambda: resources.make_aggregate(site, cloud), ("nova-compute",)),
        Step("image", lambda: resources.upload_image(site, cloud)),
    ]


def _open_ports(*projects: Connection) -> None:
    for project in projects:
        resources.open_ports(project)


def _schema_stamp(site: Site) -> Path:
    """Return the file that says that the schemas are those of the software installed now."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in SCHEMA_OWNERS]
    digest = hashlib.sha256(" ".join(versions).encode()).hexdigest()[:16]
    return site.var / "mysql" / f"schemas-made-{digest}"
