"""Plugging and unplugging: what os-vif is asked for, and what its failures become."""

from __future__ import annotations

from types import SimpleNamespace
from unittest import mock

import os_vif
import pytest
from os_vif import exception as os_vif_exception
from oslo_concurrency import processutils

from nova_hyper import exception
from nova_hyper.vif import plugging
from tests.unit.vif.ports import PORT_ID, port
from tests.unit.virt.instances import instance

INSTANCE = instance()


@pytest.fixture(autouse=True)
def host():
    os_vif.initialize()
    with (
        mock.patch("os_vif.plug") as plug,
        mock.patch("os_vif.unplug") as unplug,
        mock.patch("nova.privsep.linux_net.create_tap_dev") as create_tap,
        mock.patch("nova.privsep.linux_net.set_device_mtu") as set_mtu,
        mock.patch("nova.privsep.linux_net.delete_net_dev") as delete_dev,
    ):
        yield SimpleNamespace(
            plug=plug,
            unplug=unplug,
            create_tap=create_tap,
            set_mtu=set_mtu,
            delete_dev=delete_dev,
        )


def test_os_vif_is_given_the_port_and_the_instance(host):
    plugging.plug(INSTANCE, [port()])
    (vif, instance), _ = host.plug.call_args
    assert (vif.id, vif.vif_name, vif.bridge_name) == (PORT_ID, "tap51a9642b-14", "br-int")
    assert instance.uuid == INSTANCE.uuid


def test_unplugging_names_the_tap_so_that_os_vif_removes_its_ovs_port(host):
    plugging.unplug(INSTANCE, [port()])
    (vif, _), _ = host.unplug.call_args
    assert (vif.vif_name, vif.network.bridge) == ("tap51a9642b-14", "br-int")


def test_a_tap_port_is_made_with_its_mtu_and_removed(host):
    plugging.plug(INSTANCE, [port(type="tap")])
    host.create_tap.assert_called_once_with("tap51a9642b-14")
    host.set_mtu.assert_called_once_with("tap51a9642b-14", 1442)
    plugging.unplug(INSTANCE, [port(type="tap")])
    host.delete_dev.assert_called_once_with("tap51a9642b-14")
    host.plug.assert_not_called()


def test_a_failure_names_the_port_and_what_os_vif_said(host):
    host.plug.side_effect = os_vif_exception.PlugException(vif="x" * 500, err="no ovsdb")
    with pytest.raises(exception.VifPlugFailed) as caught:
        plugging.plug(INSTANCE, [port()])
    assert str(caught.value) == f"Port {PORT_ID} could not be plugged: no ovsdb"


def test_a_tap_that_cannot_be_made_names_the_port(host):
    host.create_tap.side_effect = processutils.ProcessExecutionError("no tun")
    with pytest.raises(exception.VifPlugFailed, match=PORT_ID):
        plugging.plug(INSTANCE, [port(type="tap")])


def test_unplugging_goes_on_after_a_failure_and_then_reports_it(host):
    host.unplug.side_effect = [os_vif_exception.UnplugException(vif="v", err="no ovsdb"), None]
    with pytest.raises(exception.VifUnplugFailed, match="no ovsdb"):
        plugging.unplug(INSTANCE, [port(), port(id="b")])
    assert host.unplug.call_count == 2


def test_a_port_that_was_never_plugged_is_passed_over(host):
    plugging.unplug(INSTANCE, [port(type="binding_failed"), port()])
    assert host.unplug.call_count == 1


def test_plugging_refuses_before_it_touches_the_host(host):
    with pytest.raises(exception.VifUnsupported):
        plugging.plug(INSTANCE, [port(type="vhostuser")])
    host.plug.assert_not_called()
