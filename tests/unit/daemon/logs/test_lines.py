"""Lines of a log whose every byte is the guest's."""

from __future__ import annotations

import random

import pytest

from nova_hyper.daemon.logs.follow import PodLog
from nova_hyper.daemon.logs.lines import LogLines
from nova_hyper.daemon.logs.rotated import RotatedFile
from nova_hyper.daemon.logs.selection import Selected, Selection
from nova_hyper.spec.log import format_line, parse_line
from tests.unit.daemon.logs.test_rotated import append, rotate

NINE = 1_767_225_600


def record(second, container="web", content=b"hello", flag="F", stream="stdout"):
    head = f"2026-01-01T00:00:{second:02d}.000000000Z {container} {stream} {flag} "
    return head.encode() + content + b"\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "container.log"


def lines(path, raw=False):
    return list(LogLines(RotatedFile(path), raw).read())


def selected(path, **wanted):
    return [x.content for x in Selected(LogLines(RotatedFile(path)), Selection(**wanted)).read()]


def test_a_record_has_time_container_stream_and_content(path):
    append(path, record(1, "web-1.a", b"a b\xff \x00", "P", "stderr"))
    (line,) = lines(path)
    assert (line.time, line.container, line.stream, line.whole, line.content) == (
        "2026-01-01T00:00:01.000000000Z",
        "web-1.a",
        "stderr",
        False,
        b"a b\xff \x00",
    )


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"hello",
        b"2026-01-01T00:00:01.000000000Z web stdout X hello",
        b"2026-01-01T00:00:01Z web stdout F hello",
        b"2026-01-01T00:00:01.000000000Z ../web stdout F hello",
        b"2026-01-01T00:00:01.000000000Z - stdout F hello",
        b"\xff\x00" * 100,
    ],
)
def test_what_is_no_record_is_a_line_of_nobody(path, garbage):
    append(path, record(1) + garbage + b"\n" + record(2))
    first, odd, last = lines(path)
    assert (odd.time, odd.container, odd.content, odd.whole) == ("-", "-", garbage, True)
    assert first.content == last.content == b"hello"


def test_a_line_without_end_is_cut_and_keeps_whose_it_is(path):
    content = bytes(random.Random(1).choices(range(32, 127), k=200_000))
    append(path, record(1, "web", content) + record(2))
    *parts, last = lines(path)
    assert b"".join(part.content for part in parts) == content
    assert max(len(part.content) for part in parts) <= 16 * 1024
    assert {part.container for part in parts} == {"web"}
    assert [part.whole for part in parts] == [False] * (len(parts) - 1) + [True]
    assert last.content == b"hello" and last.whole


def test_a_line_is_read_when_it_is_whole_also_over_a_rotation(path):
    log = LogLines(RotatedFile(path))
    whole = record(1)
    append(path, whole[:40])
    assert list(log.read()) == []
    rotate(path)
    append(path, whole[40:] + record(2, content=b"2"))
    assert [line.content for line in log.read()] == [b"hello", b"2"]


def test_a_console_is_lines_of_nobody_and_its_prompt_is_shown_at_once(path):
    append(path, b"one\n$ ")
    first, prompt = lines(path, raw=True)
    assert (first.content, first.whole, first.container) == (b"one", True, "-")
    assert (prompt.content, prompt.whole) == (b"$ ", False)


def test_every_line_tells_where_to_go_on(path):
    for second in range(30):
        append(path, record(second, content=b"%d" % second))
        if second % 9 == 0:
            rotate(path, keep=9)
    every = lines(path)
    for index, line in enumerate(every):
        file = RotatedFile(path)
        assert file.seek(line.position)
        rest = [x.content for x in LogLines(file).read()]
        assert rest == [x.content for x in every[index + 1 :]]


def test_a_line_is_sent_and_understood(path):
    append(path, record(1, content=b"a  b ") + b"\n" + record(2, content=b"", flag="P"))
    for line in lines(path):
        assert parse_line(format_line(line)) == line


@pytest.mark.parametrize("raw", [b"", b"a b c d", b"0-0 - - stdout X x", b"\n"])
def test_what_is_no_sent_line_is_refused(raw):
    with pytest.raises(ValueError, match="no line"):
        parse_line(raw)


def test_lines_of_one_container(path):
    append(path, record(1, "web") + b"garbage\n" + record(2, "db", b"2"))
    assert selected(path, container="db") == [b"2"]
    assert selected(path) == [b"hello", b"garbage", b"2"]


def test_lines_since_a_time(path):
    append(path, record(1) + b"old garbage\n" + record(2, content=b"2") + b"new garbage\n")
    assert selected(path, since=NINE + 1.5) == [b"2", b"new garbage"]
    assert selected(path, since=NINE + 2) == [b"2", b"new garbage"]
    assert selected(path, since=1e30) == []
    assert len(selected(path, since=-1e30)) == 4


def test_the_last_lines_count_whole_ones(path):
    append(path, record(1, content=b"1") + record(2, content=b"2a", flag="P"))
    append(path, record(2, content=b"2b") + record(3, "db", b"3") + record(4, content=b"4"))
    assert selected(path, tail=2) == [b"3", b"4"]
    assert selected(path, tail=2, container="web") == [b"2a", b"2b", b"4"]
    assert selected(path, tail=0) == []
    assert len(selected(path, tail=1000)) == 5


def pod_log(path, after=None, raw=False, **wanted):
    return PodLog(path, Selection(**wanted), after, raw)


def contents(data):
    return [parse_line(raw).content for raw in data.splitlines(keepends=True)]


def test_following_ends_with_the_pod_and_has_its_last_words(path):
    append(path, record(1, content=b"1"))
    log, alive = pod_log(path), [True, True, False]
    turns = iter(range(10))

    def pause():
        append(path, record(2, content=b"turn %d" % next(turns)))
        return True

    data = b"".join(log.follow(lambda: alive.pop(0), pause))
    assert contents(data) == [b"1", b"turn 0", b"turn 1", b"turn 2"]
    log.close()


def test_following_ends_when_nobody_reads(path):
    append(path, record(1, content=b"1"))
    assert contents(b"".join(pod_log(path).follow(lambda: True, lambda: False))) == [b"1"]


def test_a_flood_is_given_in_pieces(path):
    append(path, record(1) * 5000)
    pieces = list(pod_log(path).read())
    assert max(map(len, pieces)) < 64 * 1024
    assert len(contents(b"".join(pieces))) == 5000


def test_a_place_that_is_gone_is_told_and_all_there_is_follows(path):
    append(path, record(1, content=b"1"))
    told, first = contents(b"".join(pod_log(path, after="123-00000005").read()))
    assert b"lines are missing" in told and first == b"1"


def test_a_console_is_of_whatever_container_is_asked_for(path):
    append(path, b"hello\n")
    log = pod_log(path, raw=True, container="web", tail=5)
    assert contents(b"".join(log.read())) == [b"hello"]
