"""Placement: its schema and its API."""

from __future__ import annotations

from cloud import command, service, wsgi
from cloud.service import Service
from cloud.site import Site


def definition(site: Site) -> Service:
    """Return Placement's service."""
    conf = site.etc / "placement"
    return wsgi.definition(
        site,
        "placement",
        "placement.wsgi.api",
        {"OS_PLACEMENT_CONFIG_DIR": str(conf)},
        inputs=(conf / "placement.conf",),
    )


def make_schema(site: Site) -> None:
    """Make the database's schema."""
    conf = str(site.etc / "placement/placement.conf")
    command.run(
        site,
        "schema-placement",
        (site.bin("placement-manage"), "--config-file", conf, "db", "sync"),
    )


def bring_up(site: Site) -> None:
    """Start Placement."""
    service.bring_up(site, definition(site))
