"""Configuration files, rendered from ``templates/``."""

from __future__ import annotations

import string
from pathlib import Path

from cloud import site as places
from cloud.site import ADDRESS, PORTS, Site

TEMPLATES = Path(__file__).parent / "templates"

FILES = {
    "keystone/keystone.conf": "keystone.conf",
    "placement/placement.conf": "placement.conf",
    "glance/glance-api.conf": "glance-api.conf",
    "nova/nova.conf": "nova.conf",
    "nova/nova-control.conf": "nova-control.conf",
    "nova/nova-compute.conf": "nova-compute.conf",
    "nova/policy.yaml": "nova-policy.yaml",
    "neutron/neutron.conf": "neutron.conf",
    "neutron/ml2.conf": "ml2.conf",
    "neutron/agent.conf": "neutron-agent.conf",
    "hyperd/hyperd.conf": "hyperd.conf",
    "rabbitmq/rabbitmq.conf": "rabbitmq.conf",
}

DATABASES = (
    "keystone",
    "placement",
    "glance",
    "neutron",
    "nova",
    "nova_api",
    "nova_cell0",
)

COMPUTE_DRIVERS = {"hyper": "hyper.HyperDriver", "fake": "fake.FakeDriverWithoutFakeNodes"}


def database_url(site: Site, name: str) -> str:
    """Return SQLAlchemy's URL of the database *name*."""
    socket = site.run / "mysql.sock"
    return f"mysql+pymysql://root@localhost/{name}?unix_socket={socket}&charset=utf8mb3"


def transport_url(site: Site) -> str:
    """Return the URL of the message bus."""
    password = site.passwords["bus"]
    return f"rabbit://nova-hyper:{password}@{ADDRESS}:{PORTS['bus']}/"


def values(site: Site, datapath_type: str) -> dict[str, str]:
    """Return what the templates may name.

    *datapath_type* is Open vSwitch's: ``system`` or ``netdev``.
    """
    nova_conf = site.etc / "nova"
    privsep = f"{site.bin('privsep-helper')} --config-file {nova_conf}/nova.conf"
    found = {
        "address": ADDRESS,
        "host": site.host,
        "dns_domain": places.DNS_DOMAIN,
        "etc": str(site.etc),
        "run": str(site.run),
        "var": str(site.var),
        "venv": str(site.venv),
        "guest": str(site.guest),
        "guest_source": str(site.repo / "guest"),
        "hyperd_socket": str(places.HYPERD_SOCKET),
        "ovsdb": places.OVSDB,
        "datapath_type": datapath_type,
        "compute_driver": COMPUTE_DRIVERS[site.driver],
        "transport_url": transport_url(site),
        "privsep_nova": f"{privsep} --config-file {nova_conf}/nova-compute.conf",
        "password_metadata": site.passwords["metadata"],
        "password_bus": site.passwords["bus"],
    }
    found |= {f"database_{name}": database_url(site, name) for name in DATABASES}
    found |= {f"port_{name}": str(port) for name, port in PORTS.items()}
    found |= {f"url_{name}": site.url(name) for name in ("keystone", "glance")}
    for user in ("placement", "glance", "nova", "neutron"):
        found[f"client_{user}"] = _client(site, user)
        found[f"token_{user}"] = "\n".join(
            (
                _client(site, user),
                f"www_authenticate_uri = {site.url('keystone')}/v3",
                "service_token_roles = service",
                "service_token_roles_required = true",
            )
        )
    return found


def render(site: Site, datapath_type: str) -> None:
    """Write all configuration files, and only those that change."""
    substitutions = values(site, datapath_type)
    for target, source in FILES.items():
        text = string.Template((TEMPLATES / source).read_text()).substitute(substitutions)
        write(site.etc / target, text)
    # uWSGI's entry point of Nova looks for its paste file beside nova.conf only.
    paste = (site.venv / "etc/nova/api-paste.ini").read_text()
    write(site.etc / "nova/api-paste.ini", paste)


def write(file: Path, text: str) -> None:
    """Write *text* to *file*, readable by root only, unless that is what is in it."""
    if file.exists() and file.read_text() == text:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.new")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(file)


def _client(site: Site, user: str) -> str:
    return "\n".join(
        (
            "auth_type = password",
            f"auth_url = {site.url('keystone')}/v3",
            f"username = {user}",
            f"password = {site.passwords['service']}",
            "project_name = service",
            "user_domain_id = default",
            "project_domain_id = default",
            f"region_name = {places.REGION}",
        )
    )
