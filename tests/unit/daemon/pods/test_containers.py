"""What the agent is asked for to make volumes and containers."""

from __future__ import annotations

import base64
import dataclasses

import pytest

from nova_hyper.daemon.pods import containers, mounts
from nova_hyper.spec.container import Container, Resources, Security
from nova_hyper.spec.image import Healthcheck
from nova_hyper.spec.pod import RestartPolicy
from nova_hyper.spec.probe import ExecCheck, HttpCheck, HttpHeader, Probe, Probes, TcpCheck
from nova_hyper.spec.volume import Medium, Mount, Volume, VolumeFile
from tests.unit.daemon.fakes import ALL_FEATURES, image, spec

OLD = frozenset(("clock", "entropy"))
PLAIN = {
    "name": "main",
    "layers": ["l0", "l1"],
    "upper": {"tmpfs_mib": 32},
    "argv": ["/bin/web", "--serve"],
    "env": ["PATH=/bin"],
    "user": "",
    "cwd": "/",
    "stop_signal": "SIGTERM",
}


def with_config(**changes):
    made = image()
    return dataclasses.replace(made, config=dataclasses.replace(made.config, **changes))


def requests(made, images=None, supported=ALL_FEATURES):
    images = images or [image()] * len(made.all_containers)
    seen = []

    def seccomp(profile, capabilities):
        seen.append((profile, capabilities))
        return None if profile == "unconfined" else "Zmlsd"

    return containers.requests(made, images, supported, seccomp)


def create(made, images=None, supported=ALL_FEATURES):
    """The request that makes the last container."""
    op, args = requests(made, images, supported)[-1]
    assert op == "container.create"
    return args


def one(**changes):
    return spec(containers=(Container("main", "web:1", **changes),))


@pytest.mark.parametrize("supported", [OLD, ALL_FEATURES])
def test_a_plain_container_is_asked_for_as_of_any_agent(supported):
    assert requests(spec(), supported=supported) == [("container.create", PLAIN)]


def test_supervision_is_asked_for_where_it_differs_from_none():
    made = spec(
        containers=(Container("main", "web:1"),),
        init_containers=(Container("first", "web:1"),),
        restart_policy=RestartPolicy.ON_FAILURE,
        termination_grace_s=2.5,
    )
    first, main = (args for _op, args in requests(made))
    for request in (first, main):
        assert request["restart"] == {"policy": "on-failure"}
        assert request["grace_ms"] == 2500
    assert first["init"] is True
    assert "init" not in main


def test_probes_are_in_milliseconds():
    probes = Probes(
        startup=Probe(exec=ExecCheck(("true", "x"))),
        liveness=Probe(tcp=TcpCheck(80, "h"), delay_s=1.5, period_s=2, timeout_s=0.25),
        readiness=Probe(
            http=HttpCheck(8080, "/x", None, (HttpHeader("A", "b"),)), successes=2, failures=5
        ),
    )
    usual = {"delay_ms": 0, "period_ms": 10000, "timeout_ms": 1000, "successes": 1, "failures": 3}
    assert create(one(probes=probes))["probes"] == {
        "startup": {"exec": {"argv": ["true", "x"]}, **usual},
        "liveness": {
            "tcp": {"port": 80, "host": "h"},
            **{**usual, "delay_ms": 1500, "period_ms": 2000, "timeout_ms": 250},
        },
        "readiness": {
            "http": {"port": 8080, "path": "/x", "headers": [["A", "b"]]},
            **{**usual, "successes": 2, "failures": 5},
        },
    }


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        (Healthcheck(("CMD", "curl", "-f")), (["curl", "-f"], 30000, 30000, 3)),
        (
            Healthcheck(("CMD-SHELL", "a | b"), 5, 2, 60, 1),
            (["/bin/sh", "-c", "a | b"], 60000, 5000, 1),
        ),
        (Healthcheck(("NONE",)), None),
        (Healthcheck(("CMD",)), None),
        (Healthcheck(()), None),
        (Healthcheck(("ODD", "x")), None),
    ],
)
def test_the_healthcheck_of_an_image_is_a_probe_that_only_marks(check, expected):
    probes = create(spec(), [with_config(healthcheck=check)]).get("probes", {})
    if expected is None:
        assert probes == {}
    else:
        health = probes.pop("health")
        assert probes == {}
        found = (health["exec"]["argv"], health["delay_ms"], health["period_ms"])
        assert (*found, health["failures"]) == expected


def test_a_healthcheck_that_hardly_ever_runs_keeps_no_image_from_running():
    check = Healthcheck(("CMD", "x"), 1e9, 1e9, 1e9, 2**62)
    health = create(spec(), [with_config(healthcheck=check)])["probes"]["health"]
    assert {health[key] for key in ("delay_ms", "period_ms", "timeout_ms")} == {86_400_000}
    assert health["failures"] == 100_000


def test_an_init_container_has_no_healthcheck():
    checked = with_config(healthcheck=Healthcheck(("CMD", "x")))
    made = spec(init_containers=(Container("first", "web:1"),))
    first, main = (args for op, args in requests(made, [checked] * 2) if op == "container.create")
    assert "probes" not in first
    assert "health" in main["probes"]


def test_what_only_the_image_asks_for_is_left_out_with_an_older_agent():
    asking = with_config(healthcheck=Healthcheck(("CMD", "x")), volumes=("/data",))
    assert requests(spec(), [asking], OLD) == [("container.create", PLAIN)]


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        (Resources(), None),
        (Resources(1 << 26), {"memory_max": 1 << 26}),
        (Resources(cpu_millis=500), {"cpu_quota_us": 50000}),
        (Resources(cpu_weight=79, pids=10), {"cpu_weight": 79, "pids_max": 10}),
    ],
)
def test_limits_are_those_of_a_cgroup(resources, expected):
    assert create(one(resources=resources)).get("resources") == expected


def test_a_security_context_is_whole_or_absent():
    restricted = Security(True, ("CAP_CHOWN",), True, True, (5, 6), "runtime/default")
    assert create(one(security=restricted, user="1"))["security"] == {
        "readonly_root": True,
        "capabilities": ["CAP_CHOWN"],
        "no_new_privs": True,
        "seccomp": "Zmlsd",
        "groups": [5, 6],
    }
    all_but_root = create(one(security=Security(groups=(5,))))["security"]
    assert (all_but_root["capabilities"], all_but_root["seccomp"]) == (None, None)
    assert "security" not in create(one(security=Security(non_root=True)))


def test_a_terminal_and_input_are_asked_for_where_wanted():
    request = create(one(stdin=True, tty=True))
    assert (request["stdin"], request["tty"]) == (True, True)
    assert not {"stdin", "tty"} & set(create(one()))


def test_volumes_are_made_and_filled_before_the_containers():
    data = bytes(range(256)) * 1200  # 300 KiB
    made = spec(
        containers=(
            Container(
                "main",
                "web:1",
                mounts=(
                    Mount("scratch", "/data/deep"),
                    Mount("conf", "/data", "sub", read_only=True),
                ),
            ),
        ),
        volumes=(
            Volume("scratch", Medium.MEMORY, 4, 0o2777, 9),
            Volume(
                "conf",
                mode=0o755,
                files=(
                    VolumeFile("a/b", base64.b64encode(data).decode(), 0o400),
                    VolumeFile("empty", ""),
                ),
            ),
        ),
    )
    asked = requests(made)
    assert asked[:2] == [
        (
            "volume.create",
            {
                "name": "scratch",
                "kind": "empty",
                "medium": "memory",
                "mode": 0o2777,
                "size_mib": 4,
                "gid": 9,
            },
        ),
        (
            "volume.create",
            {
                "name": "conf",
                "kind": "empty",
                "medium": "disk",
                "mode": 0o755,
                "upper": {"tmpfs_mib": 32, "tmpfs": "upper"},
            },
        ),
    ]
    writes = [args for op, args in asked if op == "volume.write"]
    assert [(w["path"], w["mode"], w["append"]) for w in writes] == [
        ("a/b", 0o400, False),
        ("a/b", 0o400, True),
        ("a/b", 0o400, True),
        ("empty", 0o644, False),
    ]
    assert b"".join(base64.b64decode(w["data"]) for w in writes) == data
    assert max(len(w["data"]) for w in writes) < 200 * 1024
    assert asked[-1][1]["mounts"] == [
        {"volume": "conf", "path": "/data", "read_only": True, "sub_path": "sub"},
        {"volume": "scratch", "path": "/data/deep", "read_only": False},
    ]


def test_volumes_of_an_image_begin_with_its_content_unless_the_pod_mounts_there():
    declared = with_config(
        volumes=("/data/", "/own", "//twice", "/twice", "relative", "/", "/proc/x")
    )
    made = spec(
        containers=(Container("main", "web:1", mounts=(Mount("v", "/own"),)),),
        volumes=(Volume("v"),),
    )
    asked = requests(made, [declared])
    assert [args["name"] for op, args in asked if op == "volume.create"] == [
        "v",
        "image.0.0",
        "image.0.1",
    ]
    assert asked[-1][1]["mounts"] == [
        {"volume": "image.0.0", "path": "/data", "read_only": False, "copy": True},
        {"volume": "v", "path": "/own", "read_only": False},
        {"volume": "image.0.1", "path": "/twice", "read_only": False, "copy": True},
    ]


def test_the_volume_of_an_only_container_is_on_its_own_disk():
    declared = with_config(volumes=("/data",))
    made = spec(root_gib=1)
    assert requests(made, [declared])[0] == (
        "volume.create",
        {"name": "image.0.0", "kind": "empty", "medium": "disk"},
    )


def test_volumes_of_two_containers_of_one_image_are_different_ones():
    declared = with_config(volumes=("/data",))
    made = spec(containers=(Container("a", "web:1"), Container("b", "web:1")))
    names = [args["name"] for op, args in requests(made, [declared] * 2) if op == "volume.create"]
    assert names == ["image.0.0", "image.1.0"]


def test_an_image_cannot_declare_volumes_without_end():
    declared = with_config(volumes=tuple(f"/v{i}" for i in range(1000)))
    assert len(mounts.of_image(Container("main", "web:1"), declared, 0)) == 64


def test_volumes_of_an_image_leave_room_for_those_of_the_pod():
    declared = with_config(volumes=tuple(f"/v{i}" for i in range(1000)))
    own = tuple(Mount("v", f"/own{i}") for i in range(10))
    made = spec(containers=(Container("main", "web:1", mounts=own),), volumes=(Volume("v"),))
    mounted = create(made, [declared])["mounts"]
    assert len(mounted) == 64
    assert {m["path"] for m in mounted} >= {m.path for m in own}
