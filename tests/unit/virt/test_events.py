"""hyperd's events as Nova's, with Nova's tasks in the way."""

from __future__ import annotations

import threading
import time

import pytest
from nova import exception
from nova.virt import event as virtevent

from nova_hyper.spec.container import Container
from nova_hyper.spec.pod import PodSpec
from nova_hyper.virt.events import LifecycleEvents
from tests.unit.fake_hyperd import FakeHyperd

UUID = "d7a5e1f0-0000-4000-8000-000000000001"
STARTED = virtevent.EVENT_LIFECYCLE_STARTED
STOPPED = virtevent.EVENT_LIFECYCLE_STOPPED


class Nova:
    """Collects events; ``busy`` is whether the instance has a task, ``unknown`` that it has not
    been heard of."""

    def __init__(self):
        self.got = []
        self.busy = False
        self.unknown = False
        self.asked = threading.Event()
        self.fail = 0

    def emit(self, event):
        self.got.append((event.get_instance_uuid(), event.get_transition()))

    def has_task(self, uuid):
        self.asked.set()
        if self.fail:
            self.fail -= 1
            raise RuntimeError("the message queue is away")
        if self.unknown:
            raise exception.InstanceNotFound(instance_id=uuid)
        return self.busy


@pytest.fixture
def hyperd():
    hyperd = FakeHyperd()
    image = hyperd.import_image("i", [b"x"])
    hyperd.spec = PodSpec(
        id=UUID,
        name="instance-1",
        containers=(Container("main", image.id),),
        labels={"creator": "nova"},
    )
    return hyperd


@pytest.fixture
def nova():
    return Nova()


@pytest.fixture
def events(hyperd, nova):
    events = LifecycleEvents(hyperd, nova.emit, lambda error: None, nova.has_task)
    events.start()
    wait(lambda: "events" in hyperd.calls)
    time.sleep(0.05)
    yield events
    events.stop()


def wait(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def run(hyperd):
    hyperd.create_pod(hyperd.spec)
    hyperd.start_pod(UUID)


def test_a_start_and_an_exit_reach_nova_at_once(events, hyperd, nova):
    run(hyperd)
    wait(lambda: nova.got == [(UUID, STARTED)])
    start = time.monotonic()
    hyperd.exit(UUID, 1)
    wait(lambda: nova.got == [(UUID, STARTED), (UUID, STOPPED)])
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("down", [FakeHyperd.crash, FakeHyperd.stop_pod])
def test_a_crash_and_a_stop_are_stopped(events, hyperd, nova, down):
    run(hyperd)
    down(hyperd, UUID)
    wait(lambda: (UUID, STOPPED) in nova.got)


def test_pods_that_stand_still_and_go_on_are_told(events, hyperd, nova):
    hyperd.create_pod(hyperd.spec)
    hyperd.start_pod(UUID)
    wait(lambda: nova.got)
    for call, transition in (
        (hyperd.pause_pod, virtevent.EVENT_LIFECYCLE_PAUSED),
        (hyperd.unpause_pod, virtevent.EVENT_LIFECYCLE_RESUMED),
        (hyperd.suspend_pod, virtevent.EVENT_LIFECYCLE_SUSPENDED),
        (hyperd.resume_pod, virtevent.EVENT_LIFECYCLE_RESUMED),
    ):
        nova.got.clear()
        call(UUID)
        wait(lambda: nova.got)
        assert nova.got == [(UUID, transition)]


def test_an_exit_while_nova_is_busy_reaches_it_when_it_is_done(events, hyperd, nova):
    nova.busy = True
    run(hyperd)
    hyperd.exit(UUID)
    assert nova.asked.wait(5)
    time.sleep(0.5)
    assert nova.got == []
    nova.busy = False
    start = time.monotonic()
    wait(lambda: nova.got == [(UUID, STOPPED)])
    assert time.monotonic() - start < 2


def test_a_stop_that_is_no_longer_true_is_dropped(events, hyperd, nova):
    nova.busy = True
    run(hyperd)
    hyperd.stop_pod(UUID, force=True)
    assert nova.asked.wait(5)
    hyperd.start_pod(UUID)
    nova.busy = False
    wait(lambda: (UUID, STARTED) in nova.got)
    time.sleep(0.6)
    assert (UUID, STOPPED) not in nova.got


def test_a_deleted_pod_is_not_reported(events, hyperd, nova):
    nova.busy = True
    run(hyperd)
    hyperd.exit(UUID)
    assert nova.asked.wait(5)
    hyperd.delete_pod(UUID)
    nova.busy = False
    time.sleep(0.6)
    assert nova.got == []


def test_a_pod_that_nova_does_not_know_is_not_reported(events, hyperd, nova):
    nova.unknown = True
    run(hyperd)
    assert nova.asked.wait(5)
    time.sleep(0.1)
    assert nova.got == []


def test_novas_own_trouble_is_waited_out(events, hyperd, nova):
    nova.fail = 2
    run(hyperd)
    wait(lambda: nova.got == [(UUID, STARTED)])


@pytest.mark.parametrize(
    ("still", "transition"),
    [
        ("pause_pod", virtevent.EVENT_LIFECYCLE_PAUSED),
        ("suspend_pod", virtevent.EVENT_LIFECYCLE_SUSPENDED),
    ],
)
def test_what_stands_still_after_lost_events_is_found_by_looking(
    events, hyperd, nova, still, transition
):
    run(hyperd)
    getattr(hyperd, still)(UUID)
    wait(lambda: (UUID, transition) in nova.got)
    nova.got.clear()
    hyperd.lose_events()
    wait(lambda: nova.got == [(UUID, transition)])


def test_what_was_stopped_in_lost_events_is_found_by_looking(events, hyperd, nova):
    run(hyperd)
    wait(lambda: nova.got == [(UUID, STARTED)])
    # An exit whose event is lost: the state changes and no event is written.
    seen = len(hyperd._events)
    hyperd.exit(UUID)
    del hyperd._events[seen:]
    nova.got.clear()
    hyperd.lose_events()
    wait(lambda: (UUID, STOPPED) in nova.got)


def test_nothing_is_delivered_after_the_stop(events, hyperd, nova):
    events.stop()
    run(hyperd)
    time.sleep(0.2)
    assert nova.got == []
