"""Readings, disputes and evidence over HTTP, as head-ends, platforms and regulators send them."""

import base64
import struct
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapter.domain.instants import EPOCH_MS, parse_instant
from adapter.protocol import strict_json
from adapter.protocol.signature import Signer
from adapter.settlement import reading_bytes
from adapter.settlement.contracts.reading_blocks import block_bytes
from tests.fakes.network import (
    BAP,
    BPP,
    GRID,
    HOSTS,
    SELLER_METER,
    START,
    offer,
    plan,
    signers_of,
)
from tests.fakes.readings import submit_readings
from tests.fakes.web import Web, error_of, json_of, open_web

WINDOW = {"dispute_window_s": 3_600}


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    """A network with a trade of 10 kWh; the ledger stands an hour of disputes."""
    async with open_web(tmp_path, ledger=WINDOW) as opened:
        await traded(opened)
        yield opened


async def traded(web: Web) -> None:
    await web.network.bpp.catalogue.publish(offer())
    await web.network.bap.originator.start_trade(plan())
    await web.network.deliver()


async def post(web: Web, actor: str, function: str, **args: Any) -> httpx.Response:
    """Return the answer to a call by an operator's token."""
    headers = web.operators[actor] | {"Idempotency-Key": f"{function}-{len(str(args))}"}
    return await web.grid.post(f"/contracts/{function}", json=args, headers=headers)


async def get(web: Web, actor: str, function: str, **args: str) -> Any:
    url = f"/contracts/{function}"
    answer = await web.grid.get(url, params=args, headers=web.operators[actor])
    assert answer.status_code == 200, answer.text
    return json_of(answer)["result"]


async def signed(
    web: Web, name: str, behalf: str, function: str, args: Mapping[str, Any]
) -> httpx.Response:
    """Return the answer to a call that a participant signed for a user."""
    contract, short = function.split("/")
    body = {"command_id": f"s-{short}", "contract": contract, "function": short, "args": args}
    raw = strict_json.encode({**body, "on_behalf_of": behalf})
    now_s = web.network.clock.now_ms() // 1_000
    header = signers_of(HOSTS)[name].header(raw, created_s=now_s, expires_s=now_s + 60)
    headers = {"Authorization": header, "Content-Type": "application/json"}
    return await web.grid.post(f"/contracts/{function}", content=raw, headers=headers)


def reading(key: Signer, start: int, generated: str) -> dict[str, Any]:
    data: dict[str, Any] = {
        "meter_id": SELLER_METER,
        "start": start,
        "end": start + EPOCH_MS,
        "generated": generated,
        "consumed": "0",
    }
    signature = base64.b64encode(key.sign_bytes(reading_bytes(data))).decode()
    return data | {"signature": signature}


async def test_a_reading_is_asked_for_and_brought(web: Web) -> None:
    web.network.clock.move_to("2026-03-02T08:31:00Z")
    asked = await post(web, "headend", "oracle/request_energy_data", meter_id=SELLER_METER)
    assert json_of(asked)["result"]["request_no"] == 1
    (pending,) = await get(web, "headend", "oracle/get_pending_requests")
    assert (pending["meter_id"], pending["interval"]) == (SELLER_METER, parse_instant(START))
    data = reading(web.network.meter_keys[SELLER_METER], pending["interval"], "2.5")
    brought = await post(
        web, "headend", "oracle/fulfill_energy_data", request_no=1, meter_data=data
    )
    (event,) = [e for e in json_of(brought)["events"] if e["name"] == "EnergyDataFulfilled"]
    assert (event["request_no"], event["tokens_minted"]) == (1, "2.5")
    assert await get(web, "headend", "oracle/get_pending_requests") == []


async def test_a_block_of_readings_is_brought(web: Web) -> None:
    web.network.clock.move_to("2026-03-02T09:20:00Z")
    first = parse_instant(START) // EPOCH_MS
    rows = b"".join(struct.pack("<qqqq", 2, first + i, 2_500_000, 0) for i in range(4))
    key = web.network.meter_keys[SELLER_METER]
    args = {
        "block": base64.b64encode(rows).decode(),
        "signature": base64.b64encode(key.sign_bytes(block_bytes(GRID, rows))).decode(),
    }
    answer = await post(web, "headend", "oracle/submit_readings", **args)
    assert json_of(answer)["result"] == {"rows": 4, "stored": 4}
    assert await web.network.balance("sun", "GRID") == "10"
    refused = await post(web, "rec", "oracle/submit_readings", **args)
    assert (refused.status_code, error_of(refused)["code"]) == (403, "NOT_ORACLE_OPERATOR")


async def test_a_dispute_is_raised_and_resolved(web: Web) -> None:
    web.network.clock.move_to("2026-03-02T09:20:00Z")
    await submit_readings(web.network, generated="2", consumed="2.5")
    await web.network.tick()
    claim = {"transaction_no": 1, "claimed_quantity": "8", "reason": "roof was in shade"}
    raised = await signed(web, BAP, "bob", "agreements/dispute_transaction", claim)
    assert raised.status_code == 200, raised.text
    refused = await signed(web, BPP, "sun", "agreements/dispute_transaction", claim)
    assert (refused.status_code, error_of(refused)["code"]) == (409, "TRANSACTION_DISPUTED")
    resolved = await post(
        web, "rec", "agreements/resolve_dispute", transaction_no=1, outcome="AMEND", quantity="8"
    )
    names = [event["name"] for event in json_of(resolved)["events"]]
    assert names[0] == "DisputeResolved"
    assert await web.network.balance("sun", "USD") == "1.20"
    prices = {"price": "true", "import_price": "0.30", "export_price": "0.05"}
    found = await get(web, "rec", "agreements/get_deviations", meter=SELLER_METER, **prices)
    # 8 paid and 8 generated, so nothing was bought in its place.
    (preview,) = found["preview"]
    assert (preview["seller"], preview["seller_utility"]) == ("1.20", "0.00")


async def test_evidence_travels_as_text_in_the_body(tmp_path: Path) -> None:
    async with open_web(tmp_path, allowance="0") as web:
        await traded(web)
        bodies = [b for url, b in web.network.wire.log if HOSTS[BPP] in url and "/confirm" in url]
        now_s = web.network.clock.now_ms() // 1_000
        signer = signers_of(HOSTS)[BAP]
        header = signer.header(bodies[-1], created_s=now_s, expires_s=now_s + 300)
        evidence = {"authorization": header, "body": bodies[-1].decode()}
        args = {"agreement_no": 1, "evidence": evidence}
        answer = await signed(web, BPP, "sun", "agreements/accept_agreement", args)
        assert answer.status_code == 200, answer.text
        assert json_of(answer)["events"][0]["held"] == "1.75"


async def test_the_new_functions_are_listed_with_their_arguments(web: Web) -> None:
    listed = json_of(await web.grid.get("/contracts"))["contracts"]
    names = {row["name"] for contract in ("oracle", "agreements") for row in listed[contract]}
    assert names >= {
        *("request_energy_data", "fulfill_energy_data", "fail_request", "fund_oracle"),
        *("submit_readings", "correct_reading", "confirm_correction"),
        *("get_request", "get_pending_requests", "get_oracle_balance", "get_correction"),
        *("dispute_transaction", "resolve_dispute", "get_deviations"),
    }
