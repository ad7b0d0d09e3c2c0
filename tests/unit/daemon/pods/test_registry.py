"""The pods in memory."""

from __future__ import annotations

import pytest

from nova_hyper.daemon.pods.registry import Registry
from nova_hyper.spec.errors import PodExists, PodNotFound
from nova_hyper.spec.pod import Pod, PodState
from tests.unit.daemon.fakes import OTHER_ID, POD_ID, spec


def pod(*args, **changes):
    return Pod(spec(*args, **changes), PodState.READY, ())


@pytest.fixture
def registry():
    made = Registry()
    made.add(pod())
    made.add(pod(OTHER_ID, "other"))
    return made


@pytest.mark.parametrize(
    ("ref", "found"),
    [
        (POD_ID, POD_ID),
        (OTHER_ID, OTHER_ID),
        ("web", POD_ID),
        ("other", OTHER_ID),
        (OTHER_ID[:36], OTHER_ID),
    ],
)
def test_a_pod_is_found_by_id_or_name(registry, ref, found):
    assert registry.get(ref).id == found


def test_a_beginning_that_is_unique_is_enough(registry):
    registry.add(pod("aa000000-0000-4000-8000-000000000001", "third"))
    assert registry.get("aa").id.startswith("aa")


def test_a_beginning_of_several_ids_is_not(registry):
    with pytest.raises(PodNotFound, match="beginning of 2 pod ids"):
        registry.get(POD_ID[:8])


@pytest.mark.parametrize("ref", ["", "nginx", "WEB", POD_ID + "0", POD_ID[1:]])
def test_anything_else_is_not_found(registry, ref):
    with pytest.raises(PodNotFound, match="there is no pod"):
        registry.get(ref)


def test_a_name_that_looks_like_an_id_does_not_hide_the_id(registry):
    registry.add(pod("aa000000-0000-4000-8000-000000000001", POD_ID))
    assert registry.get(POD_ID).pod.spec.name == "web"


def test_a_claim_gives_what_there_is(registry):
    entry, new = registry.claim(pod())
    assert not new
    assert entry is registry.get("web")


def test_a_claim_of_another_spec_or_name_is_refused(registry):
    with pytest.raises(PodExists):
        registry.claim(pod(memory_mib=65))
    with pytest.raises(PodExists, match=OTHER_ID):
        registry.claim(pod("aa000000-0000-4000-8000-000000000001", "other"))
    assert len(registry) == 2


def test_a_dropped_entry_is_gone_for_who_waits_for_it(registry):
    entry = registry.get("web")
    registry.drop(entry)
    assert entry.gone
    assert registry.find(POD_ID) is None
    again, new = registry.claim(pod())
    assert new
    registry.drop(entry)  # the old one: not its successor
    assert registry.find(POD_ID) is again


def test_it_can_change_while_it_is_iterated(registry):
    for entry in registry:
        registry.drop(entry)
    assert len(registry) == 0
