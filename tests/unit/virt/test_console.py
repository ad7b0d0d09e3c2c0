"""The consoles of instances, over a hyperd in memory."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from nova import exception as nova_exception
from nova.compute import manager

from nova_hyper import exception
from nova_hyper.spec.console import ConsoleKind
from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import DaemonUnavailable, PortsExhausted
from nova_hyper.spec.pod import PodSpec
from nova_hyper.virt import console
from tests.unit.fake_hyperd import FakeHyperd
from tests.unit.virt.instances import UUID, flavor, instance

OPTIONS = SimpleNamespace(enabled=True, proxyclient_address="127.0.0.1")


@pytest.fixture
def hyperd():
    made = FakeHyperd()
    image = made.import_image("i", [b"x"])
    made.create_pod(PodSpec(UUID, "instance-7", (Container("main", image.id),)))
    made.start_pod(UUID)
    return made


def test_it_is_where_hyperd_listens_and_the_same_when_asked_again(hyperd):
    first = console.serial(hyperd, instance(), OPTIONS)
    again = console.serial(hyperd, instance(), OPTIONS)
    assert (first.host, first.port) == (again.host, again.port) == ("127.0.0.1", 10000)
    assert first.internal_access_path is None


def test_the_address_is_what_nova_tells_the_proxy(hyperd, caplog):
    told = SimpleNamespace(enabled=True, proxyclient_address="192.0.2.7")
    assert console.serial(hyperd, instance(), told).host == "192.0.2.7"
    assert "Make [console] listen_address" in caplog.text


@pytest.mark.parametrize(
    ("listening", "told", "wrong"),
    [
        ("127.0.0.1", "127.0.0.1", False),
        ("0.0.0.0", "192.0.2.7", False),
        ("::", "192.0.2.7", False),
        ("192.0.2.7", "node.example.org", False),
        ("127.0.0.1", "192.0.2.7", True),
    ],
)
def test_addresses_that_contradict_each_other(listening, told, wrong):
    assert console._contradict(listening, told) is wrong


def test_it_is_refused_where_the_host_has_none(hyperd):
    with pytest.raises(nova_exception.ConsoleTypeUnavailable):
        console.serial(hyperd, instance(), SimpleNamespace(enabled=False))
    assert "open_console" not in hyperd.calls


def test_an_instance_that_does_not_run_is_not_ready(hyperd):
    hyperd.stop_pod(UUID)
    with pytest.raises(nova_exception.InstanceNotReady):
        console.serial(hyperd, instance(), OPTIONS)


def test_an_instance_that_is_not_there_is_novas_unknown_one(hyperd):
    hyperd.delete_pod(UUID)
    with pytest.raises(nova_exception.InstanceNotFound):
        console.serial(hyperd, instance(), OPTIONS)


def test_a_host_without_a_port_left_is_what_nova_calls_it(hyperd):
    hyperd.fail_next["open_console"] = PortsExhausted("all ports are in use")
    with pytest.raises(nova_exception.SocketPortRangeExhaustedException):
        console.serial(hyperd, instance(), OPTIONS)


def test_a_hyperd_that_is_away_is_said(hyperd):
    hyperd.fail_next["open_console"] = DaemonUnavailable("gone")
    with pytest.raises(exception.HyperdUnavailable):
        console.serial(hyperd, instance(), OPTIONS)


@pytest.mark.parametrize(
    ("flavors", "images", "kind"),
    [
        (None, None, ConsoleKind.AUTO),
        ("attach", None, ConsoleKind.ATTACH),
        (None, "shell", ConsoleKind.SHELL),
        ("auto", "shell", ConsoleKind.AUTO),
    ],
)
def test_the_flavor_says_what_it_is_joined_to_or_else_the_image(hyperd, flavors, images, kind):
    server = instance(
        flavor=flavor(extra_specs={"hyper:console": flavors} if flavors else {}),
        system_metadata={"image_hyper_console": images} if images else {},
    )
    console.serial(hyperd, server, OPTIONS)
    assert hyperd.console_kinds[UUID] is kind


@pytest.mark.parametrize("length", [None, 2])
def test_nova_can_cut_and_tell_a_log_of_any_bytes(hyperd, length):
    hyperd.write(UUID, "☃ 1\n".encode() * 50_000 + b"\xff\xfe\x00\n\xe2\x98")
    log = console.output(hyperd, instance())
    assert len(log) == console.MAX_BYTES
    driver = SimpleNamespace(get_console_output=lambda _context, _instance: log)
    compute = SimpleNamespace(driver=driver, _tail_log=_tail_log)
    context = SimpleNamespace(elevated=lambda: None)
    told = manager.ComputeManager.get_console_output
    text = told(compute, context, instance=instance(), tail_length=length)
    assert text.endswith("\ufffd\ufffd\x00\n\ufffd\ufffd")
    if length:
        assert text.count("\n") == length - 1


def _tail_log(log, length):
    return manager.ComputeManager._tail_log(None, log, length)
