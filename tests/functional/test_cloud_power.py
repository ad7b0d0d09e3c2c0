"""Servers that stand still, as their user sees them: the same guest goes on, its clock right."""

from __future__ import annotations

import re
import time

import pytest
from openstack import exceptions

from tests.functional.daemon import wait_for

pytestmark = pytest.mark.usefixtures("no_leaks")

TICK = (
    "trap 'exit 0' TERM; while :; do ping -c1 -W1 {address} >/dev/null 2>&1 && how=reached "
    "|| how=lost; echo up $(cut -d. -f1 /proc/uptime) at $(date +%s) $how; sleep 0.5; done"
)


@pytest.fixture
def ticker(cloud, make_server, image_running, console):
    """A server that tells its uptime, its time, and whether it reaches the DHCP server."""
    network = cloud.network.find_network("private")
    (port,) = cloud.network.ports(network_id=network.id, device_owner="network:dhcp")
    address = port.fixed_ips[0]["ip_address"]
    server = make_server(image=image_running(TICK.format(address=address)))
    console(server, " reached\n")
    return server


def ticks(text):
    """What the guest printed, as (uptime, time, reached)."""
    found = re.findall(r"^up (\d+) at (\d+) (\w+)\r?$", text, re.MULTILINE)
    return [(int(up), int(at), how == "reached") for up, at, how in found]


def serves_again(console, server):
    """Wait until what it printed at its first start is there a second time."""
    wait_for(lambda: console(server).count("serving on port 80") == 2, 60, "a second start")


def goes_on(console, server, before):
    """Wait for more ticks of the same guest; assert that its time is right."""
    now = time.time()
    deadline = time.monotonic() + 60
    while len(seen := ticks(console(server))) < len(before) + 3 or not seen[-1][2]:
        assert time.monotonic() < deadline, f"it does not go on: {seen[-5:]}"
        time.sleep(0.3)
    uptimes = [up for up, _, _ in seen]
    assert uptimes == sorted(uptimes), "it was booted anew"
    gap = uptimes[len(before)] - uptimes[len(before) - 1]
    assert gap <= now - before[-1][1], "it ran meanwhile"
    assert seen[-1][1] >= int(now), "its clock is late"
    return seen


def test_pause_and_unpause(cloud, ticker, console, wait_status):
    cloud.compute.pause_server(ticker)
    assert wait_status(ticker, "PAUSED").power_state == 3
    before = ticks(console(ticker))
    time.sleep(3)
    assert ticks(console(ticker)) == before
    cloud.compute.unpause_server(ticker)
    assert wait_status(ticker, "ACTIVE").power_state == 1
    seen = goes_on(console, ticker, before)
    assert seen[len(before) + 1][2], "the network does not work at once"


def test_suspend_and_resume(cloud, ticker, console, wait_status):
    cloud.compute.suspend_server(ticker)
    assert wait_status(ticker, "SUSPENDED").power_state == 7
    before = ticks(console(ticker))
    time.sleep(2)
    cloud.compute.resume_server(ticker)
    assert wait_status(ticker, "ACTIVE").power_state == 1
    seen = goes_on(console, ticker, before)
    assert seen[len(before) + 1][2], "the network does not work at once"


@pytest.mark.parametrize("still", ["pause", "suspend"])
def test_a_server_that_stands_still_is_rebooted_and_deleted(
    cloud, ticker, console, wait_status, still
):
    statuses = {"pause": "PAUSED", "suspend": "SUSPENDED"}

    def uptimes():
        return [up for up, _, _ in ticks(console(ticker))]

    # So long that a guest that is booted anew has less.
    wait_for(lambda: (told := uptimes())[-1] > told[0] + 5, 60, "some uptime")
    for end in ("reboot", "delete"):
        getattr(cloud.compute, f"{still}_server")(ticker)
        wait_status(ticker, statuses[still])
        if end == "reboot":
            cloud.compute.reboot_server(ticker, "HARD")
            wait_status(ticker, "ACTIVE")
            wait_for(lambda: (told := uptimes()) != sorted(told), 60, "a boot anew")
    cloud.compute.delete_server(ticker)
    cloud.compute.wait_for_delete(ticker, interval=0.2)


def failure(cloud, server, action):
    """What became of a failed action, as its user is told: ``openstack server event show``."""
    deadline = time.monotonic() + 60
    while True:
        url = f"/servers/{server.id}/os-instance-actions"
        done = cloud.compute.get(url, microversion="2.84").json()["instanceActions"]
        (latest, *_) = [a for a in done if a["action"] == action]
        shown = cloud.compute.get(f"{url}/{latest['request_id']}", microversion="2.84").json()
        failed = [e for e in shown["instanceAction"]["events"] if e["result"] == "Error"]
        if failed and cloud.compute.get_server(server).task_state is None:
            return failed[0]["details"]
        assert time.monotonic() < deadline, f"{action} did not fail: {shown}"
        time.sleep(0.3)


def test_a_memory_that_is_damaged_is_told_and_a_reboot_is_the_way_out(
    site, cloud, make_server, console, wait_status
):
    server = make_server()
    console(server)
    cloud.compute.suspend_server(server)
    wait_status(server, "SUSPENDED")
    (site.var / "hyperd/pods" / server.id / "memory.save").write_bytes(b"no memory")
    cloud.compute.resume_server(server)
    assert "a hard reboot, or a stop, discards it" in failure(cloud, server, "resume")
    assert cloud.compute.get_server(server).status == "SUSPENDED"
    cloud.compute.reboot_server(server, "HARD")
    wait_status(server, "ACTIVE")
    serves_again(console, server)


def test_diagnostics_are_real(cloud, ticker):
    new = cloud.compute.get(f"/servers/{ticker.id}/diagnostics", microversion="2.48").json()
    assert (new["state"], new["hypervisor_os"]) == ("running", "linux")
    assert new["num_cpus"] == 1 and new["cpu_details"][0]["time"] > 10**8
    assert new["memory_details"]["maximum"] == 64
    assert 5 < new["memory_details"]["used"] < 60
    (nic,) = new["nic_details"]
    (port,) = cloud.network.ports(device_id=ticker.id)
    assert nic["mac_address"] == port.mac_address
    assert nic["tx_packets"] > 0 and nic["rx_packets"] > 0
    assert sum(disk["read_bytes"] for disk in new["disk_details"]) > 0
    old = cloud.compute.get(f"/servers/{ticker.id}/diagnostics", microversion="2.1").json()
    assert old["memory"] == 64 << 10
    assert old["cpu0_time"] > 10**8
    cloud.compute.pause_server(ticker)
    cloud.compute.wait_for_server(ticker, status="PAUSED", failures=[], interval=0.1)
    refused = cloud.compute.get(f"/servers/{ticker.id}/diagnostics", microversion="2.48")
    assert refused.status_code == 409


def test_a_crash_dump_is_kept_on_the_host_and_the_server_starts_again(
    site, cloud, make_server, console, wait_status
):
    server = make_server()
    console(server)
    cloud.compute.trigger_server_crash_dump(server)
    wait_status(server, "SHUTOFF")
    (dump,) = (site.var / "hyperd/dumps").glob(f"{server.id}-*.vmcore")
    try:
        assert dump.stat().st_size > 1 << 20
    finally:
        dump.unlink()
    with pytest.raises(exceptions.ConflictException):
        cloud.compute.trigger_server_crash_dump(server)
    cloud.compute.start_server(server)
    wait_status(server, "ACTIVE")
    serves_again(console, server)
