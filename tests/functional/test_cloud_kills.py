"""hyperd dies in the middle of an action: the server ends where its user can go on."""

from __future__ import annotations

import random
import time

import pytest

from tests.functional import agreement
from tests.functional.daemon import wait_for

pytestmark = pytest.mark.usefixtures("no_leaks")

SETTLED_S = 200.0
# What a user does with a server that has such a status, to have it ACTIVE again.
WAY_ON = {
    "SHUTOFF": "start",
    "PAUSED": "unpause",
    "SUSPENDED": "resume",
    "ERROR": "reboot",
    "RESCUE": "unrescue",
    "VERIFY_RESIZE": "revert",
    "SHELVED": "unshelve",
    "SHELVED_OFFLOADED": "unshelve",
}
# What is killed in the middle, and what the server has to be for it.
ACTIONS = {
    "stop": "ACTIVE",
    "start": "SHUTOFF",
    "pause": "ACTIVE",
    "unpause": "PAUSED",
    "suspend": "ACTIVE",
    "resume": "SUSPENDED",
    "reboot": "ACTIVE",
    "rebuild": "ACTIVE",
    "rescue": "ACTIVE",
    "unrescue": "RESCUE",
    "resize": "ACTIVE",
    "revert": "VERIFY_RESIZE",
    "shelve": "ACTIVE",
    "unshelve": "SHELVED_OFFLOADED",
}
PREPARATION = {
    "SHUTOFF": "stop",
    "PAUSED": "pause",
    "SUSPENDED": "suspend",
    "RESCUE": "rescue",
    "VERIFY_RESIZE": "resize",
    "SHELVED_OFFLOADED": "shelve",
}


@pytest.fixture
def larger(cloud):
    """A flavor to resize a server of ``hyper.small`` to."""
    made = cloud.compute.create_flavor(name="kills", vcpus=1, ram=320, disk=2)
    cloud.compute.create_flavor_extra_specs(made, {"trait:CUSTOM_HYPER": "required"})
    yield made
    cloud.compute.delete_flavor(made)


@pytest.fixture
def do(cloud, larger):
    """``do("pause", server)``: ask for it, and wait for nothing."""

    def act(action, server):
        if action == "reboot":
            cloud.compute.reboot_server(server, "HARD")
        elif action == "rebuild":
            cloud.compute.rebuild_server(server, image=cloud.image.find_image("busybox").id)
        elif action == "resize":
            cloud.compute.resize_server(server, larger)
        elif action == "revert":
            cloud.compute.revert_server_resize(server)
        else:
            getattr(cloud.compute, f"{action}_server")(server)

    return act


@pytest.fixture
def settled(cloud):
    """``settled(server)``: the server, once nothing is under way with it."""

    def wait(server):
        deadline = time.monotonic() + SETTLED_S
        while (seen := cloud.compute.get_server(server)).task_state is not None:
            assert time.monotonic() < deadline, f"{seen.status}, {seen.task_state} for ever"
            time.sleep(0.3)
        return seen

    return wait


@pytest.fixture
def crash(site, cloud):
    """``crash()``: kill -9 hyperd, and start it again a moment later."""
    from cloud import hyperd, nova, service

    def kill():
        service.kill(site, "hyperd")
        time.sleep(0.5)
        service.bring_up(site, hyperd.definition(site))
        nova.wait_for_node(site, cloud)

    return kill


def test_every_action_can_be_cut_by_the_death_of_hyperd(
    site, cloud, make_server, do, settled, crash
):
    rng = random.Random(4711)
    server = make_server(flavor="hyper.small")

    def reach(status):
        """Bring the server to *status* as a user would, from wherever it is."""
        story = []
        for _ in range(6):
            seen = settled(server)
            story.append(seen.status)
            if seen.status == status:
                return story
            do(WAY_ON[seen.status] if seen.status != "ACTIVE" else PREPARATION[status], server)
            time.sleep(0.2)
        raise AssertionError(f"no way to {status}: {story}; {cloud.compute.get_server(server)}")

    def agrees():
        return not agreement.look(site).complaints(cloud, server, "ACTIVE")

    for action, before in ACTIONS.items():
        reach(before)
        do(action, server)
        time.sleep(rng.uniform(0, 1.5))
        crash()
        story = reach("ACTIVE")
        try:
            # Nova may take a periodic look to learn that a server that is ACTIVE does not run.
            wait_for(agrees, 20, "agreement")
        except AssertionError:
            do("reboot", server)
            reach("ACTIVE")
            wait_for(
                agrees,
                30,
                f"agreement after {action} was cut ({story}): "
                f"{agreement.look(site).complaints(cloud, server, 'ACTIVE')}",
            )
