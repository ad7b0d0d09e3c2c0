"""Fixtures of the tests that need a machine: the cloud, servers in it, and what they leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest

from nova_hyper.daemon.guest import build
from nova_hyper.daemon.guest.reactor import Reactor
from tests.functional import archives, bare_guest

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "tools"))

HOME = Path(os.environ.get("NOVA_HYPER_HOME", "/opt/nova-hyper"))
LEFTOVERS_TIMEOUT_S = 30


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores it, and so would all that is started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)


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


@pytest.fixture(scope="session")
def built():
    """The files of the guest, brought up to date first, for one that a test starts by hand."""
    directory = Path(os.environ.get("HYPER_GUEST_DIRECTORY", "/var/lib/hyperd/guest"))
    return build.build(directory, None, None, None, lambda _message: None, os.cpu_count() or 1)


@pytest.fixture(scope="module")
def reactor():
    """The thread of the channels to guests that a test starts by hand."""
    made = Reactor()
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def layers(tmp_path_factory):
    """The layers of the containers in such a guest."""
    return bare_guest.make_layers(tmp_path_factory.mktemp("layers"))


@pytest.fixture(scope="session")
def busybox(tmp_path_factory):
    """A docker archive of the busybox image."""
    path = tmp_path_factory.mktemp("images") / "busybox.tar"
    subprocess.run([REPO / "tools/images/busybox.sh", path], check=True, capture_output=True)
    return path


@pytest.fixture
def place():
    """A directory that QEMU's user can pass, with a path short enough for sockets in it."""
    with tempfile.TemporaryDirectory(prefix="hyperd-", dir="/run") as directory:
        yield Path(directory)


@pytest.fixture
def make_server(cloud):
    """Make servers that are gone after the test: ``make_server(name=..., image=..., ...)``.

    With ``wait=False`` the server is given as Nova first answers; other options
    are the compute API's own.
    """
    made = []

    def make(
        name=None,
        *,
        image="busybox",
        flavor="hyper.nano",
        network="private",
        wait=True,
        **options,
    ):
        server = cloud.compute.create_server(
            name=name or f"test-{uuid.uuid4().hex[:8]}",
            image_id=cloud.image.find_image(image, ignore_missing=False).id,
            flavor_id=cloud.compute.find_flavor(flavor, ignore_missing=False).id,
            networks=[{"uuid": cloud.network.find_network(network, ignore_missing=False).id}],
            **options,
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
        # Not as the caller knows it: its status may be that of before.
        return cloud.compute.wait_for_server(
            cloud.compute.get_server(server),
            status=status,
            failures=[],
            wait=timeout_s,
            interval=0.1,
        )

    return wait


@pytest.fixture
def upload(cloud):
    """``upload(file, ...)``: the name of a Glance image with that content, until the test ends.

    Further arguments are its properties.
    """
    from cloud.resources import IMAGE_PROPERTIES

    made = []

    def make(archive, **properties):
        name = f"test-{uuid.uuid4().hex[:8]}"
        image = cloud.create_image(
            name,
            filename=str(archive),
            container_format="docker",
            disk_format="raw",
            wait=True,
            use_import=False,
            **{**IMAGE_PROPERTIES, **properties},
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
