from __future__ import annotations

import threading

import pytest

from cloud.failure import CloudError
from cloud.plan import Clock, Step, StepError, carry_out, join, until


@pytest.fixture
def said():
    return []


@pytest.fixture
def clock(said):
    return Clock(said.append)


def test_a_step_begins_after_those_it_waits_for(clock):
    done = []
    carry_out(
        [
            Step("last", lambda: done.append("last"), ("first", "second")),
            Step("second", lambda: done.append("second"), ("first",)),
            Step("first", lambda: done.append("first")),
        ],
        clock,
    )
    assert done == ["first", "second", "last"]


def test_steps_that_do_not_wait_for_each_other_run_side_by_side(clock):
    meet = threading.Barrier(2, timeout=5)
    carry_out([Step("one", meet.wait), Step("other", meet.wait)], clock)


def test_each_step_is_reported_with_its_duration(clock, said):
    carry_out([Step("database", lambda: None)], clock)
    assert len(said) == 1
    assert "database" in said[0]
    assert said[0].endswith("0.0 s")


def test_nothing_begins_after_a_failure_but_what_runs_is_finished(clock):
    done = []
    fail_now = threading.Event()

    def slow():
        fail_now.set()
        threading.Event().wait(0.1)
        done.append("slow")

    def bad():
        fail_now.wait(5)
        raise CloudError("no")

    with pytest.raises(StepError) as caught:
        carry_out(
            [
                Step("slow", slow),
                Step("bad", bad),
                Step("never", lambda: done.append("never"), ("slow", "bad")),
            ],
            clock,
        )
    assert caught.value.name == "bad"
    assert isinstance(caught.value.cause, CloudError)
    assert done == ["slow"]


@pytest.mark.parametrize(
    "steps",
    [
        [Step("a", lambda: None, ("b",))],
        [Step("a", lambda: None, ("b",)), Step("b", lambda: None, ("a",))],
    ],
    ids=["unknown", "circle"],
)
def test_a_plan_that_can_never_end_is_refused(clock, steps):
    with pytest.raises(ValueError, match="never begin: a after b"):
        carry_out(steps, clock)


def test_joining_forgets_dependencies_on_steps_left_out():
    (step,) = join([], [Step("service", lambda: None, ("schema",))])
    assert step.after == ()


def test_waiting_too_long_says_for_what():
    with pytest.raises(CloudError, match="a miracle did not happen within 0 s"):
        until("a miracle", lambda: False, timeout_s=0.05, every_s=0.01)


def test_a_long_silence_is_broken_by_what_is_waited_for(clock, said, monkeypatch):
    monkeypatch.setattr("cloud.plan.SILENCE_S", 0.05)
    carry_out([Step("guest", lambda: threading.Event().wait(0.4))], clock)
    assert any(line.endswith("waiting for: guest") for line in said)
