"""Nova: its schemas, the control services, and nova-compute."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from openstack.connection import Connection

from cloud import answers, command, config, plan, service, wsgi
from cloud.heartbeat import heartbeat
from cloud.service import Service
from cloud.site import ADDRESS, PORTS, Site


def make_schema(site: Site) -> None:
    """Make the schemas of the API, of cell 0 and of the cell, and map the cells."""
    conf = site.etc / "nova"
    manage = (
        site.bin("nova-manage"),
        "--config-file",
        str(conf / "nova.conf"),
        "--config-file",
        str(conf / "nova-control.conf"),
    )
    cell0 = config.database_url(site, "nova_cell0")
    for arguments in (
        ("api_db", "sync"),
        ("cell_v2", "map_cell0", "--database_connection", cell0),
        ("db", "sync"),
    ):
        command.run(site, "schema-nova", (*manage, *arguments))
    # Status 2 says that there is such a cell.
    create = ("cell_v2", "create_cell", "--name", "cell1")
    command.run(site, "schema-nova", (*manage, *create), also=(2,))


def control(site: Site) -> tuple[Service, ...]:
    """Return the services of the APIs, the conductor, the scheduler and the serial proxy."""
    conf = site.etc / "nova"
    files = (conf / "nova.conf", conf / "nova-control.conf")
    env = {
        "OS_NOVA_CONFIG_DIR": str(conf),
        "OS_NOVA_CONFIG_FILES": "api-paste.ini;nova.conf;nova-control.conf",
    }
    options = tuple(part for file in files for part in ("--config-file", str(file)))
    # Our extra specs are checked by the API: see the entry points in setup.cfg.
    ours = (site.repo / "nova_hyper/virt/extra_specs.py", site.repo / "setup.cfg")
    return (
        wsgi.definition(site, "nova", "nova.wsgi.osapi_compute", env, inputs=(*files, *ours)),
        wsgi.definition(site, "metadata", "nova.wsgi.metadata", env, inputs=files),
        Service("nova-conductor", (site.bin("nova-conductor"), *options), inputs=files),
        Service("nova-scheduler", (site.bin("nova-scheduler"), *options), inputs=files),
        Service(
            "nova-serialproxy",
            (site.bin("nova-serialproxy"), *options),
            # The one service of Nova that still takes eventlet unless it is told not to.
            env={"OS_NOVA_DISABLE_EVENTLET_PATCHING": "true"},
            ready=answers.tcp(ADDRESS, PORTS["serialproxy"]),
            inputs=files,
        ),
    )


def compute(site: Site) -> Service:
    """Return nova-compute's service."""
    conf = site.etc / "nova"
    files = (conf / "nova.conf", conf / "nova-compute.conf")
    options = tuple(part for file in files for part in ("--config-file", str(file)))
    code = site.repo / "nova_hyper"
    driver = tuple(
        code / part for part in ("spec", "client", "virt", "vif", "volume", "exception.py")
    )
    return Service(
        "nova-compute",
        (site.bin("nova-compute"), *options),
        inputs=(*files, *(driver if site.driver == "hyper" else ())),
    )


def bring_up_control(site: Site) -> None:
    """Start the control services."""
    (site.var / "nova/instances").mkdir(parents=True, exist_ok=True)
    service.bring_up(site, *control(site))


def bring_up_compute(site: Site) -> None:
    """Start nova-compute; see :func:`wait_for_node` for when it is of use."""
    service.bring_up(site, compute(site))


def wait_for_node(site: Site, cloud: Connection) -> None:
    """Return when the node takes servers: it is up, in its cell, and has an inventory.

    :raises CloudError: when nova-compute ends, or takes more than two minutes.
    """
    since = service.started_at(site, "nova-compute")

    def taken_up() -> bool:
        service.wait(site, compute(site))
        alive = any(
            entry.state == "up" and heartbeat(entry.updated_at) >= since and not _paused(entry)
            for entry in cloud.compute.services(binary="nova-compute", host=site.host)
        )
        # Nova lists the hypervisors of hosts that the scheduler has found and mapped to a cell.
        return alive and any(
            _provides(cloud, hypervisor.id)
            for hypervisor in cloud.compute.hypervisors(details=True)
            if hypervisor.service_details["host"] == site.host
        )

    plan.until("nova-compute's registration with Nova", taken_up, timeout_s=120)


def _paused(entry: Any) -> bool:
    """Tell whether the driver keeps servers away because hyperd is away.

    A service that an operator disabled is as it should be.
    """
    return entry.status == "disabled" and str(entry.disabled_reason).startswith("AUTO:")


def _provides(cloud: Connection, provider: str) -> bool:
    """Tell whether Placement gives the resources of *provider* to servers."""
    found = cloud.placement.get(f"/resource_providers/{provider}/inventories")
    return found.status_code == HTTPStatus.OK and any(
        entry["total"] for entry in found.json()["inventories"].values()
    )
