"""Waiting for network-vif-plugged."""

from __future__ import annotations

import contextlib

import pytest
from nova import exception as nova_exception

from nova_hyper import exception
from nova_hyper.vif import wiring
from tests.unit.vif.ports import port


class VirtApi:
    """Records what is waited for; then times out, or reports a failure, or returns."""

    def __init__(self, times_out=False, fails=False):
        self.times_out = times_out
        self.fails = fails
        self.waited = None

    @contextlib.contextmanager
    def wait_for_instance_event(self, instance, events, timeout, error_callback):
        self.waited = (events, timeout)
        yield
        if self.fails and not error_callback("network-vif-plugged-p1", instance):
            return
        if self.times_out:
            raise nova_exception.InstanceEventTimeout()


def wired(virtapi, ports=("p1",), timeout=10, fatal=True):
    done = []
    with wiring.wired(virtapi, None, list(ports), timeout, fatal):
        done.append(True)
    return done


def test_only_ports_that_are_down_are_awaited():
    ports = [port(id="down", active=False), port(id="up", active=True)]
    assert wiring.awaited_ports(ports) == ["down"]


def test_waits_for_each_port_as_long_as_nova_is_told_to():
    api = VirtApi()
    assert wired(api, ("p1", "p2"), 300) == [True]
    assert api.waited == (
        [("network-vif-plugged", "p1"), ("network-vif-plugged", "p2")],
        300,
    )


def test_a_timeout_of_zero_waits_for_nothing():
    api = VirtApi()
    wired(api, timeout=0)
    assert api.waited == ([], 0)


def test_a_missing_report_is_fatal_and_says_which_port_and_how_long():
    with pytest.raises(exception.VifNotWired, match=r"port p1 .* within 10 seconds"):
        wired(VirtApi(times_out=True))


def test_a_missing_report_is_not_fatal_where_the_operator_says_so():
    assert wired(VirtApi(times_out=True), fatal=False) == [True]


def test_a_reported_failure_is_fatal_and_names_the_port():
    with pytest.raises(exception.VifWiringFailed, match="port p1;"):
        wired(VirtApi(fails=True))


def test_a_reported_failure_is_not_fatal_where_the_operator_says_so():
    assert wired(VirtApi(fails=True), fatal=False) == [True]


def test_what_the_body_raises_is_not_hidden():
    with pytest.raises(ZeroDivisionError), wiring.wired(VirtApi(), None, ["p1"], 10, True):
        raise ZeroDivisionError
