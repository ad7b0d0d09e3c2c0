"""Many servers come and go: nothing grows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# HYPER_CYCLES=50 is what a release is tested with.
CYCLES = int(os.environ.get("HYPER_CYCLES", "20"))
WARM_UP = 8
"""Cycles after which caches are full and pools have their size."""

MAX_GROWTH_KIB = 4096


@pytest.mark.timeout(1200)
def test_many_servers_leave_nothing_and_nothing_grows(site, cloud, no_leaks, make_server):
    from cloud import service

    hyperd = Path("/proc") / str(service.running_pid(site, "hyperd"))
    seen = []
    for _ in range(CYCLES):
        server = make_server()
        cloud.compute.delete_server(server)
        cloud.compute.wait_for_delete(server, interval=0.1)
        seen.append((_rss_kib(hyperd), len(list((hyperd / "fd").iterdir()))))
    rss, files = zip(*seen[WARM_UP:], strict=True)
    # Compared in the middle of each half, so that one garbage collection decides nothing.
    half = len(rss) // 2
    early, late = sorted(rss[:half])[half // 2], sorted(rss[half:])[half // 2]
    assert late - early < MAX_GROWTH_KIB, rss
    assert max(files[half:]) <= max(files[:half]), files


def _rss_kib(process):
    status = (process / "status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
