"""Ports of consoles: who has which, also after a restart."""

from __future__ import annotations

import pytest

from nova_hyper.daemon.console.reservations import Reservations


@pytest.fixture
def files(tmp_path):
    for name in "abcd":
        (tmp_path / name).mkdir()
    return lambda pod_id: tmp_path / pod_id / "port"


@pytest.fixture
def reservations(files):
    return Reservations(range(100, 103), files)


def candidates(reservations, pod_id, taken=""):
    return list(reservations.candidates(pod_id, lambda owner: owner in taken))


def test_a_pod_is_offered_its_own_port_first_and_others_ports_last(reservations):
    assert candidates(reservations, "a") == [100, 101, 102]
    reservations.give("a", 101)
    reservations.give("b", 100)
    assert candidates(reservations, "a") == [101, 102, 100]
    assert candidates(reservations, "c") == [102, 100, 101]
    assert candidates(reservations, "c", taken="b") == [102, 101]
    assert candidates(reservations, "c", taken="ab") == [102]


def test_what_was_given_is_known_after_a_restart(reservations, files):
    reservations.give("a", 101)
    reservations.give("b", 102)
    again = Reservations(range(100, 103), files)
    again.load(["a", "b", "c"])
    assert candidates(again, "b") == [102, 100, 101]


def test_a_port_that_is_taken_over_is_no_longer_the_others(reservations, files):
    reservations.give("a", 101)
    reservations.give("b", 101)
    assert not files("a").exists()
    assert candidates(reservations, "a")[0] == 100
    reservations.give("b", 102)  # another program may have the old one
    assert candidates(reservations, "c") == [100, 101, 102]


def test_a_pod_that_is_gone_leaves_its_port_to_others(reservations):
    reservations.give("a", 100)
    reservations.forget("a")
    reservations.forget("a")
    assert candidates(reservations, "b") == [100, 101, 102]


def test_files_of_another_range_or_kind_are_passed_over(files):
    for pod_id, content in (("a", b"99"), ("b", b"\0x"), ("c", b"101"), ("d", b"101")):
        files(pod_id).write_bytes(content)
    reservations = Reservations(range(100, 103), files)
    reservations.load("abcd")
    assert candidates(reservations, "c")[0] == 101
    assert candidates(reservations, "d") == [100, 102, 101]


def test_a_full_disk_keeps_nobody_from_a_port(reservations, monkeypatch):
    def full(_path, _data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nova_hyper.daemon.console.reservations.write_atomically", full)
    reservations.give("a", 100)
    assert candidates(reservations, "a")[0] == 100
