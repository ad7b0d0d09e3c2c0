from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from cloud import service
from cloud.failure import CloudError
from cloud.service import Service

SLEEP = Service("sleeper", ("sleep", "60"))


@pytest.fixture
def sleeper(site):
    service.bring_up(site, SLEEP)
    yield service.running_pid(site, "sleeper")
    service.stop(site, "sleeper")


def test_a_running_service_is_left_alone(site, sleeper):
    assert service.start(site, SLEEP) is False
    assert service.running_pid(site, "sleeper") == sleeper


def test_of_two_that_start_a_service_at_once_one_finds_it(site):
    script = (
        "import sys; from pathlib import Path; from cloud import service; "
        "from cloud.site import Site; "
        "sleeper = service.Service('sleeper', ('sleep', '60')); "
        "print(service.start(Site(Path(sys.argv[1])), sleeper))"
    )
    command = [sys.executable, "-c", script, site.home]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    both = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        assert sorted(one.communicate()[0] for one in both) == ["False\n", "True\n"]
    finally:
        service.stop(site, "sleeper")


def test_a_service_is_restarted_when_its_command_has_changed(site, sleeper):
    assert service.start(site, Service("sleeper", ("sleep", "61"))) is True
    assert service.running_pid(site, "sleeper") != sleeper


def test_a_service_is_restarted_when_its_configuration_has_changed(site):
    conf = site.etc / "x.conf"
    conf.write_text("a")
    configured = Service("configured", ("sleep", "60"), inputs=(conf,))
    try:
        assert service.start(site, configured) is True
        assert service.start(site, configured) is False
        conf.write_text("b")
        assert service.start(site, configured) is True
    finally:
        service.stop(site, "configured")


def test_a_process_that_took_over_the_id_is_not_the_service(site):
    service.pid_file(site, "ghost").write_text(
        json.dumps({"pid": os.getpid(), "start": 1, "boot": service._boot_id()})
    )
    assert service.running_pid(site, "ghost") is None
    assert service.stop(site, "ghost") is False


def test_a_pid_file_from_before_a_reboot_means_nothing(site, sleeper):
    file = service.pid_file(site, "sleeper")
    record = json.loads(file.read_text())
    file.write_text(json.dumps(record | {"boot": "another"}))
    assert service.running_pid(site, "sleeper") is None
    file.write_text(json.dumps(record))


def test_a_killed_service_counts_as_stopped_at_once(site, sleeper):
    assert service.kill(site, "sleeper") == sleeper
    assert service.running_pid(site, "sleeper") is None


def test_stopping_takes_the_children_along_and_forgets_the_service(site):
    service.bring_up(site, Service("parent", ("sh", "-c", "sleep 61 & sleep 62; :")))
    leader = service.running_pid(site, "parent")
    deadline = time.monotonic() + 5
    while len(_session(leader)) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(_session(leader)) == 3
    assert service.stop(site, "parent") is True
    assert _session(leader) == []
    assert not service.pid_file(site, "parent").exists()


def test_a_service_deaf_to_term_is_killed(site, monkeypatch):
    monkeypatch.setattr(service, "STOP_GRACE_S", 0.2)
    deaf = Service("deaf", ("sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"))
    service.bring_up(site, deaf)
    pid = service.running_pid(site, "deaf")
    time.sleep(0.2)
    service.stop(site, "deaf")
    # It may be there as a zombie, of which only the exit code is left.
    assert service._start_ticks(pid) is None


def test_a_service_that_ends_while_starting_names_its_log(site):
    bad = Service("bad", ("sh", "-c", "echo cannot bind; exit 3"), ready=lambda: False)
    with pytest.raises(CloudError) as caught:
        service.bring_up(site, bad)
    assert caught.value.message == "bad ended while starting."
    assert caught.value.log == site.log / "bad.log"
    assert caught.value.tail() == ["cannot bind"]


def test_a_service_that_does_not_answer_in_time_is_a_failure(site):
    mute = Service("mute", ("sleep", "60"), ready=lambda: False, timeout_s=0.2)
    try:
        with pytest.raises(CloudError, match="mute runs but does not answer"):
            service.bring_up(site, mute)
    finally:
        service.stop(site, "mute")


def test_an_answer_from_somebody_else_is_not_taken_for_the_service(site):
    shadowed = Service("shadowed", ("false",), ready=lambda: not time.sleep(0.3))
    with pytest.raises(CloudError, match="something else answers in its place"):
        service.bring_up(site, shadowed)


def test_a_missing_program_is_named(site):
    with pytest.raises(CloudError, match="/no/such/program cannot be run"):
        service.start(site, Service("missing", ("/no/such/program",)))


def test_the_previous_log_is_kept(site):
    for word in ("old", "new"):
        service.start(site, Service("talker", ("echo", word)))
        while service.running_pid(site, "talker"):
            time.sleep(0.01)
    assert (site.log / "talker.log").read_text() == "new\n"
    assert (site.log / "talker.log.1").read_text() == "old\n"


def _session(leader):
    listed = subprocess.run(
        ["ps", "-o", "pid=,stat=", "--sid", str(leader)], capture_output=True, text=True
    ).stdout
    return [line.split()[0] for line in listed.splitlines() if "Z" not in line.split()[1]]
