"""Three separate processes trade while one of them is killed and started again.

The kill is SIGKILL, at the moment a given message has been stored by a given node. The trade must
complete as if nothing had happened: nothing is lost, nothing is done twice.
"""

import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from adapter.demo.folder import BPP, BUYER_METER, DemoFolder, DemoNode, write_folder
from adapter.demo.network import new_ports
from adapter.demo.processes import Processes
from adapter.demo.script import Script, Window
from adapter.domain.instants import format_instant
from adapter.store.audit import audit_sqlite

WAIT_S = 50
"""Longest wait for a step: two rounds of the retry schedule."""
pytestmark = pytest.mark.timeout(180)


class Killable(Processes):
    """Nodes that can be killed, as a power cut would."""

    def kill(self, node: DemoNode) -> None:
        """Kill a node that was started here."""
        process = next(process for one, process in self._running if one == node)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        self._running = [(one, running) for one, running in self._running if one != node]
        if process.stdin is not None:
            process.stdin.close()


@dataclass
class Run:
    """A network with its script."""

    folder: DemoFolder
    processes: Killable
    script: Script

    def start_trade(self, window: Window) -> str:
        """Ask the buyer's app for the trade and return at once."""
        bap = self.folder.nodes["bap"]
        body = {
            "bpp_id": BPP,
            "target_meter_id": BUYER_METER,
            "quantity_kwh": "10",
            "start": format_instant(window.start_ms),
            "end": format_instant(window.end_ms),
        }
        answer = httpx.post(
            f"{bap.base_url}/trades?wait=0",
            json=body,
            headers={"authorization": f"Bearer {bap.application_token}"},
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["transaction_id"])

    def wait_for_message(self, name: str, action: str) -> None:
        """Return as soon as a node has stored a message of that action."""
        query = "SELECT 1 FROM inbox WHERE action = ?"
        self._poll(lambda: bool(self.rows(name, query, action)), f"{name} got no {action}", 0.002)

    def wait_for_status(self, transaction_id: str, status: str) -> None:
        """Return once the buyer's app knows the contract in that status."""

        def reached() -> bool:
            trade = self.script.trade("bap", transaction_id)
            assert trade.get("error") is None, trade["error"]
            return str(trade["status"]) == status

        self._poll(reached, f"the trade is not {status}", 0.1)

    def _poll(self, done: Callable[[], bool], why: str, pause_s: float) -> None:
        end = time.monotonic() + WAIT_S
        while not done():
            assert time.monotonic() < end, why
            time.sleep(pause_s)

    def rows(self, name: str, query: str, *values: object) -> list[tuple[object, ...]]:
        """Return rows of a node's database."""
        uri = f"{self.folder.nodes[name].database.as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            return connection.execute(query, values).fetchall()

    def kill_and_restart(self, name: str) -> None:
        """Kill a node and start it again."""
        node = self.folder.nodes[name]
        self.processes.kill(node)
        self.processes.start(node)
        self.processes.wait_until_ready()


@contextmanager
def network(path: Path) -> Iterator[Run]:
    """Give a running network whose ledger is set up and whose seller has an offer."""
    folder = write_folder(path, new_ports())
    with Killable() as processes:
        for node in folder.nodes.values():
            processes.start(node)
        processes.wait_until_ready()
        with Script(folder, lambda who, what: None) as script:
            script.set_up()
            yield Run(folder, processes, script)


def finish(run: Run, transaction_id: str, window: Window) -> None:
    """Deliver, settle, and check that everything happened exactly once."""
    run.script.pass_window(window)
    run.script.submit_readings(window)
    run.wait_for_status(transaction_id, "COMPLETED")
    check_everything_happened_once(run)


def check_everything_happened_once(run: Run) -> None:
    # 20.00 - 1.50 - 0.25 = 18.25
    assert run.script.balances() == {
        "buyer-1": {"GRID": "10", "USD": "18.25"},
        "seller-1": {"GRID": "0", "USD": "1.50"},
        "grid.operator.example": {"GRID": "0", "USD": "0.25"},
    }
    database = run.folder.nodes["grid_operator"].database
    run.processes.stop()
    audit = audit_sqlite(database)
    assert audit.verdict.ok, audit.verdict
    calls = Counter(
        str(function)
        for (function,) in run.rows(
            "grid_operator", "SELECT json_extract(body, '$.function') FROM ledger_entries"
        )
    )
    once = ("create_agreement", "accept_agreement", "deliver_energy", "settle_payment")
    assert {name: calls[name] for name in once} == dict.fromkeys(once, 1)
    left = {
        name: run.rows(name, "SELECT action, state FROM outbox WHERE state <> 'SENT'")
        for name in ("bap", "bpp", "grid_operator")
    }
    assert left == {"bap": [], "bpp": [], "grid_operator": []}
    states = [
        str(state)
        for name in ("bap", "bpp", "grid_operator")
        for (state,) in run.rows(name, "SELECT state FROM trade")
    ]
    assert states == ["COMPLETED"] * 3


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
