"""A hundred buyers at once, over real HTTP between real processes."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapter.demo.folder import BPP, BUYER_METER, GRID_OPERATOR, SELLER_METER, TREASURER
from adapter.domain.instants import format_instant
from tests.fakes.processes import Run, network

BUYERS = 100
pytestmark = pytest.mark.timeout(180)


def widen(run: Run) -> None:
    """Leave the seller's meter 45 kWh and the buyer plenty of everything."""
    for meter, side, cap in ((SELLER_METER, "SELL", "45"), (BUYER_METER, "BUY", "1000")):
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
    async with httpx.AsyncClient(timeout=120, limits=limits, trust_env=False) as client:
        url = f"{bap.base_url}/trades?wait=100"
        asked = (client.post(url, json=body, headers=headers) for _ in range(BUYERS))
        return await asyncio.gather(*asked)


async def test_exactly_45_of_100_buyers_become_active_and_the_sums_agree(tmp_path: Path) -> None:
    with network(tmp_path) as run:
        widen(run)
        window = run.script.window()
        run.publish_offer(window, available_kwh="500")
        body = {
            "bpp_id": BPP,
            "target_meter_id": BUYER_METER,
            "quantity_kwh": "1",
            "start": format_instant(window.start_ms),
            "end": format_instant(window.end_ms),
        }
        answers = await buy_all(run, body)
        seen = Counter(
            (one.status_code, one.json()["status"], one.json().get("error", {}).get("code"))
            for one in answers
        )
        assert seen == {
            (201, "ACTIVE", None): 45,
            (409, "PENDING", "BIZ_QUANTITY_UNAVAILABLE"): 55,
        }
        caps = run.read("registry", "get_trade_caps", {"meter_id": SELLER_METER})["SELL"]
        assert (caps["total"], caps["reserved"], caps["room"]) == ("45", "0", "0")
        held = run.read("token", "balance_of", {"user": "buyer-1", "asset": "USD"})["held"]
        assert held == "7.875"  # 45 x (0.15 + 0.025)
