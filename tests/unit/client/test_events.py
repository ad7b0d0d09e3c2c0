"""The event stream over breaks."""

from __future__ import annotations

from nova_hyper.client import EventStream, Lost
from nova_hyper.spec.errors import DaemonUnavailable
from nova_hyper.spec.event import Event, EventKind, EventPage


class Pages:
    """Answers ``events`` with what it was given, in turn; then stops the stream."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.stream = None

    def events(self, after, wait):
        self.asked.append(after)
        answer = self.answers.pop(0)
        if not self.answers:
            self.stream.stop()
        if isinstance(answer, Exception):
            raise answer
        return answer


def event(seq):
    return Event(seq=seq, at=0.0, kind=EventKind.STARTED, pod_id="p")


def read(pages, **options):
    pages.stream = EventStream(pages, **options)
    return list(pages.stream)


def test_starts_from_now_and_goes_on_where_it_was():
    pages = Pages(
        EventPage((), 7),
        EventPage((event(8), event(9)), 9),
        EventPage((), 9),
        EventPage((event(10),), 10),
    )
    assert [e.seq for e in read(pages)] == [8, 9, 10]
    assert pages.asked == [-1, 7, 9, 9]


def test_a_break_loses_nothing(monkeypatch):
    monkeypatch.setattr("nova_hyper.client.events._PAUSE_SECONDS", 0)
    pages = Pages(
        EventPage((), 7),
        DaemonUnavailable("gone"),
        DaemonUnavailable("gone"),
        EventPage((event(8),), 8),
    )
    states = []
    assert [e.seq for e in read(pages, on_state=states.append)] == [8]
    assert pages.asked == [-1, 7, 7, 7]
    assert [type(s) for s in states] == [
        type(None),
        DaemonUnavailable,
        DaemonUnavailable,
        type(None),
    ]


def test_lost_events_are_told_before_those_that_are_left():
    pages = Pages(EventPage((), 7), EventPage((event(20),), 20, lost=True))
    assert read(pages) == [Lost(), event(20)]
