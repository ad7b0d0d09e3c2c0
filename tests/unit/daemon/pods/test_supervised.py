"""Pods whose containers begin one after the other, start again and are watched."""

from __future__ import annotations

import pytest

from nova_hyper.spec.container import Container, ContainerState, Security
from nova_hyper.spec.errors import HyperError
from nova_hyper.spec.pod import PodState, RestartPolicy
from tests.unit.daemon.fakes import IMAGE_ID, POD_ID, FakeImages, image, spec

POD = {
    "containers": (Container("web", "web:1"), Container("side", "web:1")),
    "init_containers": (Container("first", "web:1"),),
    "restart_policy": RestartPolicy.ALWAYS,
}


@pytest.fixture
def running(core):
    core.pods.create(spec(**POD))
    return core.pods.start("web")


def look(core):
    core.monitor._attend(core.registry.get(POD_ID))
    return core.pods.get(POD_ID)


def states(pod):
    return {c.name: c.state.value for c in pod.containers}


def test_the_agent_starts_a_pod_as_a_whole(core, running):
    assert core.agent().asked[-1] == "pod.start"
    assert running.state is PodState.RUNNING
    assert [(c.name, c.init) for c in running.containers] == [
        ("first", True),
        ("web", False),
        ("side", False),
    ]
    assert states(running) == {"first": "running", "web": "created", "side": "created"}
    assert states(look(core)) == {"first": "exited", "web": "running", "side": "running"}


def test_images_of_init_containers_are_leased_too(core):
    other = image(id="sha256:" + "b" * 64, names=("init:1",))
    core.images.images.append(other)
    core.pods.create(spec(init_containers=(Container("first", "init:1"),)))
    assert core.images.leases == {POD_ID: {IMAGE_ID, other.id}}
    assert isinstance(core.images, FakeImages)


def test_a_restart_is_an_event_and_in_the_record(core, running):
    look(core)
    core.agent().containers["side"].update(
        state="waiting", restarts=2, exit_code=1, reason="CrashLoopBackOff"
    )
    pod = look(core)
    side = pod.containers[-1]
    assert (side.state, side.restarts, side.exit_code) == (ContainerState.WAITING, 2, 1)
    assert pod.state is PodState.RUNNING
    event = core.events.after(0).events[-1]
    assert (event.kind, event.exit_code) == ("restarted", 1)
    assert event.message == ("container side was started again, 2 times by now (CrashLoopBackOff)")
    assert next(core.repository.load()) == pod


def test_containers_that_wait_do_not_end_a_pod(core, running):
    for container in core.agent().containers.values():
        container.update(state="exited", exit_code=1)
    core.agent().answers["pod.status"] = {
        "finished": False,
        "containers": list(core.agent().containers.values()),
    }
    assert look(core).state is PodState.RUNNING


def test_an_init_container_that_failed_for_good_ends_its_pod_with_its_name(core, running):
    core.agent().answers["pod.status"] = {
        "finished": True,
        "containers": [
            {"name": "first", "state": "exited", "exit_code": 2, "reason": "Error"},
            {"name": "web", "state": "created"},
            {"name": "side", "state": "created"},
        ],
    }
    pod = look(core)
    assert (pod.state, pod.exit_code) == (PodState.STOPPED, 2)
    assert pod.message == "container first exited with code 2"
    event = core.events.after(0).events[-1]
    assert (event.kind, event.exit_code) == ("exited", 2)


def test_a_pod_is_stopped_with_the_grace_of_its_specification(core):
    core.pods.create(spec(**POD, termination_grace_s=7))
    core.pods.start("web")
    look(core)
    agent = core.agent()
    core.pods.stop("web")
    assert ("container.stop", {"name": "web", "grace_ms": 7000}) in agent.requests


def test_a_stopped_pod_has_neither_ready_nor_started_containers(core, running):
    assert any(c.ready for c in look(core).containers)
    stopped = core.pods.stop("web")
    assert not any(c.ready or c.started for c in stopped.containers)
    assert [c.exit_code for c in stopped.containers] == [0, 143, 143]
    assert stopped.exit_code == 143


def test_a_pod_that_starts_again_counts_from_zero(core, running):
    core.agent().containers["web"].update(restarts=3, state="running")
    assert look(core).containers[1].restarts == 3
    core.pods.stop("web")
    again = core.pods.boot("web")
    assert [c.restarts for c in again.containers] == [0, 0, 0]
    assert [c.init for c in again.containers] == [True, False, False]


def test_the_first_of_several_containers_that_cannot_start_is_told_by_the_agent(core):
    from nova_hyper.daemon.ports import AgentError

    core.pods.create(spec(**POD))
    core.agent().fail("pod.start", AgentError("exec", "container web: /bin/x: no such file"))
    with pytest.raises(HyperError, match=r"^container web: /bin/x: no such file$"):
        core.pods.start("web")


def test_a_seccomp_profile_that_is_missing_is_said_before_anything_runs(core):
    confined = Container("main", "web:1", security=Security(seccomp="runtime/default"))
    with pytest.raises(
        HyperError, match=r"the seccomp profile /no/such/profile.json cannot be used"
    ):
        core.pods.create(spec(containers=(confined,)))
    assert core.left() == []
