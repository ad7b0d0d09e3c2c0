from __future__ import annotations

import pytest
import subunit

from cloud import tempest_report
from cloud.tempest_report import Result, describe, exclusions, read


@pytest.fixture
def stream(tmp_path):
    """``stream((id, status, reason), ...)``: a file as ``stestr last --subunit`` writes it."""

    def write(*tests):
        file = tmp_path / "results.subunit"
        with file.open("wb") as out:
            result = subunit.StreamResultToBytes(out)
            for name, status, reason in tests:
                result.status(test_id=name, test_status="inprogress")
                if reason:
                    result.status(
                        test_id=name,
                        file_name="reason",
                        file_bytes=reason.encode(),
                        mime_type="text/plain;charset=utf8",
                        eof=True,
                    )
                result.status(test_id=name, test_status=status)
        return file

    return write


def test_results_have_names_without_attributes_and_the_reason_of_a_skip(stream):
    file = stream(
        ("a.Test.test_one[id-1,smoke]", "success", ""),
        ("setUpClass (a.B)", "skip", "Interface attachment is not available."),
    )
    assert read(file) == [
        Result("a.Test.test_one", "success"),
        Result("setUpClass (a.B)", "skip", "Interface attachment is not available."),
    ]


def test_what_classes_say_of_themselves_is_one_reason(stream):
    file = stream(
        ("setUpClass (a.OneTest)", "skip", "OneTest skipped as live-migration is not available"),
        ("setUpClass (a.TestTwo)", "skip", "TestTwo skipped as live-migration is not available"),
    )
    assert {result.reason for result in read(file)} == {"live-migration is not available"}


def test_a_test_that_never_ended_has_failed(stream, tmp_path):
    file = tmp_path / "cut"
    whole = stream(("a.test", "success", "")).read_bytes()
    with file.open("wb") as out:
        result = subunit.StreamResultToBytes(out)
        result.status(test_id="b.test", test_status="inprogress")
    file.write_bytes(whole + file.read_bytes())
    assert describe(read(file), {}, "").startswith("2 run: 1 passed, 1 failed.")


def test_there_may_be_no_results(tmp_path):
    assert read(tmp_path / "none") == []
    (tmp_path / "empty").touch()
    assert read(tmp_path / "empty") == []


def test_the_summary_counts_and_groups_by_reason():
    results = [
        Result("a.test_one", "success"),
        Result("a.test_two", "fail"),
        Result("a.test_three", "uxsuccess"),
        Result("b.test_four", "skip", "no volumes"),
        Result("c.test_five", "skip", "no screen"),
        Result("b.test_six", "skip", "no volumes"),
    ]
    assert describe(results, {}, "a").splitlines() == [
        "3 run: 1 passed, 2 failed. 3 skipped (a class that is skipped counts as one).",
        "",
        "Failed:",
        "    a.test_two",
        "    a.test_three",
        "",
        "Skipped:",
        "   2 no volumes",
        "         b.test_four",
        "         b.test_six",
        "   1 no screen",
        "         c.test_five",
    ]


def test_what_is_excluded_counts_as_skipped_where_it_would_have_run():
    excluded = {"servers.Test.test_bios": "a pod has no BIOS", "images.Test.test_x": "other"}
    text = describe([], excluded, r"^servers\. nothing")
    assert "1 skipped" in text
    assert "   1 excluded: a pod has no BIOS" in text
    assert "other" not in text


def test_the_file_of_exclusions_has_comments(tmp_path):
    file = tmp_path / "exclude.txt"
    file.write_text("# why\n\na.b.test  # a pod has no BIOS\n")
    assert exclusions(file) == {"a.b.test": "a pod has no BIOS"}


def test_the_summary_of_a_run_is_of_its_files(stream, tmp_path):
    exclude = tmp_path / "exclude.txt"
    exclude.write_text("a.test_b # no BIOS\n")
    text = tempest_report.summary(stream(("a.test", "success", "")), exclude, "a")
    assert text.startswith("1 run: 1 passed, 0 failed. 1 skipped")
