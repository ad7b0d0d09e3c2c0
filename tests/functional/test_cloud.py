"""A server that is a pod, as its user sees it."""

from __future__ import annotations

import json
import time

import pytest

pytestmark = pytest.mark.usefixtures("no_leaks")


def test_a_server_prints_what_its_container_prints(make_server, console):
    server = make_server()
    assert server.status == "ACTIVE"
    assert "busybox: serving on port 80" in console(server)


def test_a_user_without_rights_can_have_a_server_too(site, cloud):
    from cloud import identity

    demo = identity.connect(site, "demo")
    server = demo.compute.create_server(
        name="demo-test",
        image_id=demo.image.find_image("busybox").id,
        flavor_id=demo.compute.find_flavor("hyper.nano").id,
        networks=[{"uuid": demo.network.find_network("private").id}],
    )
    try:
        assert demo.compute.wait_for_server(server, wait=60, interval=0.2).status == "ACTIVE"
    finally:
        demo.compute.delete_server(server)
        demo.compute.wait_for_delete(server, interval=0.2)


def test_a_server_knows_its_name_and_has_the_memory_and_cpus_of_its_flavor(
    make_server, console, image_running
):
    image = image_running("hostname; nproc; grep MemTotal /proc/meminfo; echo end; sleep 1000")
    server = make_server("named-pod", image=image, flavor="hyper.small")
    name, cpus, memory, *_ = console(server, "end\n").splitlines()
    assert name == "named-pod"
    assert cpus == "1"
    # The kernel keeps a little of the 256 MiB for itself.
    assert 230 << 10 < int(memory.split()[1]) <= 256 << 10


def test_a_server_without_a_disk_can_write_all_the_same(make_server, console, image_running):
    image = image_running("echo kept > /etc/new; rm /etc/group; cat /etc/new; ls /etc; sleep 1000")
    text = console(make_server(image=image), "kept")
    assert "new" in text
    assert "group" not in text


def test_a_server_has_the_disk_of_its_flavor(make_server, console, image_running):
    image = image_running("df -k / | tail -n 1; echo end; sleep 1000")
    line = console(make_server(image=image, flavor="hyper.small"), "end\n").splitlines()[0]
    size_kib = int(line.split()[1])
    assert 0.9 * (1 << 20) < size_kib <= 1 << 20


def test_a_server_whose_process_ends_becomes_shutoff_at_once(
    make_server, image_running, wait_status
):
    from nova_hyper.client import HyperClient
    from nova_hyper.spec.event import EventKind

    hyperd = HyperClient("/run/hyperd/hyperd.sock", 30, 5)
    last = hyperd.events(-1, 0).last
    server = make_server(image=image_running("echo done; sleep 2; exit 3"))
    wait_status(server, "SHUTOFF")
    noticed = time.time()
    (exited,) = (
        event
        for event in hyperd.events(last, 0).events
        if event.pod_id == server.id and event.kind is EventKind.EXITED
    )
    assert exited.exit_code == 3
    # Polled ten times a second; Nova's own look at the power state comes every ten minutes.
    assert noticed - exited.at < 2.5


def test_stop_and_start_keep_what_was_written_to_the_disk(
    cloud, make_server, console, image_running, wait_status
):
    image = image_running(
        "trap 'exit 0' TERM; echo once more >> /count; wc -l < /count; sleep 1000 & wait"
    )
    server = make_server(image=image, flavor="hyper.small")
    assert console(server, "1\n")
    cloud.compute.stop_server(server)
    wait_status(server, "SHUTOFF")
    cloud.compute.start_server(server)
    wait_status(server, "ACTIVE")
    assert console(server, "2\n")


@pytest.mark.parametrize("kind", ["SOFT", "HARD"])
def test_reboot_starts_the_container_again(cloud, make_server, console, wait_status, kind):
    server = make_server()
    first = console(server)
    cloud.compute.reboot_server(server, kind)
    deadline = time.monotonic() + 60
    while cloud.compute.get_server(server).status != "ACTIVE" or console(server).count(
        "serving on port 80"
    ) == first.count("serving on port 80"):
        assert time.monotonic() < deadline, "no second start on the console"
        time.sleep(0.3)


def test_a_server_can_be_deleted_while_it_is_being_built(cloud, make_server):
    server = make_server(wait=False)
    cloud.compute.delete_server(server)
    cloud.compute.wait_for_delete(server, interval=0.2, wait=60)


def test_several_servers_at_once_share_the_image(cloud, make_server, console):
    servers = [make_server(wait=False) for _ in range(4)]
    for server in servers:
        ready = cloud.compute.wait_for_server(server, wait=120, interval=0.2)
        assert "serving on port 80" in console(ready)


def test_the_timeline_tells_where_the_start_went(site, make_server):
    from cloud import demo

    stages = demo.timeline(site, make_server())
    assert len(stages) >= 5
    assert [at for _, at in stages] == sorted(at for _, at in stages)
    assert len({name for name, _ in stages}) == len(stages)


def test_placement_counts_what_a_pod_takes_and_nothing_after_it(cloud, make_server):
    server = make_server()
    answer = cloud.placement.get(f"/allocations/{server.id}").json()
    (taken,) = answer["allocations"].values()
    assert taken["resources"] == {"VCPU": 1, "MEMORY_MB": 64}
    cloud.compute.delete_server(server)
    cloud.compute.wait_for_delete(server, interval=0.2)
    assert cloud.placement.get(f"/allocations/{server.id}").json()["allocations"] == {}


def test_the_host_offers_the_trait_that_flavors_ask_for(cloud):
    (provider,) = cloud.placement.resource_providers()
    traits = cloud.placement.get(f"/resource_providers/{provider.id}/traits").json()["traits"]
    assert "CUSTOM_HYPER" in traits, json.dumps(traits)
