"""Keystone: its schema, its API, and the catalogue of the cloud."""

from __future__ import annotations

from typing import Any

import openstack

from cloud import command, service, wsgi
from cloud.service import Service
from cloud.site import REGION, Site

SERVICES = {
    "placement": "placement",
    "glance": "image",
    "nova": "compute",
    "neutron": "network",
}
"""User and service name, and service type."""


def definition(site: Site) -> Service:
    """Return Keystone's service."""
    conf = site.etc / "keystone"
    return wsgi.definition(
        site,
        "keystone",
        "keystone.wsgi.api",
        {"OS_KEYSTONE_CONFIG_DIR": str(conf)},
        inputs=(conf / "keystone.conf",),
        path="/v3",
    )


def make_schema(site: Site) -> None:
    """Make the database's schema, the keys, the administrator and Keystone's own endpoints."""
    manage = (site.bin("keystone-manage"), "--config-dir", str(site.etc / "keystone"))
    root = ("--keystone-user", "root", "--keystone-group", "root")
    url = f"{site.url('keystone')}/v3"
    command.run(site, "schema-keystone", (*manage, "db_sync"))
    command.run(site, "schema-keystone", (*manage, "fernet_setup", *root))
    command.run(site, "schema-keystone", (*manage, "credential_setup", *root))
    command.run(
        site,
        "schema-keystone",
        (
            *manage,
            "bootstrap",
            *("--bootstrap-public-url", url),
            *("--bootstrap-internal-url", url),
            *("--bootstrap-admin-url", url),
            *("--bootstrap-region-id", REGION),
        ),
        env={"OS_BOOTSTRAP_PASSWORD": site.passwords["admin"]},
    )


def bring_up(site: Site) -> None:
    """Start Keystone."""
    service.bring_up(site, definition(site))


def connect(site: Site, user: str = "admin") -> openstack.connection.Connection:
    """Return a connection to the cloud as *user* (``admin`` or ``demo``), in their project."""
    return openstack.connection.Connection(
        auth={
            "auth_url": f"{site.url('keystone')}/v3",
            "username": user,
            "password": site.passwords[user],
            "project_name": user,
            "user_domain_id": "default",
            "project_domain_id": "default",
        },
        region_name=REGION,
        compute_default_microversion="2.96",
        placement_default_microversion="1.39",
        app_name="nova-hyper-cloud",
    )


def fill_catalogue(site: Site) -> None:
    """Make the services' users and endpoints, and the project ``demo`` with its user."""
    identity: Any = connect(site).identity
    roles = {role.name: role for role in identity.roles()}
    project = identity.find_project("service") or identity.create_project(
        name="service", domain_id="default"
    )
    registered = {entry.type for entry in identity.services()}
    for name, kind in SERVICES.items():
        user = _user(identity, name, site.passwords["service"], project.id)
        for role in ("admin", "service"):
            identity.assign_project_role_to_user(project, user, roles[role])
        if kind not in registered:
            entry = identity.create_service(name=name, type=kind)
            for interface in ("public", "internal", "admin"):
                identity.create_endpoint(
                    service_id=entry.id,
                    interface=interface,
                    url=site.url(name),
                    region_id=REGION,
                )
    demo = identity.find_project("demo") or identity.create_project(
        name="demo", domain_id="default"
    )
    user = _user(identity, "demo", site.passwords["demo"], demo.id)
    identity.assign_project_role_to_user(demo, user, roles["member"])


def _user(identity: Any, name: str, password: str, project_id: str) -> Any:
    return identity.find_user(name) or identity.create_user(
        name=name, password=password, domain_id="default", default_project_id=project_id
    )
