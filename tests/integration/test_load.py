"""The load test in short: whole trades through three processes, settled, and everything adds up."""

from pathlib import Path

import pytest

from bench.load import Load, run

pytestmark = pytest.mark.timeout(180)
SHORT = Load(seconds=2, rate=8, in_flight=8, round_s=1, homes=2)


def test_whole_trades_through_three_processes_add_up(tmp_path: Path) -> None:
    """Two delivery windows; `run` itself compares states, balances, ledger and outboxes."""
    result = run(SHORT, tmp_path)
    assert len(result["rounds"]) == 2
    assert result["trades"] == sum(one["trades"] for one in result["rounds"]) >= 2
    assert (result["ledger_verified"], result["unsent"]) == (True, 0)
