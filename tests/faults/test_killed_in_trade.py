"""Three separate processes trade while one of them is killed and started again.

The kill is SIGKILL, at the moment a given message has been stored by a given node. The trade must
complete as if nothing had happened: nothing is lost, nothing is done twice.
"""

from pathlib import Path

import pytest

from tests.fakes.processes import finish, network

pytestmark = pytest.mark.timeout(300)


def test_three_processes_trade_from_discover_to_settled_balances(tmp_path: Path) -> None:
    with network(tmp_path) as run:
        window = run.script.window()
        run.script.offer(window)
        transaction_id = run.start_trade(window)
        run.wait_for_status(transaction_id, "ACTIVE")
        finish(run, transaction_id, window)


@pytest.mark.parametrize(
    ("victim", "watched", "action"),
    [
        pytest.param("bap", "bpp", "init", id="the buyer's app once its init is stored"),
        pytest.param("bap", "bpp", "confirm", id="the buyer's app once its confirm is stored"),
        pytest.param("bpp", "bpp", "init", id="the platform once it stored the init"),
        pytest.param("bpp", "grid_operator", "confirm", id="the platform in its cascade"),
        pytest.param("grid_operator", "grid_operator", "init", id="the operator having reserved"),
        pytest.param("grid_operator", "grid_operator", "confirm", id="the operator having agreed"),
    ],
)
def test_a_trade_outlives_the_kill_of(
    victim: str, watched: str, action: str, tmp_path: Path
) -> None:
    with network(tmp_path) as run:
        window = run.script.window()
        run.script.offer(window)
        transaction_id = run.start_trade(window)
        run.wait_for_message(watched, action)
        run.kill_and_restart(victim)
        run.wait_for_status(transaction_id, "ACTIVE")
        finish(run, transaction_id, window)
