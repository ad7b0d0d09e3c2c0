"""The event log."""

from __future__ import annotations

import errno
import io
import os
import threading

import pytest

from nova_hyper.daemon import eventlog
from nova_hyper.daemon.eventlog import EventLog
from nova_hyper.spec.event import EventKind
from tests.unit.daemon.fakes import PATIENCE_S, POD_ID

NO_ROOM = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.jsonl"


@pytest.fixture
def log(path):
    return EventLog(path, keep=10)


def add(log, count=1):
    return [log.append(EventKind.STARTED, POD_ID, "web") for _ in range(count)][-1]


def seqs(page):
    return [event.seq for event in page.events]


def test_an_empty_log_says_where_to_begin(log):
    page = log.after(0)
    assert (page.events, page.last, page.lost) == ((), 0, False)


def test_events_are_numbered_from_one(log):
    add(log, 3)
    assert seqs(log.after(0)) == [1, 2, 3]
    assert seqs(log.after(2)) == [3]
    assert log.after(3).events == ()


def test_from_now_on_has_no_events(log):
    add(log, 3)
    page = log.after(-1, wait=PATIENCE_S)
    assert (page.events, page.last, page.lost) == ((), 3, False)


def test_an_event_keeps_everything_over_a_restart(log, path):
    log.append(EventKind.EXITED, POD_ID, "wéb\n", 137, "exited with code 137")
    again = EventLog(path, keep=10)
    assert again.after(0) == log.after(0)
    assert again.after(0).events[0].exit_code == 137


def test_numbers_go_on_over_a_restart(log, path):
    add(log, 3)
    again = EventLog(path, keep=10)
    assert add(again).seq == 4
    assert seqs(again.after(2)) == [3, 4]


def test_who_was_away_too_long_is_told(log):
    add(log, 12)
    page = log.after(1)
    assert page.lost
    assert seqs(page) == list(range(3, 13))
    assert not log.after(2).lost


def test_a_number_of_another_life_of_the_host_starts_over_at_once(log):
    add(log, 3)
    page = log.after(100, wait=PATIENCE_S)
    assert page.lost
    assert seqs(page) == [1, 2, 3]


def test_waiting_ends_with_the_event(log):
    found = []
    thread = threading.Thread(
        target=lambda: found.append(log.after(0, wait=60 * PATIENCE_S)), daemon=True
    )
    thread.start()
    add(log)
    thread.join(PATIENCE_S)
    assert seqs(found[0]) == [1]


def test_waiting_ends_without_one_when_the_time_is_over(log):
    assert log.after(0, wait=0.01).events == ()


def test_waiting_ends_when_the_daemon_does(log):
    found = []
    thread = threading.Thread(
        target=lambda: found.append(log.after(0, wait=60 * PATIENCE_S)), daemon=True
    )
    thread.start()
    log.release()
    thread.join(PATIENCE_S)
    assert found[0].events == ()
    assert log.after(0, wait=PATIENCE_S).events == ()
    assert add(log).seq == 1  # a call under way still has something to tell


@pytest.mark.parametrize("torn", [b'{"seq": 3, "at"', b"\x00" * 20, b'{"seq": "x"}\n', b"[]\n"])
def test_a_torn_last_line_is_dropped_and_swallows_nothing(log, path, torn):
    add(log, 2)
    with path.open("ab") as file:
        file.write(torn)
    again = EventLog(path, keep=10)
    assert seqs(again.after(0)) == [1, 2]
    assert add(again).seq == 3
    assert seqs(EventLog(path, keep=10).after(0)) == [1, 2, 3]


def test_a_hole_in_the_numbers_hides_nothing(log, path):
    add(log, 5)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    again = EventLog(path, keep=10)
    assert seqs(again.after(0)) == [1, 2, 4, 5]
    assert seqs(again.after(3)) == [4, 5]
    assert seqs(again.after(4)) == [5]


def test_the_file_stays_small(log, path):
    for _ in range(1000):
        add(log)
        assert path.read_bytes().count(b"\n") <= 20
    again = EventLog(path, keep=10)
    assert again.last == 1000
    assert len(again.after(0).events) == 10


def test_keeping_fewer_than_before_keeps_the_newest(log, path):
    add(log, 10)
    assert seqs(EventLog(path, keep=3).after(0)) == [8, 9, 10]


def _full(monkeypatch, name):
    def fail(*_args):
        raise NO_ROOM

    monkeypatch.setattr(os, name, fail)


@pytest.mark.parametrize("where", ["fdatasync", "fsync"])
@pytest.mark.parametrize("before", [2, 20])
def test_on_a_full_disk_events_are_still_told_and_written_when_there_is_room(
    log, path, monkeypatch, where, before
):
    add(log, before)
    with monkeypatch.context() as patch:
        _full(patch, where)
        add(log, 25)
    assert log.last == before + 25
    add(log)
    again = EventLog(path, keep=10)
    assert again.last == log.last
    assert again.after(log.last - 10) == log.after(log.last - 10)


def test_an_event_that_could_not_be_written_is_written_with_the_next(log, path, monkeypatch):
    add(log, 2)

    def full(*_args, **_kwargs):
        raise NO_ROOM

    with monkeypatch.context() as patch:
        patch.setattr(eventlog, "open", full, raising=False)
        add(log)
    add(log)
    assert seqs(EventLog(path, keep=10).after(0)) == [1, 2, 3, 4]


def test_a_write_that_is_cut_short_leaves_no_torn_line(log, path, monkeypatch):
    add(log, 2)

    class Short(io.FileIO):
        def write(self, data):
            return super().write(data[:5])

    with monkeypatch.context() as patch:
        patch.setattr(eventlog, "open", lambda *_a, **_k: Short(path, "ab"), raising=False)
        add(log)
    assert seqs(EventLog(path, keep=10).after(0)) == [1, 2, 3]


def test_a_daemon_starts_on_a_full_disk(log, path, monkeypatch):
    add(log, 2)
    with monkeypatch.context() as patch:
        _full(patch, "fsync")
        again = EventLog(path, keep=10)
        assert again.last == 2
    add(again)
    assert seqs(EventLog(path, keep=10).after(0)) == [1, 2, 3]


def test_no_descriptor_is_kept(path):
    before = len(os.listdir("/proc/self/fd"))
    logs = [EventLog(path, keep=10) for _ in range(20)]
    add(logs[-1], 50)
    assert len(os.listdir("/proc/self/fd")) == before


def test_events_of_many_threads_are_numbered_without_gaps(log, path):
    threads = [threading.Thread(target=add, args=(log, 20)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert log.last == 160
    assert seqs(EventLog(path, keep=10).after(150)) == list(range(151, 161))
