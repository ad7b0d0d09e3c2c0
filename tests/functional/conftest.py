"""Fixtures of the tests that need a machine: the cloud, servers in it, and what they leave."""

from __future__ import annotations

import os
import sys
import time
import uuid
from pathlib import Path

import pytest

from tests.functional import archives

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "tools"))

HOME = Path(os.environ.get("NOVA_HYPER_HOME", "/opt/nova-hyper"))
LEFTOVERS_TIMEOUT_S = 30


@pytest.fixture(scope="session")
def site():
    """The place of the cloud; nothing runs there unless ``cloud`` is asked for too."""
    from cloud.site import Site

    return Site(HOME)


@pytest.fixture(scope="session")
def cloud(site):
    """The administrator's connection to a cloud that is up, brought up here if it was not."""
    from cloud import down, hyperd, service, up
    from cloud.plan import Clock

    ran = service.running_pid(site, "nova-compute") is not None
    clock = Clock(lambda text: print(text, file=sys.__stderr__, flush=True))
    up.configure(site)
    hyperd.build_guest(site, lambda text: None)
    connection = up.bring_up(site, clock)
    yield connection
    if not ran:
        down.take_down(site, clock)


@pytest.fixture(scope="session")
def libvirt(site):
    """A libvirtd that answers, started here if none did."""
    from cloud import libvirt, up

    up.configure(site)
    libvirt.bring_up(site)


@pytest.fixture(scope="session")
def guest(site):
    """The directory of the guest that pods boot, built here if it was not."""
    from cloud import hyperd

    hyperd.build_guest(site, lambda text: None)
    return site.guest


@pytest.fixture
def make_server(cloud):
    """Make servers that are gone after the test: ``make_server(name=..., image=..., ...)``.

    With ``wait=False`` the server is given as Nova first answers.
    """
    made = []

    def make(name=None, *, image="busybox", flavor="hyper.nano", network="private", wait=True):
        server = cloud.compute.create_server(
            name=name or f"test-{uuid.uuid4().hex[:8]}",
            image_id=cloud.image.find_image(image, ignore_missing=False).id,
            flavor_id=cloud.compute.find_flavor(flavor, ignore_missing=False).id,
            networks=[{"uuid": cloud.network.find_network(network, ignore_missing=False).id}],
        )
        made.append(server)
        if not wait:
            return server
        return cloud.compute.wait_for_server(server, wait=120, interval=0.2)

    yield make
    for server in made:
        cloud.compute.delete_server(server, ignore_missing=True)
    for server in made:
        cloud.compute.wait_for_delete(server, interval=0.2, wait=90)


@pytest.fixture
def console(cloud):
    """``console(server, until="text")``: its console's text, once ``until`` is in it."""

    def read(server, until="", timeout_s=60):
        deadline = time.monotonic() + timeout_s
        while True:
            text = cloud.compute.get_server_console_output(server)["output"] or ""
            if (until and until in text) or (not until and text.strip()):
                return text
            assert time.monotonic() < deadline, (
                f"no {until!r} on the console after it has:\n{text}"
            )
            time.sleep(0.2)

    return read


@pytest.fixture
def no_leaks(site, cloud, request):
    """Fail a test that leaves anything behind, on the host or in the cloud's records.

    Ask for it before ``make_server``: what is asked for first is finished last.
    """
    from cloud import traces

    before = traces.find(site, cloud)
    yield
    deadline = time.monotonic() + LEFTOVERS_TIMEOUT_S
    while (left := traces.find(site, cloud).since(before)) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not left, f"left behind after {LEFTOVERS_TIMEOUT_S} s: {left}"


@pytest.fixture
def wait_status(cloud):
    """``wait_status(server, "SHUTOFF")``: the server, once it has that status."""

    def wait(server, status, timeout_s=60):
        return cloud.compute.wait_for_server(
            server, status=status, failures=[], wait=timeout_s, interval=0.1
        )

    return wait


@pytest.fixture(scope="session")
def busybox(site, cloud):
    """The docker archive that the image ``busybox`` of the cloud was made from."""
    from cloud import resources

    return resources.make_archive(site)


@pytest.fixture
def upload(cloud):
    """``upload(archive)``: the name of a Glance image with that content, until the test ends."""
    from cloud.resources import IMAGE_PROPERTIES

    made = []

    def make(archive):
        name = f"test-{uuid.uuid4().hex[:8]}"
        image = cloud.create_image(
            name,
            filename=str(archive),
            container_format="docker",
            disk_format="raw",
            wait=True,
            use_import=False,
            **IMAGE_PROPERTIES,
        )
        made.append(image)
        return name

    yield make
    for image in made:
        cloud.image.delete_image(image)


@pytest.fixture
def image_running(upload, busybox, tmp_path):
    """``image_running("shell command")``: the name of an image that runs it."""

    def make(command):
        archive = tmp_path / f"{uuid.uuid4().hex}.tar"
        return upload(archives.with_command(busybox, archive, command))

    return make
