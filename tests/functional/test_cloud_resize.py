"""Servers that get another flavor on their host: what is seen inside, and what Nova records."""

from __future__ import annotations

import base64
import time
import uuid

import pytest

from nova_hyper.client import HyperClient
from tests.functional.daemon import wait_for

HYPER = {"trait:CUSTOM_HYPER": "required"}
SEEN = """
{trap}
echo cpus $(nproc)
echo memory $(awk '/MemTotal/ {{print $2}}' /proc/meminfo)
echo root $(df -k / | tail -n 1 | awk '{{print $2}}')
echo ephemeral $(df -k /mnt | tail -n 1 | awk '{{print $2}}')
echo swap $(awk 'NR == 2 {{print $3}}' /proc/swaps)
echo x >> /runs
echo x >> /mnt/runs
sync
echo runs $(wc -l < /runs) $(wc -l < /mnt/runs)
echo end
while :; do sleep 0.2; done
"""
QUICK = "trap 'exit 0' TERM"
# It takes so long to stop that there is time to kill something meanwhile.
SLOW = "trap 'sleep 8; exit 0' TERM"
SMALL = {"vcpus": 1, "ram": 64, "disk": 1, "ephemeral": 1, "swap": 0}
LARGE = {"vcpus": 2, "ram": 160, "disk": 6, "ephemeral": 2, "swap": 32}
KIB_PER_GIB = 1 << 20
POD = """
apiVersion: v1
kind: Pod
spec:
  containers:
  - name: one
    command: [sh, -c, "trap 'exit 0' TERM; echo x >> /runs; sync; while :; do sleep 0.2; done"]
  - name: two
    command: [sh, -c, "trap 'exit 0' TERM; echo x >> /runs; sync; while :; do sleep 0.2; done"]
"""


@pytest.fixture
def hyperd():
    return HyperClient("/run/hyperd/hyperd.sock", 60, 5)


@pytest.fixture
def make_flavor(cloud):
    """``make_flavor(ram=..., ...)``: the flavor; it is gone after the test."""
    made = []

    def make(**size):
        flavor = cloud.compute.create_flavor(name=f"hyper.test-{uuid.uuid4().hex[:8]}", **size)
        made.append(flavor)
        cloud.compute.create_flavor_extra_specs(flavor, HYPER)
        return flavor

    yield make
    for flavor in made:
        cloud.compute.delete_flavor(flavor)


@pytest.fixture
def flavors(make_flavor):
    return make_flavor(**SMALL), make_flavor(**LARGE)


@pytest.fixture
def make_teller(make_server, image_running, flavors):
    """``make_teller()``: a server of the small flavor that tells what it has at each start."""

    def make(trap=QUICK):
        return make_server(image=image_running(SEEN.format(trap=trap)), flavor=flavors[0].name)

    return make


def told(console, server, times):
    """What it told at its start number *times*, by word."""
    deadline = time.monotonic() + 60
    while (text := console(server, "end").replace("\r\n", "\n")).count("end\n") < times:
        assert time.monotonic() < deadline, f"no start {times}: {text}"
        time.sleep(0.2)
    lines = text.split("end\n")[times - 1].splitlines()
    return {word: value for word, _, value in (line.partition(" ") for line in lines)}


def is_small(seen, runs):
    assert seen["cpus"] == "1"
    assert int(seen["memory"]) <= 64 << 10
    assert int(seen["root"]) <= KIB_PER_GIB
    assert int(seen["ephemeral"]) <= KIB_PER_GIB
    assert seen["swap"] == ""
    assert seen["runs"] == f"{runs} {runs}"


def is_large(seen, runs):
    assert seen["cpus"] == "2"
    assert 128 << 10 < int(seen["memory"]) <= 160 << 10
    assert 5.5 * KIB_PER_GIB < int(seen["root"]) <= 6 * KIB_PER_GIB
    assert 1.8 * KIB_PER_GIB < int(seen["ephemeral"]) <= 2 * KIB_PER_GIB
    assert int(seen["swap"]) == (32 << 10) - 4  # a page for the header
    assert seen["runs"] == f"{runs} {runs}"


def resources(cloud, consumer):
    """What Placement has given to a server or a migration."""
    found = cloud.placement.get(f"/allocations/{consumer}").json()["allocations"].values()
    return [
        (given["resources"].get("VCPU"), given["resources"].get("MEMORY_MB")) for given in found
    ]


def migration(cloud, server):
    """The latest migration of a server."""
    url = f"/os-migrations?instance_uuid={server.id}"
    found = cloud.compute.get(url, microversion="2.59").json()["migrations"]
    return max(found, key=lambda record: record["id"])


def hand_over(cloud, server, flavor, wait_status):
    cloud.compute.resize_server(server, flavor.id)
    return wait_status(server, "VERIFY_RESIZE", timeout_s=120)


def failure(cloud, server):
    """What became of a failed resize, as an administrator is told by ``server event show``."""
    deadline = time.monotonic() + 60
    url = f"/servers/{server.id}/os-instance-actions"
    while True:
        done = cloud.compute.get(url, microversion="2.84").json()["instanceActions"]
        (latest, *_) = [a for a in done if a["action"] == "resize"]
        shown = cloud.compute.get(f"{url}/{latest['request_id']}", microversion="2.84").json()
        failed = [e for e in shown["instanceAction"]["events"] if e["result"] == "Error"]
        if failed and cloud.compute.get_server(server).task_state is None:
            return " ".join(event["details"] or "" for event in failed)
        assert time.monotonic() < deadline, f"the resize did not fail: {shown}"
        time.sleep(0.3)


def kept(site, server):
    """What the host keeps of the server as it was."""
    directory = site.var / "hyperd/pods" / server.id
    return sorted(path.name for path in directory.glob("rest*"))


def test_a_running_server_is_resized_and_confirmed(
    no_leaks, site, cloud, flavors, make_teller, console, wait_status
):
    server = make_teller()
    is_small(told(console, server, 1), runs=1)
    hand_over(cloud, server, flavors[1], wait_status)
    is_large(told(console, server, 2), runs=2)
    record = migration(cloud, server)
    assert record["status"] == "finished"
    assert resources(cloud, server.id) == [(2, 160)]
    assert resources(cloud, record["uuid"]) == [(1, 64)]
    assert kept(site, server) == ["restore-point"]

    cloud.compute.confirm_server_resize(server)
    shown = wait_status(server, "ACTIVE")
    assert (shown.flavor.original_name, shown.power_state) == (flavors[1].name, 1)
    wait_for(lambda: migration(cloud, server)["status"] == "confirmed", what="the record")
    wait_for(lambda: not resources(cloud, record["uuid"]), what="the end of what the old one had")
    assert resources(cloud, server.id) == [(2, 160)]
    assert kept(site, server) == []
    cloud.compute.reboot_server(server, "HARD")
    is_large(told(console, server, 3), runs=3)


def test_a_resize_is_reverted_with_the_disks_of_before(
    no_leaks, site, cloud, flavors, make_teller, console, wait_status
):
    server = make_teller()
    is_small(told(console, server, 1), runs=1)
    (before,) = cloud.network.ports(device_id=server.id)
    hand_over(cloud, server, flavors[1], wait_status)
    is_large(told(console, server, 2), runs=2)
    record = migration(cloud, server)

    cloud.compute.revert_server_resize(server)
    shown = wait_status(server, "ACTIVE", timeout_s=120)
    assert (shown.flavor.original_name, shown.power_state) == (flavors[0].name, 1)
    # What the second start wrote is gone, so this is the second again.
    is_small(told(console, server, 3), runs=2)
    wait_for(lambda: migration(cloud, server)["status"] == "reverted", what="the record")
    assert resources(cloud, record["uuid"]) == []
    assert resources(cloud, server.id) == [(1, 64)]
    assert kept(site, server) == []
    (after,) = cloud.network.ports(device_id=server.id)
    assert (after.id, after.fixed_ips) == (before.id, before.fixed_ips)


@pytest.mark.parametrize("end", ["confirm", "revert"])
def test_a_stopped_server_is_resized_and_stays_stopped(
    no_leaks, cloud, flavors, make_teller, console, wait_status, end
):
    server = make_teller()
    told(console, server, 1)
    cloud.compute.stop_server(server)
    wait_status(server, "SHUTOFF")
    assert hand_over(cloud, server, flavors[1], wait_status).power_state == 4
    getattr(cloud.compute, f"{end}_server_resize")(server)
    wait_status(server, "SHUTOFF", timeout_s=120)
    cloud.compute.start_server(server)
    wait_status(server, "ACTIVE")
    (is_large if end == "confirm" else is_small)(told(console, server, 2), runs=2)


def test_a_smaller_disk_is_refused_and_the_server_runs_on(
    no_leaks, cloud, flavors, make_flavor, make_teller, console, wait_status
):
    server = make_teller()
    told(console, server, 1)
    hand_over(cloud, server, flavors[1], wait_status)
    cloud.compute.confirm_server_resize(server)
    wait_status(server, "ACTIVE")
    told(console, server, 2)
    smaller = make_flavor(**{**LARGE, "disk": 3})
    cloud.compute.resize_server(server, smaller.id)
    said = failure(cloud, server)
    assert "the root disk of 6 GB cannot become 3 GB; choose a flavor with at least 6 GB" in said
    shown = cloud.compute.get_server(server)
    assert (shown.status, shown.power_state) == ("ACTIVE", 1)
    assert shown.flavor.original_name == flavors[1].name
    assert migration(cloud, server)["status"] == "error"
    assert resources(cloud, server.id) == [(2, 160)]
    time.sleep(2)
    assert console(server, "end").count("cpus ") == 2, "it was started anew"


def test_less_memory_and_fewer_cpus_are_no_smaller_disk(
    no_leaks, cloud, make_flavor, make_server, image_running, console, wait_status
):
    large = make_flavor(**{**LARGE, "ephemeral": 1})
    server = make_server(image=image_running(SEEN.format(trap=QUICK)), flavor=large.name)
    assert told(console, server, 1)["cpus"] == "2"
    less = make_flavor(vcpus=1, ram=64, disk=6, ephemeral=1, swap=0)
    hand_over(cloud, server, less, wait_status)
    seen = told(console, server, 2)
    assert (seen["cpus"], seen["swap"], seen["runs"]) == ("1", "", "2 2")
    assert int(seen["memory"]) <= 64 << 10
    cloud.compute.confirm_server_resize(server)
    wait_status(server, "ACTIVE")


def test_all_containers_of_a_pod_are_resized_together(
    no_leaks, cloud, hyperd, flavors, make_server, wait_status
):
    server = make_server(flavor=flavors[0].name, user_data=base64.b64encode(POD.encode()).decode())

    def ask(name, command):
        with hyperd.exec(server.id, ["sh", "-c", command], container=name) as session:
            return b"".join(data for _channel, data in session).decode().split()

    def runs():
        return [ask(name, "wc -l < /runs") for name in ("one", "two")]

    wait_for(lambda: runs() == [["1"], ["1"]], what="the first start")
    hand_over(cloud, server, flavors[1], wait_status)
    wait_for(lambda: runs() == [["2"], ["2"]], what="the second start")
    for name in ("one", "two"):
        (size,) = ask(name, "df -k / | tail -n 1 | awk '{print $2}'")
        assert 5.5 * KIB_PER_GIB < int(size) <= 6 * KIB_PER_GIB
    cloud.compute.revert_server_resize(server)
    wait_status(server, "ACTIVE", timeout_s=120)
    wait_for(lambda: runs() == [["2"], ["2"]], what="the start after the revert")
    (size,) = ask("one", "df -k / | tail -n 1 | awk '{print $2}'")
    assert int(size) <= KIB_PER_GIB


def test_a_server_is_deleted_while_its_resize_waits_for_the_user(
    no_leaks, cloud, flavors, make_teller, console, wait_status
):
    server = make_teller()
    told(console, server, 1)
    hand_over(cloud, server, flavors[1], wait_status)
    cloud.compute.delete_server(server)
    cloud.compute.wait_for_delete(server, interval=0.2, wait=90)


# Killed in the middle


@pytest.fixture
def kill(site, cloud):
    """``kill("hyperd")``: it is dead, and then back."""
    from cloud import hyperd, nova, service

    definitions = {"hyperd": hyperd.definition, "nova-compute": nova.compute}

    def now(name):
        service.kill(site, name)
        service.bring_up(site, definitions[name](site))
        nova.wait_for_node(site, cloud)

    return now


def reach(cloud, server, *task_states):
    def there():
        return cloud.compute.get_server(server).task_state in task_states

    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline, f"{task_states} was not reached"
        time.sleep(0.05)


@pytest.mark.parametrize("when", [("resize_migrating",), ("resize_finish",)])
def test_a_hyperd_killed_in_a_resize_finishes_it_when_it_is_back(
    no_leaks, cloud, flavors, make_teller, console, wait_status, kill, when
):
    server = make_teller(SLOW if when == ("resize_migrating",) else QUICK)
    told(console, server, 1)
    cloud.compute.resize_server(server, flavors[1].id)
    reach(cloud, server, *when)
    kill("hyperd")
    wait_status(server, "VERIFY_RESIZE", timeout_s=150)
    is_large(told(console, server, 2), runs=2)
    cloud.compute.revert_server_resize(server)
    wait_status(server, "ACTIVE", timeout_s=120)
    is_small(told(console, server, 3), runs=2)


def test_a_nova_compute_killed_while_the_server_stops_takes_the_resize_back(
    site, cloud, flavors, make_teller, console, wait_status, kill
):
    server = make_teller(SLOW)
    told(console, server, 1)
    cloud.compute.resize_server(server, flavors[1].id)
    reach(cloud, server, "resize_migrating")
    kill("nova-compute")
    reach(cloud, server, None)
    shown = wait_status(server, "ACTIVE")
    assert shown.flavor.original_name == flavors[0].name
    is_small(told(console, server, 2), runs=2)
    assert kept(site, server) == []
    # Nova leaves what the migration had, whatever the driver.
    record = migration(cloud, server)
    cloud.compute.delete_server(server)
    cloud.compute.wait_for_delete(server, interval=0.2, wait=90)
    cloud.placement.delete(f"/allocations/{record['uuid']}")


def test_a_resize_that_nova_compute_was_killed_in_is_finished_by_a_hard_reboot(
    site, cloud, flavors, make_teller, console, wait_status, kill
):
    server = make_teller()
    told(console, server, 1)
    cloud.compute.resize_server(server, flavors[1].id)
    reach(cloud, server, "resize_migrated", "resize_finish")
    kill("nova-compute")
    shown = cloud.compute.get_server(server)
    if shown.status == "VERIFY_RESIZE":  # it was too late to kill it
        cloud.compute.confirm_server_resize(server)
        wait_status(server, "ACTIVE")
    else:
        cloud.compute.reset_server_state(server, "active")
        cloud.compute.reboot_server(server, "HARD")
        wait_for(
            lambda: cloud.compute.get_server(server).task_state is None,
            90,
            "the end of the reboot",
        )
    shown = wait_status(server, "ACTIVE")
    wait_for(lambda: "end" in console(server, "end"), what="output")
    pod = HyperClient("/run/hyperd/hyperd.sock", 60, 5).pod(server.id).spec
    assert pod.vcpus == shown.flavor.vcpus
    assert kept(site, server) == []
    record = migration(cloud, server)
    cloud.compute.delete_server(server)
    cloud.compute.wait_for_delete(server, interval=0.2, wait=90)
    cloud.placement.delete(f"/allocations/{record['uuid']}")
