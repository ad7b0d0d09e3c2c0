"""What is done with the containers of a running pod."""

from __future__ import annotations

import pytest

from nova_hyper.daemon.guest.stream import MAX_STREAMS, Streams
from nova_hyper.daemon.logs.selection import Selection
from nova_hyper.daemon.pods.sessions import Command
from nova_hyper.daemon.ports import AgentError
from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import Conflict, ContainerFailed, GuestFailed, InvalidRequest
from nova_hyper.spec.log import parse_line
from nova_hyper.spec.pod import PodState
from tests.unit.daemon import fakes
from tests.unit.daemon.fakes import POD_ID

LS = Command(("ls",))
PAIR = (Container("main", "web:1"), Container("db", "web:1"))


@pytest.fixture
def pod(core):
    core.monitor.reconcile()
    core.pods.create(fakes.spec(containers=PAIR))
    core.pods.start(POD_ID)
    return core.agent()


def contents(log):
    with_lines = b"".join(log.read()).splitlines(keepends=True)
    log.close()
    return [parse_line(line).content for line in with_lines]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("exec", ContainerFailed),
        ("invalid", InvalidRequest),
        ("state", Conflict),
        ("internal", GuestFailed),
        ("disk", GuestFailed),
    ],
)
def test_what_the_agent_refuses_has_a_kind_and_names_the_container(core, pod, code, error):
    pod.fail("exec.start", AgentError(code, "no"))
    with pytest.raises(error, match=r"^container db: no$"):
        core.sessions.exec("web", "db", LS)


def test_too_many_streams_are_refused_by_the_host():
    streams = Streams(lambda data: None, lambda op, args: None)
    for _ in range(MAX_STREAMS):
        streams.add()
    with pytest.raises(AgentError, match="end one of them") as refused:
        streams.add()
    assert refused.value.code == "state"


def test_only_what_was_asked_for_goes_to_the_agent(core, pod):
    core.sessions.exec("web", None, LS)
    assert pod.requests[-1] == (
        "exec.start",
        {"name": "main", "argv": ["ls"], "env": [], "stdin": False, "tty": None},
    )


def test_after_a_restart_the_agent_is_called_first(core, pod):
    entry = core.registry.get(POD_ID)
    entry.close_session()
    core.sessions.exec("web", None, LS)
    assert entry.session is not None
    assert core.guests.fresh[-1] is False


def test_a_pod_whose_containers_have_not_begun_has_no_commands(core):
    core.monitor.reconcile()
    core.pods.create(fakes.spec())
    with pytest.raises(Conflict, match="no container of pod web has been started"):
        core.sessions.exec("web", None, LS)


def test_kill_goes_on_after_a_container_that_has_ended(core, pod):
    pod.answers["container.signal"] = {}
    pod.fail("container.signal", AgentError("state", "it has ended"))
    core.sessions.kill("web", None, "TERM")
    assert [args["name"] for op, args in pod.requests if op == "container.signal"] == [
        "main",
        "db",
    ]
    pod.fail("container.signal", AgentError("invalid", "there is no signal QUIT2"))
    with pytest.raises(InvalidRequest, match="no signal"):
        core.sessions.kill("web", None, "QUIT2")


def test_a_pod_is_alive_until_it_is_over(core, pod):
    assert core.sessions.alive(POD_ID)
    core.registry.get(POD_ID).update(state=PodState.SUSPENDED)
    assert core.sessions.alive(POD_ID)
    core.registry.get(POD_ID).update(state=PodState.RUNNING)
    core.pods.stop(POD_ID)
    assert not core.sessions.alive(POD_ID)
    core.pods.delete(POD_ID)
    assert not core.sessions.alive(POD_ID)


def test_the_log_of_a_stopped_pod_is_what_its_agent_wrote(core, pod):
    line = b"2026-01-01T00:00:00.000000000Z db stdout F ready\n"
    core.repository.log(POD_ID).write_bytes(line)
    core.pods.stop(POD_ID)
    assert contents(core.sessions.log("web", Selection("db"), None)) == [b"ready"]
    core.repository.log(POD_ID).rename(core.repository.log(POD_ID).with_suffix(".log.0"))
    assert contents(core.sessions.log("web", Selection("db"), None)) == [b"ready"]


def test_an_old_agents_console_is_of_no_container(core, pod):
    core.repository.log(POD_ID).touch()  # the port is there, and nobody writes to it
    core.repository.console(POD_ID).write_bytes(b"hello\n")
    core.pods.stop(POD_ID)
    assert contents(core.sessions.log("web", Selection(), None)) == [b"hello"]
    with pytest.raises(Conflict, match="too old for logs of one container"):
        core.sessions.log("web", Selection("db"), None)
