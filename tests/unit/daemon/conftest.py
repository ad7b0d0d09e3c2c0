"""The daemon's core on fakes."""

from __future__ import annotations

import pytest

from tests.unit.daemon.fakes import Core


@pytest.fixture
def core(tmp_path):
    """A core that libvirt has been reached by, without the monitor's threads."""
    made = Core(tmp_path)
    made.monitor.reconcile()
    return made


@pytest.fixture
def watched(core):
    """The same with the monitor's threads at work."""
    core.monitor.start()
    yield core
    core.monitor.stop()
