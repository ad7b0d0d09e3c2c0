"""The quick start's own code is not installed: it runs from ``tools/``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))


@pytest.fixture
def site(tmp_path):
    from cloud.site import Site

    made = Site(tmp_path / "home")
    made.make_directories()
    return made
