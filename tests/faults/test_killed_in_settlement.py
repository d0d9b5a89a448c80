"""One of three processes is killed while the trade is being delivered and settled."""

from pathlib import Path

import pytest

from tests.fakes.processes import check_everything_happened_once, network

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("victim", ["bap", "bpp", "grid_operator"])
def test_settlement_outlives_the_kill_of(victim: str, tmp_path: Path) -> None:
    with network(tmp_path) as run:
        window = run.script.window()
        run.script.offer(window)
        transaction_id = run.start_trade(window)
        run.wait_for_status(transaction_id, "ACTIVE")
        run.script.pass_window(window)
        run.script.submit_readings(window)
        run.wait_for_message("bpp", "on_status")
        run.kill_and_restart(victim)
        run.wait_for_status(transaction_id, "COMPLETED")
        check_everything_happened_once(run)
