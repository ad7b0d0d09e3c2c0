"""What the daemon notices by itself."""

from __future__ import annotations

import errno
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from nova_hyper.daemon.ports import AgentError, DomainState
from nova_hyper.spec.container import Container, ContainerState
from nova_hyper.spec.errors import GuestFailed, HypervisorFailed
from nova_hyper.spec.pod import PodState
from tests.unit.daemon.fakes import OTHER_ID, PATIENCE_S, POD_ID, spec

EXITED = {"event": "container.exited", "name": "main", "exit_code": 0}
OUTPUT = {"event": "container.output", "name": "main"}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("nova_hyper.daemon.pods.monitor._TRY_S", 0.01)
    monkeypatch.setattr("nova_hyper.daemon.pods.service._CUT_S", 0.01)
    monkeypatch.setattr("nova_hyper.daemon.pods.sandbox._POWER_OFF_S", 0.05)


def run(core, **changes):
    core.pods.create(spec(**changes))
    return core.pods.start(changes.get("pod_id", POD_ID))


def look(core, pod_id=POD_ID):
    """What a worker does when the pod was noticed."""
    core.monitor._attend(core.registry.get(pod_id))
    return core.registry.get(pod_id).pod


def test_an_exit_becomes_an_event_with_its_code(watched):
    run(watched)
    session = watched.session()
    watched.agent().exit(3)
    session.on_event(EXITED)
    assert watched.wait_for(3) == ["created", "started", "exited"]
    event = watched.events.after(2).events[0]
    assert (event.exit_code, event.pod_id, event.pod_name) == (3, POD_ID, "web")
    pod = watched.pods.get("web")
    assert (pod.state, pod.exit_code, pod.message) == (PodState.STOPPED, 3, "exited with code 3")
    watched.monitor.stop()  # the event comes before the last is taken down
    assert watched.left() == ["entry", "directory", "lease"]


def test_the_disks_are_flushed_before_the_guest_of_an_exited_pod_is_ended(core):
    run(core)
    agent = core.agent()
    agent.exit(0)
    look(core)
    assert agent.asked[-2:] == ["container.stop", "power.off"]


def test_a_pod_runs_until_its_last_container_has_exited(core):
    run(core, containers=(Container("a", "web:1"), Container("b", "web:1")))
    core.agent().exit(1, "b")
    pod = look(core)
    assert pod.state is PodState.RUNNING
    assert [c.state for c in pod.containers] == [ContainerState.RUNNING, ContainerState.EXITED]
    assert next(core.repository.load()) == pod
    core.agent().exit(0, "a")
    pod = look(core)
    assert (pod.state, pod.exit_code) == (PodState.STOPPED, 1)
    assert pod.message == "container b exited with code 1"
    assert [c.exit_code for c in pod.containers] == [0, 1]


def test_a_guest_whose_qemu_was_killed_has_crashed(watched):
    run(watched)
    watched.hypervisor.vanish(POD_ID)
    watched.monitor.notice(POD_ID)
    assert watched.wait_for(3)[-1] == "crashed"
    pod = watched.pods.get("web")
    assert (pod.state, pod.exit_code) == (PodState.CRASHED, None)
    assert "ended unexpectedly" in pod.message
    watched.monitor.stop()  # the event comes before the last is taken down
    assert watched.left() == ["entry", "directory", "lease"]


def test_a_domain_that_somebody_undefined_has_crashed(core):
    run(core)
    del core.hypervisor.domains[POD_ID]
    assert look(core).state is PodState.CRASHED


def test_a_crashed_pod_starts_again(core):
    run(core)
    core.hypervisor.vanish(POD_ID)
    look(core)
    assert core.pods.start("web").state is PodState.RUNNING


def test_a_lost_connection_is_made_again(watched):
    run(watched)
    first = watched.session()
    first.break_off()
    first.agent.exit(7)  # seen over the next connection only
    assert watched.wait_for(3)[-1] == "exited"
    assert watched.pods.get("web").exit_code == 7
    assert watched.guests.fresh == [True, False]


def test_guests_that_answer_slowly_do_not_hold_up_the_others(core, monkeypatch):
    monkeypatch.setattr("nova_hyper.daemon.pods.monitor._LONG_S", 0.05)
    held, go = threading.Event(), threading.Event()
    slow = [f"{number:08d}-0000-4000-8000-000000000000" for number in range(1, 6)]
    for number, pod_id in enumerate(slow):
        run(core, pod_id=pod_id, name=f"slow{number}")
        core.agent(pod_id).before["pod.status"] = lambda: threading.Event().wait(0.1)
        look(core, pod_id)
    run(core)
    core.monitor.start()
    try:
        for pod_id in slow:
            core.agent(pod_id).before["pod.status"] = lambda: held.set() or go.wait(PATIENCE_S)
            core.monitor.notice(pod_id)
        assert held.wait(PATIENCE_S)
        seen = core.events.last
        core.agent().exit(3)
        core.monitor.notice(POD_ID)
        assert [e.kind for e in core.events.after(seen, 3).events] == ["exited"]
    finally:
        go.set()
        core.monitor.stop()


def test_a_guest_that_always_has_news_does_not_keep_the_daemon_busy(watched):
    """Each look may write the record through to the disk."""
    run(watched)
    session, agent = watched.session(), watched.agent()
    asked = len(agent.asked)
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        session.on_event(OUTPUT)
        time.sleep(0.0005)
    assert len(agent.asked) - asked < 80


def test_a_silent_agent_is_told_of_and_found_again(core):
    run(core)
    core.agent().silent = True
    core.session().break_off()
    pod = look(core)
    assert (pod.state, pod.message) == (PodState.RUNNING, "the agent in the pod does not answer")
    core.agent().silent = False
    core.agent().exit(5)
    core.monitor.repeat()
    assert core.pods.get("web").exit_code == 5


def test_an_agent_that_answers_again_has_no_message(core):
    run(core)
    core.agent().silent = True
    look(core)
    core.agent().silent = False
    core.monitor.repeat()
    pod = core.pods.get("web")
    assert (pod.state, pod.message) == (PodState.RUNNING, "")


def test_a_guest_that_could_not_be_taken_down_is_taken_down_later(core):
    run(core)
    core.agent().exit(0)
    core.hypervisor.fail("destroy", HypervisorFailed("device busy"))
    assert look(core).state is PodState.STOPPED
    assert core.hypervisor.domains != {}
    core.monitor.repeat()
    assert core.hypervisor.domains == {}
    assert core.kinds() == ["created", "started", "exited"]


def test_a_guest_whose_end_nobody_told_has_crashed(core):
    run(core)
    del core.hypervisor.domains[POD_ID]
    core.monitor.repeat()
    assert core.pods.get("web").state is PodState.CRASHED


def test_with_libvirt_away_nothing_is_looked_at_again(core):
    run(core)
    core.hypervisor.domains.clear()
    core.hypervisor.away = True
    core.monitor.repeat()
    assert core.pods.get("web").state is PodState.RUNNING


def test_only_what_needs_it_is_looked_at_again(core):
    run(core)
    core.pods.create(spec(OTHER_ID, "other"))
    core.pods.stop("other")
    asked = len(core.agent().requests)
    core.monitor.repeat()
    assert len(core.agent().requests) == asked


def test_a_guest_that_dies_before_libvirt_says_so_has_crashed(core):
    """The connection ends some milliseconds before libvirt knows."""
    run(core)
    session = core.session()
    core.agent().before["pod.status"] = lambda: core.hypervisor.vanish(POD_ID)
    core.agent().fail("pod.status", GuestFailed("the guest closed its connection"))
    pod = look(core)
    assert pod.state is PodState.CRASHED
    assert session.closed.is_set()


def test_a_paused_guest_is_told_of_and_left_alone(core):
    run(core)
    core.hypervisor.domains[POD_ID] = DomainState.PAUSED
    asked = len(core.agent().requests)
    pod = look(core)
    assert pod.state is PodState.PAUSED
    assert "disk is full" in pod.message
    assert len(core.agent().requests) == asked
    core.hypervisor.domains[POD_ID] = DomainState.RUNNING
    pod = look(core)
    assert (pod.state, pod.message) == (PodState.RUNNING, "")


@pytest.mark.parametrize("outcome", ["success", "failure"])
def test_an_event_during_a_call_is_looked_at_after_it(core, outcome):
    run(core)
    entry = core.registry.get("web")
    agent = core.agent()
    core.monitor.start()
    try:
        with core.pods._holding(entry):
            agent.exit(4)
            core.monitor._attend(entry)  # finds the lock taken
            assert entry.noticed
            if outcome == "failure":
                raise GuestFailed("no")
    except GuestFailed:
        pass
    try:
        assert core.wait_for(3)[-1] == "exited"
    finally:
        core.monitor.stop()


def test_an_event_while_the_monitor_looks_is_looked_at_after_that(watched):
    """A container that prints and exits: two events, and the first look sees it run."""
    run(watched)
    agent, session = watched.agent(), watched.session()
    asked = []

    def status():
        found = {"containers": [dict(agent.containers["main"])]}
        asked.append(found["containers"][0]["state"])
        if len(asked) == 1:
            agent.exit(2)
            session.on_event(EXITED)
        return found

    agent._pod_status = status
    session.on_event(OUTPUT)
    assert watched.wait_for(3)[-1] == "exited"
    assert asked[0] == "running"
    assert watched.pods.get("web").exit_code == 2


def test_events_of_a_flood_are_one_look(core):
    run(core)
    session = core.session()
    for _ in range(10_000):
        session.on_event(OUTPUT)
    assert core.monitor._queue.qsize() == 1


def test_a_guest_cannot_make_its_timeline_grow(core):
    run(core)
    session = core.session()
    for _ in range(1000):
        session.on_event(OUTPUT)
    pod = look(core)
    assert [m.stage for m in pod.timeline].count("output") == 1


def test_a_look_at_what_has_not_changed_writes_nothing(core):
    run(core)
    look(core)
    core.repository.save = lambda _pod: pytest.fail("the record was written")
    look(core)


HOSTILE = [
    {},
    {"containers": None},
    {"containers": {}},
    {"containers": "exited"},
    {"containers": [None, 1, "x", [], {}]},
    {"containers": [{"name": ["main"], "state": "exited"}]},
    {"containers": [{"name": "main"}]},
    {"containers": [{"name": "main", "state": ["exited"]}]},
    {"containers": [{"name": "main", "state": "dead"}]},
    {"containers": [{"name": "other", "state": "exited", "exit_code": 0}]},
]


@pytest.mark.parametrize("answer", HOSTILE)
def test_an_answer_that_makes_no_sense_changes_nothing(core, answer):
    before = run(core)
    core.agent().answers["pod.status"] = answer
    assert look(core) == before
    assert core.kinds() == ["created", "started"]


@pytest.mark.parametrize("code", [True, "1", -1, 256, 1 << 70, 1.5, None, [1], {"a": 1}])
def test_an_exit_code_that_makes_no_sense_is_unknown(core, code):
    run(core)
    container = {"name": "main", "state": "exited", "exit_code": code}
    core.agent().answers["pod.status"] = {"containers": [container]}
    pod = look(core)
    assert (pod.state, pod.exit_code, pod.message) == (PodState.STOPPED, None, "exited")
    assert list(core.repository.load()) == [pod]
    after = core.restarted()
    assert after.kinds()[-1] == "exited"


@pytest.mark.parametrize("code", ["exec", "network", "internal"])
def test_an_agent_that_refuses_to_tell_is_a_silent_one(core, code):
    run(core)
    with core.agent().failing("pod.status", AgentError(code, "no")):
        pod = look(core)
    assert (pod.state, pod.message) == (PodState.RUNNING, "the agent in the pod does not answer")


def test_events_of_a_pod_that_is_gone_are_nobodys(watched):
    run(watched)
    session = watched.session()
    watched.pods.delete("web")
    session.on_event(EXITED)
    session.on_event({"event": ["x"]})
    watched.monitor.notice("no-such-pod")
    assert watched.monitor._queue.qsize() == 0


def test_a_pod_that_was_deleted_before_its_look_is_not_deleted_again(core):
    run(core)
    entry = core.registry.get("web")
    core.monitor.notice(POD_ID)
    core.pods.delete("web")
    core.monitor._attend(entry)
    assert core.kinds() == ["created", "started", "deleted"]


def test_with_libvirt_away_an_exit_is_seen_when_it_is_back(watched):
    run(watched)
    watched.hypervisor.away = True
    watched.agent().exit(1)
    watched.session().on_event(EXITED)
    assert watched.kinds() == ["created", "started"]
    watched.hypervisor.away = False
    watched.monitor.reconcile()
    assert watched.wait_for(3)[-1] == "exited"


def test_one_pod_that_cannot_be_put_right_does_not_stop_the_others(watched, caplog):
    run(watched)
    run(watched, pod_id=OTHER_ID, name="other")
    watched.hypervisor.fail("state", HypervisorFailed("odd"))
    watched.monitor._attend(watched.registry.get(POD_ID))
    assert "looking at pod" in caplog.text
    watched.agent(OTHER_ID).exit(0)
    watched.session(OTHER_ID).on_event(EXITED)
    assert watched.wait_for(5)[-1] == "exited"


def test_a_pod_that_a_call_is_at_work_on_does_not_end_the_monitor(core, caplog):
    run(core)
    entry = core.registry.get(POD_ID)
    entry.update(state=PodState.STOPPED)
    core.hypervisor.fail("state", HypervisorFailed("libvirt refused: odd"))
    with entry.lock:
        core.monitor._attend(entry)
    assert "looking at pod" in caplog.text
    assert entry.noticed


def test_a_full_disk_does_not_hide_an_exit(core):
    run(core)

    def full(_pod):
        raise OSError(errno.ENOSPC, "No space left on device")

    core.repository.save = full
    core.agent().exit(0)
    assert look(core).state is PodState.STOPPED
    assert core.kinds()[-1] == "exited"


def test_a_delete_does_not_wait_for_a_look_at_a_silent_agent(core):
    run(core)
    asking = threading.Event()
    session = core.session()

    def wait():
        asking.set()
        assert session.closed.wait(PATIENCE_S)

    core.agent().before["pod.status"] = wait
    core.agent().fail("pod.status", GuestFailed("closed"))
    with ThreadPoolExecutor() as pool:
        looking = pool.submit(core.monitor._attend, core.registry.get("web"))
        assert asking.wait(PATIENCE_S)
        core.pods.delete("web")
        looking.result(PATIENCE_S)
    assert core.left() == []


def test_stopping_the_monitor_ends_its_threads(core):
    before = threading.active_count()
    core.monitor.start()
    assert threading.active_count() > before
    core.monitor.stop()
    assert threading.active_count() == before


def test_create_and_delete_leave_nothing_in_memory(watched):
    for number in range(20):
        run(watched, name=f"web-{number}")
        watched.session().on_event(OUTPUT)
        watched.pods.delete(POD_ID)
    assert len(watched.registry) == 0
    assert watched.left() == []


def test_a_call_that_waits_for_a_guest_hears_of_its_panic_though_it_was_noticed_before(watched):
    run(watched)
    entry = watched.registry.get(POD_ID)
    with entry.lock:
        entry.update(state=PodState.CREATING)
        entry.noticed = True  # when its micro-VM started
        watched.hypervisor.inject_nmi(POD_ID)
        destroyed = threading.Event()
        destroy = watched.hypervisor.destroy
        watched.hypervisor.destroy = lambda pod_id: (destroy(pod_id), destroyed.set())
        watched.monitor.domain_changed(POD_ID)
        assert destroyed.wait(PATIENCE_S)
    assert POD_ID not in watched.hypervisor.domains
