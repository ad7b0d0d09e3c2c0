"""Resize on the same host: what the pod becomes, and every way back."""

from __future__ import annotations

import dataclasses
from unittest import mock

import pytest
from nova import exception as nova_exception

from nova_hyper.spec.container import Container, Resources
from nova_hyper.spec.disk import EphemeralDisk
from nova_hyper.spec.errors import DaemonUnavailable, DiskFull, GuestFailed, HyperError
from nova_hyper.spec.pod import PodSpec, PodState, RestartPolicy
from nova_hyper.virt import shape
from nova_hyper.virt.blueprint import Blueprints
from nova_hyper.virt.image import ImageCache
from nova_hyper.virt.lifecycle import Lifecycle, Wiring
from nova_hyper.virt.resizing import Resizing
from tests.unit.fake_hyperd import FakeHyperd
from tests.unit.virt.instances import UUID, flavor, image_meta, instance

HOST = "10.0.0.1"
METADATA = {"image_container_format": "docker", "image_disk_format": "raw"}
SMALL = flavor()
LARGE = flavor(id=2, name="hyper.large", vcpus=2, memory_mb=512, root_gb=20, swap=64)


@pytest.fixture
def hyperd():
    return FakeHyperd()


@pytest.fixture
def lifecycle(hyperd):
    virtapi = mock.MagicMock()
    glance = mock.Mock()
    glance.download.side_effect = lambda context, image_id: iter([b"archive"])
    blueprints = Blueprints(hyperd, ImageCache(hyperd, glance), glance)
    return Lifecycle(hyperd, virtapi, blueprints, Wiring(300, True))


@pytest.fixture
def resizing(hyperd, lifecycle):
    return Resizing(hyperd, lifecycle, HOST)


@pytest.fixture
def server(lifecycle):
    """An instance that runs."""
    made = instance(system_metadata=dict(METADATA), flavor=SMALL)
    lifecycle.spawn(None, made, image_meta(), (), None, [], None, None, True)
    return made


def begin(resizing, server, new=LARGE, dest=HOST, timeout=10):
    resizing.begin(server, dest, new, [], None, timeout)


def become(server, new=LARGE):
    """What the compute manager does between the driver's two steps."""
    server.old_flavor, server.new_flavor = server.flavor, new
    server.flavor = new


def finish(resizing, server, power_on=True):
    resizing.finish(server, image_meta(), [], power_on)


def resize(resizing, server, new=LARGE, power_on=True):
    begin(resizing, server, new)
    become(server, new)
    finish(resizing, server, power_on)


def size(hyperd):
    spec = hyperd.pod(UUID).spec
    return spec.vcpus, spec.memory_mib, spec.root_gib, spec.swap_mib


def state(hyperd):
    return hyperd.pod(UUID).state


def refused(call, *args, **kwargs):
    """What the user is told, of a refusal after which the server is as before."""
    with pytest.raises(nova_exception.InstanceFaultRollback) as caught:
        call(*args, **kwargs)
    return str(caught.value.inner_exception)


BEFORE = (1, 256, 2, 0)
AFTER = (2, 512, 20, 64)


def test_a_running_server_is_resized_and_runs(resizing, hyperd, server):
    begin(resizing, server)
    assert state(hyperd) is PodState.STOPPED
    assert size(hyperd) == BEFORE
    become(server)
    finish(resizing, server)
    assert state(hyperd) is PodState.RUNNING
    assert size(hyperd) == AFTER
    assert hyperd.pod(UUID).spec.labels["nova.flavor"] == "hyper.large"


def test_a_stopped_server_is_resized_and_stays_stopped(resizing, hyperd, server):
    hyperd.stop_pod(UUID)
    resize(resizing, server, power_on=False)
    assert state(hyperd) is PodState.STOPPED
    assert size(hyperd) == AFTER


def test_a_confirmed_resize_keeps_nothing(resizing, hyperd, server):
    resize(resizing, server)
    assert hyperd.kept
    resizing.confirm(server)
    assert not hyperd.kept
    assert (state(hyperd), size(hyperd)) == (PodState.RUNNING, AFTER)


def test_confirming_a_server_without_a_pod_is_no_failure(resizing):
    resizing.confirm(instance())


@pytest.mark.parametrize("power_on", [True, False])
def test_a_reverted_resize_is_as_before(resizing, hyperd, server, power_on):
    resize(resizing, server)
    hyperd.stop_pod(UUID, force=True)
    resizing.revert(server, [], power_on)
    assert size(hyperd) == BEFORE
    assert not hyperd.kept
    assert state(hyperd) is (PodState.RUNNING if power_on else PodState.STOPPED)


def test_a_revert_stops_a_pod_that_runs_with_its_new_size(resizing, hyperd, server):
    resize(resizing, server)
    resizing.revert(server, [], True)
    assert (state(hyperd), size(hyperd)) == (PodState.RUNNING, BEFORE)


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_resize_that_nova_compute_was_killed_in_is_taken_back(resizing, hyperd, server, cut):
    if cut == "after":
        begin(resizing, server)
    resizing.revert(server, [], True)
    assert (state(hyperd), size(hyperd)) == (PodState.RUNNING, BEFORE)
    assert not hyperd.kept


# Refused


def test_another_host_is_refused_before_anything_is_done(resizing, hyperd, server):
    said = refused(begin, resizing, server, dest="10.0.0.2")
    assert "cannot move to another host (10.0.0.2) yet" in said
    assert state(hyperd) is PodState.RUNNING


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (flavor(root_gb=1), "root disk of 2 GB cannot become 1 GB; choose a flavor with at least"),
        (flavor(root_gb=0), "root disk of 2 GB cannot become one in memory"),
        (flavor(memory_mb=16), "less than the 32 MB that a pod needs"),
        (flavor(extra_specs={"hw:watchdog_action": "reset"}), "hw:watchdog_action=reset"),
        (flavor(extra_specs={"hw:cpu_policy": "dedicated"}), "CPU pinning"),
        (flavor(extra_specs={"quota:cpu_quota": "1"}), "quota:cpu_quota=1"),
    ],
)
def test_a_flavor_that_cannot_be_leaves_the_server_running(resizing, hyperd, server, wanted, said):
    assert said in refused(begin, resizing, server, wanted)
    assert (state(hyperd), size(hyperd)) == (PodState.RUNNING, BEFORE)
    assert "stop_pod" not in hyperd.calls
    assert server.flavor is SMALL


def test_what_hyperd_would_refuse_is_known_before_the_server_is_stopped(resizing, hyperd, server):
    hyperd.fail_next["reshape_pod"] = HyperError("the host has not so much memory")
    assert "not so much memory" in refused(begin, resizing, server)
    assert state(hyperd) is PodState.RUNNING


@pytest.mark.parametrize("ran", [True, False])
def test_no_room_to_keep_it_leaves_the_server_as_it_was(resizing, hyperd, server, ran):
    if not ran:
        hyperd.stop_pod(UUID)
    hyperd.fail_next["make_restore_point"] = DiskFull("a copy takes 5 MiB of the host's disk")
    assert "a copy takes 5 MiB" in refused(begin, resizing, server)
    assert state(hyperd) is (PodState.RUNNING if ran else PodState.STOPPED)
    assert not hyperd.kept


def test_a_server_that_cannot_be_started_again_still_tells_the_first_reason(
    resizing, hyperd, server
):
    hyperd.fail_next["make_restore_point"] = DiskFull("a copy takes 5 MiB of the host's disk")
    hyperd.fail_next["boot_pod"] = GuestFailed("does not boot")
    assert "a copy takes 5 MiB" in refused(begin, resizing, server)


@pytest.mark.parametrize("call", ["reshape_pod", "boot_pod", "start_pod"])
def test_a_resize_that_fails_gives_the_server_its_size_back(resizing, hyperd, server, call):
    begin(resizing, server)
    become(server)
    hyperd.fail_next[call] = GuestFailed("the file system cannot take all of its disk")
    with pytest.raises(nova_exception.NovaException, match="cannot take all of its disk"):
        finish(resizing, server)
    assert (state(hyperd), size(hyperd)) == (PodState.STOPPED, BEFORE)
    assert not hyperd.kept


def test_what_an_earlier_resize_kept_is_not_what_a_later_one_goes_back_to(
    resizing, hyperd, server
):
    resize(resizing, server)  # never confirmed
    resize(resizing, server, flavor(id=3, vcpus=4, root_gb=30, swap=64))
    resizing.revert(server, [], True)
    assert size(hyperd) == AFTER


# Hard reboot after a kill


def mend(resizing, server, has):
    server.flavor = has
    resizing.mend(server)


def test_a_reboot_of_a_server_of_its_size_changes_nothing(resizing, hyperd, server):
    mend(resizing, server, SMALL)
    assert (state(hyperd), size(hyperd)) == (PodState.RUNNING, BEFORE)


def test_a_server_stopped_for_a_resize_is_rebooted_with_its_old_flavor(resizing, hyperd, server):
    begin(resizing, server)
    mend(resizing, server, SMALL)
    assert size(hyperd) == BEFORE
    assert not hyperd.kept


def test_a_server_whose_resize_was_not_finished_gets_its_new_size(resizing, hyperd, server):
    begin(resizing, server)
    mend(resizing, server, LARGE)
    assert size(hyperd)[:3] == AFTER[:3]
    assert not hyperd.kept


def test_a_server_whose_revert_was_not_finished_gets_its_old_size_and_disk(
    resizing, hyperd, server
):
    resize(resizing, server)
    mend(resizing, server, SMALL)
    assert size(hyperd) == BEFORE
    assert not hyperd.kept


def test_a_disk_that_has_grown_for_good_is_left_at_that(resizing, hyperd, server):
    resize(resizing, server)
    resizing.confirm(server)
    mend(resizing, server, SMALL)
    assert size(hyperd)[:3] == (1, 256, 20)


def test_a_hyperd_that_is_away_is_told(resizing, hyperd, server):
    hyperd.fail_next["pod"] = DaemonUnavailable("hyperd does not answer")
    with pytest.raises(nova_exception.HypervisorUnavailable, match="does not answer"):
        mend(resizing, server, LARGE)


# Shapes

POD = PodSpec(UUID, "web", (Container("main", "i"),), memory_mib=256, root_gib=2)


def shaped(spec=POD, old=SMALL, new=LARGE, metadata=None):
    server = instance(system_metadata=metadata or {})
    return shape.resized(spec, server, image_meta(), old, new)


@pytest.mark.parametrize(
    ("sizes", "old", "new", "then"),
    [
        ((), 0, 2, (2,)),
        ((), 0, 0, ()),
        ((), 1, 2, ()),  # the user had wanted none
        ((1,), 1, 3, (3,)),
        ((1,), 1, 1, (1,)),
        ((1, 2), 3, 8, (1, 2)),  # as the user wanted them
        ((1,), 2, 8, (1,)),
    ],
)
def test_the_ephemeral_disk_that_the_flavor_gives_grows_with_it(sizes, old, new, then):
    spec = dataclasses.replace(POD, ephemerals=tuple(EphemeralDisk(size) for size in sizes))
    found = shaped(spec, flavor(ephemeral_gb=old), flavor(ephemeral_gb=new)).ephemerals
    assert tuple(disk.size_gib for disk in found) == then
    assert [disk.path for disk in found] == ["/mnt", "/mnt1"][: len(then)]


@pytest.mark.parametrize(
    ("has", "old", "new", "then"),
    [(0, 0, 64, 64), (64, 64, 16, 16), (64, 64, 0, 0), (8, 64, 64, 8)],
)
def test_swap_follows_a_flavor_that_changes(has, old, new, then):
    spec = dataclasses.replace(POD, swap_mib=has)
    assert shaped(spec, flavor(swap=old), flavor(swap=new)).swap_mib == then


def test_the_flavors_specs_are_the_new_ones():
    found = shaped(new=flavor(vcpus=2, extra_specs={"hyper:restart_policy": "always"}))
    assert found.restart_policy is RestartPolicy.ALWAYS
    assert (found.tuning.topology.sockets, found.vcpus) == (2, 2)
    again = shaped(found.applied_to(POD))
    assert again.restart_policy is RestartPolicy.NEVER


def test_a_manifest_says_itself_how_it_is_supervised():
    spec = dataclasses.replace(
        POD, restart_policy=RestartPolicy.ON_FAILURE, labels={"nova.manifest": "true"}
    )
    found = shaped(spec, new=flavor(extra_specs={"hyper:restart_policy": "always"}))
    assert found.restart_policy is RestartPolicy.ON_FAILURE


def test_containers_that_may_use_more_than_the_flavor_has_are_named():
    limits = Resources(memory_bytes=300 << 20, cpu_millis=1500)
    spec = dataclasses.replace(POD, containers=(Container("db", "i", resources=limits),))
    memory, cpu = shape.problems(spec, SMALL)
    assert "container db may use 300 MiB of memory, the flavor has 256" in memory
    assert "container db may use 1.5 CPUs, the flavor has 1" in cpu
    assert list(shape.problems(spec, LARGE)) == []


def test_ephemeral_disks_do_not_shrink():
    spec = dataclasses.replace(POD, ephemerals=(EphemeralDisk(1), EphemeralDisk(2)))
    (said,) = shape.problems(spec, flavor(ephemeral_gb=2))
    assert "the ephemeral disks of 3 GB cannot become 2 GB" in said
