"""Pods of several containers, in the guest alone: what the agent does without a daemon."""

from __future__ import annotations

import base64
import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nova_hyper.daemon.guest import assets
from nova_hyper.daemon.guest.reactor import Reactor
from nova_hyper.daemon.ports import AgentError
from nova_hyper.spec.errors import GuestFailed
from tests.functional.bare_guest import ANSWER_S, Guest

UPPER = {"serial": "upper0"}
POLITE = "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done"
SMALL = {"memory_max": 16 * 1024**2}


@pytest.fixture
def pod(
    tmp_path: Path, built: assets.GuestAssets, reactor: Reactor, layers: list[Path]
) -> Iterator[Guest]:
    """Return a guest of its own, configured: pod.start takes all containers at once."""
    with Guest(tmp_path, built, reactor, layers, memory_mib=128, vcpus=2) as made:
        made.ask("pod.configure", hostname="pod", nics=[], dns={})
        yield made


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory,
    built: assets.GuestAssets,
    reactor: Reactor,
    layers: list[Path],
) -> Iterator[Guest]:
    """Return one guest for what containers see, each of which is started by itself."""
    with Guest(tmp_path_factory.mktemp("shared"), built, reactor, layers, memory_mib=128) as made:
        made.ask("pod.configure", hostname="pod", nics=[], dns={})
        yield made


def sh(script: str) -> tuple[str, str, str, str]:
    """Return the command of a shell with all of busybox's programs."""
    return ("busybox", "sh", "-c", script)


def until(pod: Guest, seen: Callable[[dict[str, dict[str, Any]]], bool]) -> dict[str, Any]:
    """Return the pod's status as soon as *seen* holds of its containers by name."""
    deadline = time.monotonic() + ANSWER_S
    while True:
        status = pod.ask("pod.status")
        if seen({c["name"]: c for c in status["containers"]}):
            return status
        assert time.monotonic() < deadline, status
        time.sleep(0.05)


def lines(pod: Guest, wanted: int) -> list[str]:
    """Return the lines of the console, once there are as many as wanted."""
    deadline = time.monotonic() + ANSWER_S
    while len(pod.console().splitlines()) < wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    return pod.console().splitlines()


def create(pod: Guest, name: str, script: str, **args: Any) -> None:
    pod.create(name, *sh(script), **({"upper": {**UPPER, "dir": name}} | args))


def fill(pod: Guest, volume: str, path: str, data: bytes, **args: Any) -> None:
    body: dict[str, Any] = {"mode": 0o644, "append": False}
    pod.ask(
        "volume.write",
        name=volume,
        path=path,
        data=base64.b64encode(data).decode(),
        **(body | args),
    )


def test_the_agent_lists_its_features(shared: Guest) -> None:
    assert {"supervise", "resources", "security", "sysctls", "volumes"} <= shared.hello.features


def test_init_containers_run_in_order_before_all_others(pod: Guest) -> None:
    create(pod, "main", "echo main; sleep 1000")
    create(pod, "first", "sleep 0.3; echo first", init=True)
    create(pod, "second", "echo second", init=True)
    create(pod, "other", "sleep 0.5; echo other; sleep 1000")
    pod.ask("pod.start")
    assert lines(pod, 4) == ["first", "second", "main", "other"]
    status = until(pod, lambda c: c["other"]["state"] == "running")
    assert not status["finished"]
    found = {c["name"]: c for c in status["containers"]}
    assert [found[n]["reason"] for n in ("first", "second")] == ["Completed", "Completed"]
    assert found["first"]["init"]
    assert found["main"]["ready"]
    pod.ask("pod.start")
    assert pod.status("main") == found["main"]


def test_an_init_container_that_fails_for_good_ends_the_pod(pod: Guest) -> None:
    create(pod, "setup", "exit 3", init=True)
    create(pod, "main", "echo never")
    pod.ask("pod.start")
    pod.event_of("pod.finished")
    status = pod.ask("pod.status")
    assert status["finished"]
    states = {c["name"]: (c["state"], c["exit_code"]) for c in status["containers"]}
    assert states == {"setup": ("exited", 3), "main": ("created", None)}


def test_a_container_is_started_again_with_its_files_as_often_as_its_policy_says(
    pod: Guest,
) -> None:
    script = "echo run >>/runs; busybox wc -l </runs; exit 1"
    restart = {"policy": "on-failure", "initial_ms": 50, "max_ms": 100, "max_retries": 4}
    create(pod, "flaky", script, restart=restart)
    create(pod, "done", "exit 0", restart=restart)
    pod.ask("pod.start")
    exits = [pod.event("container.exited", "flaky")["exit_code"] for _ in range(5)]
    assert exits == [1] * 5
    pod.event_of("pod.finished")
    found = {c["name"]: c for c in pod.ask("pod.status")["containers"]}
    assert (found["flaky"]["restarts"], found["flaky"]["state"]) == (4, "exited")
    assert found["flaky"]["reason"] == "Error"
    assert (found["done"]["restarts"], found["done"]["reason"]) == (0, "Completed")
    assert lines(pod, 5) == ["1", "2", "3", "4", "5"]


def test_a_killed_container_comes_back_while_no_daemon_is_there(pod: Guest) -> None:
    restart = {"policy": "always", "initial_ms": 100}
    script = "echo run >>/runs; echo up; [ $(busybox wc -l </runs) = 3 ] && sleep 1000; "
    create(pod, "victim", script + "busybox tail /dev/zero", restart=restart, resources=SMALL)
    pod.ask("pod.start")
    pod.channel.close()
    # QEMU writes the console, whoever is connected.
    assert lines(pod, 3) == ["up", "up", "up"]
    pod.connect(fresh=False)
    victim = pod.status("victim")
    assert (victim["state"], victim["restarts"]) == ("running", 2)
    assert (victim["oom_killed"], victim["exit_code"]) == (True, None)


def test_what_the_host_stops_is_not_started_again(pod: Guest) -> None:
    restart = {"policy": "always", "initial_ms": 60_000}
    create(pod, "steady", POLITE, restart=restart)
    create(pod, "crashing", "exit 1", restart=restart)
    pod.ask("pod.start")
    status = until(pod, lambda c: c["crashing"]["state"] == "waiting")
    crashing = next(c for c in status["containers"] if c["name"] == "crashing")
    assert crashing["reason"] == "CrashLoopBackOff"
    assert crashing["restarts"] == 1
    assert pod.ask("container.stop", name="crashing", grace_ms=0)["exit_code"] == 1
    lines(pod, 1)
    assert pod.ask("container.stop", name="steady", grace_ms=20_000)["exit_code"] == 0
    status = pod.ask("pod.status")
    assert status["finished"]
    assert {c["reason"] for c in status["containers"]} == {"Stopped"}


def test_power_off_starts_nothing_again(pod: Guest, tmp_path: Path) -> None:
    always = {"policy": "always", "initial_ms": 1}
    create(pod, "steady", "echo up; exec sleep 1000", restart=always)
    create(pod, "failing", "sleep 0.2; exit 1", restart=always)
    pod.ask("pod.start")
    assert lines(pod, 1) == ["up"]
    # The answer may be lost with QEMU.
    with contextlib.suppress(GuestFailed):
        pod.ask("power.off")
    assert pod.process.wait(timeout=ANSWER_S) == 0
    state = ["dumpe2fs", "-h", str(tmp_path / "upper.img")]
    header = subprocess.run(state, capture_output=True, check=True, text=True).stdout
    assert "needs_recovery" not in header
    assert pod.console() == "up\n"


def test_a_command_that_cannot_start_fails_the_start(pod: Guest) -> None:
    create(pod, "good", "sleep 1000")
    pod.create("bad", "/no/such", upper={**UPPER, "dir": "bad"})
    with pytest.raises(AgentError, match='"/no/such" does not exist') as caught:
        pod.ask("pod.start")
    assert caught.value.code == "exec"
    assert pod.status("good")["state"] == "running"
    assert pod.status("bad")["state"] == "created"


def test_a_command_that_cannot_start_later_is_an_exit(pod: Guest) -> None:
    create(pod, "setup", "true", init=True)
    pod.create("bad", "/noexec", upper={**UPPER, "dir": "bad"})
    pod.ask("pod.start")
    pod.event_of("pod.finished")
    bad = pod.status("bad")
    assert (bad["state"], bad["exit_code"]) == ("exited", 126)
    assert "may not be executed" in bad["message"]


def test_one_container_out_of_memory_leaves_the_other_alone(pod: Guest) -> None:
    # The greedy process is not the container's first one.
    script = "busybox tail /dev/zero & wait; sleep 1000"
    create(pod, "greedy", script, resources=SMALL)
    create(pod, "modest", "sleep 1000", resources=SMALL)
    pod.ask("pod.start")
    pod.event("container.exited", "greedy")
    greedy = pod.status("greedy")
    assert (greedy["oom_killed"], greedy["reason"]) == (True, "OOMKilled")
    assert "more memory than its limit" in greedy["message"]
    assert pod.status("modest")["state"] == "running"


def test_a_fork_bomb_is_contained(pod: Guest) -> None:
    create(pod, "bomb", "f() { f | f & }; f; sleep 1000", resources={"pids_max": 40})
    create(pod, "other", "sleep 1; ls / >/dev/null && echo alive; sleep 1000")
    pod.ask("pod.start")
    pod.event("container.output", "other")
    assert pod.status("other")["state"] == "running"
    pod.ask("container.stop", name="bomb", signal="KILL", grace_ms=0)
    assert pod.status("bomb")["state"] == "exited"


def test_a_container_that_fails_its_liveness_probe_is_started_again(pod: Guest) -> None:
    # Deaf to SIGTERM as PID 1: the grace period ends it.
    script = "echo up; touch /alive; sleep 0.5; busybox rm /alive; sleep 1000"
    alive = {"exec": {"argv": ["ls", "/alive"]}, "period_ms": 100, "failures": 2, "delay_ms": 300}
    startup = {"exec": {"argv": ["ls", "/alive"]}, "period_ms": 50, "failures": 1000}
    create(
        pod,
        "sick",
        script.replace("touch", "busybox touch"),
        grace_ms=100,
        restart={"policy": "on-failure", "initial_ms": 100},
        probes={"liveness": alive, "startup": startup},
    )
    pod.ask("pod.start")
    assert pod.event("container.exited", "sick")["signal"] == 9
    assert lines(pod, 2) == ["up", "up"]
    sick = pod.status("sick")
    assert sick["restarts"] >= 1
    assert sick["reason"] == "Unhealthy"
    assert sick["message"] == "the liveness probe failed 2 times: exit code 1"


def test_probes_say_when_a_container_is_started_ready_and_healthy(pod: Guest) -> None:
    serve = "busybox mkdir /www; sleep 1; echo hi >/www/ok; exec busybox httpd -f -p 8080 -h /www"
    http = {"http": {"port": 8080, "path": "/ok", "headers": [["X-A", "b c"]]}, "period_ms": 100}
    tcp = {"tcp": {"port": 8080}, "period_ms": 100, "failures": 1000}
    create(pod, "web", serve, probes={"startup": tcp, "readiness": http})
    missing = {"http": {"port": 8080, "path": "/no", "host": "127.0.0.1"}, "period_ms": 100}
    slow = {"exec": {"argv": ["sleep", "5"]}, "timeout_ms": 100, "period_ms": 100, "failures": 2}
    create(pod, "client", "sleep 1000", probes={"readiness": missing, "health": slow})
    pod.ask("pod.start")
    web = pod.status("web")
    assert (web["state"], web["started"], web["ready"]) == ("running", False, False)
    status = until(pod, lambda c: c["web"]["ready"] and c["client"]["health"] == "unhealthy")
    found = {c["name"]: c for c in status["containers"]}
    assert found["web"]["started"]
    assert found["web"]["health"] is None
    assert (found["client"]["state"], found["client"]["ready"]) == ("running", False)
    assert pod.event_of("pod.changed")


def test_containers_share_a_volume_each_with_its_own_files(pod: Guest) -> None:
    pod.ask("volume.create", name="data", kind="empty", medium="disk")
    pod.ask("volume.create", name="cache", kind="empty", medium="memory", size_mib=1)
    mounts = [{"volume": "data", "path": "/data"}, {"volume": "cache", "path": "/data/cache"}]
    create(pod, "writer", "echo mine >/file; echo shared >/data/x; sleep 1000", mounts=mounts)
    reader = (
        "while ! cat /data/x 2>/dev/null; do sleep 0.1; done; ls /file 2>&1; "
        "stat -c %a /data; busybox grep -c tmpfs.*1024k /proc/mounts; echo no >/data/y; sleep 1000"
    )
    readers = [{**mounts[0], "read_only": True}, mounts[1]]
    create(pod, "reader", reader, mounts=readers)
    pod.ask("pod.start")
    found = lines(pod, 5)
    assert found[:2] == ["shared", "ls: /file: No such file or directory"]
    assert found[2] == "777"
    assert found[4].endswith("/data/y: Read-only file system")


def test_containers_share_a_tmpfs_for_what_they_write(pod: Guest) -> None:
    upper = {"tmpfs_mib": 8, "tmpfs": "upper"}
    pod.ask("volume.create", name="data", kind="empty", medium="disk", upper=upper)
    mounts = [{"volume": "data", "path": "/data"}]
    fill = "busybox dd if=/dev/zero of=/file bs=1M count=6 2>/dev/null; echo filled >/data/x"
    more = "busybox dd if=/dev/zero of=/file bs=1M count=6 2>&1 | busybox grep -o 'No space.*'"
    create(pod, "one", fill, upper={**upper, "dir": "one"}, mounts=mounts)
    create(pod, "two", f"{more}; cat /data/x", upper={**upper, "dir": "two"}, mounts=mounts)
    for name in ("one", "two"):
        pod.ask("container.start", name=name)
        pod.event("container.exited", name)
    assert lines(pod, 2) == ["No space left on device", "filled"]


def test_files_of_a_volume_have_their_modes_and_owner(shared: Guest) -> None:
    shared.ask("volume.create", name="files", kind="empty", medium="memory", mode=0o755, gid=2000)
    fill(shared, "files", "secret", b"one ", mode=0o440)
    fill(shared, "files", "secret", b"two\n", mode=0o440, append=True)
    fill(shared, "files", "deep/er/key", b"key\n", mode=0o400)
    mounts = [
        {"volume": "files", "path": "/files", "read_only": True},
        {"volume": "files", "path": "/etc/one", "sub_path": "deep/er/key"},
        {"volume": "files", "path": "/made", "sub_path": "new/dir"},
    ]
    script = "cd /files; stat -c '%n %a %u %g' . secret deep/er/key; cat secret /etc/one; ls /made"
    text = shared.run("files", *sh(script), mounts=mounts)
    assert text == ". 755 0 2000\nsecret 440 0 2000\ndeep/er/key 400 0 2000\none two\nkey\n"


def test_kernel_parameters_and_further_hosts_are_set(shared: Guest) -> None:
    shared.ask(
        "pod.configure",
        hostname="pod",
        nics=[],
        dns={},
        sysctls={"net.ipv4.conf.lo.forwarding": "1", "kernel/shm_rmid_forced": "1"},
        hosts=[{"ip": "10.9.9.9", "names": ["db", "db.example.org"]}],
    )
    script = (
        "cat /proc/sys/net/ipv4/conf/lo/forwarding /proc/sys/kernel/shm_rmid_forced; "
        "busybox grep db /etc/hosts"
    )
    assert shared.run("tuned", *sh(script)) == "1\n1\n10.9.9.9\tdb\tdb.example.org\n"


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ({"sysctls": {"net/../../x": "1"}}, "not the name of a kernel parameter"),
        ({"sysctls": {"kernel.none_such": "1"}}, "has no parameter kernel.none_such"),
        ({"sysctls": {"kernel.shm_rmid_forced": "yes"}}, 'cannot be "yes"'),
        ({"sysctls": {"kernel.shm_rmid_forced": 1}}, "must be a string"),
        ({"hosts": [{"ip": "db", "names": ["x"]}]}, "no address or name"),
        ({"hosts": [{"ip": "10.0.0.1", "names": ["a\nb"]}]}, "is not one"),
    ],
)
def test_wrong_parameters_and_hosts_are_refused(
    shared: Guest, args: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(AgentError, match=sentence):
        shared.ask("pod.configure", hostname="pod", nics=[], dns={}, **args)


@pytest.mark.parametrize("path", ["../out", "/abs", "a/../../out", "link/out", "up/out", ""])
def test_nothing_is_written_outside_a_volume(shared: Guest, path: str) -> None:
    shared.ask("volume.create", name="links", kind="empty", medium="memory")
    name = f"linker{abs(hash(path))}"
    script = "busybox ln -sfn /run /links/link; busybox ln -sfn ../.. /links/up; echo made"
    shared.run(name, *sh(script), mounts=[{"volume": "links", "path": "/links"}])
    with pytest.raises(AgentError):
        fill(shared, "links", path, b"x")


def test_a_sub_path_never_leads_outside(shared: Guest) -> None:
    shared.ask("volume.create", name="trap", kind="empty", medium="memory")
    mounts = [{"volume": "trap", "path": "/trap"}]
    shared.run("trapper", *sh("busybox ln -s / /trap/root; echo set"), mounts=mounts)
    shared.create("trapped", "true", mounts=[{**mounts[0], "sub_path": "root"}])
    with pytest.raises(AgentError, match="Invalid cross-device link") as caught:
        shared.ask("container.start", name="trapped")
    assert caught.value.code == "exec"


def test_a_volume_begins_with_what_the_image_has(shared: Guest) -> None:
    shared.ask("volume.create", name="home", kind="empty", medium="memory")
    mounts = [{"volume": "home", "path": "/etc", "copy": True}]
    script = (
        "cat /etc/below; echo mine >/etc/below; busybox head -1 /etc/passwd; cat /etc/hostname"
    )
    assert shared.run("copier", *sh(script), mounts=mounts) == (
        "upper\nroot:x:0:0:root:/root:/bin/sh\npod\n"
    )
    assert shared.run("again", *sh("cat /etc/below"), mounts=mounts) == "mine\n"


def test_a_read_only_root_has_writable_places(shared: Guest) -> None:
    shared.ask("volume.create", name="place", kind="empty", medium="memory")
    script = (
        "echo x >/file; echo a >/place/a && echo b >/dev/shm/b && cat /place/a /dev/shm/b; "
        "cat /etc/hostname; busybox pwd"
    )
    text = shared.run(
        "sealed",
        *sh(script),
        mounts=[{"volume": "place", "path": "/place"}],
        security={"readonly_root": True},
        cwd="/srv/new",
    )
    assert text.splitlines()[0].endswith("/file: Read-only file system")
    assert text.splitlines()[1:] == ["a", "b", "pod", "/srv/new"]


def test_capabilities_are_those_of_the_list(shared: Guest) -> None:
    security = {"capabilities": ["CAP_CHOWN", "CAP_NET_BIND_SERVICE"], "no_new_privs": True}
    shown = "Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs"
    script = f"busybox grep -E '{shown}' /proc/self/status; mount -t tmpfs x /tmp"
    text = shared.run("dropped", *sh(script), security=security)
    values = [line.split()[-1].lstrip("0") for line in text.splitlines()[:6]]
    assert values == ["401", "401", "401", "401", "", "1"]
    assert "permission denied" in text.lower()


def test_root_without_capabilities_cannot_change_the_kernel(shared: Guest) -> None:
    script = (
        "echo 1 >/proc/sys/kernel/shm_rmid_forced; echo 1 >/sys/fs/cgroup/cgroup.freeze; "
        "cat /proc/sys/kernel/ostype"
    )
    text = shared.run("weak", *sh(script), security={"capabilities": []})
    assert [line.split(": ")[-1] for line in text.splitlines()] == [
        *(["Read-only file system"] * 2),
        "Linux",
    ]


def test_a_container_cannot_raise_its_own_limits_but_divide_them(shared: Guest) -> None:
    script = (
        "cd /sys/fs/cgroup; echo max >memory.max; echo max >pids.max; cat memory.max pids.max; "
        "busybox mkdir part && echo 5 >part/cgroup.max.depth && cat part/cgroup.max.depth"
    )
    text = shared.run("rich", *sh(script), resources={**SMALL, "pids_max": 9})
    assert text.count("Operation not permitted") == 2
    assert text.endswith(f"{SMALL['memory_max']}\n9\n5\n")


def test_another_user_has_no_capabilities_but_the_given_groups(shared: Guest) -> None:
    security = {"capabilities": ["CAP_CHOWN"], "groups": [4000, 4001]}
    script = "busybox grep -E 'Cap(Inh|Prm|Eff|Bnd)' /proc/self/status; id -G"
    text = shared.run("plain", *sh(script), security=security, user="web")
    assert [line.split()[-1].lstrip("0") for line in text.splitlines()[:4]] == ["", "", "", "1"]
    assert {"4000", "4001"} <= set(text.splitlines()[4].split())


# Of Linux on x86-64: load the number of the system call; mkdir (83) gives EPERM, others go on.
NO_MKDIR = (
    (0x20, 0, 0, 0),
    (0x15, 0, 1, 83),
    (0x06, 0, 0, 0x00050001),
    (0x06, 0, 0, 0x7FFF0000),
)


@pytest.mark.parametrize("user", ["", "web"])
def test_a_filter_refuses_a_system_call(shared: Guest, user: str) -> None:
    program = b"".join(
        code.to_bytes(2, "little") + bytes([yes, no]) + value.to_bytes(4, "little")
        for code, yes, no, value in NO_MKDIR
    )
    security = {"capabilities": [], "seccomp": base64.b64encode(program).decode()}
    script = "busybox mkdir /dev/shm/dir; ls -d /dev/shm"
    text = shared.run(f"filtered{user}", *sh(script), security=security, user=user)
    assert "Operation not permitted" in text
    assert text.endswith("/dev/shm\n")


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ({"restart": {"policy": "perhaps"}}, '"perhaps" is not a restart policy'),
        ({"restart": {"policy": "always", "max_ms": -1}}, '"max_ms" must be an integer'),
        ({"resources": {"memory_max": 1}}, '"memory_max" must be an integer'),
        ({"security": {"capabilities": ["CAP_FLY"]}}, '"CAP_FLY"'),
        ({"security": {"seccomp": "AAAA"}}, "not the base64"),
        ({"security": {"groups": [-1]}}, "not a group's number"),
        ({"mounts": [{"volume": "none", "path": "/x"}]}, 'no volume "none"'),
        ({"mounts": [{"volume": "v", "path": "/"}]}, "cannot be mounted"),
        ({"mounts": [{"volume": "v", "path": "/a/../b"}]}, "cannot be mounted"),
        ({"mounts": [{"volume": "v", "path": "/x", "sub_path": "../y"}]}, "not a path inside"),
        ({"upper": {"serial": "upper0", "dir": "../x"}}, "not a name"),
        ({"upper": {"tmpfs_mib": 4, "dir": "x"}}, "must have a name"),
        ({"probes": {"liveness": {}}}, "must be one of"),
        ({"probes": {"liveness": {"tcp": {"port": 0}}}}, '"port" must be an integer'),
        ({"probes": {"startup": {"tcp": {"port": 1, "host": "db"}}}}, "must be an address"),
        ({"probes": {"health": {"exec": {"argv": []}}}}, "has no command"),
        (
            {"probes": {"readiness": {"http": {"port": 1, "path": "/a\r\nb"}}}},
            "cannot get the path",
        ),
    ],
)
def test_what_does_not_make_sense_is_refused(
    shared: Guest, args: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(AgentError) as caught:
        shared.create("unmade", "true", **args)
    assert caught.value.code == "invalid"
    assert sentence in caught.value.message
    assert all(c["name"] != "unmade" for c in shared.ask("pod.status")["containers"])
