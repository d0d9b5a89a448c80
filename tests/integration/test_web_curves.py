"""`POST /trades` with an offer curve: what a prosumer may write, and what it is told."""

import copy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from adapter.domain.parties import Side
from adapter.web.curve_orders import EXAMPLE
from tests.fakes.web import Web, error_of, json_of, open_web, purchase_body


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    async with open_web(tmp_path) as opened:
        yield opened


def body(**changes: Any) -> dict[str, Any]:
    """Return the body that the API document shows, to the platform of the fakes."""
    return copy.deepcopy(EXAMPLE) | {"bpp_id": "bpp.seller.example"} | changes


def curve(*points: tuple[Any, Any], low: Any = None, high: Any = None) -> dict[str, Any]:
    return {
        "currency": "USD",
        "minExport": points[0][1] if low is None else low,
        "maxExport": points[-1][1] if high is None else high,
        "curve": [{"price": price, "powerKW": power} for price, power in points],
    }


async def test_numbers_come_as_texts_or_numbers_and_go_out_exact(web: Web) -> None:
    wish = body(offer_curve=curve(("0.06", "-50.25"), (0.07, 0)))
    answer = await web.bap.post("/trades?wait=0", json=wish)
    assert answer.status_code == 202, answer.text
    trade = await web.network.trade(Side.BAP)
    assert trade.plan is not None
    kept = trade.plan["offer_curve"]
    assert (str(kept["minExport"]), kept["maxExport"]) == ("-50.25", 0)
    assert [str(point["price"]) for point in kept["curve"]] == ["0.06", "0.07"]


async def test_the_highest_fee_is_kept_with_the_wish(web: Web) -> None:
    answer = await web.bap.post("/trades?wait=0", json=body(max_market_making_fee="0.0250"))
    assert answer.status_code == 202, answer.text
    trade = await web.network.trade(Side.BAP)
    assert trade.plan is not None
    assert trade.plan["max_market_making_fee"] == "0.025"


async def test_without_a_market_of_that_window_the_network_refuses(web: Web) -> None:
    answer = await web.pumped(web.bap.post("/trades", json=body()))
    assert answer.status_code == 409
    assert json_of(answer)["error"]["code"] == "BIZ_OFFER_NOT_FOUND"


BROKEN: list[tuple[dict[str, Any], str, str]] = [
    (curve(("0.06", 0), low=0, high=0), "P2P_CURVE_RANGE", "$.offer_curve"),
    (curve(("0.06", 0), ("0.05", 5)), "P2P_CURVE_ORDER", "$.offer_curve.curve[1]"),
    (curve(("0.05", 2), ("0.06", 1), ("0.07", 5)), "P2P_CURVE_ORDER", "$.offer_curve.curve[1]"),
    (curve(("0.05", 0), ("0.06", 5), high=6), "P2P_CURVE_ENDS", "$.offer_curve.curve"),
    (
        curve(("0.05", 0), ("0.06", 7), ("0.07", 7), high=5),
        "P2P_CURVE_BOUNDS",
        "$.offer_curve.curve[1]",
    ),
]


async def test_a_curve_that_breaks_a_rule_is_refused_with_rule_and_point(web: Web) -> None:
    for given, rule, path in BROKEN:
        refused = await web.bap.post("/trades", json=body(offer_curve=given))
        assert refused.status_code == 400, given
        error = error_of(refused)
        assert error["code"] == "SCH_ATTRIBUTE_PACK_INVALID"
        listed = [(one["code"], one["path"]) for one in error["details"]["errors"]]
        assert (rule, path) in listed, error
    assert json_of(await web.bap.get("/trades"))["trades"] == []


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"offer_curve": []}, "SCH_TYPE_NOT_SUPPORTED", "$.offer_curve"),
    ({"offer_curve": curve(("0.06", "lots"))}, "SCH_INVALID_FORMAT", "$.offer_curve.minExport"),
    (
        {"offer_curve": curve((-1, 5))},
        "SCH_INVALID_FORMAT",
        "$.offer_curve.curve[0].price",
    ),
    (
        {"offer_curve": curve(("0.06", "1e3"), low=1, high=1)},
        "SCH_INVALID_FORMAT",
        "$.offer_curve.curve[0].powerKW",
    ),
    (
        {"offer_curve": curve(("0.0000001", 5))},
        "SCH_INVALID_FORMAT",
        "$.offer_curve.curve[0].price",
    ),
    (
        {"offer_curve": curve((True, 5))},
        "SCH_INVALID_FORMAT",
        "$.offer_curve.curve[0].price",
    ),
    (
        {"offer_curve": {**curve(("0.06", 5)), "curve": []}},
        "SCH_INVALID_FORMAT",
        "$.offer_curve.curve",
    ),
    (
        {"offer_curve": {**curve(("0.06", 5)), "note": 1}},
        "SCH_FIELD_NOT_ALLOWED",
        "$.offer_curve.note",
    ),
    (
        {"offer_curve": {**curve(("0.06", 5)), "currency": "YYY"}},
        "SCH_INVALID_FORMAT",
        "$.offer_curve.currency",
    ),
    (
        {"offer_curve": curve(*[("0.06", 5)] * 1_001)},
        "SCH_INVALID_FORMAT",
        "$.offer_curve.curve",
    ),
    ({"max_market_making_fee": "-0.01"}, "SCH_INVALID_FORMAT", "$.max_market_making_fee"),
    ({"source_type": "COAL"}, "SCH_INVALID_ENUM", "$.source_type"),
    ({"end": "2026-03-02T09:00:00Z"}, "SCH_INVALID_FORMAT", "$"),
    ({"quantity_kwh": "5"}, "SCH_FIELD_NOT_ALLOWED", "$.quantity_kwh"),
    ({"source_meter_id": None}, "SCH_TYPE_NOT_SUPPORTED", "$.source_meter_id"),
]


async def test_a_body_that_cannot_be_read_is_refused_with_code_and_path(web: Web) -> None:
    for changes, code, path in REFUSED:
        refused = await web.bap.post("/trades", json=body(**changes))
        assert refused.status_code == 400, changes
        error = error_of(refused)
        found = [(error["code"], error["details"]["path"])]
        found += [(one["code"], one["path"]) for one in error["details"].get("errors", [])]
        assert (code, path) in found, (changes, error)


async def test_half_a_prosumers_body_is_read_as_one(web: Web) -> None:
    for left_out in ("offer_curve", "source_meter_id"):
        wish = body()
        del wish[left_out]
        refused = await web.bap.post("/trades", json=wish)
        assert refused.status_code == 400
        error = error_of(refused)
        found = (error["code"], error["details"]["path"])
        assert found == ("SCH_REQUIRED_FIELD_MISSING", f"$.{left_out}")


async def test_the_api_document_describes_both_bodies(web: Web) -> None:
    document = json_of(await web.bap.get("/openapi.json"))
    content = document["paths"]["/trades"]["post"]["requestBody"]["content"]["application/json"]
    checker = Draft202012Validator(content["schema"])
    for good in (body(), purchase_body()):
        assert list(checker.iter_errors(good)) == []
    assert list(checker.iter_errors(body(offer_curve={}))) != []
