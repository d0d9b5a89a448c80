"""What a market's contract says, read exactly, and what a curve asks for at most."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from adapter.domain.curves import CurvePoint, OfferCurve
from adapter.domain.errors import WireError
from adapter.domain.instants import EPOCH_MS, parse_instant
from adapter.domain.market import FeeTreatment
from adapter.domain.quantities import Energy, UnitPrice
from adapter.protocol.market_terms import (
    check_on_curve,
    cleared_powers,
    clearing_price,
    is_market,
    most_of,
    read_market_terms,
)
from tests.fakes.grid_market import GATE, load, market_order, roof
from tests.fakes.network import BAP, END, OTHER, START
from tests.fakes.orders import Order, contract, inputs


def market() -> Order:
    """Return the contract of a load and a roof."""
    return contract(market_order(load(), roof()))


def with_clearing(**changes: Any) -> Order:
    """Return it with what cleared."""
    order = market_order(load(), roof())
    agent = inputs(order, "MARKET_CLEARING_AGENT")
    agent |= {
        "clearingPrice": Decimal("0.069057"),
        "clearedPower": {BAP: Decimal("-4.716981"), OTHER: Decimal("4.716981")},
    } | changes
    return contract(order)


def test_the_terms_are_read_exactly() -> None:
    terms = read_market_terms(market())
    assert (terms.window.start_ms, terms.window.end_ms) == (
        parse_instant(START),
        parse_instant(END),
    )
    assert terms.gate_ms == parse_instant(GATE)
    assert terms.fee == UnitPrice(10_000, "USD")
    assert terms.fee_treatment is FeeTreatment.SYMMETRIC


def test_a_market_without_a_gate_closes_a_quarter_of_an_hour_before() -> None:
    found = market()
    del found["inputParameters"]["gateClosureTime"]
    found["inputParameters"]["feeTreatment"] = "BUYER_ONLY"
    terms = read_market_terms(found)
    assert terms.gate_ms == parse_instant(START) - EPOCH_MS
    assert terms.fee_treatment is FeeTreatment.BUYER_ONLY


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("deliveryWindow", None),
        ("deliveryWindow", {"startTime": END, "endTime": START}),
        ("deliveryWindow", {"startTime": START}),
        ("deliveryWindow", {"startTime": "soon", "endTime": END}),
        ("gateClosureTime", "soon"),
        ("gateClosureTime", 8),
        ("feeTreatment", "NOBODY"),
    ],
)
def test_terms_that_cannot_be_read_are_refused(name: str, value: Any) -> None:
    found = market()
    found["inputParameters"][name] = value
    with pytest.raises(WireError) as caught:
        read_market_terms(found)
    assert caught.value.code == "SCH_ATTRIBUTE_PACK_INVALID"


def test_only_a_contract_with_a_clearing_agent_is_one_of_a_market() -> None:
    assert is_market(market())
    assert not is_market({})


def test_what_cleared_is_read_by_meter_to_the_unit() -> None:
    found = with_clearing()
    terms = read_market_terms(found)
    assert clearing_price(found, terms) == UnitPrice(69_057, "USD")
    assert cleared_powers(found) == {"meter-home-3": -4_716_981, "meter-roof-7": 4_716_981}


@pytest.mark.parametrize(
    ("power", "code"),
    [
        pytest.param({BAP: -1}, "SCH_ATTRIBUTE_PACK_INVALID", id="nothing for the roof"),
        pytest.param({BAP: 0, OTHER: 0}, "SCH_ATTRIBUTE_PACK_INVALID", id="nothing at all"),
        pytest.param(
            {BAP: Decimal("-0.0000001"), OTHER: Decimal("0.0000001")},
            "SCH_ATTRIBUTE_PACK_INVALID",
            id="seven decimals",
        ),
        pytest.param(
            {BAP: -1, OTHER: Decimal("1.000001")}, "BIZ_UPDATE_INCONSISTENT", id="a unit too much"
        ),
    ],
)
def test_a_clearing_that_does_not_balance_is_refused(power: Any, code: str) -> None:
    with pytest.raises(WireError) as caught:
        cleared_powers(with_clearing(clearedPower=power))
    assert caught.value.code == code


def test_without_a_price_nothing_has_cleared() -> None:
    terms = read_market_terms(market())
    with pytest.raises(WireError, match="clearingPrice"):
        clearing_price(market(), terms)


@pytest.mark.parametrize(
    ("low", "high", "is_export", "energy"),
    [
        pytest.param("0", "5", True, 5_000_000, id="5 kW for an hour"),
        pytest.param("-50", "0", False, 50_000_000, id="takes 50"),
        pytest.param("-11", "10", False, 11_000_000, id="storage takes more than it gives"),
        pytest.param("-11", "11", True, 11_000_000, id="as much: it gives"),
        pytest.param("-10", "-8", False, 10_000_000, id="it takes at any price"),
    ],
)
def test_the_most_of_a_curve_is_in_its_wider_direction(
    low: str, high: str, is_export: bool, energy: int
) -> None:
    points = (CurvePoint(Decimal("0.05"), Decimal(low)), CurvePoint(Decimal("0.07"), Decimal(high)))
    curve = OfferCurve("USD", Decimal(low), Decimal(high), points)
    most = most_of(curve, read_market_terms(market()))
    assert (most.is_export, most.energy) == (is_export, Energy(energy))
    assert most.price == UnitPrice(70_000, "USD")


LOAD = OfferCurve(
    "USD",
    Decimal(-50),
    Decimal(0),
    (CurvePoint(Decimal("0.06"), Decimal(-50)), CurvePoint(Decimal("0.07"), Decimal(0))),
)
"""5 kW for each 0.001: at 0.069057 it takes 4.715 kW, and 0.005 more or less as that is rounded."""


@pytest.mark.parametrize(
    ("power", "price", "least"),
    [
        pytest.param("-4.715", "0.069057", "-15", id="on the curve"),
        pytest.param("-4.720001", "0.069057", "-15", id="as much as rounding may add"),
        pytest.param("-4.709999", "0.069057", "-15", id="as little as rounding may leave"),
        pytest.param("-3.000001", "0.069057", "-3", id="held back as approved, rounded"),
        pytest.param("-50", "0.06", "-50", id="the end of the curve"),
    ],
)
def test_cleared_power_is_on_the_curve_as_far_as_approved(
    power: str, price: str, least: str
) -> None:
    check_on_curve(Fraction(power), LOAD, Fraction(price), (Fraction(least), Fraction(0)), "$")


@pytest.mark.parametrize(
    ("power", "price", "least"),
    [
        pytest.param("-4.720002", "0.069057", "-15", id="more than the curve"),
        pytest.param("-4.709998", "0.069057", "-15", id="less than the curve"),
        pytest.param("-2.999998", "0.069057", "-3", id="less than approved"),
        pytest.param("-3.000002", "0.069057", "-3", id="more than approved"),
        pytest.param("-4.715", "1.5", "-15", id="a price that it does not pay"),
        pytest.param("4.715", "0.069057", "-15", id="the other way"),
    ],
)
def test_cleared_power_off_the_curve_is_refused(power: str, price: str, least: str) -> None:
    room = Fraction(least), Fraction(0)
    with pytest.raises(WireError) as caught:
        check_on_curve(Fraction(power), LOAD, Fraction(price), room, "$")
    assert caught.value.code == "BIZ_PRICE_MISMATCH"
    assert caught.value.cause is not None
    assert caught.value.cause["code"] == "P2P_CLEARED_OFF_CURVE"
