"""How a pod ended, and what happened to its containers on the way."""

from __future__ import annotations

import dataclasses

import pytest

from nova_hyper.daemon.pods import outcome, pace
from nova_hyper.spec.container import ContainerState, ContainerStatus

FIRST = ContainerStatus("first", "a", "sha256:0", ContainerState.EXITED, 0)
SECOND = dataclasses.replace(FIRST, name="second")


def ended(first, second):
    return (
        dataclasses.replace(FIRST, exit_code=first),
        dataclasses.replace(SECOND, exit_code=second),
    )


@pytest.mark.parametrize(
    ("codes", "code", "message"),
    [
        ((0, 0), 0, "exited with code 0"),
        ((0, 3), 3, "container second exited with code 3"),
        ((2, 3), 2, "container first exited with code 2"),
        ((None, 3), 3, "container second exited with code 3"),
        ((None, 0), None, "exited"),
        ((None, None), None, "exited"),
    ],
)
def test_a_pod_ends_as_the_first_container_that_failed(codes, code, message):
    found = ended(*codes)
    assert outcome.exit_code(found) == code
    assert outcome.message(found) == message


def test_the_only_container_is_not_named():
    assert outcome.message(ended(3, 0)[:1]) == "exited with code 3"


def test_the_agents_sentence_says_why():
    failed = dataclasses.replace(SECOND, exit_code=127, message="/bin/x: no such file")
    assert outcome.message((FIRST, failed)) == (
        "container second exited with code 127: /bin/x: no such file"
    )


def test_too_much_memory_is_said_in_words():
    killed = dataclasses.replace(SECOND, exit_code=137, oom_killed=True)
    assert outcome.message((FIRST, killed)) == (
        "container second was killed because it used more memory than it may have"
    )


def changed(**changes):
    after = dataclasses.replace(FIRST, **changes)
    return [(kind.value, code, said) for kind, code, said in outcome.changes([FIRST], [after])]


@pytest.mark.parametrize(
    ("changes", "events"),
    [
        ({}, []),
        ({"state": ContainerState.RUNNING, "ready": True, "started": True}, []),
        (
            {"restarts": 1, "exit_code": 1, "reason": "Error"},
            [("restarted", 1, "container first was started again, once by now (Error)")],
        ),
        (
            {"restarts": 7, "exit_code": 137, "oom_killed": True},
            [
                ("oom", 137, "container first used more memory than it may have and was killed"),
                ("restarted", 137, "container first was started again, 7 times by now"),
            ],
        ),
        (
            {"oom_killed": True, "exit_code": 137},
            [("oom", 137, "container first used more memory than it may have and was killed")],
        ),
        ({"health": "unhealthy"}, [("health", None, "container first is unhealthy")]),
    ],
)
def test_what_happens_to_a_container_is_an_event(changes, events):
    assert changed(**changes) == events


def test_an_old_oom_is_not_told_again():
    before = dataclasses.replace(FIRST, oom_killed=True)
    assert list(outcome.changes([before], [dataclasses.replace(before, ready=True)])) == []


def test_a_guest_can_fill_the_log_of_events_only_slowly():
    bucket = pace.Pace()
    assert sum(bucket.take(100.0) for _ in range(1000)) == 32
    assert not bucket.take(104.0)
    assert bucket.take(106.0)
    assert not bucket.take(106.0)
