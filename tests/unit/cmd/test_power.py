"""hyperctl's verbs for pods that stand still."""

from __future__ import annotations

import json

import pytest

from nova_hyper.spec.container import Container
from nova_hyper.spec.nic import Nic, NicKind
from nova_hyper.spec.pod import PodSpec, PodState

POD_ID = "d7a5e1f0-0000-4000-8000-000000000001"


@pytest.fixture
def pod(hyperd, image):
    nic = Nic("fa:16:3e:00:00:01", NicKind.BRIDGE, bridge="br0")
    hyperd.create_pod(PodSpec(POD_ID, "web", (Container("main", image.id),), nics=(nic,)))
    return hyperd.start_pod(POD_ID)


@pytest.mark.parametrize(
    ("there", "still", "back"),
    [("pause", PodState.PAUSED, "unpause"), ("suspend", PodState.SUSPENDED, "resume")],
)
def test_a_pod_stands_still_and_goes_on(ctl, hyperd, pod, there, still, back):
    assert ctl(there, "web").out == "web\n"
    assert hyperd.pod("web").state is still
    assert still.value in ctl("ps").out
    assert ctl(back, "web").code == 0
    assert hyperd.pod("web").state is PodState.RUNNING


@pytest.mark.parametrize("verb", ["pause", "suspend"])
def test_a_pod_that_stands_still_is_removed_by_force_only(ctl, hyperd, pod, verb):
    ctl(verb, "web")
    refused = ctl("rm", "web")
    assert refused.code == 1
    assert f"is {hyperd.pod('web').state}; stop it first, or use rm -f" in refused.err
    assert ctl("rm", "-f", "web").code == 0


def test_a_crash_dump_is_asked_for(ctl, hyperd, pod):
    assert ctl("crash-dump", "web").code == 0
    assert "crash_pod" in hyperd.calls


def test_diagnostics_are_a_table_or_the_api(ctl, pod):
    table = ctl("diagnostics", "web").out
    assert "20 MiB of 64 MiB" in table
    assert "4.0 KiB read, 0 B written" in table
    assert "fa:16:3e:00:00:01" in table
    shown = json.loads(ctl("diagnostics", "-o", "json", "web").out)
    assert shown["memory"]["used_mib"] == 20
