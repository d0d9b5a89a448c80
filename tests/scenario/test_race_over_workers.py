"""Many buyers at once over real HTTP, each participant being several processes on PostgreSQL.

In the build 60 buyers against a cap of 15 kWh; with P2PTRADE_LONG=1 200 against 50, and four
workers for everybody.
"""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from adapter.demo.folder import (
    BPP,
    BUYER_METER,
    GRID_OPERATOR,
    SELLER_METER,
    TREASURER,
    DemoFolder,
    DemoNode,
    write_folder,
)
from adapter.demo.network import new_ports
from adapter.demo.purchase_script import PurchaseScript
from adapter.domain.instants import format_instant
from adapter.domain.quantities import to_text
from adapter.store.audit import audit_database
from tests.fakes.postgres import PostgresServer
from tests.fakes.processes import Killable, Run

pytestmark = pytest.mark.timeout(400)

IS_LONG = os.environ.get("P2PTRADE_LONG") == "1"
BUYERS, CAP_KWH = (200, 50) if IS_LONG else (60, 15)
WORKERS = {"bap": 4, "bpp": 4, "grid_operator": 4} if IS_LONG else {"bpp": 2, "grid_operator": 4}
PER_KWH_MICRO = 175_000
"""0.15 of the seller and 0.025 for the wheels, which the buyer's cash is held for."""


class Several(Killable):
    """Nodes of as many processes as WORKERS says."""

    def start(self, node: DemoNode) -> None:
        count = WORKERS.get(node.name, 1)
        command = [sys.executable, "-m", "adapter", "serve", "--config", str(node.config)]
        own = {name: text for name, text in os.environ.items() if not name.startswith("P2PTRADE_")}
        with node.log.open("ab") as log:
            process = subprocess.Popen(
                [*command, "--workers", str(count), "--until-stdin-closes"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=own,
                start_new_session=True,
            )
        self._running.append((node, process))


def on_postgres(folder: DemoFolder, stack: ExitStack, server: PostgresServer) -> str:
    """Give each participant a database on the server; return the grid operator's."""
    urls = {}
    for name in ("bap", "bpp", "grid_operator"):
        urls[name] = stack.enter_context(server.lent())
        file = folder.nodes[name].config
        document = yaml.safe_load(file.read_text())
        file.write_text(yaml.safe_dump(document | {"database": {"url": urls[name]}}))
    return urls["grid_operator"]


def widen(run: Run) -> None:
    """Leave the seller's meter CAP_KWH and the buyer plenty of everything."""
    for meter, side, cap in ((SELLER_METER, "SELL", str(CAP_KWH)), (BUYER_METER, "BUY", "1000")):
        args = {"meter_id": meter, "side": side, "cap": cap}
        run.call(GRID_OPERATOR, "registry", "set_trade_cap", args)
    deposit = {"to": "buyer-1", "amount": "1000", "external_reference": "bank-2"}
    run.call(TREASURER, "token", "deposit", deposit)
    delta = {"spender": "network", "delta": "1000", "asset": "USD"}
    run.call_as_bap("token", "increase_allowance", delta, on_behalf_of="buyer-1")


async def buy_all(run: Run, body: dict[str, Any]) -> list[httpx.Response]:
    bap = run.folder.nodes["bap"]
    headers = {"authorization": f"Bearer {bap.application_token}"}
    limits = httpx.Limits(max_connections=BUYERS)
    async with httpx.AsyncClient(timeout=300, limits=limits, trust_env=False) as client:
        url = f"{bap.base_url}/trades?wait=250"
        asked = (client.post(url, json=body, headers=headers) for _ in range(BUYERS))
        return await asyncio.gather(*asked)


async def test_exactly_as_many_get_the_last_kilowatt_hours_as_there_are(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    with ExitStack() as stack:
        folder = write_folder(tmp_path, new_ports())
        ledger = on_postgres(folder, stack, postgres_server)
        processes = stack.enter_context(Several())
        for node in folder.nodes.values():
            processes.start(node)
        processes.wait_until_ready()
        script = stack.enter_context(PurchaseScript(folder, lambda who, what: None))
        script.set_up()
        run = Run(folder, processes, script)
        widen(run)
        window = script.window()
        run.publish_offer(window, available_kwh="500")
        body = {
            "bpp_id": BPP,
            "target_meter_id": BUYER_METER,
            "quantity_kwh": "1",
            "start": format_instant(window.start_ms),
            "end": format_instant(window.end_ms),
        }
        seen = Counter(
            (one.status_code, one.json()["status"], one.json().get("error", {}).get("code"))
            for one in await buy_all(run, body)
        )
        assert seen == {
            (201, "ACTIVE", None): CAP_KWH,
            (409, "PENDING", "BIZ_QUANTITY_UNAVAILABLE"): BUYERS - CAP_KWH,
        }
        caps = run.read("registry", "get_trade_caps", {"meter_id": SELLER_METER})["SELL"]
        assert (caps["total"], caps["reserved"], caps["room"]) == (str(CAP_KWH), "0", "0")
        held = run.read("token", "balance_of", {"user": "buyer-1", "asset": "USD"})["held"]
        assert held == to_text(CAP_KWH * PER_KWH_MICRO)
        processes.stop()
        audit = audit_database(ledger)
        assert audit.verdict.ok, audit.verdict.why
