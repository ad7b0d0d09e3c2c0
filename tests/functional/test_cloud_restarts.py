"""Everything on the host may die and come back: pods go on, and Nova still controls them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from nova_hyper.client import HyperClient
from tests.functional.daemon import wait_for

pytestmark = pytest.mark.usefixtures("no_leaks")

TICK = "trap 'exit 0' TERM; while :; do echo up $(cut -d. -f1 /proc/uptime) s; sleep 1; done"


@pytest.fixture
def daemons(site):
    """The definitions of the services on the host, by name."""
    from cloud import hyperd, libvirt, nova

    found = [hyperd.definition(site), nova.compute(site), *libvirt.definitions()]
    return {definition.name: definition for definition in found}


@pytest.fixture
def killed(site, cloud, daemons):
    """``with killed(name):`` a service that is dead in the body and back after it."""
    from cloud import nova, service

    @contextlib.contextmanager
    def kill(name):
        ours = service.running_pid(site, name) is not None
        if ours:
            service.kill(site, name)
        else:
            os.kill(int(Path(f"/run/{name}.pid").read_text()), signal.SIGKILL)
        try:
            yield
        finally:
            if ours:
                service.bring_up(site, daemons[name])
            else:
                subprocess.run([name, "-d"], check=True)
                deadline = time.monotonic() + 30
                while not daemons[name].ready():
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
            nova.wait_for_node(site, cloud)

    return kill


@pytest.fixture
def ticker(make_server, image_running, console):
    server = make_server(image=image_running(TICK))
    console(server, "up ")
    return server


def uptimes(text):
    return [int(seconds) for seconds in re.findall(r"^up (\d+) s$", text, re.MULTILINE)]


@pytest.mark.parametrize("name", ["hyperd", "nova-compute", "libvirtd"])
def test_a_pod_outlives_a_killed_daemon(site, cloud, ticker, console, wait_status, killed, name):
    before = uptimes(console(ticker))[-1]
    with killed(name):
        time.sleep(3)
    deadline = time.monotonic() + 30
    while (seen := uptimes(console(ticker)))[-1] < before + 4:
        assert time.monotonic() < deadline, f"the pod's clock stands still: {seen[-5:]}"
        time.sleep(0.5)
    assert seen == sorted(seen), "the pod was started anew"
    assert cloud.compute.get_server(ticker).status == "ACTIVE"

    cloud.compute.stop_server(ticker)
    wait_status(ticker, "SHUTOFF")
    cloud.compute.start_server(ticker)
    wait_status(ticker, "ACTIVE")
    cloud.compute.delete_server(ticker)
    cloud.compute.wait_for_delete(ticker, interval=0.2)


def test_after_a_boot_of_the_host_what_ran_is_back_and_what_was_suspended_resumes(
    site, cloud, make_server, image_running, console, wait_status, daemons
):
    from cloud import nova, service

    image = image_running(TICK)
    ran, suspended = (make_server(image=image) for _ in range(2))
    for server in (ran, suspended):
        console(server, "up ")
    cloud.compute.suspend_server(suspended)
    wait_status(suspended, "SUSPENDED")
    before = uptimes(console(suspended))
    qemu = int(Path(f"/run/libvirt/qemu/{_domain(ran)}.pid").read_text())
    names = [n for n in daemons if service.running_pid(site, n) is not None and n != "virtlogd"]
    for name in names:
        service.kill(site, name)
    os.kill(qemu, signal.SIGKILL)
    for name in sorted(names, key=["libvirtd", "hyperd", "nova-compute"].index):
        service.bring_up(site, daemons[name])
    nova.wait_for_node(site, cloud)

    deadline = time.monotonic() + 60
    while (seen := uptimes(console(ran))) == sorted(seen):
        assert time.monotonic() < deadline, "what ran was not booted again"
        time.sleep(0.5)
    assert wait_status(ran, "ACTIVE").power_state == 1
    assert cloud.compute.get_server(suspended).status == "SUSPENDED"
    cloud.compute.resume_server(suspended)
    wait_status(suspended, "ACTIVE")
    deadline = time.monotonic() + 30
    while len(seen := uptimes(console(suspended))) < len(before) + 2:
        assert time.monotonic() < deadline, "it does not go on"
        time.sleep(0.5)
    assert seen == sorted(seen), "it was booted anew"


def test_an_exit_while_nova_compute_is_away_is_noticed_when_it_is_back(
    make_server, image_running, wait_status, killed
):
    server = make_server(image=image_running("sleep 4"))
    with killed("nova-compute"):
        time.sleep(6)
    wait_status(server, "SHUTOFF")


def test_a_killed_micro_vm_becomes_shutoff_and_starts_again(
    cloud, make_server, console, wait_status
):
    server = make_server()
    console(server)
    qemu = int(Path(f"/run/libvirt/qemu/{_domain(server)}.pid").read_text())
    os.kill(qemu, signal.SIGKILL)
    wait_status(server, "SHUTOFF")
    hyperd = HyperClient("/run/hyperd/hyperd.sock", 30, 5)
    assert "QEMU was killed" in hyperd.pod(server.id).message
    cloud.compute.start_server(server)
    wait_status(server, "ACTIVE")
    wait_for(lambda: console(server).count("serving on port 80") == 2, 60, "a second start")


@pytest.mark.parametrize("name", ["hyperd", "libvirtd"])
def test_a_server_made_while_a_daemon_is_away_fails_or_waits_and_leaves_nothing(
    cloud, make_server, killed, name
):
    with killed(name):
        server = make_server(wait=False)
        deadline = time.monotonic() + 150
        while (seen := cloud.compute.get_server(server)).status == "BUILD":
            assert time.monotonic() < deadline, "neither made nor refused"
            time.sleep(0.5)
    assert seen.status == "ERROR"
    assert seen.fault["message"]


def _domain(server):
    listed = subprocess.run(
        ["virsh", "-c", "qemu:///system", "list", "--name"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    (name,) = (domain for domain in listed if server.id in domain)
    return name
