"""The support matrix has Nova's rows, and claims nothing that no test shows."""

from __future__ import annotations

import ast
import configparser
import re
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
DRIVER = "hyper-x86"
_TEST = re.compile(r"\bTest: tests/functional/(\w+\.py)::(\w+)\.")
# The rows of doc/source/user/support-matrix.ini in Nova's repository at 34.0.0, which its wheel
# does not have.
NOVAS = Path(__file__).with_name("nova_support_matrix.txt").read_text().split()
STATES = ("complete", "partial", "missing")


def rows():
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(REPO / "doc/source/support-matrix.ini")
    return {name: parser[name] for name in parser.sections() if not name.startswith("driver.")}


ROWS = rows()
NOTES = {row: values.get(f"driver-notes.{DRIVER}", "") for row, values in ROWS.items()}
NAMED = [(row, *found) for row, notes in NOTES.items() for found in _TEST.findall(notes)]


def test_the_rows_are_those_of_nova():
    assert sorted(ROWS) == sorted(NOVAS)


@pytest.mark.parametrize("row", NOVAS)
def test_a_row_says_whether_there_is_such_a_thing(row):
    assert ROWS[row][f"driver.{DRIVER}"] in STATES
    assert ROWS[row]["title"]
    assert ROWS[row]["status"]


@pytest.mark.parametrize(("row", "module", "test"), NAMED)
def test_a_test_that_a_row_names_exists(row, module, test):
    tree = ast.parse((REPO / "tests/functional" / module).read_text())
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert test in defined, f"{row} names {module}::{test}"


@pytest.mark.parametrize(
    "row", [row for row, values in ROWS.items() if values[f"driver.{DRIVER}"] == "complete"]
)
def test_a_row_is_complete_by_a_test_on_the_cloud(row):
    tests = _TEST.findall(NOTES[row])
    assert any(module.startswith("test_cloud") for module, _ in tests), NOTES[row]


@pytest.mark.parametrize(
    "row", [row for row, values in ROWS.items() if values[f"driver.{DRIVER}"] == "partial"]
)
def test_a_row_that_is_partial_says_what_there_is(row):
    assert NOTES[row]
