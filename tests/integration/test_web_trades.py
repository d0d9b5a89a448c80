"""`/trades`: one call from discover to confirm, and reading trades."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.network import BAP, BPP, GRID
from tests.fakes.web import Web, error_of, json_of, offer_body, open_web, purchase_body


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    async with open_web(tmp_path) as opened:
        await opened.bpp.post("/offers", json=offer_body())
        yield opened


async def bought(web: Web, **changes: Any) -> dict[str, Any]:
    """Return the document of a confirmed trade."""
    answer = await web.pumped(web.bap.post("/trades", json=purchase_body(**changes)))
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = json_of(answer)
    return document


async def test_a_purchase_answers_with_the_confirmed_contract(web: Web) -> None:
    trade = await bought(web)
    assert trade["status"] == "ACTIVE"
    assert trade["contract_id"] == trade["contract"]["contractId"]
    assert trade["flows"] == [
        {
            "from": "BUYER",
            "to": "SELLER",
            "formula": "roles.BUYER.roleInputs.contractedQuantity"
            " × roles.SELLER.roleInputs.pricePerKWh",
            "bound": True,
            "amount": "1.50",  # 10 x 0.15
            "currency": "USD",
        },
        {
            "from": "BUYER",
            "to": "GRID_OPERATOR",
            "formula": "roles.BUYER.roleInputs.contractedQuantity"
            " × roles.GRID_OPERATOR.roleInputs.wheelingCharges",
            "bound": True,
            "amount": "0.25",  # 10 x 0.025
            "currency": "USD",
        },
    ]
    again = await web.bap.get(f"/trades/{trade['transaction_id']}")
    assert (again.status_code, json_of(again)) == (200, trade)


async def test_a_purchase_that_ends_its_wait_goes_on(web: Web) -> None:
    answer = await web.bap.post("/trades?wait=0", json=purchase_body())
    assert answer.status_code == 202
    pending = json_of(answer)
    assert (pending["status"], pending["contract"]) == ("PENDING", None)
    await web.network.deliver()
    later = json_of(await web.bap.get(f"/trades/{pending['transaction_id']}"))
    assert later["status"] == "ACTIVE"


async def test_the_end_of_the_process_ends_the_wait(web: Web) -> None:
    request = asyncio.ensure_future(web.bap.post("/trades?wait=300", json=purchase_body()))
    while not web.network.bap.waiters._events:
        await asyncio.sleep(0)
    web.endings[BAP].begin()
    answer = await request
    assert answer.status_code == 202
    assert json_of(answer)["status"] == "PENDING"


async def test_what_the_network_refuses_is_409_with_the_document_and_its_error(web: Web) -> None:
    answer = await web.pumped(web.bap.post("/trades", json=purchase_body(quantity_kwh=41)))
    assert answer.status_code == 409
    trade = json_of(answer)
    assert trade["error"]["code"] == "BIZ_OFFER_NOT_FOUND"  # 41 kWh wanted, 40 offered
    assert trade["contract"] is None
    assert trade["transaction_id"]


async def test_a_cap_of_the_grid_operator_is_409_with_its_cause(web: Web) -> None:
    answer = await web.pumped(
        web.bap.post("/trades", json=purchase_body(target_meter_id="meter-unknown"))
    )
    assert answer.status_code == 409
    assert json_of(answer)["error"]["code"].startswith("BIZ_")


async def test_the_price_limit_of_a_purchase_holds(web: Web) -> None:
    answer = await web.pumped(
        web.bap.post("/trades", json=purchase_body(max_price_per_kwh="0.149999"))
    )
    assert answer.status_code == 409
    assert (await bought(web, max_price_per_kwh="0.15"))["status"] == "ACTIVE"


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"quantity_kwh": 0}, "SCH_INVALID_FORMAT", "$.quantity_kwh"),
    ({"quantity_kwh": "ten"}, "SCH_INVALID_FORMAT", "$.quantity_kwh"),
    ({"end": "2026-03-02T08:15:00Z"}, "SCH_INVALID_FORMAT", "$"),
    ({"start": 5}, "SCH_INVALID_FORMAT", "$.start"),
    ({"bpp_id": "a b"}, "SCH_INVALID_FORMAT", "$.bpp_id"),
    ({"source_type": "' || true"}, "SCH_INVALID_ENUM", "$.source_type"),
    ({"target_meter_id": ""}, "SCH_INVALID_FORMAT", "$.target_meter_id"),
    ({"bpp_id": "nobody.example"}, "CTX_INVALID_FIELD", "$.bpp_id"),
]


async def test_a_purchase_is_refused_with_code_and_path(web: Web) -> None:
    for changes, code, path in REFUSED:
        refused = await web.bap.post("/trades", json=purchase_body(**changes))
        assert refused.status_code == 400, changes
        error = error_of(refused)
        assert (error["code"], error["details"]["path"]) == (code, path), changes
    assert json_of(await web.bap.get("/trades")) == {"trades": [], "next": None}


@pytest.mark.parametrize("wait", ["-1", "301", "soon", "1.5"])
async def test_a_wait_out_of_bounds_is_refused(web: Web, wait: str) -> None:
    refused = await web.bap.post(f"/trades?wait={wait}", json=purchase_body())
    assert refused.status_code == 400
    assert error_of(refused)["details"]["path"] == "$query.wait"


async def test_only_a_buyers_platform_buys(web: Web) -> None:
    refused = await web.bpp.post("/trades", json=purchase_body())
    assert refused.status_code == 404
    assert error_of(refused)["code"] == "NET_NOT_IMPLEMENTED"


async def test_an_unknown_trade_is_not_found(web: Web) -> None:
    for path in ("/trades/nothing", "/trades/nothing/messages"):
        refused = await web.bap.get(path)
        assert refused.status_code == 404
        assert error_of(refused)["code"] == "BIZ_ORDER_NOT_FOUND"


async def test_trades_are_listed_newest_first_by_page(web: Web) -> None:
    first = await bought(web, quantity_kwh=1)
    second = await bought(web, quantity_kwh=2)
    page = json_of(await web.bap.get("/trades?limit=1"))
    assert [one["transaction_id"] for one in page["trades"]] == [second["transaction_id"]]
    rest = json_of(await web.bap.get(f"/trades?limit=2&before={page['next']}"))
    assert [one["transaction_id"] for one in rest["trades"]] == [first["transaction_id"]]
    assert rest["next"] is None


async def test_every_side_lists_its_messages_with_names_and_signatures(web: Web) -> None:
    trade = await bought(web)
    path = f"/trades/{trade['transaction_id']}/messages"
    mine = json_of(await web.bap.get(path))["messages"]
    assert sorted(one["action"] for one in mine) == [
        *("confirm", "discover", "init", "on_confirm"),
        *("on_discover", "on_init", "on_select", "select"),
    ]
    assert {(one["from"], one["to"]) for one in mine} == {(BAP, BPP), (BPP, BAP)}
    theirs = json_of(await web.bpp.get(path))["messages"]
    assert len(theirs) == 12  # four of them with the grid operator
    assert {one["signature"] for one in theirs} == {"valid"}
    assert {one["from"] for one in theirs} == {BAP, BPP, GRID}
