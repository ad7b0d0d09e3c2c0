"""The timeline of a start."""

from __future__ import annotations

from nova_hyper.daemon.stopwatch import Stopwatch
from nova_hyper.spec.pod import Mark


def test_marks_are_in_order_of_time():
    watch = Stopwatch()
    for stage in ("a", "b", "c"):
        watch.mark(stage)
    assert [m.stage for m in watch.marks] == ["a", "b", "c"]
    times = [m.at_ns for m in watch.marks]
    assert times == sorted(times)
    assert times[0] >= 0


def test_it_goes_on_from_marks_of_another_daemon():
    watch = Stopwatch((Mark("a", 10**12),))
    watch.mark("b")
    assert watch.marks[0] == Mark("a", 10**12)
    assert 10**12 <= watch.marks[1].at_ns < 2 * 10**12


def test_only_the_first_time_of_a_stage_counts():
    watch = Stopwatch((Mark("output", 5),))
    watch.mark("output")
    assert watch.marks == (Mark("output", 5),)
