"""`/offers` of a market: publish, list, withdraw, and what is refused."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapter.transport.token_files import Scope, add_token
from adapter.web.app import create_app
from adapter.web.ending import Ending
from tests.fakes.market import Market, open_market
from tests.fakes.web import error_of, json_of, offer_body


def market_body(**changes: Any) -> dict[str, Any]:
    """Return the body of a market from 09:00 to 10:00; the clock stands at 08:00."""
    base = {
        "offer_id": "market-1",
        "market_making_fee": "0.03",
        "currency": "EUR",
        "delivery_start": "2026-03-02T09:00:00Z",
        "delivery_end": "2026-03-02T10:00:00Z",
    }
    return base | changes


async def client_of(market: Market, folder: Path) -> httpx.AsyncClient:
    tokens = folder / "tokens.yaml"
    token = add_token(tokens, Scope.APPLICATION)
    access = market.node.settings.access.model_copy(update={"tokens_file": tokens})
    market.node.settings = market.node.settings.model_copy(update={"access": access})
    transport = httpx.ASGITransport(create_app(market.node, Ending()))
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(transport=transport, base_url="http://node", headers=headers)


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    market = await open_market(tmp_path)
    await market.node.catalogue.withdraw("market-9")
    async with await client_of(market, tmp_path) as client:
        yield client
    await market.close()


async def test_a_published_market_is_listed_with_its_gate(web: httpx.AsyncClient) -> None:
    published = await web.post("/offers", json=market_body())
    assert published.status_code == 201, published.text
    expected = {
        "offer_id": "market-1",
        "market_making_fee": "0.03",
        "currency": "EUR",
        "delivery_start": "2026-03-02T09:00:00Z",
        "delivery_end": "2026-03-02T10:00:00Z",
        "gate_closure": "2026-03-02T08:45:00Z",
        "fee_treatment": "SYMMETRIC",
        "maximum_participants": 100,
        "created": "2026-03-02T08:00:00Z",
    }
    assert json_of(published) == expected
    assert json_of(await web.get("/offers")) == {"offers": [expected]}


async def test_what_is_given_counts(web: httpx.AsyncClient) -> None:
    given = {
        "market_making_fee": 0,
        "gate_closure": "2026-03-02T09:15:00+01:00",
        "fee_treatment": "BUYER_ONLY",
        "maximum_participants": 7,
        "valid_from": "2026-03-02T08:01:00Z",
    }
    shown = json_of(await web.post("/offers", json=market_body(**given)))
    assert shown["gate_closure"] == "2026-03-02T08:15:00Z"
    assert shown["market_making_fee"] == "0.00"
    assert (shown["fee_treatment"], shown["maximum_participants"]) == ("BUYER_ONLY", 7)
    assert shown["valid_from"] == "2026-03-02T08:01:00Z"


async def test_the_same_market_again_changes_nothing_and_another_is_refused(
    web: httpx.AsyncClient,
) -> None:
    first = await web.post("/offers", json=market_body())
    again = await web.post("/offers", json=market_body())
    assert (again.status_code, again.content) == (201, first.content)
    refused = await web.post("/offers", json=market_body(market_making_fee="0.04"))
    assert (refused.status_code, error_of(refused)["code"]) == (409, "BIZ_UPDATE_INCONSISTENT")


async def test_a_withdrawn_market_is_gone(web: httpx.AsyncClient) -> None:
    await web.post("/offers", json=market_body())
    assert (await web.delete("/offers/market-1")).status_code == 204
    assert json_of(await web.get("/offers")) == {"offers": []}
    assert error_of(await web.delete("/offers/market-1"))["code"] == "BIZ_OFFER_NOT_FOUND"


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"delivery_start": "2026-03-02T09:05:00Z"}, "SCH_INVALID_FORMAT", "$.delivery_start"),
    ({"delivery_end": "2026-03-02T10:00:01Z"}, "SCH_INVALID_FORMAT", "$.delivery_end"),
    ({"delivery_end": "2026-03-02T09:00:00Z"}, "SCH_INVALID_FORMAT", "$"),
    ({"gate_closure": "2026-03-02T08:50:00Z"}, "SCH_INVALID_FORMAT", "$.gate_closure"),
    ({"gate_closure": "2026-03-02T09:00:00Z"}, "SCH_INVALID_FORMAT", "$"),
    ({"gate_closure": "2026-03-02T08:00:00Z"}, "SCH_INVALID_FORMAT", "$.gate_closure"),
    ({"gate_closure": "2026-03-02T07:45:00Z"}, "SCH_INVALID_FORMAT", "$.gate_closure"),
    ({"valid_from": "2026-03-02T08:45:00Z"}, "SCH_INVALID_FORMAT", "$"),
    ({"market_making_fee": "-0.01"}, "SCH_INVALID_FORMAT", "$.market_making_fee"),
    ({"currency": "eur"}, "SCH_INVALID_FORMAT", "$.currency"),
    ({"fee_treatment": "SELLER_ONLY"}, "SCH_INVALID_ENUM", "$.fee_treatment"),
    ({"maximum_participants": 101}, "SCH_INVALID_FORMAT", "$.maximum_participants"),
    ({"maximum_participants": 1}, "SCH_INVALID_FORMAT", "$.maximum_participants"),
    ({"source_meter_id": "m-1"}, "SCH_FIELD_NOT_ALLOWED", "$.source_meter_id"),
]


@pytest.mark.parametrize(("changes", "code", "path"), REFUSED)
async def test_a_market_is_refused_with_code_and_path(
    web: httpx.AsyncClient, changes: dict[str, Any], code: str, path: str
) -> None:
    refused = await web.post("/offers", json=market_body(**changes))
    assert refused.status_code == 400, refused.text
    error = error_of(refused)
    assert (error["code"], error["details"]["path"]) == (code, path), error


async def test_a_market_sells_no_energy_of_its_own(web: httpx.AsyncClient) -> None:
    refused = await web.post("/offers", json=offer_body())
    assert refused.status_code == 400


async def test_a_node_of_both_roles_reads_a_body_by_its_fee(tmp_path: Path) -> None:
    market = await open_market(tmp_path, cascades=False, roles=["bpp", "market"])
    async with await client_of(market, tmp_path) as web:
        for body in (market_body(), offer_body()):
            assert (await web.post("/offers", json=body)).status_code == 201
        shown = json_of(await web.get("/offers"))["offers"]
    assert [one["offer_id"] for one in shown] == ["market-9", "market-1", "roof-7"]
    await market.close()
