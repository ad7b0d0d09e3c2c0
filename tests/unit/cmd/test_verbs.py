"""hyperctl's verbs for pods: exec, attach, logs, stats, top, kill, wait, prune, events."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import threading
import time
from unittest import mock

import pytest
import yaml

from nova_hyper.cmd.ctl import terminal
from nova_hyper.cmd.ctl.logs import moment
from nova_hyper.cmd.ctl.usage import cpu_percent
from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import DaemonUnavailable, GuestFailed
from nova_hyper.spec.nic import Nic, NicKind
from nova_hyper.spec.pod import PodSpec
from tests.unit.daemon.fakes import OTHER_ID, POD_ID


@pytest.fixture
def pod(hyperd, image):
    nic = Nic("52:54:00:00:00:01", NicKind.BRIDGE, "br0")
    hyperd.create_pod(PodSpec(POD_ID, "web", (Container("main", "web:1"),), nics=(nic,)))
    return hyperd.start_pod("web")


@pytest.fixture
def pair(hyperd, image):
    """A pod of two containers."""
    containers = (Container("web", "web:1", stdin=True), Container("db", "web:1"))
    hyperd.create_pod(PodSpec(OTHER_ID, "pair", containers))
    return hyperd.start_pod("pair")


@pytest.fixture
def typed(tmp_path):
    """Have standard input, the descriptor itself, hold some bytes."""
    saved = os.dup(0)

    def provide(data):
        (tmp_path / "in").write_bytes(data)
        fd = os.open(tmp_path / "in", os.O_RDONLY)
        os.dup2(fd, 0)
        os.close(fd)

    provide(b"")
    yield provide
    os.dup2(saved, 0)
    os.close(saved)


# exec and attach


def test_exec_gives_output_error_and_exit_code(ctl, hyperd, pod):
    result = ctl("exec", "web", "echo", "a", "b")
    assert (result.code, result.out, result.err) == (0, "a b\n", "")
    result = ctl("exec", "web", "complain")
    assert (result.code, result.out, result.err) == (3, "", "no\n")


def test_exec_asks_for_what_its_options_say(ctl, hyperd, pod):
    ctl("exec", "-e", "A=b", "-u", "app", "-w", "/srv", "-c", "main", "web", "--", "echo", "-e")
    assert hyperd.opened[-1] == (
        "exec.start",
        {
            "argv": ["echo", "-e"],
            "env": ["A=b"],
            "user": "app",
            "cwd": "/srv",
            "tty": None,
            "stdin": False,
        },
    )


def test_exec_sends_standard_input(ctl, hyperd, pod, typed):
    typed(b"x" * 100_000)
    assert ctl("exec", "-i", "web", "cat").out == "x" * 100_000


def test_exec_tells_the_terminals_size_and_its_changes(ctl, hyperd, pod, monkeypatch):
    sizes = iter([terminal.Terminal(24, 80), terminal.Terminal(50, 132)])
    monkeypatch.setattr(terminal, "size", lambda: next(sizes))
    timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), 28))
    timer.start()
    assert ctl("exec", "-t", "web", "size").out == "24 80\n50 132\n"
    assert hyperd.opened[-1][1]["env"] == ["TERM=xterm"]
    timer.join()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["web", "nothing"], "container main: nothing: no such file"),
        (["none", "echo"], "there is no pod none"),
        (["-c", "db", "web", "echo"], "pod web has no container db; it has main"),
        (["web", "die"], "the guest ended, or closed its connection"),
    ],
)
def test_exec_of_what_cannot_run_is_exit_125(ctl, pod, arguments, message):
    result = ctl("exec", *arguments)
    assert (result.code, result.out) == (125, "")
    assert result.err == f"hyperctl: {message}\n"


def test_exec_without_a_command_is_misuse(ctl, pod):
    assert ctl("exec", "web").code == 2
    assert ctl("exec", "web", "--").code == 2


def test_a_terminal_needs_one_here(ctl, pod, typed, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdin", (tmp_path / "in").open())
    result = ctl("exec", "-it", "web", "sh")
    assert result.code == 125
    assert "use -i only" in result.err


def test_attach_ends_with_the_container(ctl, hyperd, pod, pair, typed):
    result = ctl("attach", "web")
    assert (result.code, result.out) == (4, "hello\n")
    assert hyperd.opened[-1] == ("container.attach", {"stdin": False})
    ctl("attach", "pair")
    assert hyperd.opened[-1] == ("container.attach", {"stdin": True})
    ctl("attach", "--no-stdin", "pair")
    assert hyperd.opened[-1] == ("container.attach", {"stdin": False})


# logs


def test_logs_of_several_containers_begin_with_their_names(ctl, hyperd, pair):
    hyperd.log("pair", "db", b"ready")
    hyperd.log("pair", "web", b"oops", stream="stderr")
    result = ctl("logs", "pair")
    assert (result.out, result.err) == ("web: hello\ndb: ready\n", "web: oops\n")
    assert ctl("logs", "-c", "db", "pair").out == "ready\n"
    timed = ctl("logs", "-t", "-c", "db", "pair").out
    assert timed == "2026-01-01T00:00:01.000000000Z ready\n"
    assert ctl("logs", "--tail", "1", "pair").out == ""
    result = ctl("logs", "-c", "cache", "pair")
    assert result.err == "hyperctl: pod pair has no container cache; it has web, db\n"


def test_parts_of_lines_are_put_together_whatever_comes_between(ctl, hyperd, pair):
    hyperd.log("pair", "web", b"one ", whole=False)
    hyperd.log("pair", "web", b"two", whole=True)
    hyperd.log("pair", "web", b"three ", whole=False)
    hyperd.log("pair", "db", b"between")
    hyperd.log("pair", "web", b"four")
    shown = ctl("logs", "--tail", "5", "pair").out
    assert shown == "web: one two\nweb: three \ndb: between\nweb: four\n"


def test_logs_for_programs(ctl, hyperd, pod):
    hyperd.log("web", "main", b"\xff", stream="stderr", whole=False)
    first, second = map(json.loads, ctl("logs", "-o", "json", "web").out.splitlines())
    assert first == {
        "time": "2026-01-01T00:00:00.000000000Z",
        "container": "main",
        "stream": "stdout",
        "whole": True,
        "text": "hello",
    }
    assert (second["stream"], second["whole"], second["text"]) == ("stderr", False, "\ufffd")
    assert yaml.safe_load(ctl("logs", "-o", "yaml", "web").out) == [first, second]


def test_following_ends_with_the_pod_and_goes_on_after_a_break(ctl, hyperd, pod, monkeypatch):
    monkeypatch.setattr("nova_hyper.client.logs._PAUSE_SECONDS", 0)
    hyperd.fail_next["lines"] = DaemonUnavailable("gone")
    timer = threading.Timer(0.2, lambda: (hyperd.write("web", b"late\n"), hyperd.exit("web", 0)))
    timer.start()
    result = ctl("logs", "-f", "web")
    timer.join()
    assert (result.code, result.out) == (0, "hello\nlate\n")
    assert result.err == "hyperctl: hyperd is away; going on when it is back\n"


@pytest.mark.parametrize(
    ("text", "seconds_ago"), [("90s", 90), ("10m", 600), ("2h30m", 9000), ("1d", 86400)]
)
def test_a_duration_is_before_now(text, seconds_ago):
    assert moment(text) == pytest.approx(time.time() - seconds_ago, abs=5)


def test_times_are_of_rfc_3339_or_seconds():
    assert moment("2026-01-01T00:00:00Z") == 1767225600
    assert moment("2026-01-01T01:00:00.5+01:00") == 1767225600.5
    assert moment("1767225600.25") == 1767225600.25


@pytest.mark.parametrize("value", ["soon", "", "10", "5x", "-1m", "9" * 400 + "d"])
@pytest.mark.parametrize("verb", ["logs", "events"])
def test_what_is_no_time_is_misuse(ctl, pod, verb, value):
    expected = 0 if value == "10" else 2
    arguments = ["--no-follow"] if verb == "events" else []
    assert ctl(verb, *arguments, f"--since={value}", "web").code == expected


# stats and top


def test_stats_are_rates_of_two_samples(ctl, hyperd, pod, monkeypatch):
    monkeypatch.setattr("nova_hyper.cmd.ctl.usage._FIRST_S", 0)
    header, row = ctl("stats", "--no-stream").out.splitlines()
    assert header.split()[0] == "POD"
    assert " ".join(row.split()) == (
        "web main 25.0 1.0 MiB / 32.0 MiB 3.1 2.0 KiB / 10 B 0 B / 0 B 2"
    )
    (value,) = json.loads(ctl("stats", "--no-stream", "-o", "json", "web").out)
    assert value["cpu_percent"] == {"main": 25.0}
    assert value["containers"][0]["pids"] == 2


def test_stats_go_on_until_an_interrupt(ctl, hyperd, pod, monkeypatch):
    real, calls = hyperd.stats, []

    def stats(ref):
        calls.append(ref)
        if len(calls) == 3:
            raise DaemonUnavailable("away")
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(ref)

    monkeypatch.setattr(hyperd, "stats", stats)
    result = ctl("stats", "--interval", "0", "-o", "json")
    assert result.code == 130
    assert len(result.out.splitlines()) == 2


def test_stats_of_a_pod_that_does_not_run_is_its_reason(ctl, hyperd, pod):
    assert ctl("stats", "--no-stream", "none").err == "hyperctl: there is no pod none\n"
    hyperd.fail_next["stats"] = GuestFailed("the agent did not answer")
    assert ctl("stats", "--no-stream", "web").err == "hyperctl: the agent did not answer\n"


def test_a_container_that_was_restarted_has_used_no_time():
    assert cpu_percent(5, 10, 100) == 0
    assert cpu_percent(10, 5, 0) == 0
    assert cpu_percent(60, 10, 100) == 50


def test_top_lists_processes(ctl, pod):
    header, row = ctl("top", "web").out.splitlines()
    assert header.split() == ["PID", "PPID", "USER", "RSS", "CPU", "TIME", "STATE", "COMMAND"]
    assert row.split(maxsplit=7) == [
        "1",
        "0",
        "root",
        "2.0",
        "MiB",
        "1:01.50",
        "S",
        "/bin/sh -c web",
    ]
    assert json.loads(ctl("top", "-o", "json", "web").out)["container"] == "main"


# The life of pods


def test_kill_sends_a_signal(ctl, hyperd, pod, pair):
    assert ctl("kill", "web").out == "web\n"
    assert ctl("kill", "-s", "hup", "-c", "db", "pair").code == 0
    assert hyperd.signals == [("web", None, "SIGKILL"), ("pair", "db", "HUP")]


def test_errors_are_told_for_each_and_the_others_done(ctl, hyperd, pod, pair):
    result = ctl("stop", "web", "none", "pair")
    assert (result.code, result.out) == (1, "web\npair\n")
    assert result.err == "hyperctl: there is no pod none\n"
    result = ctl("start", "-o", "json", "web", "none")
    assert (result.code, json.loads(result.out)) == (1, ["web"])
    hyperd.fail_next["stop_pod"] = GuestFailed("the agent did not answer")
    assert ctl("stop", "web").err == "hyperctl: pod web: the agent did not answer\n"


@pytest.mark.parametrize(
    ("options", "grace"), [((), 901), (("-t", "5"), 5), (("-f",), None), (("-f", "-t", "5"), 5)]
)
@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_a_stop_is_waited_for_as_long_as_the_pod_gives(ctl, hyperd, pod, verb, options, grace):
    spec = dataclasses.replace(pod.spec, termination_grace_s=900.5)
    hyperd._pods[pod.spec.id] = dataclasses.replace(pod, spec=spec)
    with mock.patch.object(hyperd, "stop_pod", wraps=hyperd.stop_pod) as stop:
        assert ctl(verb, *options, "web").code == 0
    stop.assert_called_once_with("web", grace, "-f" in options)


def test_all_are_stopped_restarted_and_removed(ctl, hyperd, pod, pair):
    assert ctl("stop", "-a").out == "web\npair\n"
    assert ctl("restart", "-a").out == ""
    assert ctl("restart", "web").out == "web\n"
    assert hyperd.pod("web").state == "running"
    assert ctl("rm", "-a").out == "pair\n"
    assert ctl("rm", "-af").out == "web\n"
    assert ctl("rm", "-a", "web").code == 2


def test_prune_removes_what_does_not_run_when_told_to(
    ctl, hyperd, pod, pair, monkeypatch, tmp_path
):
    hyperd.exit("web", 0)
    (tmp_path / "in").write_text("n\n")
    monkeypatch.setattr(sys, "stdin", (tmp_path / "in").open())
    assert "use prune -f" in ctl("prune").err
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert ctl("prune", "-f").out == "web\n"
    assert [p.spec.name for p in hyperd.pods()] == ["pair"]
    assert ctl("prune", "-f").out == ""


def test_wait_prints_exit_codes_when_pods_end(ctl, hyperd, pod, pair):
    hyperd.exit("pair", 7)
    timer = threading.Timer(0.2, lambda: hyperd.exit("web", 3))
    timer.start()
    assert ctl("wait", "pair", "web").out == "7\n3\n"
    timer.join()
    assert json.loads(ctl("wait", "-o", "json", "web").out) == {"web": 3}
    hyperd.start_pod("web")
    hyperd.crash("web")
    assert ctl("wait", "web").out == "1\n"


def test_wait_for_a_pod_that_is_removed_is_an_error(ctl, hyperd, pod):
    timer = threading.Timer(0.2, lambda: hyperd.delete_pod("web"))
    timer.start()
    assert ctl("wait", "web").code == 1
    timer.join()


# events and completion


def test_events_are_chosen_by_pod_kind_and_time(ctl, hyperd, pod, pair):
    hyperd.exit("web", 3)

    def seen(*arguments):
        lines = ctl("events", "--no-follow", *arguments).out.splitlines()
        return [(line.split()[2], line.split()[4]) for line in lines]

    assert seen("web") == [("created", "web"), ("started", "web"), ("exited", "web")]
    assert seen(POD_ID[:-5], "--kind", "exited", "--kind", "created") == [
        *[("created", "web"), ("created", "pair")],
        ("exited", "web"),
    ]
    assert seen("--since", "1h", "pair") == [("created", "pair"), ("started", "pair")]
    assert seen("--since", str(time.time() + 5)) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_of_that_shell(ctl, shell):
    result = ctl("completion", shell)
    assert result.code == 0
    assert "hyperctl" in result.out


def test_every_verb_has_examples(ctl):
    listed = ctl("--help").out
    for verb in ("exec", "attach", "logs", "cp", "stats", "top", "kill", "wait", "events"):
        assert f"    {verb} " in listed
        assert f"hyperctl {verb} " in ctl(verb, "--help").out.partition("examples:")[2]
