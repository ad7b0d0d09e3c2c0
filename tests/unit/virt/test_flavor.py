"""What a flavor's extra specs say of a pod."""

from __future__ import annotations

import pytest

from nova_hyper.spec.pod import RestartPolicy
from nova_hyper.spec.tuning import (
    Bandwidth,
    CpuLimits,
    CpuTopology,
    DiskLimits,
    NicLimits,
    Rng,
    Tuning,
)
from nova_hyper.virt import flavor as module
from tests.unit.virt.instances import flavor, image_meta

PLAIN = Tuning(topology=CpuTopology(1, 1, 1))


def problems(**specs):
    return list(module.problems(flavor(extra_specs=_keys(specs)), image_meta()))


def tuning(vcpus=1, **specs):
    wanted = flavor(vcpus=vcpus, extra_specs=_keys(specs))
    return module.tuning(wanted, image_meta())


def _keys(specs):
    return {key.replace("__", ":"): value for key, value in specs.items()}


def test_a_flavor_without_extra_specs_limits_nothing():
    assert problems() == []
    assert tuning() == PLAIN
    assert module.restart_policy(flavor()) is None
    assert module.termination_grace(flavor()) is None
    assert module.ephemeral_path(flavor()) == "/mnt"


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        (
            {
                "quota__cpu_shares": "256",
                "quota__cpu_period": "20000",
                "quota__cpu_quota": "10000",
            },
            Tuning(CpuLimits(256, 20000, 10000), PLAIN.topology),
        ),
        ({"quota__cpu_quota": "-5"}, Tuning(CpuLimits(quota_us=-1), PLAIN.topology)),
        ({"quota__cpu_period": "0", "quota__cpu_shares": "0"}, PLAIN),
        (
            {"quota__disk_read_bytes_sec": "1048576", "quota__disk_total_iops_sec": "50"},
            Tuning(
                topology=PLAIN.topology, disk=DiskLimits(read_bytes_sec=1 << 20, total_iops_sec=50)
            ),
        ),
        ({"quota__disk_write_iops_sec": "0"}, PLAIN),
        (
            {
                "quota__vif_inbound_average": "100",
                "quota__vif_inbound_peak": "200",
                "quota__vif_inbound_burst": "300",
                "quota__vif_outbound_average": "400",
            },
            Tuning(
                topology=PLAIN.topology,
                nic=NicLimits(Bandwidth(100, 200, 300), Bandwidth(400)),
            ),
        ),
        ({"hw_rng__allowed": "False"}, Tuning(topology=PLAIN.topology, rng=Rng(enabled=False))),
        (
            {"hw_rng__rate_bytes": "2048", "hw_rng__rate_period": "1000"},
            Tuning(topology=PLAIN.topology, rng=Rng(True, 2048, 1000)),
        ),
    ],
)
def test_what_is_honoured(specs, expected):
    assert problems(**specs) == []
    assert tuning(**specs) == expected


def test_several_cpus_may_each_have_a_queue():
    assert tuning(2, hw__vif_multiqueue_enabled="true").multiqueue
    assert not tuning(2).multiqueue


@pytest.mark.parametrize(
    ("specs", "topology"),
    [
        ({}, CpuTopology(4, 1, 1)),
        ({"hw__cpu_sockets": "1"}, CpuTopology(1, 4, 1)),
        ({"hw__cpu_sockets": "1", "hw__cpu_threads": "2"}, CpuTopology(1, 2, 2)),
        ({"hw__cpu_max_sockets": "2"}, CpuTopology(2, 2, 1)),
    ],
)
def test_the_topology_is_what_nova_computes(specs, topology):
    assert problems(**specs) == []
    assert tuning(4, **specs).topology == topology


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("quota:cpu_shares", "1", "not from 2 to 262144"),
        ("quota:cpu_shares", "many", "not a whole number"),
        ("quota:cpu_period", "999", "not from 1000"),
        ("quota:cpu_quota", "10", "not from 1000"),
        ("quota:disk_read_bytes_sec", "-1", "not from 1"),
        ("quota:vif_inbound_average", "1.5", "not a whole number"),
        ("hw_rng:allowed", "perhaps", "neither true nor false"),
        ("hyper:restart_policy", "sometimes", "must be one of always, on-failure, never"),
        ("hyper:termination_grace", "-1", "not from 0 to 86400"),
        ("hyper:termination_grace", "soon", "not a whole number"),
        ("hyper:ephemeral_path", "data", "not an absolute path"),
        ("hyper:console", "vnc", "must be one of auto, attach, shell"),
        ("hyper:unknown", "1", "not for pods"),
        ("hw:serial_port_count", "2", "not for pods"),
        ("quota:cpu_limit", "100", "not for pods"),
        ("hw:pmu", "true", "not for pods"),
        ("hw:tpm_version", "2.0", "not for pods"),
        ("hw:watchdog_action", "reset", "not for pods"),
        ("hw:mem_encryption", "1", "not for pods"),
        ("hw_video:ram_max_mb", "16", "not for pods"),
        ("os:secure_boot", "required", "not for pods"),
    ],
)
def test_what_is_refused_is_named(key, value, sentence):
    (problem,) = module.problems(flavor(extra_specs={key: value}), image_meta())
    assert key in problem
    assert sentence in problem
    assert "choose" in problem


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("trait:CUSTOM_HYPER", "required"),
        ("resources:CUSTOM_X", "1"),
        ("aggregate_instance_extra_specs:ssd", "true"),
        ("capabilities:hypervisor_type", "hyper"),
        ("nameless", "x"),
        ("hw:pmu", "false"),
        ("hw:watchdog_action", "disabled"),
        ("hw:serial_port_count", "1"),
        ("hw:cpu_policy", "shared"),
        ("os:secure_boot", "optional"),
    ],
)
def test_what_asks_a_pod_for_nothing_is_fine(key, value):
    assert not list(module.problems(flavor(extra_specs={key: value}), image_meta()))


def test_our_own_say_how_containers_are_restarted_stopped_and_given_disks():
    wanted = flavor(
        extra_specs={
            "hyper:restart_policy": "on-failure",
            "hyper:termination_grace": "90",
            "hyper:ephemeral_path": "/srv/scratch",
        }
    )
    assert not list(module.problems(wanted, image_meta()))
    assert module.restart_policy(wanted) is RestartPolicy.ON_FAILURE
    assert module.termination_grace(wanted) == 90.0
    assert module.ephemeral_path(wanted) == "/srv/scratch"
