"""Tempest against the cloud, and the port of the host that it reaches pods by."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.functional.conftest import HOME, REPO

pytestmark = pytest.mark.usefixtures("no_leaks")


def test_the_host_reaches_pods_for_the_time_of_its_port(site, cloud, make_server, console):
    from cloud import host_port

    server = make_server()
    console(server, "serving on port 80")
    address = server.addresses["private"][0]["addr"]
    interface = Path("/sys/class/net") / host_port.INTERFACE
    with host_port.plugged(site, cloud, "private"):
        subprocess.run(["ping", "-c3", "-i0.3", "-W5", address], check=True)
        page = subprocess.run(
            ["curl", "-sS", "--max-time", "20", f"http://{address}/"],
            check=True,
            capture_output=True,
            text=True,
        )
        assert page.stdout == "Hello from a pod.\n"
    assert not interface.exists()
    assert not list(cloud.network.ports(device_owner=host_port.OWNER))


def test_a_pod_has_the_metadata_service(make_server, console, image_running):
    image = image_running(
        "timeout 60 wget -qO- http://169.254.169.254/openstack/latest/meta_data.json; "
        "echo; echo end; sleep 1000"
    )
    server = make_server(image=image)
    assert f'"uuid": "{server.id}"' in console(server, "end\n")


def test_tempest_logs_in_to_a_pod():
    done = subprocess.run(
        [REPO / "tools/tempest.sh", "scenario.test_server_basic_ops"],
        env={"NOVA_HYPER_HOME": str(HOME), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 run: 1 passed, 0 failed. 0 skipped" in done.stdout
