"""Neutron: its schema, its services, and its agents with what they leave behind."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from openstack.connection import Connection

from cloud import command, plan, service, wsgi
from cloud.heartbeat import heartbeat
from cloud.service import Service
from cloud.site import Site

AGENTS = ("neutron-openvswitch-agent", "neutron-dhcp-agent", "neutron-metadata-agent")


def _files(site: Site) -> tuple[Path, Path]:
    conf = site.etc / "neutron"
    return conf / "neutron.conf", conf / "ml2.conf"


def _options(*files: Path) -> tuple[str, ...]:
    return tuple(part for file in files for part in ("--config-file", str(file)))


def make_schema(site: Site) -> None:
    """Make the database's schema."""
    options = _options(*_files(site))
    command.run(
        site, "schema-neutron", (site.bin("neutron-db-manage"), *options, "upgrade", "heads")
    )


def control(site: Site) -> tuple[Service, ...]:
    """Return the services of the API, and of the workers that the API no longer has in it."""
    files = _files(site)
    env = {
        "OS_NEUTRON_CONFIG_DIR": str(site.etc / "neutron"),
        "OS_NEUTRON_CONFIG_FILES": ";".join(file.name for file in files),
    }
    options = _options(*files)
    return (
        wsgi.definition(site, "neutron", "neutron.wsgi.api", env, inputs=files),
        *(
            Service(name, (site.bin(name), *options), inputs=files)
            for name in ("neutron-rpc-server", "neutron-periodic-workers")
        ),
    )


def agents(site: Site) -> tuple[Service, ...]:
    """Return the services of the agents."""
    file = site.etc / "neutron/agent.conf"
    return tuple(
        Service(name, (site.bin(name), *_options(file)), inputs=(file,)) for name in AGENTS
    )


def bring_up_control(site: Site) -> None:
    """Start the API and its workers."""
    service.bring_up(site, *control(site))


def bring_up_agents(site: Site) -> None:
    """Start the agents; see :func:`wait_for_agents` for when they are of use."""
    service.bring_up(site, *agents(site))


def wait_for_agents(site: Site, cloud: Connection) -> None:
    """Return when all agents of this node have reported since they were started.

    :raises CloudError: when one ends, or after two minutes.
    """

    def reported() -> bool:
        for definition in agents(site):
            service.wait(site, definition)
        alive = {
            agent.binary
            for agent in cloud.network.agents(host=site.host)
            if agent.binary in AGENTS
            and agent.is_alive
            and heartbeat(agent.last_heartbeat_at) >= service.started_at(site, agent.binary)
        }
        return alive.issuperset(AGENTS)

    plan.until("the registration of Neutron's agents", reported, timeout_s=120)


def forget_dhcp(site: Site) -> None:
    """Stop the DHCP agent and what it left; it makes everything anew when it starts.

    A switch that has been restarted does not find the taps again that were
    moved into namespaces, and the agent does not notice.
    """
    service.stop(site, "neutron-dhcp-agent")
    remove_namespaces(site)


def remove_namespaces(site: Site) -> None:
    """Remove the namespaces of the site's networks, with what runs in them."""
    networks = site.var / "neutron/dhcp"
    ids = {entry.name for entry in networks.iterdir()} if networks.exists() else set()
    for namespace in namespaces():
        if namespace.removeprefix("qdhcp-") not in ids:
            continue
        for pid in (command.output(("ip", "netns", "pids", namespace)) or "").split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        command.run(site, "ip", ("ip", "netns", "delete", namespace))


def namespaces() -> list[str]:
    """Return the network namespaces of DHCP servers on this machine."""
    listed = command.output(("ip", "netns", "list")) or ""
    names = [line.split()[0] for line in listed.splitlines() if line.strip()]
    return [name for name in names if name.startswith("qdhcp-")]
