"""Five processes trade in a market whose node is killed around its gate and started again.

The kill is SIGKILL. Everybody must get what the market cleared, once.
"""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from adapter.demo.folder import write_folder
from adapter.demo.market_script import MarketScript
from adapter.demo.modes import Mode
from adapter.demo.network import new_ports
from adapter.store.audit import audit_sqlite
from tests.fakes.processes import WAIT_S, Killable

pytestmark = pytest.mark.timeout(180)


class Gate(MarketScript):
    """The script with something that happens around the gate."""

    before: Callable[[], None] = staticmethod(lambda: None)
    after: Callable[[], None] = staticmethod(lambda: None)

    def pass_instant(self, instant_ms: int) -> None:
        """Move the clock behind an instant; the first is the gate."""
        before, self.before = self.before, lambda: None
        after, self.after = self.after, lambda: None
        before()
        super().pass_instant(instant_ms)
        after()


def rows(database: Path, query: str) -> list[tuple[object, ...]]:
    """Return rows of a node's database."""
    uri = f"{database.as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        return connection.execute(query).fetchall()


def until(done: Callable[[], bool], why: str) -> None:
    end = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < end, why
        time.sleep(0.002)


@pytest.mark.parametrize("when", ["before its gate", "once the operator has its confirm"])
def test_a_market_outlives_a_kill(when: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, new_ports(Mode.MARKET))
    market, grid = folder.nodes["market"], folder.nodes["grid_operator"]
    with Killable() as processes:
        for node in folder.nodes.values():
            processes.start(node)
        processes.wait_until_ready()

        def confirmed() -> bool:
            return bool(rows(grid.database, "SELECT 1 FROM inbox WHERE action = 'confirm'"))

        def restart() -> None:
            if when != "before its gate":
                until(confirmed, "the operator got no confirm")
                processes.kill(market)
            processes.start(market)
            processes.wait_until_ready()

        with Gate(folder, lambda who, what: None) as script:
            script.set_up()
            window = script.window()
            script.offer(window)
            if when == "before its gate":
                script.before = lambda: processes.kill(market)
            script.after = restart
            transaction_id = script.buy(window)
            script.pass_window(window)
            script.submit_readings(window)
            script.wait_until_completed(transaction_id)
            held = script.balances()
        # 10 kWh at 0.15, fee 0.03 on both sides, wheeling 0.025 twice
        assert {user: amounts["USD"] for user, amounts in held.items()} == {
            "buyer-1": "18.20",
            "seller-1": "1.20",
            "market.example": "20.10",
            "grid.operator.example": "0.50",
        }
        processes.stop()
        assert audit_sqlite(grid.database).verdict.ok
        asked = rows(market.database, "SELECT action FROM outbox WHERE side = 'market_session'")
        assert sorted(str(action) for (action,) in asked) == ["confirm", "init", "init"]
        states = rows(market.database, "SELECT DISTINCT state FROM trade")
        assert states == [("COMPLETED",)]
