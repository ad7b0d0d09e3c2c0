"""Many users at once, doing what they may: in the end everything on the node agrees."""

from __future__ import annotations

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.functional import agreement

pytestmark = pytest.mark.usefixtures("no_leaks")

# HYPER_STRESS_ACTIONS=200 is what a release is tested with.
ACTIONS = int(os.environ.get("HYPER_STRESS_ACTIONS", "60"))
SEED = int(os.environ.get("HYPER_STRESS_SEED", "2026"))
SERVERS = 5
SETTLED_S = 120.0

# What may be done to a server with a status, and the status that it has then.
LEGAL = {
    "ACTIVE": {
        "stop": "SHUTOFF",
        "pause": "PAUSED",
        "suspend": "SUSPENDED",
        "soft_reboot": "ACTIVE",
        "hard_reboot": "ACTIVE",
        "rebuild": "ACTIVE",
        "lock": "ACTIVE",
        "snapshot": "ACTIVE",
        "rescue": "RESCUE",
        "shelve": "SHELVED_OFFLOADED",
        "resize": "VERIFY_RESIZE",
    },
    "SHUTOFF": {
        "start": "ACTIVE",
        "hard_reboot": "ACTIVE",
        "rebuild": "SHUTOFF",
        "snapshot": "SHUTOFF",
        "shelve": "SHELVED_OFFLOADED",
    },
    "RESCUE": {"unrescue": "ACTIVE"},
    "SHELVED_OFFLOADED": {"unshelve": "ACTIVE"},
    "VERIFY_RESIZE": {"confirm": "ACTIVE", "revert": "ACTIVE"},
    "PAUSED": {"unpause": "ACTIVE", "hard_reboot": "ACTIVE"},
    "SUSPENDED": {"resume": "ACTIVE", "hard_reboot": "ACTIVE"},
}


class Actor:
    """One user with one server; ``log`` has what was done."""

    def __init__(self, cloud, server, image, flavors, rng):
        self._cloud = cloud
        self._image = image
        self._flavors = flavors
        self._rng = rng
        self.server = server
        self.status = "ACTIVE"
        self.log = ["create"]

    def act(self):
        """Do something legal, chosen at random, and wait until it is done."""
        action = self._rng.choice(sorted(LEGAL[self.status]))
        self.log.append(action)
        getattr(self, f"_{action}")()
        self._settle(LEGAL[self.status][action])

    def _settle(self, status):
        deadline = time.monotonic() + SETTLED_S
        while (seen := self._cloud.compute.get_server(self.server)).status != status or (
            seen.task_state is not None
        ):
            assert time.monotonic() < deadline and seen.status != "ERROR", (
                f"{self.log}: {seen.status}, {seen.task_state}, {seen.fault}"
            )
            time.sleep(0.3)
        self.status = status

    def _stop(self):
        self._cloud.compute.stop_server(self.server)

    def _start(self):
        self._cloud.compute.start_server(self.server)

    def _pause(self):
        self._cloud.compute.pause_server(self.server)

    def _unpause(self):
        self._cloud.compute.unpause_server(self.server)

    def _suspend(self):
        self._cloud.compute.suspend_server(self.server)

    def _resume(self):
        self._cloud.compute.resume_server(self.server)

    def _soft_reboot(self):
        self._cloud.compute.reboot_server(self.server, "SOFT")

    def _hard_reboot(self):
        self._cloud.compute.reboot_server(self.server, "HARD")

    def _rebuild(self):
        self._cloud.compute.rebuild_server(self.server, image=self._image)

    def _snapshot(self):
        self._cloud.compute.create_server_image(self.server, f"{self.server.name}-image")

    def _rescue(self):
        self._cloud.compute.rescue_server(self.server)

    def _unrescue(self):
        self._cloud.compute.unrescue_server(self.server)

    def _shelve(self):
        self._cloud.compute.shelve_server(self.server)

    def _unshelve(self):
        self._cloud.compute.unshelve_server(self.server)

    def _resize(self):
        name = self._cloud.compute.get_server(self.server).flavor.original_name
        other = next(flavor for flavor in self._flavors if flavor.name != name)
        self._cloud.compute.resize_server(self.server, other)

    def _confirm(self):
        self._cloud.compute.confirm_server_resize(self.server)

    def _revert(self):
        self._cloud.compute.revert_server_resize(self.server)

    def _lock(self):
        self._cloud.compute.lock_server(self.server)
        self._cloud.compute.unlock_server(self.server)


@pytest.fixture
def flavors(cloud):
    """Two flavors to go between, with the same disk."""
    small = cloud.compute.find_flavor("hyper.small", ignore_missing=False)
    other = cloud.compute.create_flavor(name="stress", vcpus=2, ram=128, disk=small.disk)
    cloud.compute.create_flavor_extra_specs(other, {"trait:CUSTOM_HYPER": "required"})
    yield small, other
    cloud.compute.delete_flavor(other)


@pytest.fixture
def no_images(cloud):
    """Remove the images that were made of the servers."""
    yield
    for image in cloud.image.images():
        if image.name.startswith("stress-"):
            cloud.image.delete_image(image)


@pytest.mark.timeout(1800)
def test_random_actions_leave_everything_in_agreement(
    site, cloud, no_images, flavors, make_server
):
    rng = random.Random(SEED)
    image = cloud.image.find_image("busybox").id
    made = [
        make_server(wait=False, name=f"stress-{n}", flavor="hyper.small") for n in range(SERVERS)
    ]
    servers = [cloud.compute.wait_for_server(s, wait=180, interval=0.3) for s in made]
    actors = [Actor(cloud, s, image, flavors, random.Random(rng.random())) for s in servers]

    def live(actor):
        for _ in range(ACTIONS // SERVERS):
            actor.act()

    with ThreadPoolExecutor(SERVERS) as pool:
        for done in [pool.submit(live, actor) for actor in actors]:
            done.result()
    deadline = time.monotonic() + 30
    while True:
        views = agreement.look(site)
        complaints = [c for a in actors for c in views.complaints(cloud, a.server, a.status)]
        if not complaints:
            return
        assert time.monotonic() < deadline, (complaints, [a.log for a in actors])
        time.sleep(1)
