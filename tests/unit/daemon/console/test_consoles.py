"""Consoles of pods on fakes: real sockets, a guest that the test plays."""

from __future__ import annotations

import contextlib
import dataclasses
import socket

import pytest

from nova_hyper.daemon.console import bridge
from nova_hyper.daemon.console.consoles import PER_POD, Consoles
from nova_hyper.daemon.ports import AgentError
from nova_hyper.spec.console import ConsoleKind
from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import Conflict, HyperError, PodNotFound, PortsExhausted
from tests.unit.daemon import fakes
from tests.unit.daemon.core import CONSOLES
from tests.unit.daemon.fakes import OTHER_ID, PATIENCE_S, POD_ID

TTY = Container("main", "web:1", stdin=True, tty=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(bridge, "_FAREWELL_S", 0.2)
    monkeypatch.setattr(bridge, "_LOOK_S", 0.02)


@pytest.fixture
def consoles(core):
    yield core.consoles
    core.consoles.stop()


@pytest.fixture
def run(core):
    def start(pod_id=POD_ID, name="web", **changes):
        core.pods.create(fakes.spec(pod_id, name, **changes))
        core.pods.start(pod_id)
        return pod_id

    return start


@contextlib.contextmanager
def connected(where):
    with socket.create_connection((where.host, where.port), timeout=PATIENCE_S) as client:
        yield client


def rest(client):
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(4096):
            got += data
    return got.decode()


def opened(core, where):
    """What a connection opens in the guest."""
    with connected(where):
        return core.agent().streams.get(timeout=PATIENCE_S)


def test_a_shell_where_the_container_has_no_terminal(core, consoles, run):
    stream = opened(core, consoles.open(run(), ConsoleKind.AUTO))
    assert stream.op == "exec.start"
    assert stream.args["argv"] == ["/bin/bash"] and stream.args["stdin"] is True
    assert stream.args["tty"] == {"rows": 24, "cols": 80}
    assert stream.args["env"] == ["TERM=xterm"]


def test_the_next_shell_where_the_first_is_not_there(core, consoles, run):
    where = consoles.open(run(), ConsoleKind.AUTO)
    core.agent().fail("exec.start", AgentError("exec", "/bin/bash: no such file"))
    assert opened(core, where).args["argv"] == ["/bin/sh"]


def test_an_image_without_any_shell_is_told(core, consoles, run):
    where = consoles.open(run(), ConsoleKind.AUTO)
    with (
        core.agent().failing("exec.start", AgentError("exec", "/bin/sh: no such file")),
        connected(where) as client,
    ):
        said = rest(client)
    assert "no shell to start here: container main: /bin/sh: no such file" in said
    assert "console log" in said


@pytest.mark.parametrize(
    ("container", "kind", "op", "stdin"),
    [
        (TTY, ConsoleKind.AUTO, "container.attach", True),
        (TTY, ConsoleKind.SHELL, "exec.start", True),
        (dataclasses.replace(TTY, stdin=False), ConsoleKind.AUTO, "exec.start", True),
        (dataclasses.replace(TTY, tty=False), ConsoleKind.AUTO, "exec.start", True),
        (dataclasses.replace(TTY, tty=False), ConsoleKind.ATTACH, "container.attach", True),
        (Container("main", "web:1"), ConsoleKind.ATTACH, "container.attach", False),
    ],
)
def test_what_it_is_joined_to(core, consoles, run, container, kind, op, stdin):
    stream = opened(core, consoles.open(run(containers=(container,)), kind))
    assert (stream.op, stream.args["stdin"]) == (op, stdin)


def test_the_last_request_says_what_connections_are_joined_to(core, consoles, run):
    where = consoles.open(run(containers=(TTY,)), ConsoleKind.SHELL)
    assert consoles.open(POD_ID, ConsoleKind.AUTO) == where
    assert opened(core, where).op == "container.attach"


@pytest.mark.parametrize("end", ["stop", "suspend", "crash", "delete"])
def test_the_end_of_a_pod_closes_its_port_and_connections(core, consoles, run, end):
    where = consoles.open(run(), ConsoleKind.AUTO)
    other = consoles.open(run(OTHER_ID, "other"), ConsoleKind.AUTO)
    with connected(where) as client:
        stream = core.agent().streams.get(timeout=PATIENCE_S)
        if end == "stop":
            core.pods.stop(POD_ID, force=True)
        elif end == "suspend":
            core.power.suspend(POD_ID)
        elif end == "delete":
            core.pods.delete(POD_ID)
        else:
            core.hypervisor.vanish(POD_ID)
            core.monitor.repeat()
            core.monitor.look(core.registry.get(POD_ID))
        rest(client)
    assert stream.closed.wait(PATIENCE_S)
    with pytest.raises(ConnectionRefusedError), connected(where):
        pass
    with pytest.raises(PodNotFound if end == "delete" else Conflict):
        consoles.open(POD_ID, ConsoleKind.AUTO)
    with connected(other):
        pass


def test_a_pod_that_is_paused_is_told_and_keeps_its_port(core, consoles, run):
    where = consoles.open(run(), ConsoleKind.AUTO)
    core.power.pause(POD_ID)
    assert consoles.open(POD_ID, ConsoleKind.AUTO) == where
    with connected(where) as client:
        assert "is paused; unpause it first" in rest(client)


def test_a_pod_that_ends_while_its_console_is_opened_has_none(core, consoles, run, monkeypatch):
    run()
    real = consoles._listeners.open

    def late(pod_id, ports):
        port = real(pod_id, ports)
        # The event comes before anything is there to be closed.
        consoles._listeners.close(pod_id)
        core.registry.get(pod_id).update(state="stopped")
        real(pod_id, [port])
        return port

    monkeypatch.setattr(consoles._listeners, "open", late)
    with pytest.raises(Conflict):
        consoles.open(POD_ID, ConsoleKind.AUTO)
    assert POD_ID not in consoles._listeners


def test_the_port_is_the_same_after_a_restart_and_another_pod_does_not_get_it(core, run):
    first = core.consoles.open(run(), ConsoleKind.AUTO)
    second = core.consoles.open(run(OTHER_ID, "other"), ConsoleKind.AUTO)
    again = core.restarted()
    again.monitor.reconcile()
    try:
        assert again.consoles.open(OTHER_ID, ConsoleKind.AUTO) == second
        assert again.consoles.open(POD_ID, ConsoleKind.AUTO) == first
        again.pods.delete(POD_ID)
        assert not again.left()
    finally:
        again.consoles.stop()


def limited(core, **changes):
    core.consoles.stop()
    core.consoles = Consoles(
        core.registry,
        core.sessions,
        core.repository.console_port,
        dataclasses.replace(CONSOLES, **changes),
    )
    core.events.on_event = core.consoles.take
    return core.consoles


def test_without_a_port_left_it_says_so_until_a_pod_ends(core, run):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    consoles = limited(core, ports=range(port, port + 1))
    try:
        first = consoles.open(run(), ConsoleKind.AUTO)
        run(OTHER_ID, "other")
        with pytest.raises(PortsExhausted, match="port_range"):
            consoles.open(OTHER_ID, ConsoleKind.AUTO)
        core.pods.stop(POD_ID, force=True)
        assert consoles.open(OTHER_ID, ConsoleKind.AUTO) == first
        core.pods.start(POD_ID)
        with pytest.raises(PortsExhausted):
            consoles.open(POD_ID, ConsoleKind.AUTO)
    finally:
        consoles.stop()


def test_an_address_that_is_not_the_hosts_is_named(core, run):
    with pytest.raises(HyperError, match=r"listen on 192\.0\.2\.1 .*listen_address"):
        limited(core, address="192.0.2.1").open(run(), ConsoleKind.AUTO)


@pytest.mark.parametrize(("limit", "most"), [(CONSOLES.max_connections, PER_POD), (2, 2)])
def test_one_connection_too_many_is_told(core, run, limit, most):
    consoles = limited(core, max_connections=limit)
    where = consoles.open(run(), ConsoleKind.AUTO)
    with contextlib.ExitStack() as stack:
        for _ in range(most):
            stack.enter_context(connected(where))
            core.agent().streams.get(timeout=PATIENCE_S)
        with connected(where) as client:
            assert "too many connections" in rest(client)
    consoles.stop()


def test_the_end_of_the_daemon_is_told(core, consoles, run):
    where = consoles.open(run(), ConsoleKind.AUTO)
    with connected(where) as client:
        core.agent().streams.get(timeout=PATIENCE_S)
        consoles.stop()
        assert "hyperd ends; connect again" in rest(client)
    assert not consoles._bridges
