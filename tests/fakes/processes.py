"""A demo network of real processes that a test may kill and look into."""

import os
import signal
import sqlite3
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from adapter.demo.folder import (
    BPP,
    BUYER_METER,
    REGULATOR,
    SELLER_METER,
    DemoFolder,
    DemoNode,
    write_folder,
)
from adapter.demo.network import new_ports
from adapter.demo.processes import Processes
from adapter.demo.purchase_script import PurchaseScript
from adapter.demo.session import Window
from adapter.domain.instants import format_instant
from adapter.store.audit import audit_sqlite
from adapter.transport.node_client import NodeClient

WAIT_S = 100
"""Longest wait for a step: a slow start of a node, and what is sent again after it."""
TTL = "PT2M"
"""Life of a request, so that it outlives the restart of a node on a slow machine too."""


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
    script: PurchaseScript

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
            timeout=WAIT_S,
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["transaction_id"])

    def call(self, actor: str, contract: str, function: str, args: Mapping[str, Any]) -> None:
        """Call the contract layer with an operator's token."""
        grid = self.folder.nodes["grid_operator"]
        with NodeClient(grid.base_url, token=grid.operator_tokens[actor]) as client:
            client.call(contract, function, args, command_id=f"test-{uuid.uuid4()}")

    def call_as_bap(
        self, contract: str, function: str, args: Mapping[str, Any], *, on_behalf_of: str
    ) -> None:
        """Call the contract layer, signed with the buyer's app's own key."""
        grid = self.folder.nodes["grid_operator"]
        with NodeClient(grid.base_url, signer=self.folder.bap_signer) as client:
            command_id = f"test-{uuid.uuid4()}"
            client.call(contract, function, args, command_id=command_id, on_behalf_of=on_behalf_of)

    def read(self, contract: str, function: str, args: Mapping[str, str]) -> Any:
        """Return the result of a read, as the regulator sees it."""
        grid = self.folder.nodes["grid_operator"]
        with NodeClient(grid.base_url, token=grid.operator_tokens[REGULATOR]) as client:
            return client.read(contract, function, args)["result"]

    def publish_offer(self, window: Window, *, available_kwh: str) -> None:
        """Publish energy of the seller's meter at 0.15."""
        bpp = self.folder.nodes["bpp"]
        body = {
            "offer_id": "roof-7",
            "source_meter_id": SELLER_METER,
            "source_type": "SOLAR",
            "available_kwh": available_kwh,
            "price_per_kwh": "0.15",
            "currency": "USD",
            "production_start": format_instant(window.start_ms),
            "production_end": format_instant(window.end_ms),
        }
        headers = {"authorization": f"Bearer {bpp.application_token}"}
        answer = httpx.post(f"{bpp.base_url}/offers", json=body, headers=headers, timeout=WAIT_S)
        assert answer.status_code == 201, answer.text

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
    for node in folder.nodes.values():
        document = yaml.safe_load(node.config.read_text())
        document["protocol"] = document.get("protocol", {}) | {"ttl": TTL}
        node.config.write_text(yaml.safe_dump(document))
    with Killable() as processes:
        for node in folder.nodes.values():
            processes.start(node)
        processes.wait_until_ready()
        with PurchaseScript(folder, lambda who, what: None) as script:
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
