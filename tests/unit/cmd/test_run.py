"""hyperctl run: a pod in one command."""

from __future__ import annotations

import sys
import threading

import pytest

from nova_hyper.spec.errors import DaemonUnavailable, HypervisorFailed, PodExists
from nova_hyper.spec.nic import Nic, NicKind, Route
from tests.unit.daemon.fakes import PATIENCE_S


def test_run_detached_prints_the_id(ctl, hyperd, image):
    result = ctl("run", "-d", "web:1")
    (pod,) = hyperd.pods()
    assert (result.code, result.out) == (0, f"{pod.spec.id}\n")
    assert pod.state == "running"
    assert pod.spec.name.startswith("web-1-")
    assert pod.spec.containers[0].args is None


def test_what_nobody_would_remove_is_refused(ctl, hyperd, image):
    result = ctl("run", "-d", "--rm", "web:1")
    assert (result.code, hyperd.pods()) == (2, ())
    assert "--rm is done by hyperctl itself" in result.err


def test_run_takes_everything_to_the_pod(ctl, hyperd, image):
    options = (
        "--name w -m 64 -c 2 --root 1 -e A=1 -e B= -u 1:1 -w /srv --hostname h --entrypoint /x "
        "--bridge br-int --ovs --no-offload --address 10.0.0.5/24 --gateway 10.0.0.1 --dns 9.9.9.9"
    )
    assert ctl("run", "-d", *options.split(), "web:1", "a").code == 0
    spec = hyperd.pod("w").spec
    assert (spec.memory_mib, spec.vcpus, spec.root_gib, spec.hostname) == (64, 2, 1, "h")
    (container,) = spec.containers
    assert (container.command, container.args) == (("/x",), ("a",))
    assert (container.env, container.user, container.working_dir) == (("A=1", "B="), "1:1", "/srv")
    (nic,) = spec.nics
    assert nic == Nic(
        mac=nic.mac,
        kind=NicKind.OVS,
        bridge="br-int",
        interface_id=spec.id,
        offload=False,
        addresses=("10.0.0.5/24",),
        routes=(Route("0.0.0.0/0", "10.0.0.1"),),
    )
    assert nic.mac.startswith("52:54:00:")
    assert spec.dns.nameservers == ("9.9.9.9",)


def test_a_variable_without_a_value_is_our_own(ctl, hyperd, image, monkeypatch):
    monkeypatch.setenv("OURS", "1")
    monkeypatch.delenv("NOBODYS", raising=False)
    assert ctl("run", "-d", "--name", "w", "-e", "OURS", "-e", "NOBODYS", "web:1").code == 0
    assert hyperd.pod("w").spec.containers[0].env == ("OURS=1",)


def test_run_loads_an_archive_first(ctl, hyperd, tmp_path):
    archive = tmp_path / "web.tar"
    archive.write_bytes(b"archive")
    assert ctl("run", "-d", archive).code == 0
    assert hyperd.imports == ["web"]
    assert hyperd.pods()[0].spec.containers[0].image in hyperd.images()[0].names


def test_run_shows_the_output_and_exits_with_the_code(ctl, hyperd, image):
    def later():
        with hyperd._changed:
            hyperd._changed.wait_for(lambda: any(e.kind == "started" for e in hyperd._events), 10)
        hyperd.write("w", b"bye\n")
        hyperd.exit("w", 7)

    thread = threading.Thread(target=later)
    thread.start()
    result = ctl("run", "--name", "w", "web:1")
    thread.join(PATIENCE_S)
    assert (result.code, result.out) == (7, "hello\nbye\n")
    assert hyperd.pod("w").state == "stopped"


def test_run_rm_leaves_nothing(ctl, hyperd, image, monkeypatch):
    real = hyperd.start_pod

    def start(ref):
        real(ref)
        return hyperd.exit(ref, 0)

    monkeypatch.setattr(hyperd, "start_pod", start)
    assert ctl("run", "--rm", "web:1").code == 0
    assert hyperd.pods() == ()


def test_run_of_a_pod_that_crashes_says_so(ctl, hyperd, image, monkeypatch):
    real = hyperd.start_pod
    monkeypatch.setattr(
        hyperd,
        "start_pod",
        lambda ref: hyperd._update(hyperd.crash(real(ref).spec.id), message="the kernel panicked"),
    )
    result = ctl("run", "web:1")
    assert (result.code, result.err) == (1, "hyperctl: the kernel panicked\n")


@pytest.mark.parametrize("error", [HypervisorFailed("no"), KeyboardInterrupt()])
@pytest.mark.parametrize("call", ["create_pod", "start_pod"])
def test_run_that_fails_leaves_no_pod(ctl, hyperd, image, monkeypatch, call, error):
    real = getattr(hyperd, call)

    def fail(arg):
        real(arg)  # the daemon may have done it all the same
        raise error

    monkeypatch.setattr(hyperd, call, fail)
    result = ctl("run", "web:1")
    assert result.code == (130 if isinstance(error, KeyboardInterrupt) else 1)
    assert hyperd.pods() == ()


def test_run_tells_its_own_failure_also_when_cleaning_up_fails(ctl, hyperd, image):
    hyperd.fail_next["create_pod"] = PodExists("the name web belongs to another pod")
    hyperd.fail_next["delete_pod"] = DaemonUnavailable("gone")
    result = ctl("run", "web:1")
    assert (result.code, result.err) == (1, "hyperctl: the name web belongs to another pod\n")


def test_run_stops_the_pod_at_an_interrupt(ctl, hyperd, image, monkeypatch):
    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(hyperd, "logs", interrupted)
    result = ctl("run", "--name", "w", "web:1")
    assert result.code == 143
    assert "once more to leave it running" in result.err
    assert hyperd.pod("w").state == "stopped"


def test_run_of_an_unknown_image_makes_nothing(ctl, hyperd):
    result = ctl("run", "nginx")
    assert (result.code, result.err) == (1, "hyperctl: there is no image nginx on this host\n")
    assert hyperd.pods() == ()


def test_run_interactively_joins_the_container_before_it_starts(ctl, hyperd, image, monkeypatch):
    real = hyperd.start_pod

    def start(ref):
        assert hyperd.opened == [("container.attach", {"stdin": True})]
        real(ref)
        return hyperd.exit(ref, 4)

    monkeypatch.setattr(hyperd, "start_pod", start)
    result = ctl("run", "-i", "--name", "w", "web:1", "sh")
    assert (result.code, result.out) == (4, "hello\n")
    (container,) = hyperd.pod("w").spec.containers
    assert (container.stdin, container.tty, container.args) == (True, False, ("sh",))


def test_run_with_a_terminal_needs_one_here(ctl, hyperd, image, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdin", (tmp_path / "in").open("w+"))
    result = ctl("run", "-it", "web:1", "sh")
    assert (result.code, result.out) == (1, "")
    assert "use -i only" in result.err
    assert hyperd.pods() == ()


def test_run_detached_leaves_input_and_terminal_for_a_later_attach(ctl, hyperd, image):
    assert ctl("run", "-d", "-i", "-t", "--name", "w", "web:1").code == 0
    (container,) = hyperd.pod("w").spec.containers
    assert (container.stdin, container.tty, container.env) == (True, True, ("TERM=xterm",))
    assert hyperd.opened == []
