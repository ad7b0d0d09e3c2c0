"""Whether Nova, hyperd, libvirt, Open vSwitch, Placement and the files say the same of servers."""

from __future__ import annotations

import dataclasses
import json
import subprocess

from nova_hyper.client import HyperClient
from nova_hyper.spec.pod import PodState

HYPERD_SOCKET = "/run/hyperd/hyperd.sock"
_POWER_STATE = {
    "ACTIVE": 1,
    "PAUSED": 3,
    "SHUTOFF": 4,
    "SUSPENDED": 7,
    "RESCUE": 1,
    "VERIFY_RESIZE": 1,
}
_POD_STATE = {
    "ACTIVE": {PodState.RUNNING},
    "RESCUE": {PodState.RUNNING},
    "VERIFY_RESIZE": {PodState.RUNNING},
    "PAUSED": {PodState.PAUSED},
    "SHUTOFF": {PodState.STOPPED, PodState.CRASHED},
    "SUSPENDED": {PodState.SUSPENDED},
}
_DOMAIN_STATE = {
    "ACTIVE": "running",
    "PAUSED": "paused",
    "RESCUE": "running",
    "VERIFY_RESIZE": "running",
}


@dataclasses.dataclass(frozen=True)
class Views:
    """What each of them has, by the id of the server."""

    pods: dict[str, PodState]
    domains: dict[str, str]
    directories: frozenset[str]
    ports: frozenset[str]

    def complaints(self, cloud, server, status: str) -> list[str]:
        """Return what does not fit a server that should have *status*; empty when all does."""
        found = []

        def expect(what, is_, should):
            if is_ != should:
                found.append(f"{server.name}: {what} is {is_!r}, not {should!r}")

        seen = cloud.compute.get_server(server)
        expect("status", seen.status, status)
        expect("task", seen.task_state, None)
        here = status != "SHELVED_OFFLOADED"
        expect("pod's directory", server.id in self.directories, here)
        expect("allocation", _allocated(cloud, server), _flavors(seen) if here else {})
        expect("domain", self.domains.get(server.id), _DOMAIN_STATE.get(status))
        if here:
            expect("power state", seen.power_state, _POWER_STATE[status])
            state = self.pods.get(server.id)
            if state not in _POD_STATE[status]:
                found.append(f"{server.name}: hyperd has it {state}, Nova {status}")
        else:
            expect("pod", self.pods.get(server.id), None)
        ports = {port.id for port in cloud.network.ports(device_id=server.id)}
        if status in _DOMAIN_STATE:
            expect("ports that Open vSwitch lacks", ports - self.ports, set())
        if not here:
            expect("ports that are left in Open vSwitch", ports & self.ports, set())
        return found


def look(site) -> Views:
    """Return what is on the host now."""
    from cloud import hyperd, libvirt

    pods = HyperClient(HYPERD_SOCKET, 60, 20).pods()
    prefix = hyperd.DOMAIN_PREFIX
    domains = {
        name.removeprefix(prefix): _virsh("domstate", name).strip()
        for name in libvirt.domains()
        if name.startswith(prefix)
    }
    listed = json.loads(
        subprocess.run(
            ["ovs-vsctl", "--format=json", "--columns=external_ids", "list", "Interface"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    )
    ids = [dict(row[0][1]) for row in listed["data"]]
    return Views(
        pods={pod.spec.id: pod.state for pod in pods},
        domains=domains,
        directories=frozenset(path.name for path in (site.var / "hyperd/pods").iterdir()),
        ports=frozenset(each["iface-id"] for each in ids if "iface-id" in each),
    )


def _virsh(*words: str) -> str:
    return subprocess.run(
        ["virsh", "-c", "qemu:///system", *words], check=True, capture_output=True, text=True
    ).stdout


def _flavors(server) -> dict[str, int]:
    """Return what Placement should have allocated to *server*."""
    flavor = server.flavor
    wanted = {"VCPU": flavor.vcpus, "MEMORY_MB": flavor.ram, "DISK_GB": flavor.disk}
    return {kind: amount for kind, amount in wanted.items() if amount}


def _allocated(cloud, server) -> dict[str, int]:
    answer = cloud.placement.get(f"/allocations/{server.id}").json()["allocations"]
    total: dict[str, int] = {}
    for provider in answer.values():
        for kind, amount in provider["resources"].items():
            total[kind] = total.get(kind, 0) + amount
    return total
