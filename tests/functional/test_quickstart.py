"""The quick start on a cloud that is up."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.functional.conftest import HOME, REPO


@pytest.fixture
def quickstart(cloud):
    def run(*arguments):
        return subprocess.run(
            [REPO / "tools/quickstart.sh", "--home", HOME, *arguments],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


def processes(site):
    return {file.name: json.loads(file.read_text())["pid"] for file in site.run.glob("*.pid")}


def test_a_second_run_restarts_nothing(site, quickstart):
    before = processes(site)
    done = quickstart("--no-demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the cloud is ready" in done.stdout
    assert processes(site) == before


def test_the_demo_shows_the_console_and_the_timeline_of_its_start(cloud, quickstart):
    done = quickstart()
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        assert "busybox: serving on port 80" in done.stdout
        assert "Its start, as hyperd saw it:" in done.stdout
    finally:
        for server in cloud.compute.servers(name="^demo$"):
            cloud.compute.delete_server(server)
            cloud.compute.wait_for_delete(server, interval=0.2)


def test_a_dead_service_is_started_again(site, quickstart):
    from cloud import service

    killed = service.kill(site, "nova-scheduler")
    done = quickstart("--no-demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert service.running_pid(site, "nova-scheduler") not in (None, killed)


def test_the_status_lists_every_service_with_its_log(site, quickstart):
    done = quickstart("--status")
    for name in processes(site):
        assert name.removesuffix(".pid") in done.stdout
    assert f"{site.log}/hyperd.log" in done.stdout


def test_clouds_yaml_lets_the_command_line_in(site, quickstart):
    assert quickstart("--no-demo").returncode == 0
    listed = subprocess.run(
        [site.bin("openstack"), "--os-cloud", "hyper", "flavor", "list", "-f", "json"],
        env={"OS_CLIENT_CONFIG_FILE": str(site.etc / "clouds.yaml"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    names = {flavor["Name"] for flavor in json.loads(listed.stdout)}
    assert names >= {"hyper.nano", "hyper.small"}


def test_down_leaves_nothing_but_data_and_the_next_run_brings_the_servers_back(
    site, cloud, quickstart, make_server, console, wait_status
):
    from cloud import libvirt, neutron, traces
    from cloud.openvswitch import BRIDGE

    server = make_server()
    console(server)
    domain = f"hyper-{server.id}"
    assert domain in libvirt.domains()

    down = quickstart("--down")
    assert down.returncode == 0, down.stdout + down.stderr
    interfaces = {path.name for path in Path("/sys/class/net").iterdir()}
    assert BRIDGE not in interfaces
    assert not [name for name in interfaces if name.startswith("tap")]
    assert neutron.namespaces() == []
    assert domain not in libvirt.domains()
    assert traces.qemu_processes() == []
    assert processes(site) == {}

    up = quickstart("--no-demo")
    assert up.returncode == 0, up.stdout + up.stderr
    wait_status(server, "ACTIVE")
    assert console(server).count("serving on port 80") == 2
