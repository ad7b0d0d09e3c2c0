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
    },
    "SHUTOFF": {"start": "ACTIVE", "hard_reboot": "ACTIVE", "rebuild": "SHUTOFF"},
    "PAUSED": {"unpause": "ACTIVE", "hard_reboot": "ACTIVE"},
    "SUSPENDED": {"resume": "ACTIVE", "hard_reboot": "ACTIVE"},
}


class Actor:
    """One user with one server; ``log`` has what was done."""

    def __init__(self, cloud, server, image, rng):
        self._cloud = cloud
        self._image = image
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

    def _lock(self):
        self._cloud.compute.lock_server(self.server)
        self._cloud.compute.unlock_server(self.server)


def test_random_actions_leave_everything_in_agreement(site, cloud, make_server):
    rng = random.Random(SEED)
    image = cloud.image.find_image("busybox").id
    made = [make_server(wait=False, name=f"stress-{n}") for n in range(SERVERS)]
    servers = [cloud.compute.wait_for_server(s, wait=180, interval=0.3) for s in made]
    actors = [Actor(cloud, s, image, random.Random(rng.random())) for s in servers]

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
