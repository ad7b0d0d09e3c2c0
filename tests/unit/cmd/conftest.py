"""hyperctl with a hyperd in memory."""

from __future__ import annotations

import dataclasses
import sys

import pytest

from nova_hyper.cmd import hyperctl
from tests.unit.fake_hyperd import FakeHyperd


@dataclasses.dataclass
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def hyperd():
    return FakeHyperd()


@pytest.fixture
def ctl(hyperd, monkeypatch, capfdbinary):
    """Run hyperctl with these arguments."""
    monkeypatch.setattr(hyperctl, "HyperClient", lambda *_args: hyperd)
    monkeypatch.setattr("nova_hyper.cmd.ctl.run._POLL_S", 0.005)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["hyperctl", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            hyperctl.main()
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        return Result(ended.value.code, out.decode(), err.decode())

    return run


@pytest.fixture
def image(hyperd):
    return hyperd.import_image("web:1", [b"archive"])
