"""The support matrix claims nothing that no test shows."""

from __future__ import annotations

import ast
import configparser
import re
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
DRIVER = "hyper-x86"
_TEST = re.compile(r"tests/functional/(\w+\.py)::(\w+)")


def rows():
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(REPO / "doc/source/support-matrix.ini")
    return {name: parser[name] for name in parser.sections() if not name.startswith("driver.")}


NAMED = [
    (row, *found)
    for row, values in rows().items()
    for found in _TEST.findall(values.get(f"driver-notes.{DRIVER}", ""))
]


@pytest.mark.parametrize(("row", "module", "test"), NAMED)
def test_a_test_that_a_row_names_exists(row, module, test):
    tree = ast.parse((REPO / "tests/functional" / module).read_text())
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert test in defined, f"{row} names {module}::{test}"


@pytest.mark.parametrize(
    "row", ["pause", "unpause", "suspend", "resume", "snapshot", "trigger-crash-dump"]
)
def test_an_action_is_complete_by_a_test(row):
    values = rows()[f"operation.{row}"]
    assert values[f"driver.{DRIVER}"] == "complete"
    assert _TEST.search(values[f"driver-notes.{DRIVER}"])
