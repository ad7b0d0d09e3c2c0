"""What an agent is too old for."""

from __future__ import annotations

import pytest

from nova_hyper.daemon.pods import features
from nova_hyper.spec.container import Container, Resources, Security
from nova_hyper.spec.errors import GuestFailed
from nova_hyper.spec.pod import HostAlias, PodState, RestartPolicy
from nova_hyper.spec.probe import ExecCheck, Probe, Probes
from nova_hyper.spec.volume import Volume
from tests.unit.daemon.fakes import ALL_FEATURES, spec

OLD = frozenset(("clock", "entropy"))
TWO = (Container("a", "web:1"), Container("b", "web:1"))


def one(**changes):
    return {"containers": (Container("main", "web:1", **changes),)}


NEEDS = [
    ({"containers": TWO}, "volumes", "several containers"),
    ({"volumes": (Volume("v"),)}, "volumes", "volumes"),
    ({"init_containers": TWO[:1]}, "supervise", "init containers"),
    ({"restart_policy": RestartPolicy.ALWAYS}, "supervise", "restarting containers"),
    ({"sysctls": {"a.b": "1"}}, "sysctls", "sysctls"),
    ({"host_aliases": (HostAlias("1.2.3.4", ("a",)),)}, "sysctls", "host aliases"),
    (one(probes=Probes(liveness=Probe(exec=ExecCheck(("x",))))), "supervise", "probes"),
    (one(resources=Resources(pids=1)), "resources", "limits of containers"),
    (one(security=Security(read_only_root=True)), "security", "security contexts"),
    ({"config_drive": True}, "setup", "config drives"),
    (one(stdin=True), "streams", "standard input"),
    (one(tty=True), "streams", "terminals"),
]


@pytest.mark.parametrize(("changes", "feature", "what"), NEEDS)
def test_a_pod_is_refused_when_the_agent_cannot_do_what_it_asks_for(changes, feature, what):
    made = spec(**changes)
    with pytest.raises(GuestFailed) as caught:
        features.check(made, ALL_FEATURES - {feature})
    assert what in caught.value.message
    assert "hyperctl guest build" in caught.value.message
    features.check(made, ALL_FEATURES)


def test_a_disk_that_has_grown_needs_an_agent_that_grows_file_systems():
    with pytest.raises(GuestFailed, match="too old for disks that have become larger"):
        features.check(spec(), ALL_FEATURES - {"grow"}, grown=True)
    features.check(spec(), ALL_FEATURES, grown=True)


def test_a_rescue_is_refused_when_the_agent_cannot_mount_the_roots_of_others():
    with pytest.raises(GuestFailed, match="too old for rescuing pods"):
        features.check(spec(), ALL_FEATURES - {features.ROOTS}, rescue=True)
    features.check(spec(), ALL_FEATURES, rescue=True)


def test_a_plain_pod_runs_on_any_agent():
    features.check(spec(), OLD)
    features.check(
        spec(containers=(Container("main", "web:1", security=Security(non_root=True)),)), OLD
    )


def test_nothing_is_left_of_a_pod_whose_agent_is_too_old(core):
    core.guests.features = OLD
    with pytest.raises(GuestFailed, match="too old for volumes and several containers"):
        core.pods.create(spec(containers=TWO))
    assert core.left() == []


def test_an_older_agent_starts_its_containers_one_by_one(core):
    core.guests.features = OLD
    core.pods.create(spec())
    assert core.pods.start("web").state is PodState.RUNNING
    assert core.agent().asked[-1] == "container.start"
