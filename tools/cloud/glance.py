"""Glance: its schema and its API."""

from __future__ import annotations

from cloud import command, service, wsgi
from cloud.service import Service
from cloud.site import Site


def definition(site: Site) -> Service:
    """Return Glance's service."""
    conf = site.etc / "glance"
    return wsgi.definition(
        site,
        "glance",
        "glance.wsgi.api",
        {"OS_GLANCE_CONFIG_DIR": str(conf)},
        inputs=(conf / "glance-api.conf",),
    )


def make_schema(site: Site) -> None:
    """Make the database's schema."""
    conf = str(site.etc / "glance/glance-api.conf")
    command.run(
        site, "schema-glance", (site.bin("glance-manage"), "--config-file", conf, "db_sync")
    )


def bring_up(site: Site) -> None:
    """Start Glance."""
    for directory in ("images", "staging", "tasks"):
        (site.var / "glance" / directory).mkdir(parents=True, exist_ok=True)
    service.bring_up(site, definition(site))
