"""What an agent says of its containers is checked: the guest is hostile."""

from __future__ import annotations

import pytest

from nova_hyper.daemon.pods import status
from nova_hyper.spec.container import ContainerState, ContainerStatus

KNOWN = ContainerStatus("main", "a", "sha256:0", ContainerState.CREATED)


def told(**said):
    (found,) = status.containers({"containers": [{"name": "main", **said}]}, [KNOWN])
    return found


def test_everything_an_agent_says_is_taken():
    found = told(
        state="waiting",
        exit_code=137,
        restarts=3,
        ready=False,
        started=True,
        health="healthy",
        oom_killed=True,
        reason="CrashLoopBackOff",
        message="starts again in 20 s",
    )
    assert found == ContainerStatus(
        *("main", "a", "sha256:0", ContainerState.WAITING, 137),
        restarts=3,
        started=True,
        health="healthy",
        oom_killed=True,
        reason="CrashLoopBackOff",
        message="starts again in 20 s",
    )


def test_without_probes_a_container_that_runs_is_ready():
    assert told(state="running").ready
    assert not told(state="running", ready=False).ready
    assert not told(state="exited").ready


def test_a_container_that_runs_for_the_first_time_has_no_exit_code():
    assert told(state="running", exit_code=0).exit_code is None
    assert told(state="running", exit_code=1, restarts=1).exit_code == 1


def test_how_the_run_before_ended_is_kept_where_the_agent_forgets_it():
    before = told(state="waiting", exit_code=3, restarts=1)
    answer = {"containers": [{"name": "main", "state": "running", "restarts": 1}]}
    assert status.containers(answer, [before])[0].exit_code == 3
    answer["containers"][0]["state"] = "exited"
    assert status.containers(answer, [before])[0].exit_code is None


@pytest.mark.parametrize("value", [True, -1, 2**40, "1", None, [1], 1.0])
def test_restarts_that_make_no_sense_are_not_believed(value):
    assert told(state="running", restarts=value).restarts == 0


@pytest.mark.parametrize("value", ["well", 1, None, ["healthy"]])
def test_a_health_that_makes_no_sense_is_none(value):
    assert told(state="running", health=value).health is None


@pytest.mark.parametrize("name", ["ready", "started", "oom_killed"])
def test_a_flag_that_is_none_is_not_believed(name):
    assert getattr(told(state="created", **{name: "yes"}), name) is False


def test_texts_are_short_and_fit_for_a_terminal():
    found = told(state="exited", reason="A" * 1000, message="\x1b[31mred\x07\n" + "b" * 1000)
    assert found.reason == "A" * 64
    assert found.message == "[31mred" + "b" * 505
    assert told(state="exited", message=["x"]).message == ""


@pytest.mark.parametrize(
    ("answer", "states", "finished"),
    [
        ({}, ["exited", "exited"], True),
        ({}, ["exited", "running"], False),
        ({"finished": False}, ["exited", "exited"], False),
        ({"finished": True}, ["exited", "created"], True),
        ({"finished": "yes"}, ["exited", "waiting"], False),
    ],
)
def test_the_agent_says_whether_a_pod_has_ended_or_all_its_containers_have(
    answer, states, finished
):
    found = [ContainerStatus(s, "a", "b", ContainerState(s)) for s in states]
    assert status.is_finished(answer, found) is finished
