"""What the energy of a trade is quoted at, line by line."""

from decimal import Decimal
from typing import Any

import pytest

from adapter.domain.errors import WireError
from adapter.domain.instants import DeliveryInterval, parse_instant
from adapter.domain.quantities import Energy, UnitPrice
from adapter.protocol.contract import tariff_pricing
from adapter.protocol.orders import energy_lines

WINDOW = DeliveryInterval(
    parse_instant("2026-03-02T09:00:00Z"), parse_instant("2026-03-02T10:00:00Z")
)
TEN = Energy.from_kwh(10)


def half(price: str, vat: Any, start: str, end: str) -> dict[str, Any]:
    """Return an element for a part of the window."""
    component = {"type": "ENERGY", "price": Decimal(price), "vat": vat}
    limits = {"startTime": start, "endTime": end}
    return {"priceComponents": [component], "restrictions": limits}


def quoted(*elements: dict[str, Any], **parameters: str) -> list[tuple[str, str]]:
    document = {"currency": "EUR", "elements": list(elements)}
    price = tariff_pricing(document, {"inputParameters": parameters}, time_zone="UTC")
    return [(title, str(money)) for title, money in energy_lines(TEN, price, WINDOW)]


def test_a_fixed_price_is_one_line() -> None:
    price = UnitPrice.from_decimal("0.12", "EUR")
    lines = energy_lines(TEN, price, WINDOW)
    assert [(title, str(money)) for title, money in lines] == [("Energy 10 kWh x 0.12", "1.20")]


def test_a_tariff_is_quoted_for_even_power_with_vat_beside_it() -> None:
    halves = (half("0.30", 10, "09:00", "09:30"), half("0.12", 10, "09:30", "09:00"))
    # 5 x 0.30 + 5 x 0.12 = 2.10, VAT 0.21
    assert quoted(*halves) == [("Energy 10 kWh, time of use", "2.10"), ("VAT 10 %", "0.21")]


def test_the_zone_of_the_contract_comes_before_that_of_the_node() -> None:
    halves = (half("0.30", 0, "09:00", "09:30"), half("0.12", 0, "09:30", "09:00"))
    # 09:00Z is 10:00 in Paris
    assert quoted(*halves, timeZone="Europe/Paris") == [("Energy 10 kWh, time of use", "1.20")]


def test_several_vat_rates_make_one_line_without_a_rate() -> None:
    halves = (half("0.30", Decimal("5.5"), "09:00", "09:30"), half("0.12", 20, "09:30", "09:00"))
    # 1.50 x 5.5 % = 0.0825, 0.60 x 20 % = 0.12
    assert quoted(*halves)[1] == ("VAT", "0.2025")


def test_vat_within_the_price_is_told_and_not_split() -> None:
    element = half("0.20", 20, "00:00", "00:00")
    assert quoted(element, vatTreatment="INCLUSIVE") == [
        ("Energy 10 kWh, time of use, VAT included", "2.40")
    ]


@pytest.mark.parametrize(
    ("element", "parameters", "told"),
    [
        pytest.param(half("1", 0, "09:00", "09:30"), {}, "no ENERGY price", id="gap"),
        pytest.param(
            half("1", 0, "00:00", "00:00"), {"timeZone": "Mars"}, "no known time zone", id="zone"
        ),
    ],
)
def test_what_has_no_price_is_not_quoted(
    element: dict[str, Any], parameters: dict[str, str], told: str
) -> None:
    with pytest.raises(WireError, match=told) as caught:
        quoted(element, **parameters)
    assert caught.value.code == "SCH_ATTRIBUTE_PACK_INVALID"
