"""Streams into a bare guest: commands, terminals, attaching, trees of files; logs and usage."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nova_hyper.daemon.guest import assets
from nova_hyper.daemon.guest.reactor import Reactor
from nova_hyper.daemon.guest.stream import AgentStream
from nova_hyper.daemon.ports import AgentError
from nova_hyper.spec.errors import GuestFailed
from tests.functional.bare_guest import MAC, Guest
from tests.functional.daemon import wait_for

LONG_S = 60.0
MIB = 1024 * 1024
LOOP = "while :; do sleep 1000; done"


@pytest.fixture(scope="module")
def boot(
    tmp_path_factory: pytest.TempPathFactory,
    built: assets.GuestAssets,
    reactor: Reactor,
    layers: list[Path],
) -> Callable[..., Guest]:
    def make(directory: Path | None = None, **options: Any) -> Guest:
        place = directory or tmp_path_factory.mktemp("pod")
        return Guest(place, built, reactor, layers, memory_mib=192, **options)

    return make


@pytest.fixture(scope="module")
def pod(boot: Callable[..., Guest]) -> Iterator[Guest]:
    """Return a guest with the container ``main``, which runs and does nothing."""
    with boot() as made:
        made.create("main", "sh", "-c", LOOP, upper={"serial": "upper0"})
        made.ask("container.start", name="main")
        yield made


def execute(
    pod: Guest, *argv: str, name: str = "main", stdin: bool = False, **args: Any
) -> AgentStream:
    return pod.channel.open_stream(
        "exec.start", LONG_S, name=name, argv=list(argv), stdin=stdin, **args
    )


def rest(stream: AgentStream) -> tuple[bytes, bytes]:
    """Return what comes on stdout and stderr until the end."""
    parts: dict[int, list[bytes]] = {0: [], 1: []}
    while (found := stream.read(LONG_S)) is not None:
        parts[found[0]].append(found[1])
    return b"".join(parts[0]), b"".join(parts[1])


def until(stream: AgentStream, text: bytes) -> bytes:
    """Return what comes until *text* has."""
    got = b""
    while text not in got:
        found = stream.read(LONG_S)
        assert found is not None, f"the stream ended after {got!r}"
        got += found[1]
    return got


def shell(pod: Guest, script: str, **args: Any) -> str:
    """Return the output of a script that must succeed."""
    stream = execute(pod, "sh", "-c", script, **args)
    out, err = rest(stream)
    assert stream.exit_code == 0, err
    return out.decode()


def archive(stream: AgentStream) -> tarfile.TarFile:
    data, _ = rest(stream)
    assert stream.error is None
    return tarfile.open(fileobj=io.BytesIO(data))


def test_the_agent_says_what_it_can(pod: Guest) -> None:
    assert {"archive", "log", "stats", "streams"} <= pod.hello.features


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137)])
def test_a_command_ends_with_its_exit_code(pod: Guest, script: str, code: int) -> None:
    stream = execute(pod, "sh", "-c", script)
    rest(stream)
    assert (stream.exit_code, stream.error) == (code, None)


def test_a_command_is_in_the_container_with_user_environment_and_directory(pod: Guest) -> None:
    script = "id -un; pwd; echo $A; echo out; echo err >&2; busybox ps | busybox head -2"
    stream = execute(pod, "sh", "-c", script, user="web", cwd="/tmp", env=["A=b"])
    out, err = rest(stream)
    lines = out.decode().splitlines()
    assert lines[:4] == ["web", "/tmp", "b", "out"]
    assert lines[5].split()[:2] == ["1", "root"]  # of the container's own process namespace
    assert err == b"err\n"


def test_what_cannot_be_executed_is_refused_with_a_sentence(pod: Guest) -> None:
    with pytest.raises(AgentError, match="no/such") as caught:
        execute(pod, "/no/such")
    assert caught.value.code == "exec"
    with pytest.raises(AgentError, match="is not in the image's /etc/passwd"):
        execute(pod, "id", user="ghost")


def test_nothing_is_executed_in_a_container_that_does_not_run(pod: Guest) -> None:
    pod.create("idle", "sh")
    with pytest.raises(AgentError, match='"idle" does not run') as caught:
        execute(pod, "id", name="idle")
    assert caught.value.code == "state"


def test_a_terminal_has_a_size_that_can_be_changed(pod: Guest) -> None:
    stream = execute(pod, "sh", stdin=True, tty={"rows": 20, "cols": 70})
    stream.write(b"busybox stty size; busybox tty\n", LONG_S)
    assert b"/dev/pts/" in until(stream, b"20 70\r\n/dev/pts/")
    stream.resize(50, 132)
    pod.ask("pod.status")  # served in order
    stream.write(b"busybox stty size\n", LONG_S)
    until(stream, b"50 132\r\n")
    stream.write(b"exit\n", LONG_S)
    rest(stream)
    assert stream.exit_code == 0


def test_fifty_megabytes_pass_both_ways_while_requests_are_answered(pod: Guest) -> None:
    data = os.urandom(MIB) * 50
    stream = execute(pod, "cat", stdin=True)
    digest = hashlib.sha256()

    def read() -> None:
        while (found := stream.read(LONG_S)) is not None:
            digest.update(found[1])

    def write() -> None:
        stream.write(data, LONG_S)
        stream.end_input()

    threads = [threading.Thread(target=read), threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    answered = 0
    while threads[1].is_alive():
        pod.ask("pod.status")
        answered += 1
    for thread in threads:
        thread.join(LONG_S)
    assert digest.digest() == hashlib.sha256(data).digest()
    assert answered > 10


def test_twenty_commands_run_at_once(pod: Guest) -> None:
    streams = [execute(pod, "sh", "-c", f"read x; echo $x {i}", stdin=True) for i in range(20)]
    for stream in reversed(streams):
        stream.write(b"go\n", LONG_S)
    assert [rest(s)[0] for s in streams] == [b"go %d\n" % i for i in range(20)]


def test_a_slow_reader_holds_up_nobody(pod: Guest) -> None:
    slow = execute(pod, "sh", "-c", "busybox yes")
    until(slow, b"y")
    assert shell(pod, "echo quick") == "quick\n"
    other = execute(pod, "sh", "-c", f"busybox head -c {4 * MIB} /dev/zero")
    assert len(rest(other)[0]) == 4 * MIB
    slow.close()
    wait_for(lambda: "yes" not in shell(pod, "busybox ps"), LONG_S, "an end of what was closed")


def test_what_a_command_leaves_in_the_background_does_not_hold_its_stream(pod: Guest) -> None:
    stream = execute(pod, "sh", "-c", "sleep 500 & echo $!")
    out, _ = rest(stream)
    shell(pod, f"kill {out.decode()}")


def test_more_streams_than_there_may_be_are_refused(pod: Guest) -> None:
    streams = [execute(pod, "cat", stdin=True) for _ in range(32)]
    with pytest.raises(AgentError, match="32 sessions"):
        execute(pod, "cat", stdin=True)
    for stream in streams:
        stream.end_input()
        rest(stream)
    assert shell(pod, "echo again") == "again\n"


def test_attaching_to_a_terminal_and_leaving_it(pod: Guest) -> None:
    script = "while read x; do echo got $x; done; exit 4"
    pod.create("tty", "sh", "-c", script, stdin=True, tty=True)
    first = pod.channel.open_stream("container.attach", LONG_S, name="tty", stdin=True)
    assert first.answer == {"tty": True}
    pod.ask("container.start", name="tty")
    first.write(b"one\n", LONG_S)
    until(first, b"got one\r\n")
    first.close()
    second = pod.channel.open_stream("container.attach", LONG_S, name="tty", stdin=True)
    second.write(b"two\n\x04", LONG_S)
    assert b"got two\r\n" in rest(second)[0]
    assert second.exit_code == 4
    assert pod.status("tty")["exit_code"] == 4


def test_the_end_of_input_reaches_a_container_without_terminal(pod: Guest) -> None:
    pod.create("pipe", "sh", "-c", "cat; echo end >&2", stdin=True)
    stream = pod.channel.open_stream("container.attach", LONG_S, name="pipe", stdin=True)
    stream.write(b"before the start", LONG_S)
    stream.end_input()
    pod.ask("container.start", name="pipe")
    assert rest(stream) == (b"before the start", b"end\n")


def test_an_attached_reader_that_stops_does_not_stop_the_container(pod: Guest) -> None:
    pod.create("chatty", "sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); done")
    stream = pod.channel.open_stream("container.attach", LONG_S, name="chatty", stdin=False)
    pod.ask("container.start", name="chatty")
    until(stream, b"10\n")

    def last() -> int:
        return int([r for r in pod.log() if r[1] == "chatty"][-1][4])

    seen = last()
    wait_for(lambda: last() > seen + 20_000, LONG_S, "more output than fits in all buffers")
    assert b"bytes of output are missing here" in until(stream, b"missing here")
    pod.ask("container.stop", name="chatty", grace_ms=0)
    rest(stream)
    assert stream.exit_code == 137


def test_a_tree_comes_out_as_it_went_in(pod: Guest) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:

        def add(name: str, data: bytes = b"", **fields: Any) -> None:
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(data), 0o640, 1_000_000_000
            for field, value in fields.items():
                setattr(member, field, value)
            tar.addfile(member, io.BytesIO(data))

        xattr = {"SCHILY.xattr.user.key": "value", "mtime": "1000000000.25"}
        add("tree", type=tarfile.DIRTYPE, mode=0o2750, uid=5, gid=3_000_000)
        add("tree/file", b"x" * 100_000, uid=70_000, gid=6, pax_headers=xattr)
        add("tree/again", type=tarfile.LNKTYPE, linkname="tree/file")
        add("tree/link", type=tarfile.SYMTYPE, linkname="/else/" + "where" * 30)
        add("tree/pipe", type=tarfile.FIFOTYPE)
        add("tree/device", type=tarfile.CHRTYPE, devmajor=1, devminor=3)
        add("tree/" + "long" * 60, b"1")
        add("tree/a b\nü\udcff", b"2", mode=0o4755)
    stream = pod.channel.open_stream("archive.put", LONG_S, name="main", path="/tmp")
    stream.write(made.getvalue(), LONG_S)
    stream.end_input()
    rest(stream)
    assert stream.error is None
    stream = pod.channel.open_stream("archive.get", LONG_S, name="main", path="/tmp/tree")
    assert (stream.answer["name"], stream.answer["mode"]) == ("tree", 0o42750)
    tar = archive(stream)
    members = {m.name: m for m in tar}
    assert set(members) == {"tree"} | {f"tree/{n}" for n in ("file", "again", "link", "pipe")} | {
        "tree/device",
        "tree/" + "long" * 60,
        "tree/a b\nü\udcff",
    }
    assert (members["tree"].uid, members["tree"].gid) == (5, 3_000_000)
    names = {members["tree/file"].type, members["tree/again"].type}
    assert names == {tarfile.REGTYPE, tarfile.LNKTYPE}
    file = next(members[n] for n in ("tree/file", "tree/again") if members[n].isreg())
    assert (file.uid, file.size, file.mtime) == (70_000, 100_000, 1_000_000_000.25)
    assert file.pax_headers["SCHILY.xattr.user.key"] == "value"
    assert members["tree/link"].linkname == "/else/" + "where" * 30
    assert members["tree/pipe"].isfifo()
    assert (members["tree/device"].devmajor, members["tree/device"].devminor) == (1, 3)
    assert members["tree/a b\nü\udcff"].mode == 0o4755


@pytest.mark.parametrize("name", ["../outside", "a/../../outside"])
def test_an_archive_stays_below_its_directory(pod: Guest, name: str) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    stream = pod.channel.open_stream("archive.put", LONG_S, name="main", path="/tmp")
    stream.write(made.getvalue(), LONG_S)
    stream.end_input()
    rest(stream)
    assert stream.error is not None
    assert "outside of the archive" in stream.error


def test_a_path_that_is_not_there_is_refused(pod: Guest) -> None:
    with pytest.raises(AgentError, match='"/no/such" in container "main": No such file'):
        pod.channel.open_stream("archive.get", LONG_S, name="main", path="/no/such")


def test_a_container_that_has_written_nothing_has_an_empty_layer(pod: Guest) -> None:
    pod.create("still", "sh", "-c", LOOP)
    pod.ask("container.start", name="still")
    stream = pod.channel.open_stream("upper.export", LONG_S, name="still", freeze=True)
    assert archive(stream).getnames() == []


def test_what_a_container_has_written_comes_out_as_a_layer(pod: Guest) -> None:
    pod.create("writer", "sh", "-c", LOOP)
    pod.ask("container.start", name="writer")
    script = (
        "echo new >/etc/new; busybox rm /etc/below; busybox rm -r /home; busybox mkdir /home; "
        "echo x >/home/x; busybox ln /home/x /home/y; busybox mkfifo /home/p"
    )
    shell(pod, script, name="writer")
    stream = pod.channel.open_stream("upper.export", LONG_S, name="writer", freeze=False)
    members = {m.name: m for m in archive(stream)}
    assert set(members) == {
        *("etc", "etc/new", "etc/.wh.below"),
        *("home", "home/.wh..wh..opq", "home/x", "home/y", "home/p"),
    }
    assert {members["home/x"].type, members["home/y"].type} == {tarfile.REGTYPE, tarfile.LNKTYPE}
    assert not any(k.startswith("SCHILY") for m in members.values() for k in m.pax_headers)


def test_a_container_stands_still_while_it_is_exported_however_that_ends(pod: Guest) -> None:
    pod.create("clock", "sh", "-c", "i=0; while :; do echo $i >/tmp/i; i=$((i+1)); done")
    pod.ask("container.start", name="clock")
    shell(pod, f"busybox head -c {MIB} /dev/zero >/tmp/large", name="clock")

    def cpu() -> int:
        containers = pod.ask("pod.stats")["containers"]
        return next(int(c["cpu_ns"]) for c in containers if c["name"] == "clock")

    stream = pod.channel.open_stream("upper.export", LONG_S, name="clock", freeze=True)
    stream.read(LONG_S)
    frozen = cpu()
    shell(pod, "busybox sleep 0.3")
    assert cpu() == frozen
    stream.close()
    wait_for(lambda: cpu() > frozen, LONG_S, "a container that runs again")
    pod.ask("container.stop", name="clock", grace_ms=0)


def test_statistics_grow_with_what_is_used(pod: Guest) -> None:
    def of_main() -> dict[str, Any]:
        return next(c for c in pod.ask("pod.stats")["containers"] if c["name"] == "main")

    def processes() -> list[dict[str, Any]]:
        return list(pod.ask("container.top", name="main")["processes"])

    pod_before = pod.ask("pod.stats")
    before = of_main()
    stream = execute(
        pod,
        "sh",
        "-c",
        f"busybox head -c {8 * MIB} /dev/zero >/data; busybox sync; cat",
        stdin=True,
    )
    wait_for(
        lambda: of_main()["write_bytes"] >= before["write_bytes"] + 8 * MIB, LONG_S, "disk writes"
    )
    during = of_main()
    assert during["cpu_ns"] > before["cpu_ns"]
    assert during["pids"] > before["pids"]
    assert during["memory_peak"] >= 8 * MIB
    wait_for(
        lambda: any(p["command"] == "cat" for p in processes()),
        LONG_S,
        "the last command of a shell",
    )
    top = processes()
    first = next(p for p in top if p["pid"] == 1)
    assert first["command"].startswith("sh -c while")
    assert (first["ppid"], first["user"]) == (0, "root")
    assert first["rss_kib"] > 100
    stream.end_input()
    rest(stream)
    pod_after = pod.ask("pod.stats")
    assert pod_after["nics"][0]["mac"] == MAC
    assert pod_after["cpu_ns"] > pod_before["cpu_ns"] > 0


def test_lines_are_logged_with_time_container_and_stream(pod: Guest) -> None:
    for name in ("log-a", "log-b"):
        pod.create(name, "sh", "-c", f"echo {name}; echo to stderr >&2; printf 'no end'")
        pod.ask("container.start", name=name)
    for name in ("log-a", "log-b"):
        pod.event("container.exited", name)
        records = [r for r in pod.log() if r[1] == name]
        assert sorted(r[2:] for r in records) == [
            ["stderr", "F", "to stderr"],
            ["stdout", "F", name],
            ["stdout", "F", "no end"],
        ]
        for record in records:
            assert len(record[0]) == len("2026-01-01T00:00:00.000000000Z")


def test_a_line_that_is_too_long_is_logged_in_parts(pod: Guest) -> None:
    pod.run("wide", "sh", "-c", "busybox head -c 20000 /dev/zero | busybox tr '\\0' x; echo")
    parts = [(r[3], len(r[4])) for r in pod.log() if r[1] == "wide"]
    assert parts == [("P", 8192), ("P", 8192), ("F", 20_000 - 2 * 8192)]


def test_a_guest_without_the_log_port_runs_as_before(boot: Callable[..., Guest]) -> None:
    with boot(log=False) as pod:
        assert pod.run("plain", "sh", "-c", "echo hello") == "hello\n"


def test_a_log_that_nobody_reads_does_not_stop_a_container(
    boot: Callable[..., Guest], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "log")
    reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    with boot(tmp_path) as pod:
        # Records of this are more than fits in all buffers on the way.
        script = "busybox yes | busybox head -n 30000; echo written"
        pod.create("flood", "sh", "-c", script)
        pod.ask("container.start", name="flood")
        pod.event("container.exited", "flood")
        os.close(reader)
        pod.create("after", "sh", "-c", script)
        pod.ask("container.start", name="after")
        pod.event("container.exited", "after")
        assert pod.console().count("written\n") == 2


def test_another_daemon_ends_what_the_last_one_has_started(pod: Guest) -> None:
    stream = execute(pod, "sh", "-c", "trap '' HUP; busybox sleep 700; busybox sleep 700")
    terminal = execute(pod, "sh", "-c", "busybox sleep 700", tty={"rows": 1, "cols": 1})
    pod.interfere(b"HV\x04\x00\x00\x00")
    with pytest.raises(GuestFailed, match="closed"):
        stream.read(LONG_S)
    terminal.close()
    wait_for(
        lambda: "trap" not in shell(pod, "busybox ps"),
        LONG_S,
        "an end of the last daemon's commands",
    )
    assert pod.status("main")["state"] == "running"
