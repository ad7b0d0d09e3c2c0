"""The daemon's core on fakes."""

from __future__ import annotations

import os

import pytest

from tests.unit.daemon.core import Core


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """What is waited for in vain, only for a moment."""
    monkeypatch.setattr("nova_hyper.daemon.pods.service._CUT_S", 0.01)
    monkeypatch.setattr("nova_hyper.daemon.pods.sandbox._POWER_OFF_S", 0.05)


@pytest.fixture
def core(tmp_path, monkeypatch):
    """A core that libvirt has been reached by, without the monitor's threads."""
    # No power cut is tested here, and the machine's disk may be busy.
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda _descriptor: None)
    made = Core(tmp_path)
    made.monitor.reconcile()
    return made


@pytest.fixture
def watched(core):
    """The same with the monitor's threads at work."""
    core.monitor.start()
    yield core
    core.monitor.stop()
