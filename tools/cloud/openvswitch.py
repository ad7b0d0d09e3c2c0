"""Open vSwitch: the machine's own if it runs, else one of ours on the default paths."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from cloud import answers, command, service
from cloud.failure import CloudError
from cloud.service import Service
from cloud.site import Site

RUN = Path("/run/openvswitch")
BRIDGE = "br-int"
TUNNEL_BRIDGE = "br-tun"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


def datapath_type() -> str:
    """Return ``system`` where the kernel has Open vSwitch, else ``netdev``."""
    loaded = Path("/sys/module/openvswitch").exists()
    if not loaded:
        loaded = command.output(("modprobe", "openvswitch")) is not None
    return "system" if loaded else "netdev"


def runs() -> bool:
    """Tell whether an Open vSwitch answers on the default paths."""
    return command.output(("ovs-appctl", "--timeout=3", "version")) is not None


def definitions(site: Site) -> tuple[Service, Service]:
    """Return the services of the database server and of the switch, in the order of start.

    The sockets are where every client looks for them, libvirt's ``ovs-vsctl``
    among them; the database is the site's.
    """
    database = Service(
        "ovsdb-server",
        (
            "/usr/sbin/ovsdb-server",
            f"{site.var}/openvswitch/conf.db",
            f"--remote=punix:{RUN}/db.sock",
            f"--pidfile={RUN}/ovsdb-server.pid",
            "-vconsole:info",
            "-vsyslog:off",
        ),
        ready=answers.succeeds("ovs-vsctl", "--timeout=3", "--no-wait", "show"),
    )
    options = () if datapath_type() == "system" else ("--disable-system",)
    switch = Service(
        "ovs-vswitchd",
        (
            "/usr/sbin/ovs-vswitchd",
            f"unix:{RUN}/db.sock",
            f"--pidfile={RUN}/ovs-vswitchd.pid",
            "-vconsole:info",
            "-vsyslog:off",
            *options,
        ),
        ready=runs,
    )
    return database, switch


def bring_up(site: Site) -> bool:
    """Start Open vSwitch unless the machine's own runs, and make the integration bridge.

    Return whether the switch was started here.

    :raises CloudError: when the bridge exists with another datapath.
    """
    database, switch = definitions(site)
    started = False
    if service.running_pid(site, switch.name) is not None or not runs():
        data = site.var / "openvswitch"
        if not (data / "conf.db").exists():
            data.mkdir(parents=True, exist_ok=True)
            command.run(
                site, "ovsdb-server-install", ("ovsdb-tool", "create", f"{data}/conf.db", SCHEMA)
            )
        RUN.mkdir(parents=True, exist_ok=True)
        service.bring_up(site, database)
        _vsctl(site, "--no-wait", "init")
        started = service.start(site, switch)
        service.wait(site, switch)
    _make_bridge(site)
    return started


def take_down(site: Site) -> None:
    """Remove the bridges that the cloud made, with their ports; stop what was started."""
    if runs():
        for bridge in _made(site):
            with contextlib.suppress(CloudError):
                _vsctl(site, "--if-exists", "del-br", bridge)
    _record(site).unlink(missing_ok=True)
    service.stop(site, "ovs-vswitchd")
    service.stop(site, "ovsdb-server")


def _make_bridge(site: Site) -> None:
    wanted = datapath_type()
    found = command.output(("ovs-vsctl", "--timeout=5", "get", "bridge", BRIDGE, "datapath_type"))
    if found is None:
        # The agent makes the tunnel bridge itself; both are ours to remove.
        _record(site).write_text(json.dumps([BRIDGE, TUNNEL_BRIDGE]))
        _vsctl(
            site,
            *("--may-exist", "add-br", BRIDGE),
            *("--", "set", "bridge", BRIDGE, f"datapath_type={wanted}", "fail-mode=secure"),
        )
    elif found.strip().strip('"') not in (wanted, "" if wanted == "system" else wanted):
        raise CloudError(
            f"The bridge {BRIDGE} has datapath_type {found.strip()} where this machine needs "
            f"{wanted}: remove it with 'ovs-vsctl del-br {BRIDGE}'."
        )


def _vsctl(site: Site, *arguments: str) -> None:
    command.run(site, "ovs-vsctl", ("ovs-vsctl", "--timeout=20", *arguments))


def _record(site: Site) -> Path:
    return site.run / "bridges.json"


def _made(site: Site) -> list[str]:
    try:
        made: list[str] = json.loads(_record(site).read_text())
    except (OSError, ValueError):
        return []
    return made
