"""Servers as images: what Glance is given, and what is left when that fails."""

from __future__ import annotations

import dataclasses

import glanceclient.exc
import pytest
from nova import exception as nova_exception
from nova import objects
from nova.compute import task_states, vm_states

from nova_hyper import exception
from nova_hyper.daemon.image.changes import apply_changes
from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import DaemonUnavailable, DiskFull, HyperError
from nova_hyper.spec.pod import PodSpec, PodState
from nova_hyper.virt import snapshot
from nova_hyper.virt.podspec import MANIFEST_LABEL
from nova_hyper.virt.snapshot import Snapshots
from tests.unit.fake_hyperd import FakeHyperd
from tests.unit.virt.instances import IMAGE_ID, UUID, instance

SNAPSHOT_ID = "11111111-2222-4333-8444-555555555555"
CHUNK = 7


class Glance:
    """Nova's image API: keeps what it is given, or fails after ``breaks_at`` bytes."""

    def __init__(self):
        self.images = {SNAPSHOT_ID: {"status": "queued"}}
        self.breaks_at = None
        self.error = glanceclient.exc.HTTPInternalServerError("the store is full")
        self.loses = 0
        self.seen = None

    def update(self, context, image_id, info, data=None, purge_props=False):
        assert purge_props is False
        if image_id not in self.images:
            raise nova_exception.ImageNotFound(image_id=image_id)
        content = b""
        while chunk := data.read(CHUNK):
            content += chunk
            if self.breaks_at is not None and len(content) >= self.breaks_at:
                raise self.error
        self.seen = content
        size = len(content) - self.loses
        self.images[image_id] = {**info, "status": "active", "size": size}
        return self.images[image_id]

    def delete(self, context, image_id):
        if self.images.pop(image_id, None) is None:
            raise nova_exception.ImageNotFound(image_id=image_id)


class States:
    """The compute manager's ``update_task_state``."""

    def __init__(self):
        self.seen = []
        self.deleted_at = None

    def __call__(self, task_state, expected_state=task_states.IMAGE_SNAPSHOT):
        if task_state == self.deleted_at:
            raise nova_exception.UnexpectedDeletingTaskStateError(
                instance_uuid=UUID, expected={}, actual={}
            )
        self.seen.append((expected_state, task_state))


@pytest.fixture
def hyperd():
    return FakeHyperd()


@pytest.fixture
def glance():
    return Glance()


@pytest.fixture
def states():
    return States()


@pytest.fixture
def snapshots(hyperd, glance):
    return Snapshots(hyperd, glance)


@pytest.fixture
def make(hyperd):
    """Make the pod of the instance, running."""

    def make(*containers, **options):
        image = hyperd.import_image("i", [b"x"])
        made = containers or (Container("main", image.id),)
        made = tuple(dataclasses.replace(c, image=image.id) for c in made)
        spec = PodSpec(UUID, "instance-7", made, **{"root_gib": 1, **options})
        hyperd.create_pod(spec)
        return hyperd.start_pod(UUID)

    return make


def server(**options):
    values = {"task_state": task_states.IMAGE_SNAPSHOT, "vm_state": vm_states.ACTIVE, **options}
    return instance(**values)


def take(snapshots, states, **options):
    snapshots.take(None, server(**options), SNAPSHOT_ID, states)


def closed(hyperd):
    return hyperd.body.closed


def test_the_archive_goes_to_glance_as_an_image_for_pods(snapshots, hyperd, glance, states, make):
    make()
    take(snapshots, states)
    assert glance.seen == b"the archive of " + UUID.encode()
    stored = glance.images[SNAPSHOT_ID]
    assert (stored["disk_format"], stored["container_format"]) == ("raw", "docker")
    assert stored["properties"] == {
        "img_hv_type": "docker",
        "hw_vm_mode": "exe",
        "image_location": "snapshot",
        "image_state": "available",
        "owner_id": "project",
    }
    assert states.seen == [
        (task_states.IMAGE_SNAPSHOT, task_states.IMAGE_PENDING_UPLOAD),
        (task_states.IMAGE_PENDING_UPLOAD, task_states.IMAGE_UPLOADING),
    ]
    assert closed(hyperd)
    assert hyperd.snapshots == [(UUID, None, ())]


def test_it_boots_the_kernel_of_the_server_and_is_no_manifest():
    metadata = {"image_hyper_format": "pod-manifest"}
    found = snapshot.properties(server(kernel_id="k", ramdisk_id="r", system_metadata=metadata))
    assert (found["kernel_id"], found["ramdisk_id"]) == ("k", "r")
    assert found["hyper_format"] == ""


def test_an_image_runs_what_its_container_ran():
    container = Container(
        "main",
        "i",
        command=("sh", "-c"),
        args=("echo 'é' \"$A\"",),
        env=("A=b c", "QUOTED='x'\n\"y\"", "EMPTY="),
        user="1:2",
        working_dir="/srv/a b",
        stop_signal="SIGINT",
    )
    config = {"Cmd": ["old"], "Env": ["A=old", "PATH=/bin"]}
    apply_changes(config, snapshot.changes(container))
    assert config == {
        "Entrypoint": ["sh", "-c"],
        "Cmd": ["echo 'é' \"$A\""],
        "Env": ["A=b c", "PATH=/bin", "QUOTED='x'\n\"y\"", "EMPTY="],
        "User": "1:2",
        "WorkingDir": "/srv/a b",
        "StopSignal": "SIGINT",
    }
    config = {"Entrypoint": ["web"], "Cmd": ["old"]}
    apply_changes(config, snapshot.changes(Container("main", "i", command=("other",))))
    assert config == {"Entrypoint": ["other"]}
    assert snapshot.changes(Container("main", "i")) == ()


def test_several_containers_are_no_image(snapshots, hyperd, states, make):
    make(Container("web", ""), Container("db", ""))
    with pytest.raises(exception.NoSnapshot, match=r"has 2 \(web, db\)"):
        take(snapshots, states)
    assert states.seen == hyperd.snapshots == []


@pytest.mark.parametrize(
    ("verb", "reason"),
    [
        ("stop_pod", "ended with it; make an image of it while it runs"),
        ("pause_pod", "unpause the server first"),
        ("suspend_pod", "resume the server first"),
    ],
)
def test_what_is_in_a_memory_that_does_not_run_is_no_image(
    snapshots, hyperd, states, make, verb, reason
):
    make(root_gib=0)
    getattr(hyperd, verb)(UUID)
    with pytest.raises(exception.NoSnapshot, match=reason) as raised:
        take(snapshots, states)
    assert len(str(raised.value)) < 255
    assert hyperd.snapshots == []


@pytest.mark.parametrize("verb", ["stop_pod", "pause_pod", "suspend_pod"])
def test_a_server_with_a_disk_need_not_run(snapshots, hyperd, glance, states, make, verb):
    make()
    before = getattr(hyperd, verb)(UUID)
    take(snapshots, states)
    assert glance.images[SNAPSHOT_ID]["status"] == "active"
    assert hyperd.pod(UUID) == before


def test_hyperds_reason_is_the_fault(snapshots, hyperd, states, make):
    make()
    hyperd.fail_next["snapshot"] = DiskFull("the disk that holds the images is full")
    with pytest.raises(exception.PodFailed, match=r"^the disk that holds the images is full$"):
        take(snapshots, states)
    hyperd.fail_next["snapshot"] = DaemonUnavailable("hyperd does not answer")
    with pytest.raises(exception.HyperdUnavailable):
        take(snapshots, states)


def test_a_server_that_was_deleted_meanwhile_is_told_as_such(snapshots, hyperd, states, make):
    with pytest.raises(nova_exception.InstanceNotRunning):
        take(snapshots, states)
    make()

    def gone(*_args, **_kwargs):
        hyperd.delete_pod(UUID)
        raise HyperError("the guest is lost")

    hyperd.snapshot = gone
    with pytest.raises(nova_exception.InstanceNotRunning):
        take(snapshots, states)


def test_what_deletes_the_server_ends_the_upload(snapshots, hyperd, glance, states, make):
    make()
    states.deleted_at = task_states.IMAGE_UPLOADING
    with pytest.raises(nova_exception.UnexpectedDeletingTaskStateError):
        take(snapshots, states)
    assert glance.seen is None
    assert closed(hyperd)


def test_glance_failing_in_the_middle_is_told_in_a_sentence(
    snapshots, hyperd, glance, states, make
):
    make()
    glance.breaks_at = CHUNK
    with pytest.raises(exception.ImageNotStored, match=r"did not store .*the store is full"):
        take(snapshots, states)
    assert closed(hyperd)
    glance.error = nova_exception.ImageQuotaExceeded(image_id=SNAPSHOT_ID)
    with pytest.raises(nova_exception.ImageQuotaExceeded):
        take(snapshots, states)


def test_an_image_that_was_deleted_meanwhile_is_the_managers_business(
    snapshots, glance, states, make
):
    make()
    glance.images.clear()
    with pytest.raises(nova_exception.ImageNotFound):
        take(snapshots, states)


def test_hyperd_going_away_in_the_middle_is_told_as_such(
    snapshots, hyperd, glance, states, make, monkeypatch
):
    make()
    whole = hyperd.snapshot

    def broken(*args, **kwargs):
        body = whole(*args, **kwargs)
        read, left = body.read, [2]

        class Broken:
            def read(self, size):
                if not left[0]:
                    raise DaemonUnavailable("hyperd went away in the middle of its answer")
                left[0] -= 1
                return read(size)

            def close(self):
                body.close()

        return Broken()

    monkeypatch.setattr(hyperd, "snapshot", broken)
    with pytest.raises(exception.HyperdUnavailable, match="in the middle of its answer"):
        take(snapshots, states)
    assert glance.seen is None
    assert closed(hyperd)


def test_half_an_archive_is_no_image(snapshots, glance, states, make):
    # As when Nova's client for Glance tries again with what is left of the data.
    make()
    glance.loses = CHUNK
    with pytest.raises(exception.ImageNotStored, match="broke in the middle; try again"):
        take(snapshots, states)


def test_a_failed_shelve_leaves_no_image_and_the_server_running(
    snapshots, hyperd, glance, states, make
):
    make()
    hyperd.stop_pod(UUID)  # as the manager has done
    glance.breaks_at = CHUNK
    with pytest.raises(exception.ImageNotStored):
        take(snapshots, states, task_state=task_states.SHELVING)
    assert glance.images == {}
    assert hyperd.pod(UUID).state is PodState.RUNNING


def test_a_failed_shelve_starts_nothing_that_did_not_run(snapshots, hyperd, glance, states, make):
    make()
    hyperd.stop_pod(UUID)
    glance.breaks_at = CHUNK
    for vm_state in (vm_states.STOPPED, vm_states.PAUSED):
        with pytest.raises(nova_exception.NovaException):
            take(snapshots, states, task_state=task_states.SHELVING, vm_state=vm_state)
        assert hyperd.pod(UUID).state is PodState.STOPPED


def test_a_failed_snapshot_is_left_to_the_manager(snapshots, hyperd, glance, states, make):
    make()
    glance.breaks_at = CHUNK
    with pytest.raises(exception.ImageNotStored):
        take(snapshots, states)
    assert SNAPSHOT_ID in glance.images
    assert hyperd.pod(UUID).state is PodState.RUNNING


SHELVING = {"task_state": task_states.SHELVING}


def test_a_server_with_a_disk_is_stopped_for_a_shelve(snapshots, make):
    make()
    assert not snapshots.refuses_shelving(server(**SHELVING))


@pytest.mark.parametrize(
    ("pod", "options", "reason"),
    [
        ({"root_gib": 0}, {}, "flavor has no disk"),
        ({"labels": {MANIFEST_LABEL: "yes"}}, {}, "Pod manifest cannot be shelved"),
        ({}, {"trusted_certs": objects.TrustedCerts(ids=["c"])}, "signed images"),
    ],
)
def test_a_shelve_that_would_lose_something_is_refused_before_the_stop(
    snapshots, hyperd, glance, states, make, pod, options, reason
):
    make(**pod)
    assert snapshots.refuses_shelving(server(**SHELVING, **options))
    with pytest.raises(exception.NoSnapshot, match=reason) as raised:
        take(snapshots, states, **SHELVING, **options)
    assert len(str(raised.value)) < 255
    assert hyperd.pod(UUID).state is PodState.RUNNING
    assert glance.images == {}
    assert hyperd.snapshots == states.seen == []


@pytest.mark.parametrize(
    "options", [{"task_state": task_states.POWERING_OFF}, {**SHELVING, "image_ref": ""}]
)
def test_any_other_stop_is_none_of_its_business(snapshots, make, options):
    make(root_gib=0)
    assert not snapshots.refuses_shelving(server(**options))
    assert not snapshots.refuses_shelving(instance(image_ref=IMAGE_ID))
