"""Pods in rescue: what boots in their place, and what it has of them."""

from __future__ import annotations

import dataclasses
import errno

import pytest

from nova_hyper.daemon.pods import rescue
from nova_hyper.spec.boot import Boot
from nova_hyper.spec.container import Container, ContainerState
from nova_hyper.spec.disk import EphemeralDisk
from nova_hyper.spec.errors import (
    Conflict,
    GuestFailed,
    HyperError,
    ImageNotFound,
    ImageUnsuitable,
    PodNotFound,
)
from nova_hyper.spec.image import ImageConfig, Layer
from nova_hyper.spec.nic import Dns, Nic, NicKind
from nova_hyper.spec.pod import PodState, RestartPolicy
from nova_hyper.spec.volume import Medium, Mount, Volume
from tests.unit.daemon.fakes import ALL_FEATURES, IMAGE_ID, POD_ID, image, spec

TOOLS_ID = "sha256:" + "b" * 64
TOOLS = dataclasses.replace(
    image(),
    id=TOOLS_ID,
    names=("tools",),
    layers=(image().layers[0], Layer("sha256:" + "9" * 64, 1, 2)),
    config=ImageConfig(cmd=("/bin/repair",), volumes=("/data",)),
)
NIC = Nic("52:54:00:00:00:02", NicKind.BRIDGE, bridge="br0")


@pytest.fixture
def core(core):
    core.images.images.append(TOOLS)
    return core


@pytest.fixture
def stopped(core):
    core.pods.create(spec(root_gib=1))
    core.pods.start(POD_ID)
    core.pods.stop(POD_ID)
    return core


def leases(core):
    return core.images.leases[POD_ID]


def asked(core, operation):
    """The arguments of all requests for *operation* to the newest guest."""
    return [args for op, args in core.agent().requests if op == operation]


def recovered(core):
    new = core.restarted()
    new.monitor.reconcile()
    return new


def test_the_image_boots_in_place_of_the_pod_until_the_rescue_ends(stopped):
    before = stopped.pods.get(POD_ID)
    pod = stopped.rescues.rescue(POD_ID, "tools")
    assert pod.state is PodState.STOPPED
    assert pod.rescued.spec == before.spec
    assert [c.name for c in pod.containers] == ["rescue"]
    assert leases(stopped) == {IMAGE_ID, TOOLS_ID}
    assert stopped.pods.start(POD_ID).state is PodState.RUNNING
    (made,) = asked(stopped, "container.create")
    assert made["argv"] == ["/bin/repair"]
    stopped.pods.stop(POD_ID)
    pod = stopped.rescues.unrescue(POD_ID)
    assert (pod.spec, pod.rescued, pod.containers) == (before.spec, None, before.containers)
    assert leases(stopped) == {IMAGE_ID}
    stopped.pods.start(POD_ID)
    (made,) = asked(stopped, "container.create")
    assert made["argv"] == ["/bin/web", "--serve"]


def test_the_micro_vm_has_the_disks_of_both_and_shared_layers_once(stopped):
    stopped.rescues.rescue(POD_ID, "tools")
    stopped.pods.start(POD_ID)
    domain = stopped.hypervisor.launched[-1]
    shared, own = TOOLS.layers
    assert {d.path.name: d.serial for d in domain.disks} == {
        shared.diff_id: "l0",
        own.diff_id: "l1",
        image().layers[1].diff_id: "l2",
        "upper-main.img": "upper0",
    }
    (root, *volumes) = asked(stopped, "volume.create")
    assert root == {
        "name": "root.0",
        "kind": "root",
        "layers": ["l0", "l2"],
        "upper": {"serial": "upper0"},
    }
    # What the image declares is no volume of the pod's, and not on its disk.
    assert [(v["name"], v["upper"]) for v in volumes] == [
        ("image.1.0", {"tmpfs_mib": 32, "tmpfs": "upper"})
    ]
    (made,) = asked(stopped, "container.create")
    assert made["layers"] == ["l0", "l1"]
    assert made["upper"] == {"tmpfs_mib": 32, "tmpfs": "upper", "dir": "rescue"}
    assert {m["path"]: m["volume"] for m in made["mounts"]} == {
        "/data": "image.1.0",
        "/mnt/rescue": "root.0",
    }


def test_every_container_has_its_root_with_its_volumes_on_disk(core):
    core.images.images[0] = image(config=ImageConfig(cmd=("x",), volumes=("/var/db",)))
    mounts = (Mount("v", "/v", "sub", True), Mount("memory", "/m"))
    core.pods.create(
        spec(
            root_gib=1,
            init_containers=(Container("first", "tools"),),
            containers=(Container("main", "web:1", mounts=mounts),),
            volumes=(Volume("v"), Volume("memory", Medium.MEMORY)),
        )
    )
    core.pods.stop(POD_ID)
    pod = core.rescues.rescue(POD_ID)
    assert pod.containers[0].image_id == IMAGE_ID, "it is not of the init container"
    core.pods.boot(POD_ID)
    made = {v["name"]: v for v in asked(core, "volume.create")}
    assert made["root.0"]["upper"] == {"serial": "upper", "dir": "first"}
    assert made["root.1"]["upper"] == {"serial": "upper", "dir": "main"}
    assert made["v"] == {
        "name": "v",
        "kind": "empty",
        "medium": "disk",
        "upper": {"serial": "upper"},
    }
    (container,) = asked(core, "container.create")
    assert {m["path"]: (m["volume"], m.get("sub_path")) for m in container["mounts"]} == {
        "/var/db": ("image.2.0", None),
        "/mnt/rescue/first": ("root.0", None),
        "/mnt/rescue/first/data": ("image.0.0", None),
        "/mnt/rescue/main": ("root.1", None),
        "/mnt/rescue/main/v": ("v", "sub"),
        "/mnt/rescue/main/var/db": ("image.1.0", None),
    }
    assert not any(m["read_only"] for m in container["mounts"])


def test_a_rescue_has_what_the_pod_is_but_not_what_may_be_broken():
    made = rescue.spec_of(
        spec(
            root_gib=5,
            containers=(Container("a", "x", tty=True, env=("A=1",)), Container("b", "x")),
            nics=(NIC,),
            labels={"creator": "nova"},
            ephemerals=(EphemeralDisk(2, "/mnt"), EphemeralDisk(3, "/mnt1")),
            swap_mib=7,
            boot=Boot("sha256:1"),
            sysctls={"kernel.x": "1"},
            restart_policy=RestartPolicy.ALWAYS,
        ),
        "tools",
    )
    assert made.containers == (Container("rescue", "tools", tty=True),)
    assert (made.nics, made.labels, made.memory_mib) == ((NIC,), {"creator": "nova"}, 64)
    assert made.ephemerals == (
        EphemeralDisk(2, "/mnt/ephemeral0"),
        EphemeralDisk(3, "/mnt/ephemeral1"),
    )
    assert (made.root_gib, made.swap_mib, made.boot, made.sysctls) == (0, 7, Boot(), {})
    assert made.restart_policy is RestartPolicy.NEVER


def test_interfaces_of_the_rescue_are_the_pods_afterwards(stopped):
    stopped.rescues.rescue(POD_ID, "tools")
    stopped.pods.boot(POD_ID, (NIC,), Dns(("10.0.0.9",)))
    stopped.pods.stop(POD_ID, force=True)
    pod = stopped.rescues.unrescue(POD_ID)
    assert (pod.spec.nics, pod.spec.dns.nameservers) == ((NIC,), ("10.0.0.9",))


def test_rescuing_again_changes_nothing_or_the_image(stopped):
    first = stopped.rescues.rescue(POD_ID, "tools")
    assert stopped.rescues.rescue(POD_ID, "tools") == first
    stopped.pods.start(POD_ID)
    assert stopped.rescues.rescue(POD_ID, "tools").state is PodState.RUNNING
    with pytest.raises(Conflict, match="stop it before it is rescued"):
        stopped.rescues.rescue(POD_ID)
    stopped.pods.stop(POD_ID)
    pod = stopped.rescues.rescue(POD_ID)
    assert pod.containers[0].image_id == IMAGE_ID
    assert pod.rescued == first.rescued
    assert leases(stopped) == {IMAGE_ID}


def test_unrescuing_a_pod_that_is_in_no_rescue_changes_nothing(stopped):
    assert stopped.rescues.unrescue(POD_ID) == stopped.pods.get(POD_ID)


def test_what_is_up_is_neither_rescued_nor_unrescued(stopped):
    stopped.pods.start(POD_ID)
    with pytest.raises(Conflict, match="is running: stop it before it is rescued"):
        stopped.rescues.rescue(POD_ID, "tools")
    stopped.power.suspend(POD_ID)
    with pytest.raises(Conflict, match="suspended: resume and stop it before it is rescued"):
        stopped.rescues.rescue(POD_ID, "tools")
    stopped.power.resume(POD_ID)
    stopped.pods.stop(POD_ID)
    stopped.rescues.rescue(POD_ID, "tools")
    stopped.pods.start(POD_ID)
    with pytest.raises(Conflict, match="stop it before it is taken out of rescue"):
        stopped.rescues.unrescue(POD_ID)
    with pytest.raises(PodNotFound):
        stopped.rescues.rescue("nothing")


def many(count):
    return image(layers=count, id="sha256:" + "c" * 64, names=("many",))


@pytest.mark.parametrize(
    ("other", "name", "failure", "said"),
    [
        (None, "none", ImageNotFound, "none"),
        (image(id="sha256:" + "c" * 64, names=("s390x",), architecture="s390x"), "s390x",
         ImageUnsuitable, "s390x"),
        (image(id="sha256:" + "c" * 64, names=("mute",), config=ImageConfig()), "mute",
         ImageUnsuitable, "nothing to run"),
        (many(1000), "many", ImageUnsuitable, "fewer layers"),
    ],
)  # fmt: skip
def test_an_image_that_cannot_boot_is_refused_and_the_pod_is_as_before(
    stopped, other, name, failure, said
):
    if other is not None:
        stopped.images.images.append(other)
    before = stopped.pods.get(POD_ID)
    with pytest.raises(failure, match=said):
        stopped.rescues.rescue(POD_ID, name)
    assert stopped.pods.get(POD_ID) == before
    assert leases(stopped) == {IMAGE_ID}


def test_more_roots_and_volumes_than_can_be_mounted_are_refused(core):
    mounts = tuple(Mount("v", f"/v{i}") for i in range(64))
    core.pods.create(
        spec(
            root_gib=1,
            containers=(Container("main", "web:1", mounts=mounts),),
            volumes=(Volume("v"),),
        )
    )
    core.pods.stop(POD_ID)
    with pytest.raises(ImageUnsuitable, match="65 roots and volumes"):
        core.rescues.rescue(POD_ID)


def test_a_root_in_memory_is_refused(core):
    core.pods.create(spec())
    core.pods.stop(POD_ID)
    with pytest.raises(Conflict, match="has its root in memory"):
        core.rescues.rescue(POD_ID, "tools")


def test_an_agent_that_is_too_old_is_named_and_the_rescue_can_be_ended(stopped):
    stopped.guests.features = ALL_FEATURES - {"roots"}
    stopped.rescues.rescue(POD_ID, "tools")
    with pytest.raises(GuestFailed, match="too old for rescuing pods"):
        stopped.pods.start(POD_ID)
    assert stopped.rescues.unrescue(POD_ID).rescued is None
    assert stopped.pods.start(POD_ID).state is PodState.RUNNING


@pytest.mark.parametrize("done", ["rescue", "unrescue"])
def test_a_new_daemon_goes_on_with_what_was_written(stopped, done):
    stopped.rescues.rescue(POD_ID, "tools")
    stopped.pods.start(POD_ID)
    if done == "unrescue":
        stopped.pods.stop(POD_ID)
        stopped.rescues.unrescue(POD_ID)
    new = recovered(stopped)
    pod = new.pods.get(POD_ID)
    assert (pod.rescued is None) == (done == "unrescue")
    assert pod == stopped.pods.get(POD_ID)


@pytest.mark.parametrize("done", ["rescue", "unrescue"])
def test_a_record_that_cannot_be_written_leaves_the_pod_as_it_was(stopped, monkeypatch, done):
    if done == "unrescue":
        stopped.rescues.rescue(POD_ID, "tools")
    before, held = stopped.pods.get(POD_ID), set(leases(stopped))

    def full(_pod):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(stopped.repository, "save", full)
    with pytest.raises(HyperError, match="no room"):
        getattr(stopped.rescues, done)(POD_ID)
    assert stopped.pods.get(POD_ID) == before
    assert leases(stopped) == held


def test_an_image_that_cannot_be_let_go_keeps_no_pod_in_rescue(stopped):
    stopped.rescues.rescue(POD_ID, "tools")
    stopped.images.fail("narrow", OSError(errno.ENOSPC, "full"))
    assert stopped.rescues.unrescue(POD_ID).rescued is None
    assert leases(stopped) == {IMAGE_ID, TOOLS_ID}


def test_a_rescue_exits_and_crashes_as_any_pod_and_all_goes_with_a_delete(stopped):
    stopped.rescues.rescue(POD_ID, "tools")
    stopped.pods.start(POD_ID)
    stopped.agent().exit(3, "rescue")
    stopped.monitor.notice(POD_ID)
    stopped.monitor._look_unless_busy(stopped.registry.get(POD_ID))
    pod = stopped.pods.get(POD_ID)
    assert (pod.state, pod.exit_code) == (PodState.STOPPED, 3)
    assert pod.containers[0].state is ContainerState.EXITED
    assert pod.rescued is not None
    stopped.pods.delete(POD_ID)
    assert stopped.left() == []


def test_the_kernel_of_a_pod_in_rescue_stays(stopped):
    entry = stopped.registry.get(POD_ID)
    entry.update(spec=dataclasses.replace(entry.pod.spec, boot=Boot("sha256:k")))
    stopped.rescues.rescue(POD_ID, "tools")
    assert stopped.registry.boot_files() == {"sha256:k"}
