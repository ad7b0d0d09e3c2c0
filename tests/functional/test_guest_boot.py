"""The guest itself: the built kernel and agent in a bare QEMU, without libvirt and hyperd."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nova_hyper.daemon.guest import assets, frame, hello
from nova_hyper.daemon.guest.reactor import Reactor
from nova_hyper.daemon.ports import AgentError
from nova_hyper.spec.errors import GuestFailed
from tests.functional.bare_guest import ANSWER_S, MAC, Guest, squash


@pytest.fixture(scope="module")
def pod(
    tmp_path_factory: pytest.TempPathFactory,
    built: assets.GuestAssets,
    reactor: Reactor,
    layers: list[Path],
) -> Iterator[Guest]:
    """Return one configured guest that the tests without special needs share."""
    with Guest(tmp_path_factory.mktemp("pod"), built, reactor, layers, memory_mib=128) as made:
        made.ask(
            "pod.configure",
            hostname="web-1",
            time_ns=1_800_000_000 * 10**9,
            entropy=base64.b64encode(os.urandom(64)).decode(),
            nics=[
                {
                    "mac": MAC,
                    "mtu": 1400,
                    "addresses": ["10.0.0.5/24", "fd00::5/64"],
                    "routes": [
                        {"destination": "0.0.0.0/0", "gateway": "10.0.0.1"},
                        {"destination": "192.168.7.0/24", "gateway": "10.9.9.9"},
                    ],
                }
            ],
            dns={"nameservers": ["10.0.0.2"], "search": ["example.org"]},
        )
        yield made


def test_hello_tells_of_the_agent_and_its_memory(pod: Guest, built: assets.GuestAssets) -> None:
    assert pod.hello.agent == built.agent_version
    assert pod.hello.version == hello.VERSION
    assert {"clock", "entropy"} <= pod.hello.features
    assert pod.hello.state == "sandbox"
    assert 0 < pod.hello.mem_available_kib < pod.hello.mem_total_kib < 128 * 1024


def test_hostname_addresses_routes_and_mtu_are_set(pod: Guest) -> None:
    script = "hostname; ip -o addr show dev eth0; ip link show dev eth0; ip route; cat /etc/hosts"
    text = pod.run("network", "sh", "-c", script)
    assert text.startswith("web-1\n")
    assert "inet 10.0.0.5/24 brd 10.0.0.255" in text
    assert "inet6 fd00::5/64" in text
    assert "mtu 1400" in text
    assert "default via 10.0.0.1 dev eth0" in text
    assert "192.168.7.0/24 via 10.9.9.9 dev eth0" in text
    assert "10.0.0.5\tweb-1" in text


def test_resolv_conf_is_mounted_also_where_the_image_has_a_dangling_link(pod: Guest) -> None:
    text = pod.run("dns", "cat", "/etc/resolv.conf", "/etc/hostname")
    assert text == "nameserver 10.0.0.2\nsearch example.org\nweb-1\n"


def test_the_clock_is_the_hosts(pod: Guest) -> None:
    assert pod.run("clock", "sh", "-c", "busybox date +%s").startswith("180000")


def test_the_top_layer_wins_and_the_upper_takes_writes(pod: Guest) -> None:
    text = pod.run("overlay", "sh", "-c", "cat /etc/below; echo mine >/etc/below; cat /etc/below")
    assert text == "upper\nmine\n"


def test_an_ext4_upper_is_used_and_written(pod: Guest) -> None:
    script = "echo kept >/file; cat /file; grep -c ' / overlay' /proc/mounts"
    script = script.replace("grep", "busybox grep")
    assert pod.run("disk", "sh", "-c", script, upper={"serial": "upper0"}) == "kept\n1\n"


def test_user_group_home_and_supplementary_groups_come_from_the_image(pod: Guest) -> None:
    text = pod.run("user", "sh", "-c", "id; echo $HOME; stat -c %u /dev/stdout", user="web")
    assert "uid=1000(web) gid=1000(web) groups=1000(web),2000(logs)" in text or (
        "uid=1000(web) gid=1000(web) groups=2000(logs)" in text
    )
    assert "\n/home/web\n" in text


def test_numbers_need_no_entry_in_the_image(pod: Guest) -> None:
    text = pod.run("number", "sh", "-c", "id -u; id -g; echo $HOME", user="4321:8765")
    assert text == "4321\n8765\n/\n"


def test_a_user_can_write_to_dev_stdout(pod: Guest) -> None:
    assert pod.run("stdout", "sh", "-c", "echo hi >/dev/stdout", user="web") == "hi\n"


def test_the_environment_is_the_given_one_with_the_three_additions(pod: Guest) -> None:
    text = pod.run("env", "env", env=["A=b c", "HOME=/elsewhere"])
    assert sorted(text.splitlines()) == [
        "A=b c",
        "HOME=/elsewhere",
        "HOSTNAME=web-1",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ]


def test_a_missing_working_directory_is_made(pod: Guest) -> None:
    assert pod.run("cwd", "sh", "-c", "busybox pwd", cwd="/srv/app/data") == "/srv/app/data\n"


def test_a_container_has_its_own_processes_devices_and_cgroup(pod: Guest) -> None:
    script = "echo $$; ls /dev; cat /proc/self/cgroup; ls /sys/fs/cgroup/memory.current"
    text = pod.run("isolation", "sh", "-c", script)
    assert text.startswith("1\n")
    devices = text.split("\n")[1:-3]
    assert set(devices) == {
        *("fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm"),
        *("stderr", "stdin", "stdout", "tty", "urandom", "zero"),
    }
    assert "0::/\n/sys/fs/cgroup/memory.current\n" in text


@pytest.mark.parametrize("code", [0, 7, 255])
def test_exit_codes_are_reported(pod: Guest, code: int) -> None:
    pod.create(f"exit{code}", "sh", "-c", f"exit {code}")
    pod.ask("container.start", name=f"exit{code}")
    event = pod.event("container.exited", f"exit{code}")
    assert event["exit_code"] == code
    status = pod.status(f"exit{code}")
    assert (status["state"], status["exit_code"], status["pid"]) == ("exited", code, None)
    assert status["started_ns"] <= status["exited_ns"]


def test_the_first_byte_of_output_is_an_event(pod: Guest) -> None:
    pod.run("early", "sh", "-c", "echo first; sleep 0.2; echo second")
    status = pod.status("early")
    assert status["started_ns"] <= status["output_ns"] < status["exited_ns"]


def test_stop_sends_the_signal_and_tells_the_exit_code(pod: Guest) -> None:
    script = "trap 'echo bye; exit 3' USR1; echo up; while :; do sleep 0.05; done"
    pod.create("stop", "sh", "-c", script, stop_signal="SIGUSR1")
    pod.ask("container.start", name="stop")
    pod.event("container.output", "stop")
    answer = pod.ask("container.stop", name="stop", grace_ms=20_000)
    assert (answer["exit_code"], answer["signal"]) == (3, 0)
    assert pod.ask("container.stop", name="stop", grace_ms=0)["exit_code"] == 3


def test_stop_kills_after_the_grace_period(pod: Guest) -> None:
    pod.create("deaf", "sleep", "1000")
    pod.ask("container.start", name="deaf")
    answer = pod.ask("container.stop", name="deaf", grace_ms=100)
    assert (answer["exit_code"], answer["signal"]) == (137, 9)


def test_others_are_served_while_a_container_is_being_stopped(pod: Guest) -> None:
    pod.create("slow", "sleep", "1000")
    pod.ask("container.start", name="slow")
    answers: list[dict[str, Any]] = []
    stopper = threading.Thread(
        target=lambda: answers.append(pod.ask("container.stop", name="slow", grace_ms=600_000))
    )
    stopper.start()
    assert pod.status("slow")["state"] == "running"
    assert answers == []
    kill = {"signal": "KILL", "grace_ms": 600_000}
    answers.append(pod.ask("container.stop", name="slow", **kill))
    stopper.join()
    assert [answer["exit_code"] for answer in answers] == [137, 137]


def test_start_is_idempotent_while_the_container_runs(pod: Guest) -> None:
    pod.create("again", "sleep", "1000")
    first = pod.ask("container.start", name="again")
    assert pod.ask("container.start", name="again") == first
    pod.ask("container.stop", name="again", signal="KILL", grace_ms=0)
    with pytest.raises(AgentError, match="already exited") as caught:
        pod.ask("container.start", name="again")
    assert caught.value.code == "state"


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ({"argv": ["nonsense"]}, 'command "nonsense" not found in PATH of the image'),
        ({"argv": ["/no/such"]}, 'command "/no/such" does not exist in the image'),
        ({"argv": ["/noexec"]}, 'command "/noexec" may not be executed by the user'),
        ({"argv": ["/text"]}, "neither a program for this architecture"),
        ({"argv": ["/orphan"]}, "its interpreter or dynamic loader is not in the image"),
        ({"argv": ["/etc"]}, 'command "/etc" is a directory'),
        ({"user": "nobody-here"}, 'user "nobody-here" is not in the image\'s /etc/passwd'),
        ({"user": "web:nogroup"}, 'group "nogroup" is not in the image\'s /etc/group'),
        ({"cwd": "/etc/passwd/sub"}, "cannot be entered: Not a directory"),
    ],
)
def test_a_command_that_cannot_start_is_explained(
    pod: Guest, request: pytest.FixtureRequest, args: dict[str, Any], sentence: str
) -> None:
    name = f"bad{abs(hash(request.node.name)) % 10**6}"
    pod.create(name, *args.pop("argv", ["true"]), **args)
    with pytest.raises(AgentError) as caught:
        pod.ask("container.start", name=name)
    assert caught.value.code == "exec"
    assert sentence in caught.value.message
    assert pod.status(name)["state"] == "created"


@pytest.mark.parametrize(
    ("args", "code", "sentence"),
    [
        ({"layers": ["missing"]}, "disk", 'no disk with serial number "missing"'),
        ({"layers": ["upper0"]}, "disk", "does not mount as squashfs"),
        ({"upper": {"serial": "l0"}}, "disk", "does not mount as ext4"),
        ({"layers": []}, "invalid", "at least one layer"),
        ({"name": "../x"}, "invalid", "not a container's name"),
        ({"argv": []}, "invalid", "needs a command"),
        ({"argv": [1]}, "invalid", "must be a string"),
        ({"stop_signal": "SIGNONE"}, "invalid", '"SIGNONE" is not a signal'),
        ({"cwd": "relative"}, "exec", "is not absolute"),
    ],
)
def test_a_container_that_cannot_be_made_is_explained(
    pod: Guest, args: dict[str, Any], code: str, sentence: str
) -> None:
    with pytest.raises(AgentError) as caught:
        pod.create(args.pop("name", "unmade"), **({"argv": ["true"]} | args))
    assert caught.value.code == code
    assert sentence in caught.value.message
    assert all(c["name"] != "unmade" for c in pod.ask("pod.status")["containers"])


def test_what_the_agent_does_not_know_is_refused(pod: Guest) -> None:
    with pytest.raises(AgentError) as caught:
        pod.ask("pod.dance")
    assert caught.value.code == "unknown_op"


def test_an_interface_that_is_not_there_is_named(pod: Guest) -> None:
    nic = {"mac": "52:54:00:ff:ff:ff", "mtu": 0, "addresses": [], "routes": []}
    with pytest.raises(AgentError, match="52:54:00:ff:ff:ff") as caught:
        pod.ask("pod.configure", hostname="web-1", nics=[nic], dns={})
    assert caught.value.code == "network"


def test_clock_and_entropy_can_be_given_later(pod: Guest) -> None:
    pod.ask("clock.set", time_ns=1_900_000_000 * 10**9)
    pod.ask("entropy.add", entropy=base64.b64encode(os.urandom(32)).decode())
    assert pod.run("later", "sh", "-c", "busybox date +%s").startswith("190000")
    with pytest.raises(AgentError, match="base64"):
        pod.ask("entropy.add", entropy="***")


def test_much_output_arrives_whole_and_before_the_exit_is_told(pod: Guest) -> None:
    before = len(pod.console())
    pod.create(
        "much", "sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done"
    )
    pod.ask("container.start", name="much")
    pod.event("container.exited", "much")
    deadline = time.monotonic() + 5
    while "line 19999\n" not in pod.console()[before:] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert pod.console()[before:] == "".join(f"line {i}\n" for i in range(20000))


def test_another_daemon_resynchronises_after_half_a_frame(pod: Guest) -> None:
    halves = [
        b"HV\x01\x00\x00\x00\x00\x01\x00\x03\xff\xff{",
        b"HV\x01",
        b"H",
        b"nonsense",
        frame.encode_request(9, {"op": "pod.status"})[:-1],
        frame.encode_request(9, {"op": "pod.status"}),
    ]
    for half in halves:
        pod.interfere(half)
        assert pod.hello.state == "pod"
        assert "containers" in pod.ask("pod.status")


def test_garbage_does_not_harm_the_agent(pod: Guest) -> None:
    for _ in range(5):
        pod.interfere(os.urandom(64 * 1024))
        assert "containers" in pod.ask("pod.status")


def test_a_container_outlives_the_daemon_and_its_exit_is_remembered(pod: Guest) -> None:
    pod.create("lonely", "sh", "-c", "sleep 0.3; exit 5")
    pod.ask("container.start", name="lonely")
    pod.channel.close()
    time.sleep(1)
    pod.connect(fresh=False)
    deadline = time.monotonic() + ANSWER_S  # a slow machine may not be there yet
    while (code := pod.status("lonely")["exit_code"]) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert code == 5


def test_an_idle_agent_without_a_host_does_not_burn_the_cpu(pod: Guest) -> None:
    pod.channel.close()
    time.sleep(0.5)
    first = _cpu_seconds(pod.process.pid)
    time.sleep(2)
    used = _cpu_seconds(pod.process.pid) - first
    pod.connect(fresh=False)
    assert used < 0.5


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_32_mib_guest_runs_a_container(
    tmp_path: Path, built: assets.GuestAssets, reactor: Reactor, layers: list[Path]
) -> None:
    with Guest(tmp_path, built, reactor, layers, memory_mib=32) as small:
        small.ask("pod.configure", hostname="small", nics=[], dns={})
        text = small.run("shell", "sh", "-c", "echo in $(hostname); cat /etc/below")
        assert text == "in small\nupper\n"


def test_kernel_agent_and_an_idle_container_use_at_most_16_mib(
    tmp_path: Path, built: assets.GuestAssets, reactor: Reactor, layers: list[Path]
) -> None:
    with Guest(tmp_path, built, reactor, layers[:1], memory_mib=64) as idle:
        idle.ask("pod.configure", hostname="idle", nics=[], dns={})
        script = "sleep 1; cat /proc/meminfo; sleep 1000"
        idle.create("idle", "sh", "-c", script, layers=["l0"])
        idle.ask("container.start", name="idle")
        idle.event("container.output", "idle")
        time.sleep(0.5)
        lines = [line.split() for line in idle.console().splitlines()]
        kib = {words[0].rstrip(":"): int(words[1]) for words in lines}
        # In use is what the kernel could not give to somebody else: not what is free, nor clean
        # pages of the layers. A tmpfs cannot be dropped.
        cache = kib["Cached"] - kib["Shmem"] + kib["Buffers"]
        used = 64 * 1024 - kib["MemFree"] - cache - kib["SReclaimable"]
        assert used <= 16 * 1024


def test_a_disk_that_is_plugged_later_is_found(
    tmp_path: Path, built: assets.GuestAssets, reactor: Reactor, layers: list[Path]
) -> None:
    monitor = tmp_path / "qmp.sock"
    extra = (
        *("-device", "pcie-root-port,id=rp0,chassis=1,slot=1"),
        *("-qmp", f"unix:{monitor},server=on,wait=off"),
    )
    with Guest(tmp_path, built, reactor, layers, extra=extra) as plugged:
        plugged.create("before", "true")
        (tmp_path / "tree").mkdir()
        (tmp_path / "tree/plugged").touch()
        late = squash(tmp_path / "tree", tmp_path / "late.sqfs")
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
            connection.connect(str(monitor))
            stream = connection.makefile("rw")
            node = {"driver": "file", "filename": str(late), "read-only": True}
            disk = {"driver": "raw", "node-name": "late", "read-only": True, "file": node}
            device = {"driver": "virtio-blk-pci", "drive": "late", "bus": "rp0"}
            assert "QMP" in json.loads(stream.readline())
            for command, arguments in (
                ("qmp_capabilities", {}),
                ("blockdev-add", disk),
                ("device_add", {**device, "serial": "late"}),
            ):
                stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
                stream.flush()
                assert json.loads(stream.readline()) == {"return": {}}
        text = plugged.run("after", "ls", "/plugged", layers=["l0", "late"])
        assert text == "/plugged\n"


def test_a_container_that_takes_all_memory_is_killed_and_the_agent_lives(
    tmp_path: Path, built: assets.GuestAssets, reactor: Reactor, layers: list[Path]
) -> None:
    with Guest(tmp_path, built, reactor, layers, memory_mib=64) as full:
        full.create("greedy", "busybox", "tail", "/dev/zero")
        full.ask("container.start", name="greedy")
        event = full.event("container.exited", "greedy")
        assert (event["exit_code"], event["signal"]) == (137, 9)
        assert full.status("greedy")["exit_code"] == 137


def test_power_off_ends_qemu_and_keeps_what_was_written(
    tmp_path: Path, built: assets.GuestAssets, reactor: Reactor, layers: list[Path]
) -> None:
    with Guest(tmp_path, built, reactor, layers, vcpus=2) as short:
        script = "echo kept >/kept; sleep 1000"
        short.create("writer", "sh", "-c", script, upper={"serial": "upper0"})
        short.ask("container.start", name="writer")
        time.sleep(0.3)
        # The answer may be lost with QEMU.
        with contextlib.suppress(GuestFailed):
            short.ask("power.off")
        assert short.process.wait(timeout=20) == 0
        check = ["debugfs", "-R", "cat /upper/kept", str(tmp_path / "upper.img")]
        assert subprocess.run(check, capture_output=True, check=True).stdout == b"kept\n"
        state = ["dumpe2fs", "-h", str(tmp_path / "upper.img")]
        header = subprocess.run(state, capture_output=True, check=True, text=True).stdout
        assert "needs_recovery" not in header
        assert short.lost.get(timeout=5)


def test_the_death_of_the_guest_ends_requests_at_once(
    tmp_path: Path, built: assets.GuestAssets, reactor: Reactor, layers: list[Path]
) -> None:
    with Guest(tmp_path, built, reactor, layers) as doomed:
        doomed.create("sleeper", "sleep", "1000")
        doomed.ask("container.start", name="sleeper")
        threading.Timer(0.5, doomed.process.kill).start()
        # The reason tells it from a request whose time is over.
        with pytest.raises(GuestFailed, match="guest ended"):
            doomed.ask("container.stop", name="sleeper", signal="WINCH", grace_ms=60_000)
        assert "guest ended" in doomed.lost.get(timeout=5)
