"""hyperctl: what it asks for, what it prints, how it ends."""

from __future__ import annotations

import dataclasses
import json
import os
import sys

import pytest
import yaml

from nova_hyper.cmd import hyperctl
from nova_hyper.cmd.ctl import output
from nova_hyper.cmd.ctl.transfer import name_of
from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import (
    HypervisorFailed,
)
from nova_hyper.spec.nic import Nic, NicKind
from nova_hyper.spec.pod import Mark, PodSpec
from tests.unit.daemon.fakes import OTHER_ID, POD_ID


@pytest.fixture
def pod(hyperd, image):
    nic = Nic("52:54:00:00:00:01", NicKind.BRIDGE, "br0", addresses=("10.0.0.5/24",))
    spec = PodSpec(POD_ID, "web", (Container("main", "web:1"),), memory_mib=64, nics=(nic,))
    hyperd.create_pod(spec)
    return hyperd.start_pod("web")


def rows(result):
    """The columns of a table, which two or more blanks separate."""
    assert result.code == 0, result.err
    return [
        [c.strip() for c in line.split("   ") if c.strip()] for line in result.out.splitlines()
    ]


# The parser


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["destroy"],
        ["run"],
        ["rm"],
        ["stop"],
        ["load"],
        ["guest"],
        ["guest", "build", "--source", "a", "--kernel", "b"],
        ["ps", "-o", "xml"],
        ["stop", "-t", "soon", "web"],
    ],
)
def test_misuse_exits_2_with_the_usage(ctl, arguments):
    result = ctl(*arguments)
    assert result.code == 2
    assert result.err.startswith("usage: hyperctl")


VERBS = ["load", "images", "rmi", "run", "ps", "inspect", "logs", "start", "stop", "rm", "info"]


@pytest.mark.parametrize("verb", [*VERBS, "events", "version", "guest"])
def test_every_verb_explains_itself(ctl, verb):
    result = ctl(verb, "--help")
    assert result.code == 0
    assert verb in result.out
    assert verb in ctl("--help").out


def test_the_socket_is_an_option_or_of_the_environment(monkeypatch):
    monkeypatch.setenv("HYPERD_SOCKET", "/of/the/environment")
    assert hyperctl.parser().parse_args(["ps"]).socket == "/of/the/environment"
    assert hyperctl.parser().parse_args(["--socket", "/x", "ps"]).socket == "/x"
    monkeypatch.delenv("HYPERD_SOCKET")
    assert hyperctl.parser().parse_args(["ps"]).socket == "/run/hyperd/hyperd.sock"


def test_what_follows_the_image_is_the_containers(ctl, hyperd, image):
    result = ctl("run", "-d", "--name", "w", "-m", "64", "web:1", "httpd", "-f", "-p", "80", "-d")
    assert result.code == 0
    (pod,) = hyperd.pods()
    assert pod.spec.containers[0].args == ("httpd", "-f", "-p", "80", "-d")
    assert pod.spec.memory_mib == 64


# Errors


@pytest.mark.parametrize(
    "arguments",
    [["ps"], ["inspect", "web"], ["images"], ["info"], ["version"], ["events", "--no-follow"]],
)
def test_a_daemon_that_is_away_is_one_sentence_and_exit_1(
    monkeypatch, capsys, tmp_path, arguments
):
    monkeypatch.setattr(hyperctl, "_CONNECT_S", 0)
    monkeypatch.setattr(sys, "argv", ["hyperctl", "--socket", str(tmp_path / "none"), *arguments])
    with pytest.raises(SystemExit) as ended:
        hyperctl.main()
    captured = capsys.readouterr()
    assert ended.value.code == 1
    assert captured.out == ""
    assert captured.err.startswith("hyperctl: hyperd does not answer on ")
    assert captured.err.count("\n") == 1


def test_the_daemons_sentence_is_ours(ctl, hyperd):
    hyperd.fail_next["pods"] = HypervisorFailed("libvirt refused: no; do this")
    result = ctl("ps")
    assert (result.code, result.out) == (1, "")
    assert result.err == "hyperctl: libvirt refused: no; do this\n"


@pytest.mark.parametrize("verb", ["inspect", "logs", "start", "stop", "rm"])
def test_an_unknown_pod_is_named(ctl, verb):
    result = ctl(verb, "nginx")
    assert (result.code, result.err) == (1, "hyperctl: there is no pod nginx\n")


def test_a_file_that_is_not_there_is_named(ctl, tmp_path):
    result = ctl("load", tmp_path / "none.tar")
    assert result.code == 1
    assert result.err == f"hyperctl: {tmp_path}/none.tar: No such file or directory\n"


def test_an_interrupt_exits_130(ctl, hyperd, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(hyperd, "pods", interrupted)
    result = ctl("ps")
    assert (result.code, result.err) == (130, "")


def test_a_reader_that_goes_away_is_no_traceback(ctl, hyperd, pod, monkeypatch):
    def gone(_event, _fmt):
        raise BrokenPipeError

    monkeypatch.setattr("nova_hyper.cmd.ctl.output.table", gone)
    saved = os.dup(1)
    try:
        result = ctl("ps")
    finally:
        os.dup2(saved, 1)
        os.close(saved)
    assert (result.code, result.err) == (1, "")


# Images


def test_load_prints_the_id(ctl, hyperd, tmp_path):
    archive = tmp_path / "web.tar.gz"
    archive.write_bytes(b"archive" * 1000)
    result = ctl("load", archive)
    (image,) = hyperd.images()
    assert (result.code, result.out) == (0, f"{image.id}\n")
    assert hyperd.imports == ["web"]
    assert ctl("load", "--name", "x:2", archive).code == 0
    assert hyperd.imports == ["web", "x:2"]


def test_load_of_something_else_is_its_reason(ctl, tmp_path):
    archive = tmp_path / "web.tar"
    archive.write_bytes(b"not an archive")
    result = ctl("load", archive)
    assert result.code == 1
    assert "not a docker or OCI archive" in result.err


def test_load_reads_standard_input(ctl, hyperd, monkeypatch, tmp_path):
    (tmp_path / "in").write_bytes(b"archive")
    with (tmp_path / "in").open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert ctl("load", "--name", "web:3", "-").code == 0
    assert hyperd.imports == ["web:3"]


def test_load_tells_how_far_it_is(ctl, monkeypatch, tmp_path):
    monkeypatch.setattr("nova_hyper.cmd.ctl.progress._REPORT_S", 0)
    archive = tmp_path / "web.tar"
    archive.write_bytes(b"x" * (2 << 20))
    result = ctl("load", archive)
    assert result.err.splitlines() == [
        "web.tar: 1.0 MiB (50 %)",
        "web.tar: 2.0 MiB (100 %)",
    ]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("web.tar", "web"),
        ("web.tar.gz", "web"),
        ("web.tgz", "web"),
        ("web.tar.zst", "web"),
        ("web", "web"),
        ("web-1.2.oci", "web-1.2"),
        (".tar", "image"),
    ],
)
def test_an_image_is_named_after_its_file(tmp_path, path, name):
    assert name_of(tmp_path / path) == name


def test_images_are_listed(ctl, hyperd, image):
    header, row = rows(ctl("images"))
    assert header == ["IMAGE ID", "NAMES", "LAYERS", "ON DISK", "UNPACKED", "CREATED"]
    assert row[:5] == [image.id[7:19], "web:1", "1", "1.0 MiB", "2.0 MiB"]
    assert json.loads(ctl("images", "-o", "json").out)[0]["id"] == image.id


def test_images_are_removed(ctl, hyperd, image):
    assert ctl("rmi", "web:1").out == "web:1\n"
    assert hyperd.images() == ()
    assert ctl("rmi", "web:1").code == 1


# Pods


def test_pods_are_listed_when_they_run(ctl, hyperd, pod):
    header, row = rows(ctl("ps"))
    assert header == ["POD ID", "NAME", "IMAGES", "STATUS", "CREATED", "ADDRESSES"]
    assert row[:3] == [POD_ID[:12], "web", "web:1"]
    assert row[3].startswith("running since")
    assert row[5] == "10.0.0.5/24"
    hyperd.exit("web", 3)
    assert len(rows(ctl("ps"))) == 1
    assert rows(ctl("ps", "-a"))[1][3].startswith("stopped (3)")
    hyperd.start_pod("web")
    hyperd.crash("web")
    assert rows(ctl("ps", "-a"))[1][3] == "crashed"


def test_json_and_yaml_are_the_api(ctl, pod):
    (in_json,) = json.loads(ctl("ps", "-o", "json").out)
    (in_yaml,) = yaml.safe_load(ctl("ps", "-o", "yaml").out)
    assert in_json == in_yaml
    assert in_json["spec"]["id"] == POD_ID
    one = json.loads(ctl("inspect", "-o", "json", "web").out)
    assert (one["id"], one["name"], one["state"]) == (POD_ID, "web", "running")


def test_inspect_shows_the_timeline(ctl, hyperd, pod):
    marks = (Mark("request", 1_000_000), Mark("domain", 301_500_000), Mark("agent", 1_400_000_000))
    hyperd._update(pod, timeline=marks)
    result = ctl("inspect", "web")
    facts, _, timeline = result.out.partition("\n\n")
    assert POD_ID in facts
    assert "container main" in facts
    assert "10.0.0.5/24" in facts
    table = [line.split() for line in timeline.splitlines()]
    assert table[1:] == [
        ["request", "1.0", "1.0"],
        ["domain", "301.5", "300.5"],
        ["agent", "1400.0", "1098.5"],
    ]


def test_logs_are_the_output_and_nothing_else(ctl, hyperd, pod):
    hyperd.write("web", b"world\r\n\x00")
    assert ctl("logs", "web").out == "hello\nworld\r\n\x00"


def test_start_and_stop_print_what_they_did(ctl, hyperd, pod):
    assert ctl("stop", "-t", "3", "web").out == "web\n"
    assert hyperd.pod("web").state == "stopped"
    assert ctl("start", "web").out == "web\n"
    assert hyperd.pod("web").state == "running"
    assert ctl("stop", "-f", "web").code == 0
    assert hyperd.pod("web").exit_code == 137


def test_rm_leaves_what_runs_unless_forced(ctl, hyperd, pod):
    result = ctl("rm", "web")
    assert result.code == 1
    assert "rm -f" in result.err
    assert ctl("rm", "-f", "web").out == "web\n"
    assert hyperd.pods() == ()


def test_rm_of_several_goes_on_after_one_that_runs(ctl, hyperd, pod):
    hyperd.create_pod(PodSpec(OTHER_ID, "other", (Container("main", "web:1"),)))
    result = ctl("rm", "web", "other")
    assert (result.code, result.out) == (1, "other\n")
    assert [p.spec.name for p in hyperd.pods()] == ["web"]


# The host


def test_info_is_a_table_of_facts(ctl):
    found = dict(row for row in rows(ctl("info")) if len(row) == 2)
    assert found["virt_type"] == "qemu"
    assert found["cpu"] == "Intel Skylake (x86_64)"
    assert json.loads(ctl("info", "-o", "json").out)["cpu"]["features"] == ["avx"]


def test_version_is_of_both_sides(ctl):
    found = dict(row for row in rows(ctl("version"))[1:])
    assert set(found) == {"hyperctl", "api", "hyperd"}


def test_events_of_the_past_are_listed(ctl, hyperd, pod):
    hyperd.exit("web", 3)
    lines = ctl("events", "--after", "1", "--no-follow").out.splitlines()
    assert [line.split()[0] for line in lines] == ["2", "3"]
    assert lines[1].split()[2:] == ["exited", POD_ID, "web"]
    in_json = ctl("events", "--after", "2", "--no-follow", "-o", "json").out
    assert json.loads(in_json)["exit_code"] == 3
    (in_yaml,) = yaml.safe_load_all(ctl("events", "--after", "2", "--no-follow", "-o", "yaml").out)
    assert in_yaml["kind"] == "exited"


def test_events_are_followed_until_an_interrupt(ctl, hyperd, pod, monkeypatch):
    real = hyperd.events

    def events(after, wait):
        if after >= 2:
            raise KeyboardInterrupt
        return dataclasses.replace(real(after, wait), lost=after == 0)

    monkeypatch.setattr(hyperd, "events", events)
    result = ctl("events", "--after", "0")
    assert result.code == 130
    assert [line.split()[2] for line in result.out.splitlines()] == ["created", "started"]
    assert "older events are gone" in result.err


# Figures


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (5 << 30, "5.0 GiB"),
        (3 << 40, "3.0 TiB"),
        (5 << 50, "5120.0 TiB"),
    ],
)
def test_sizes_are_for_people(count, text):
    assert output.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (59.9, "59 s"),
        (60, "1 minute"),
        (125, "2 minutes"),
        (3600, "1 hour"),
        (86400 * 3, "3 days"),
    ],
)
def test_ages_are_for_people(seconds, text):
    assert output.age(seconds) == text


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ((), "<none>"),
        (("a", "b"), "a, b"),
        (("a", "b", "c", "d"), "a, b, and 2 more"),
    ],
)
def test_a_table_has_room_for_an_image_of_many_names(names, shown):
    assert output.names(names) == shown
