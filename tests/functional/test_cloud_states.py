"""States of servers that somebody sets, and how long a stop may take; and the host in Nova."""

from __future__ import annotations

import re
import time

import pytest
from openstack import exceptions

from tests.functional import archives
from tests.functional.daemon import wait_for

pytestmark = pytest.mark.usefixtures("no_leaks")

POLITE = (
    "trap 'echo interrupted; exit 0' INT; trap 'echo terminated; exit 0' TERM; echo ready; "
    "while :; do sleep 0.2; done"
)
DEAF = "trap 'echo I do not care' TERM INT; echo ready; while :; do sleep 0.2; done"


def test_the_state_of_a_server_is_set_and_a_hard_reboot_brings_it_back(
    cloud, make_server, console, wait_status
):
    server = make_server()
    console(server, "serving on port 80")
    cloud.compute.reset_server_state(server, "error")
    assert cloud.compute.get_server(server).status == "ERROR"
    cloud.compute.reboot_server(server, "HARD")
    wait_status(server, "ACTIVE")
    wait_for(lambda: console(server).count("serving on port 80") == 2, 60, "a second start")
    cloud.compute.reset_server_state(server, "error")
    cloud.compute.reset_server_state(server, "active")
    assert cloud.compute.get_server(server).status == "ACTIVE"
    assert console(server).count("serving on port 80") == 2


def test_a_locked_server_is_not_touched_by_its_user(site, cloud, make_server, wait_status):
    from cloud import identity

    demo = identity.connect(site, "demo")
    server = demo.compute.create_server(
        name="locked",
        image_id=demo.image.find_image("busybox").id,
        flavor_id=demo.compute.find_flavor("hyper.nano").id,
        networks=[{"uuid": demo.network.find_network("private").id}],
    )
    try:
        demo.compute.wait_for_server(server, wait=60, interval=0.2)
        cloud.compute.lock_server(server, locked_reason="under repair")
        for refused in (
            lambda: demo.compute.stop_server(server),
            lambda: demo.compute.reboot_server(server, "HARD"),
            lambda: demo.compute.rescue_server(server),
        ):
            with pytest.raises(exceptions.ConflictException, match="locked"):
                refused()
        assert demo.compute.get_server(server).status == "ACTIVE"
        cloud.compute.unlock_server(server)
        demo.compute.stop_server(server)
        wait_status(server, "SHUTOFF")
    finally:
        cloud.compute.unlock_server(server)
        demo.compute.delete_server(server)
        demo.compute.wait_for_delete(server, interval=0.2)


def test_a_stop_sends_the_images_signal_and_waits_as_long_as_the_image_says(
    cloud, make_server, upload, busybox, tmp_path, console, wait_status
):
    def image(command, **properties):
        def change(config):
            config["config"].update(Cmd=["sh", "-c", command], StopSignal="SIGINT")

        return upload(archives.remade(busybox, tmp_path / "stop.tar", change), **properties)

    polite = make_server(image=image(POLITE))
    console(polite, "ready")
    cloud.compute.stop_server(polite)
    wait_status(polite, "SHUTOFF")
    assert "terminated" not in console(polite, "interrupted")

    deaf = make_server(image=image(DEAF, os_shutdown_timeout="4"))
    console(deaf, "ready")
    begin = time.monotonic()
    cloud.compute.stop_server(deaf)
    wait_status(deaf, "SHUTOFF")
    took = time.monotonic() - begin
    # It had its four seconds, and not the minute that Nova gives by default.
    assert 3.5 < took < 45
    assert "I do not care" in console(deaf)


def test_the_hypervisor_is_shown_with_what_the_host_is_and_has(site, cloud, make_server):
    make_server()
    (node,) = cloud.compute.hypervisors(details=True)
    shown = cloud.compute.get(f"/os-hypervisors/{node.id}", microversion="2.88").json()
    hypervisor = shown["hypervisor"]
    assert hypervisor["hypervisor_type"] == "hyper"
    assert (hypervisor["state"], hypervisor["status"]) == ("up", "enabled")
    # What uptime(1) prints.
    assert re.search(r"up .*load average", hypervisor["uptime"])
    assert hypervisor["host_ip"] == site_ip(site)
    old = cloud.compute.get(f"/os-hypervisors/{node.id}", microversion="2.53").json()
    assert old["hypervisor"]["running_vms"] >= 1
    assert old["hypervisor"]["memory_mb"] > 256
    assert old["hypervisor"]["cpu_info"]["topology"]["cores"] >= 1
    statistics = cloud.compute.get("/os-hypervisors/statistics", microversion="2.53").json()
    assert statistics["hypervisor_statistics"]["vcpus"] >= 1


def site_ip(site):
    """``[DEFAULT] my_ip`` of nova-compute, as it is configured."""
    for name in ("nova-compute.conf", "nova.conf"):
        found = re.search(r"^my_ip\s*=\s*(\S+)", (site.etc / "nova" / name).read_text(), re.M)
        if found is not None:
            return found[1]
    raise AssertionError("my_ip is not configured")
