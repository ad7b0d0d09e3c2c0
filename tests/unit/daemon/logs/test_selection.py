"""Which lines of a log are wanted, whatever is asked for."""

import math

import pytest

from nova_hyper.daemon.logs.lines import LogLines
from nova_hyper.daemon.logs.rotated import RotatedFile
from nova_hyper.daemon.logs.selection import Selected, Selection

LOG = b"2026-01-01T00:00:00.000000000Z web stdout F hello\n"


@pytest.mark.parametrize(
    ("since", "count"),
    [(math.inf, 0), (-math.inf, 1), (math.nan, 1), (1e300, 0), (-1e300, 1), (0.0, 1)],
)
def test_a_time_that_no_log_can_hold_is_before_or_after_all_of_it(since, count, tmp_path):
    (tmp_path / "log").write_bytes(LOG)
    log = LogLines(RotatedFile(tmp_path / "log"))
    try:
        assert len(list(Selected(log, Selection(since=since)).read())) == count
    finally:
        log.close()
