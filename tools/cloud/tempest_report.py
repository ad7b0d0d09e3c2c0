"""What came of a run of Tempest, from the subunit stream that it leaves."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import subunit
import testtools

PASSED = ("success", "xfail")
NO_REASON = "no reason given"


@dataclasses.dataclass(frozen=True)
class Result:
    """One test, or the setup of one class when that was skipped or failed."""

    name: str
    status: str
    reason: str = ""
    """Why it was skipped."""


def read(stream: Path) -> list[Result]:
    """Return the results in the subunit version 2 file *stream*, which may not be there."""
    results: list[Result] = []

    def take(test: Mapping[str, Any]) -> None:
        # Attributes follow the name in brackets.
        name = re.sub(r"\[[^]]*\]$", "", test["id"])
        reason = test["details"].get("reason")
        text = reason.as_text().strip() if reason else ""
        # One reason for all classes that say it of themselves.
        text = re.sub(r"^\w*Test\w* skipped as ", "", text)
        results.append(Result(name, test["status"], text))

    if not stream.exists():
        return results
    collector = testtools.StreamToDict(take)
    with stream.open("rb") as source:
        collector.startTestRun()
        subunit.ByteStreamToStreamResult(source, non_subunit_name="stdout").run(collector)
        collector.stopTestRun()
    return [result for result in results if result.status != "exists"]


def exclusions(file: Path) -> dict[str, str]:
    """Return the tests that *file* excludes, each with the reason; stestr reads the same file."""
    found = {}
    for line in file.read_text().splitlines():
        name, _, reason = line.partition("#")
        if name.strip():
            found[name.strip()] = reason.strip()
    return found


def summary(stream: Path, excluded: Path, tests: str) -> str:
    """Return what is to be said about the run of the *tests* that *stream* is of."""
    return describe(read(stream), exclusions(excluded), tests)


def describe(results: Sequence[Result], excluded: Mapping[str, str], tests: str) -> str:
    """Return the counts, and who failed, was skipped or excluded, and why.

    *tests* are the regular expressions that chose the tests; what is excluded
    and would not have been chosen is left out.
    """
    skipped: dict[str, list[str]] = collections.defaultdict(list)
    for result in results:
        if result.status == "skip":
            skipped[result.reason or NO_REASON].append(result.name)
    for name, reason in excluded.items():
        if any(re.search(pattern, name) for pattern in tests.split()):
            skipped[f"excluded: {reason}"].append(name)
    passed = [result for result in results if result.status in PASSED]
    failed = [result for result in results if result.status not in (*PASSED, "skip")]
    count = sum(len(names) for names in skipped.values())
    lines = [
        f"{len(passed) + len(failed)} run: {len(passed)} passed, {len(failed)} failed. "
        f"{count} skipped (a class that is skipped counts as one)."
    ]
    if failed:
        lines += ["", "Failed:", *(f"    {result.name}" for result in failed)]
    if skipped:
        lines += ["", "Skipped:"]
        for reason, names in sorted(skipped.items(), key=lambda entry: (-len(entry[1]), entry[0])):
            lines.append(f"{len(names):4} {reason}")
            lines += [f"         {name}" for name in sorted(names)]
    return "\n".join(lines)
