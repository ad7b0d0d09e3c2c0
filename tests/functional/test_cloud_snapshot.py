"""Servers as images: snapshots, backups and shelved servers, as their user sees them."""

from __future__ import annotations

import contextlib
import time
import uuid

import pytest
from openstack import exceptions

from nova_hyper.client import HyperClient
from nova_hyper.spec.errors import PodNotFound
from tests.functional import archives
from tests.functional.daemon import wait_for
from tests.functional.test_cloud_power import failure, serves_again
from tests.functional.test_cloud_restarts import daemons, killed  # noqa: F401 - fixtures

pytestmark = pytest.mark.usefixtures("no_leaks")

WORK = r"""
set -e
mkdir -m 711 /kept
echo data >/kept/file && chmod 640 /kept/file && chown 3:4 /kept/file
cp /bin/busybox /kept/set && chmod 6755 /kept/set
ln -s file /kept/link
rm /www/index.html
sync
"""
LOOK = r"""
stat -c '%n %a %u:%g' /kept /kept/file /kept/set
readlink /kept/link
cat /kept/file
test -e /www/index.html || echo no page
"""
SEEN = """\
/kept 711 0:0
/kept/file 640 3:4
/kept/set 6755 0:0
file
data
no page
"""


@pytest.fixture
def hyperd():
    return HyperClient("/run/hyperd/hyperd.sock", 120, 5)


@pytest.fixture
def inside(hyperd):
    """``inside(server, "shell command")``: what it prints in the server's container."""

    def run(server, command):
        with hyperd.exec(server.id, ["sh", "-c", command]) as session:
            said = list(session)
        assert session.exit_code == 0, said
        return b"".join(data for _, data in said).decode()

    return run


@pytest.fixture
def worked(make_server, console, hyperd, inside):
    """A server with a disk, in which somebody has worked."""
    server = make_server(flavor="hyper.small")
    console(server, "serving on port 80")
    inside(server, "mkdir -p /srv")
    hyperd.write_archive(server.id, "/srv", [archives.coloured("file", "green")])
    inside(server, WORK)
    return server


def check(server, hyperd, inside):
    """What was done to a server is in this one, with modes, owners and attributes."""
    assert inside(server, LOOK) == SEEN
    body = hyperd.read_archive(server.id, "/srv/file")
    assert archives.colour_of(body, "file") == "green"


@pytest.fixture
def images(cloud):
    """``images()``: the ids of all images that came with the test; they go with it."""
    before = {image.id for image in cloud.image.images()}

    def new():
        return {image.id for image in cloud.image.images()} - before

    yield new
    for image in new():
        cloud.image.delete_image(image)


@pytest.fixture
def idle(cloud):
    """``idle(server)``: the server, once nothing is done to it."""

    def wait(server, timeout_s=120):
        deadline = time.monotonic() + timeout_s
        while (seen := cloud.compute.get_server(server)).task_state is not None:
            assert time.monotonic() < deadline, f"it is still {seen.task_state}"
            time.sleep(0.3)
        return seen

    return wait


@pytest.fixture
def snapshot(cloud, images, idle):
    """``snapshot(server)``: the name of an image of it, which is active."""

    def make(server):
        name = f"snapshot-{uuid.uuid4().hex[:8]}"
        cloud.compute.create_server_image(server, name, wait=True, timeout=180)
        idle(server)
        return name

    return make


def shown(cloud, name):
    """An image with its properties, as the API gives it."""
    return cloud.image.get(f"/images/{cloud.image.find_image(name).id}").json()


def test_a_snapshot_boots_as_the_server_was(
    cloud, worked, make_server, snapshot, console, hyperd, inside
):
    store = {image.id for image in hyperd.images()}
    name = snapshot(worked)
    assert {image.id for image in hyperd.images()} == store, "the host has kept it"
    image = shown(cloud, name)
    assert (image["container_format"], image["disk_format"]) == ("docker", "raw")
    assert (image["img_hv_type"], image["hw_vm_mode"]) == ("docker", "exe")
    assert image["trait:CUSTOM_HYPER"] == "required"
    assert (image["image_type"], image["instance_uuid"]) == ("snapshot", worked.id)
    assert image["min_disk"] == 1
    assert cloud.compute.get_server(worked).status == "ACTIVE"
    check(worked, hyperd, inside)

    again = make_server(image=name, flavor="hyper.small")
    console(again, "serving on port 80")
    check(again, hyperd, inside)
    # And a snapshot of what was made from a snapshot.
    inside(again, "echo more >/kept/more; rm /kept/link; sync")
    third = make_server(image=snapshot(again), flavor="hyper.small")
    assert inside(third, "cat /kept/more /kept/file; test -L /kept/link || echo no link") == (
        "more\ndata\nno link\n"
    )


@pytest.mark.parametrize(
    ("action", "status", "back"),
    [
        ("stop_server", "SHUTOFF", "start_server"),
        ("pause_server", "PAUSED", "unpause_server"),
        ("suspend_server", "SUSPENDED", "resume_server"),
    ],
)
def test_a_server_that_does_not_run_is_an_image_too(
    cloud, worked, make_server, snapshot, wait_status, hyperd, inside, action, status, back
):
    getattr(cloud.compute, action)(worked)
    wait_status(worked, status)
    name = snapshot(worked)
    assert cloud.compute.get_server(worked).status == status
    again = make_server(image=name, flavor="hyper.small")
    check(again, hyperd, inside)
    getattr(cloud.compute, back)(worked)
    wait_status(worked, "ACTIVE")
    check(worked, hyperd, inside)


def test_files_in_memory_are_in_the_image_of_a_server_that_runs(
    cloud, make_server, snapshot, console, inside
):
    server = make_server()
    console(server, "serving on port 80")
    inside(server, "echo data >/file")
    again = make_server(image=snapshot(server))
    assert inside(again, "cat /file") == "data\n"


def test_backups_rotate(cloud, worked, images, idle, make_server, hyperd, inside):
    for number in (1, 2):
        name = f"backup-{uuid.uuid4().hex[:8]}"
        cloud.compute.backup_server(worked, name, "daily", 1)
        idle(worked)
        wait_for(lambda: len(images()) == 1, what=f"one backup after {number}")
    image = shown(cloud, name)
    assert (image["status"], image["backup_type"]) == ("active", "daily")
    check(make_server(image=name, flavor="hyper.small"), hyperd, inside)


def addresses(cloud, server):
    found = cloud.compute.get_server(server).addresses["private"]
    return sorted(address["addr"] for address in found)


def test_a_shelved_server_leaves_the_host_and_comes_back_as_it_was(
    site, cloud, worked, images, wait_status, console, hyperd, inside
):
    from cloud import traces

    before = addresses(cloud, worked)
    found = traces.find(site, cloud)
    for _ in range(2):  # the second time from an image that Glance does not have any more
        cloud.compute.shelve_server(worked)
        server = wait_status(worked, "SHELVED_OFFLOADED", timeout_s=180)
        assert server.task_state is None
        with pytest.raises(PodNotFound):
            hyperd.pod(worked.id)
        left = traces.find(site, cloud)
        for kind in ("domains", "qemu_processes", "interfaces", "ovs_ports", "pod_files"):
            assert not [name for name in getattr(left, kind) if worked.id in name], kind
        assert len(left.domains) < len(found.domains)
        assert len(left.ovs_ports) < len(found.ovs_ports)
        assert worked.id not in left.allocations
        assert len(images()) == 1

        cloud.compute.unshelve_server(worked)
        assert wait_status(worked, "ACTIVE", timeout_s=180).power_state == 1
        wait_for(lambda: not images(), what="the end of the image")
        console(worked, "serving on port 80")
        check(worked, hyperd, inside)
        assert addresses(cloud, worked) == before


def test_a_shelved_server_can_be_deleted(cloud, worked, images, wait_status):
    cloud.compute.shelve_server(worked)
    wait_status(worked, "SHELVED_OFFLOADED", timeout_s=180)
    cloud.compute.delete_server(worked)
    cloud.compute.wait_for_delete(worked, interval=0.2)
    # The API deletes the image of a server that it deletes.
    wait_for(lambda: not images(), what="the end of the image")


def test_what_would_be_lost_is_not_shelved(cloud, make_server, images, console, inside):
    server = make_server()
    console(server, "serving on port 80")
    inside(server, "echo data >/file")
    cloud.compute.shelve_server(server)
    assert "flavor has no disk cannot be shelved" in failure(cloud, server, "shelve")
    seen = cloud.compute.get_server(server)
    assert (seen.status, seen.task_state, seen.power_state) == ("ACTIVE", None, 1)
    assert inside(server, "cat /file") == "data\n"
    assert not images()


def test_what_ended_with_its_memory_is_no_image_and_the_server_starts_again(
    cloud, make_server, images, console, wait_status
):
    server = make_server()
    console(server, "serving on port 80")
    cloud.compute.stop_server(server)
    wait_status(server, "SHUTOFF")
    cloud.compute.backup_server(server, "nothing", "daily", 1)
    assert "make an image of it while it runs" in failure(cloud, server, "createBackup")
    wait_for(lambda: not images(), what="the end of the image")
    assert cloud.compute.get_server(server).status == "SHUTOFF"
    cloud.compute.start_server(server)
    wait_status(server, "ACTIVE")
    serves_again(console, server)


def test_hyperd_killed_in_the_middle_leaves_a_server_that_goes_on(
    site,
    cloud,
    worked,
    images,
    idle,
    hyperd,
    inside,
    killed,  # noqa: F811
):
    inside(worked, "dd if=/dev/urandom of=/large bs=1M count=40")
    layers = site.var / "hyperd/images"
    before = sorted(path.name for path in (layers / "layers").iterdir())
    cloud.compute.create_server_image(worked, f"cut-{uuid.uuid4().hex[:8]}")
    wait_for(
        lambda: (
            list((layers / "tmp").iterdir())
            or sorted(path.name for path in (layers / "layers").iterdir()) != before
        ),
        what="the snapshot",
    )
    with killed("hyperd"):
        pass
    assert idle(worked).status == "ACTIVE"
    wait_for(lambda: not images(), what="the end of the image")
    assert sorted(path.name for path in (layers / "layers").iterdir()) == before
    assert not list((layers / "tmp").iterdir())
    inside(worked, "rm /large")
    check(worked, hyperd, inside)


def test_a_server_may_be_deleted_while_an_image_of_it_is_made(cloud, worked, images, inside):
    inside(worked, "dd if=/dev/urandom of=/large bs=1M count=40")
    cloud.compute.create_server_image(worked, f"cut-{uuid.uuid4().hex[:8]}")
    cloud.compute.delete_server(worked)
    cloud.compute.wait_for_delete(worked, interval=0.2, wait=120)
    wait_for(
        lambda: all(_status(cloud, image) in ("active", None) for image in images()),
        what="the end of the image",
    )


def _status(cloud, image):
    with contextlib.suppress(exceptions.NotFoundException):
        return cloud.image.get_image(image).status
    return None
