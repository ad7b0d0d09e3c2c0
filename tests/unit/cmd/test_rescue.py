"""hyperctl's verbs for rescue."""

from __future__ import annotations

import pytest

from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import ContainerFailed
from nova_hyper.spec.pod import PodSpec, PodState

POD_ID = "d7a5e1f0-0000-4000-8000-000000000001"


@pytest.fixture
def pod(hyperd, image):
    hyperd.import_image("tools", [b"other archive"])
    hyperd.create_pod(PodSpec(POD_ID, "web", (Container("main", image.id),), root_gib=1))
    return hyperd.start_pod(POD_ID)


def test_a_pod_is_stopped_rescued_and_itself_again(ctl, hyperd, pod):
    assert ctl("rescue", "--image", "tools", "web").out == "web\n"
    found = hyperd.pod("web")
    assert (found.state, found.containers[0].image) == (PodState.RUNNING, "tools")
    assert ctl("unrescue", "web").code == 0
    found = hyperd.pod("web")
    assert (found.state, found.rescued, found.spec) == (PodState.RUNNING, None, pod.spec)


def test_an_image_that_does_not_start_ends_the_rescue(ctl, hyperd, pod):
    hyperd.fail_next["start_pod"] = ContainerFailed("container rescue: no such command")
    failed = ctl("rescue", "--image", "tools", "web")
    assert failed.code == 1
    assert "no such command (pod web is out of rescue, and stopped)" in failed.err
    assert hyperd.pod("web").rescued is None


def test_what_cannot_be_rescued_is_said_before_anything_is_stopped(ctl, hyperd, image):
    hyperd.create_pod(PodSpec(POD_ID, "web", (Container("main", image.id),)))
    hyperd.start_pod(POD_ID)
    refused = ctl("rescue", "web")
    assert refused.code == 1
    assert "has its root in memory" in refused.err
    assert hyperd.pod("web").state is PodState.RUNNING
    assert "is not in rescue" in ctl("unrescue", "web").err
