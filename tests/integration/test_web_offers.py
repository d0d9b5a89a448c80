"""`/offers`: the catalogue of a seller's platform."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.web import Web, error_of, json_of, offer_body, open_web


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    async with open_web(tmp_path) as opened:
        yield opened


async def test_a_published_offer_is_listed_with_decimal_strings(web: Web) -> None:
    published = await web.bpp.post("/offers", json=offer_body(minimum_kwh=2))
    assert published.status_code == 201
    expected = {
        "offer_id": "roof-7",
        "source_meter_id": "meter-roof-7",
        "source_type": "SOLAR",
        "available_kwh": "40",
        "price_per_kwh": "0.15",
        "currency": "USD",
        "minimum_kwh": "2",
        "production_start": "2026-03-02T08:00:00Z",
        "production_end": "2026-03-02T18:00:00Z",
        "created": "2026-03-02T08:00:00Z",
    }
    assert json_of(published) == expected
    assert json_of(await web.bpp.get("/offers")) == {"offers": [expected]}


async def test_numbers_are_taken_exactly(web: Web) -> None:
    cases = {'"2.50"': "2.5", "2.5": "2.5", "0.1": "0.1", "1e1": "10", '"0.000001"': "0.000001"}
    for number, (written, shown) in enumerate(cases.items()):
        rest = offer_body(offer_id=f"offer-{number}")
        del rest["available_kwh"]
        pairs = ",".join(f'"{key}": "{value}"' for key, value in rest.items())
        body = f'{{"available_kwh": {written}, {pairs}}}'
        headers = {"Content-Type": "application/json"}
        published = await web.bpp.post("/offers", content=body, headers=headers)
        assert json_of(published)["available_kwh"] == shown


async def test_times_come_out_in_utc(web: Web) -> None:
    body = offer_body(production_start="2026-03-02T13:30:00+05:30")
    published = await web.bpp.post("/offers", json=body)
    assert json_of(published)["production_start"] == "2026-03-02T08:00:00Z"


async def test_the_same_offer_again_changes_nothing(web: Web) -> None:
    first = await web.bpp.post("/offers", json=offer_body())
    again = await web.bpp.post("/offers", json=offer_body())
    assert (again.status_code, again.content) == (201, first.content)


async def test_another_body_for_a_known_id_is_refused(web: Web) -> None:
    await web.bpp.post("/offers", json=offer_body())
    refused = await web.bpp.post("/offers", json=offer_body(price_per_kwh="0.16"))
    assert refused.status_code == 409
    assert error_of(refused)["code"] == "BIZ_UPDATE_INCONSISTENT"


async def test_a_withdrawn_offer_is_gone(web: Web) -> None:
    await web.bpp.post("/offers", json=offer_body())
    assert (await web.bpp.delete("/offers/roof-7")).status_code == 204
    assert json_of(await web.bpp.get("/offers")) == {"offers": []}
    refused = await web.bpp.delete("/offers/roof-7")
    assert refused.status_code == 404
    assert error_of(refused)["code"] == "BIZ_OFFER_NOT_FOUND"


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"currency": None}, "SCH_INVALID_FORMAT", "$.currency"),
    ({"currency": "usd"}, "SCH_INVALID_FORMAT", "$.currency"),
    ({"source_type": "COAL"}, "SCH_INVALID_ENUM", "$.source_type"),
    ({"available_kwh": -1}, "SCH_INVALID_FORMAT", "$.available_kwh"),
    ({"available_kwh": 0}, "SCH_INVALID_FORMAT", "$.available_kwh"),
    ({"available_kwh": True}, "SCH_INVALID_FORMAT", "$.available_kwh"),
    ({"available_kwh": "1e2"}, "SCH_INVALID_FORMAT", "$.available_kwh"),
    ({"available_kwh": "+1"}, "SCH_INVALID_FORMAT", "$.available_kwh"),
    ({"available_kwh": 1000001}, "SCH_INVALID_FORMAT", "$.available_kwh"),
    ({"price_per_kwh": "0.0000001"}, "SCH_INVALID_FORMAT", "$.price_per_kwh"),
    ({"extra": 1}, "SCH_FIELD_NOT_ALLOWED", "$.extra"),
    ({"offer_id": 7}, "SCH_TYPE_NOT_SUPPORTED", "$.offer_id"),
    ({"offer_id": "a/b"}, "SCH_INVALID_FORMAT", "$.offer_id"),
    ({"production_end": "2026-03-02"}, "SCH_INVALID_FORMAT", "$.production_end"),
    ({"production_end": "2026-03-02T08:00:00Z"}, "SCH_INVALID_FORMAT", "$"),
    ({"minimum_kwh": 3, "maximum_kwh": 2}, "SCH_INVALID_FORMAT", "$"),
]


async def test_an_offer_is_refused_with_code_and_path(web: Web) -> None:
    for changes, code, path in REFUSED:
        refused = await web.bpp.post("/offers", json=offer_body(**changes))
        assert refused.status_code == 400, changes
        error = error_of(refused)
        assert (error["code"], error["details"]["path"]) == (code, path), changes


async def test_all_problems_of_an_offer_are_listed(web: Web) -> None:
    refused = await web.bpp.post("/offers", json={"offer_id": "a"})
    error = error_of(refused)
    assert error["code"] == "SCH_REQUIRED_FIELD_MISSING"
    # source_meter_id source_type available_kwh price_per_kwh currency production_start, _end
    assert len(error["details"]["errors"]) == 7


async def test_only_a_sellers_platform_has_offers(web: Web) -> None:
    for client in (web.bap, web.grid):
        refused = await client.get("/offers")
        assert refused.status_code == 404
        assert error_of(refused)["code"] == "NET_NOT_IMPLEMENTED"


def tariff_body(**changes: Any) -> dict[str, Any]:
    """Return the body of an offer under a tariff of one price."""
    body = offer_body(**changes)
    del body["price_per_kwh"], body["currency"]
    price = {"type": "ENERGY", "price": 0.3, "vat": 10}
    tariff = {"currency": "USD", "elements": [{"priceComponents": [price]}]}
    return {"tariff": tariff} | body


async def test_an_offer_under_a_tariff_is_listed_with_it(web: Web) -> None:
    published = await web.bpp.post("/offers", json=tariff_body(time_zone="Europe/Paris"))
    assert published.status_code == 201, published.text
    shown = json_of(published)
    assert (shown["currency"], shown["time_zone"]) == ("USD", "Europe/Paris")
    assert '"price":0.3,' in published.text
    assert "price_per_kwh" not in shown
    again = await web.bpp.post("/offers", json=tariff_body(time_zone="Europe/Paris"))
    assert (again.status_code, again.content) == (201, published.content)


@pytest.mark.parametrize(
    ("changes", "code", "path", "cause"),
    [
        ({"price_per_kwh": "0.1"}, "SCH_FIELD_NOT_ALLOWED", "$.price_per_kwh", None),
        ({"currency": "EUR"}, "SCH_INVALID_FORMAT", "$", None),
        ({"tariff": 7}, "SCH_TYPE_NOT_SUPPORTED", "$.tariff", None),
        (
            {"tariff": {"currency": "USD", "elements": []}},
            "SCH_SCHEMA_VALIDATION_FAILED",
            "$.tariff.elements",
            "P2P_TARIFF_ELEMENTS",
        ),
        ({"time_zone": "Mars"}, "SCH_ATTRIBUTE_PACK_INVALID", "$.time_zone", "P2P_TARIFF_TIMEZONE"),
    ],
)
async def test_an_offer_under_a_wrong_tariff_is_refused(
    web: Web, changes: dict[str, Any], code: str, path: str, cause: str | None
) -> None:
    refused = await web.bpp.post("/offers", json=tariff_body() | changes)
    assert refused.status_code == 400
    error = error_of(refused)
    assert (error["code"], error["details"]["path"]) == (code, path)
    assert error["details"].get("cause", {}).get("code") == cause


async def test_a_zone_says_nothing_about_a_fixed_price(web: Web) -> None:
    refused = await web.bpp.post("/offers", json=offer_body(time_zone="UTC"))
    assert error_of(refused)["details"]["path"] == "$.time_zone"
