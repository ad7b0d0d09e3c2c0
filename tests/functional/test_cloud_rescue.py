"""Servers in rescue, as their user sees them: another image boots, repairs, and goes."""

from __future__ import annotations

import random
import re
import time

import pytest

from tests.functional.daemon import wait_for

pytestmark = pytest.mark.usefixtures("no_leaks")

LOOP = "trap 'exit 0' TERM; while :; do sleep 0.2; done"
# It breaks its settings at its first start, and does not start with broken ones.
PICKY = (
    "[ -e /etc/settings ] || echo bad > /etc/settings; read how < /etc/settings; "
    "echo the settings are $how; [ $how = good ] || { sync; sleep 3; exit 7; }; " + LOOP
)
TOOLS = (
    "ip -4 addr show eth0; read how < /mnt/rescue/etc/settings; echo found $how settings; "
    "echo good > /mnt/rescue/etc/settings; echo lost > /etc/lost; echo repaired; " + LOOP
)
# The same whether it is the server or its rescue: it tells whose root is where.
SELF = (
    "echo boot; ls /mnt/rescue/etc/mark 2>/dev/null && echo it is mounted; "
    "ls /etc/mark 2>/dev/null && echo it is the root; touch /etc/mark; sync; " + LOOP
)


@pytest.fixture
def image_id(cloud, image_running):
    """``image_id("shell command")``: the id of an image that runs it."""

    def make(command):
        return cloud.image.find_image(image_running(command), ignore_missing=False).id

    return make


def fault(cloud, server):
    return cloud.compute.get_server(server).fault["message"]


def repaired(cloud, server, tools, console, wait_status, times=1):
    """Rescue a server, have it repaired, and end the rescue."""
    cloud.compute.rescue_server(server, image=tools)
    shown = wait_status(server, "RESCUE")
    assert shown.power_state == 1
    wait_for(lambda: console(server).count("repaired") == times, 60, "the repair")
    cloud.compute.unrescue_server(server)
    assert wait_status(server, "ACTIVE").power_state == 1


def test_rescue_and_unrescue(cloud, make_server, image_running, image_id, console, wait_status):
    server = make_server(image=image_running(PICKY), flavor="hyper.small")
    console(server, "the settings are bad")
    wait_status(server, "SHUTOFF")
    (port,) = cloud.network.ports(device_id=server.id)
    repaired(cloud, server, image_id(TOOLS), console, wait_status)
    text = console(server, "the settings are good")
    assert "found bad settings" in text
    # The rescue had the server's address.
    assert f"inet {port.fixed_ips[0]['ip_address']}/" in text
    (after,) = cloud.network.ports(device_id=server.id)
    assert (after.id, after.mac_address, after.fixed_ips) == (
        port.id,
        port.mac_address,
        port.fixed_ips,
    )


def test_a_server_is_rescued_with_its_own_image_by_default(
    cloud, make_server, image_running, console, wait_status
):
    server = make_server(image=image_running(SELF), flavor="hyper.small")
    console(server, "boot")
    cloud.compute.rescue_server(server)
    wait_status(server, "RESCUE")
    text = console(server, "it is mounted")
    assert "it is the root" not in text
    cloud.compute.unrescue_server(server)
    wait_status(server, "ACTIVE")
    console(server, "it is the root")


def test_an_image_that_does_not_start_is_the_fault_and_there_are_ways_out(
    cloud, make_server, image_running, image_id, upload, busybox, tmp_path, console, wait_status
):
    from tests.functional import archives

    def broken(image):
        image["config"]["Cmd"] = ["/no/such/command"]

    name = upload(archives.remade(busybox, tmp_path / "broken.tar", broken))
    no_command = cloud.image.find_image(name).id
    server = make_server(image=image_running(SELF), flavor="hyper.small")
    console(server, "boot")
    cloud.compute.rescue_server(server, image=no_command)
    wait_status(server, "ERROR")
    assert "/no/such/command" in fault(cloud, server)
    cloud.compute.reboot_server(server, "HARD")
    wait_status(server, "ACTIVE")
    console(server, "it is the root")
    cloud.compute.rescue_server(server, image=no_command)
    wait_status(server, "ERROR")
    cloud.compute.rescue_server(server)
    wait_status(server, "RESCUE")
    console(server, "it is mounted")
    cloud.compute.unrescue_server(server)
    wait_status(server, "ACTIVE")


def test_a_rescue_that_ends_by_itself_is_ended_as_any(
    cloud, make_server, image_running, image_id, console, wait_status
):
    server = make_server(image=image_running(SELF), flavor="hyper.small")
    console(server, "boot")
    cloud.compute.rescue_server(server, image=image_id("echo short; exit 3"))
    console(server, "short")
    wait_status(server, "RESCUE")
    time.sleep(2)
    assert cloud.compute.get_server(server).status == "RESCUE"
    cloud.compute.unrescue_server(server)
    wait_status(server, "ACTIVE")
    console(server, "it is the root")


def test_a_server_with_its_root_in_memory_is_refused_and_runs_on(
    cloud, make_server, image_running, console, wait_status
):
    def uptimes():
        return [int(up) for up in re.findall(r"^up (\d+)\r?$", console(server), re.MULTILINE)]

    tick = "while :; do echo up $(cut -d. -f1 /proc/uptime); sleep 0.5; done"
    server = make_server(image=image_running(tick))
    wait_for(uptimes, 60, "output")
    cloud.compute.rescue_server(server)
    wait_status(server, "ERROR")
    assert "its root is in memory" in fault(cloud, server)
    before = len(uptimes())
    wait_for(lambda: len(uptimes()) > before + 3, 30, "that it runs on")
    assert uptimes() == sorted(uptimes()), "it was booted anew"
    cloud.compute.reset_server_state(server, "active")
    assert cloud.compute.get_server(server).status == "ACTIVE"


def test_a_server_in_rescue_is_deleted_with_all_it_has(
    cloud, make_server, image_running, image_id, console, wait_status
):
    server = make_server(image=image_running(SELF), flavor="hyper.small")
    console(server, "boot")
    cloud.compute.rescue_server(server, image=image_id(LOOP))
    wait_status(server, "RESCUE")
    cloud.compute.delete_server(server)
    cloud.compute.wait_for_delete(server, interval=0.2, wait=60)


def test_a_kill_of_hyperd_in_the_middle_leaves_a_way_on(
    site, cloud, make_server, image_running, image_id, console, wait_status
):
    """Seeded; whatever state the server is in then, what it had written is there at the end."""
    from cloud import hyperd, nova, service

    chance = random.Random(11)
    server = make_server(image=image_running(SELF), flavor="hyper.small")
    console(server, "boot")
    tools = image_id(LOOP)

    def settled():
        shown = cloud.compute.get_server(server)
        return shown.status if shown.task_state is None else None

    for action in ("rescue", "unrescue") * 2:
        if action == "rescue":
            cloud.compute.rescue_server(server, image=tools)
        elif settled() == "RESCUE":
            cloud.compute.unrescue_server(server)
        time.sleep(chance.uniform(0.0, 2.0))
        service.kill(site, "hyperd")
        service.bring_up(site, hyperd.definition(site))
        nova.wait_for_node(site, cloud)
        status = wait_for(settled, 150, "the end of the action")
        assert status in ("RESCUE", "ACTIVE", "ERROR")
        if status == "ERROR":
            cloud.compute.reboot_server(server, "HARD")
            wait_status(server, "ACTIVE", timeout_s=90)
    if settled() == "RESCUE":
        cloud.compute.unrescue_server(server)
        wait_status(server, "ACTIVE")
    before = console(server).count("it is the root")
    cloud.compute.reboot_server(server, "HARD")
    wait_status(server, "ACTIVE")
    wait_for(lambda: console(server).count("it is the root") > before, 60, "its own root")
