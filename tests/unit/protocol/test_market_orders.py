"""What a market's orders say: shares, limits, the full view, and who takes how much room."""

import copy
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from adapter.domain.curves import CurvePoint, OfferCurve
from adapter.protocol import strict_json
from adapter.protocol.cleared import cleared_keys, nameless
from adapter.protocol.coordination import read_curve
from adapter.protocol.market_orders import (
    BODY_BYTES,
    Share,
    approved_range,
    bytes_of,
    cleared_contract,
    common_operator,
    is_tradable,
    offered_curve,
    place_bytes,
    share_fulfillment,
    with_clearing,
    with_share_quote,
)
from adapter.protocol.orders import contract_of
from tests.fakes.market import (
    GRID,
    LOAD,
    LOAD_CURVE,
    LOAD_METER,
    ROOF,
    ROOF_CURVE,
    ROOF_METER,
    ROOM,
    market_init,
)
from tests.fakes.orders import contract, inputs

Part = dict[str, Any]
d = Decimal


def agreed(
    platform: str = LOAD, meter: str = LOAD_METER, points: Any = LOAD_CURVE, **operator: Any
) -> Part:
    """Return a participant's contract with the operator's answer, ROOM unless told otherwise."""
    found = contract(market_init(platform, meter, points))
    approved = operator.pop("approved", None)
    if approved is not None:
        found["inputParameters"]["approvedMaxTradeKW"] = approved
    found["roles"].append(
        {
            "role": "GRID_OPERATOR",
            "filledBy": GRID,
            "filled": True,
            "roleInputs": {**ROOM, **operator},
        }
    )
    return found


def share(platform: str, meter: str, points: Any, power: int, **operator: Any) -> Share:
    found = agreed(platform, meter, points, **operator)
    return Share(found["roles"][1], found["roles"][2]["roleInputs"], power)


# Limits


@pytest.mark.parametrize(
    ("operator", "bought", "sold"),
    [
        pytest.param({}, 60, 60, id="60 kWh in one hour"),
        pytest.param({"approved": 15}, 15, 15, id="the approved power"),
        pytest.param({"approved": 70, "buyer_trade_cap": 20}, 20, 60, id="each way has its cap"),
        pytest.param(
            {"seller_trade_cap": 50, "current_seller_trade_total": d("49.5")},
            60,
            "0.5",
            id="what is left of a cap",
        ),
        pytest.param(
            {"buyer_trade_cap": 50, "current_buyer_trades_total": 51}, 0, 60, id="nothing is left"
        ),
    ],
)
def test_power_is_limited_by_approval_and_by_the_room_of_its_side(
    operator: Part, bought: object, sold: object
) -> None:
    low, high = approved_range(agreed(**operator))
    assert (-low, high) == (Fraction(str(bought)), Fraction(str(sold)))


def test_room_is_spread_over_the_hours_and_rounded_down() -> None:
    found = agreed(seller_trade_cap=10)
    found["inputParameters"]["deliveryWindow"]["endTime"] = "2026-03-02T09:45:00Z"
    # 10 kWh in three quarters of an hour are 13.333... kW
    assert approved_range(found)[1] == Fraction("13.333333")


def test_without_an_operator_nothing_limits_a_curve() -> None:
    found = contract(market_init(LOAD, LOAD_METER, LOAD_CURVE, wheeling=False))
    clipped = offered_curve(found)
    assert clipped is not None
    assert min(power for _, power in clipped.points) == -50


def test_a_curve_is_clipped_to_what_is_approved() -> None:
    clipped = offered_curve(agreed(approved=d("2.5")))
    assert clipped is not None
    assert clipped.below(Fraction("0.01")) == Fraction("-2.5")


# The full view


def test_the_full_view_names_everybody_and_what_cleared() -> None:
    shares = [
        share(LOAD, LOAD_METER, LOAD_CURVE, -4_716_981),
        share(ROOF, ROOF_METER, ROOF_CURVE, 4_716_981),
    ]
    base = agreed(approved=3)
    whole = cleared_contract(base, shares, 69_057, {"role": "GRID_OPERATOR", "filled": False})
    assert [role["role"] for role in whole["roles"]] == [
        "MARKET_CLEARING_AGENT",
        "PROSUMER",
        "PROSUMER",
        "GRID_OPERATOR",
    ]
    assert whole["roles"][0]["roleInputs"] == {
        "marketMakingFee": d("0.01"),
        "clearingPrice": d("0.069057"),
        "clearedPower": {LOAD: d("-4.716981"), ROOF: d("4.716981")},
    }
    assert "approvedMaxTradeKW" not in whole["inputParameters"]  # it is said of one meter alone


def test_a_second_clearing_forgets_the_first() -> None:
    first = [
        share(LOAD, "m-1", LOAD_CURVE, -3),
        share(LOAD, "m-2", LOAD_CURVE, -2),
        share(ROOF, ROOF_METER, ROOF_CURVE, 5),
    ]
    whole = cleared_contract(agreed(), first, 60_000, None)
    again = cleared_contract(whole, [first[0], first[2]], 61_000, None)
    assert again["roles"][0]["roleInputs"]["clearedPower"].keys() == {LOAD, ROOF}
    assert len(again["roles"]) == 3


def test_the_operators_caps_of_a_market_are_the_widest_room_of_any_meter() -> None:
    shares = [
        share(LOAD, "m-1", LOAD_CURVE, -3, buyer_trade_cap=7, current_buyer_trades_total=2),
        share(ROOF, "m-2", ROOF_CURVE, 3, seller_trade_cap=d("4.5"), buyer_trade_cap=1),
    ]
    role = common_operator(GRID, ROOM, shares)
    assert role["roleInputs"] == {
        "wheelingCharges": d("0.002"),
        "current_buyer_trades_total": 0,
        "current_seller_trade_total": 0,
        "buyer_trade_cap": 5,
        "seller_trade_cap": 60,
    }


def test_a_key_is_the_platform_where_that_has_one_prosumer_else_the_meter() -> None:
    found = agreed()
    second, third = (contract(market_init(p, m, ROOF_CURVE)) for p, m in ((ROOF, "a"), (ROOF, "b")))
    found["roles"] += [second["roles"][1], third["roles"][1]]
    assert cleared_keys(found) == {LOAD_METER: LOAD, "a": "a", "b": "b"}


def test_a_platforms_name_that_somebodys_meter_has_is_no_key() -> None:
    found = agreed()
    found["roles"].append(contract(market_init(ROOF, LOAD, ROOF_CURVE))["roles"][1])
    assert cleared_keys(found) == {LOAD_METER: LOAD_METER, LOAD: ROOF}


@pytest.mark.parametrize(
    ("pairs", "meters"),
    [
        pytest.param([("p", "a"), ("q", "b")], set(), id="names of their own"),
        pytest.param([("p", "p"), ("q", "b")], set(), id="one name for both"),
        pytest.param([("p", "a"), ("p", "b")], set(), id="two meters"),
        pytest.param([("p", "a"), ("q", "p")], set(), id="named by meter and by platform"),
        pytest.param([("p", "a"), ("q", "p"), ("q", "b")], {"p"}, id="both names are others'"),
        pytest.param([("q", "p"), ("q", "b")], set(), id="the other has gone"),
    ],
)
def test_who_is_told_apart_by_neither_name(pairs: list[tuple[str, str]], meters: set[str]) -> None:
    assert nameless(pairs) == meters


@pytest.mark.parametrize(
    ("price", "treatment", "tradable"),
    [
        (None, None, False),
        (0, None, False),
        (-1, "BUYER_ONLY", False),
        (0, "BUYER_ONLY", False),
        (1, "BUYER_ONLY", True),
        (9_999, None, False),
        (9_999, "SYMMETRIC", False),
        (10_000, None, True),
    ],
)
def test_nobody_trades_at_a_price_below_what_an_export_pays(
    price: int | None, treatment: str | None, *, tradable: bool
) -> None:
    found = agreed()
    if treatment is not None:
        found["inputParameters"]["feeTreatment"] = treatment
    assert is_tradable(price, found) is tradable


def test_an_open_prosumer_has_no_key() -> None:
    found = agreed()
    found["roles"][1].update(filled=False, filledBy=None)
    assert cleared_keys(found) == {}


# A participant's order


def test_a_withdrawal_is_quoted_as_its_flow_says() -> None:
    order = market_init(LOAD, LOAD_METER, LOAD_CURVE)
    order["beckn:orderAttributes"] = with_clearing(agreed(), 69_057, {LOAD: -4_716_981})
    quoted = with_share_quote(order, LOAD)
    # (0.069057 + 0.01) x 4.716981 = 0.372910..., the energy 0.325741 of it
    assert quoted["beckn:quote"]["beckn:price"]["schema:price"] == d("0.37291")
    titles = [part["beckn:title"] for part in quoted["beckn:quote"]["beckn:breakup"]]
    assert titles == ["Energy 4.716981 kWh x 0.069057", "Market making fee"]
    assert contract_of(quoted) == order["beckn:orderAttributes"]


@pytest.mark.parametrize(
    ("points", "kinds"),
    [
        pytest.param(LOAD_CURVE, ["END"], id="a load is delivered to"),
        pytest.param(ROOF_CURVE, ["START"], id="a roof delivers"),
        pytest.param((("0.05", "-3"), ("0.08", "3")), ["START", "END"], id="storage does both"),
    ],
)
def test_a_delivery_stops_at_its_meter(points: Any, kinds: list[str]) -> None:
    found = agreed(points=points)
    delivery = share_fulfillment(found["roles"][1], found)
    stops = delivery["beckn:stops"]
    assert [stop["beckn:type"] for stop in stops] == kinds
    assert {stop["beckn:location"]["beckn:address"] for stop in stops} == {LOAD_METER}


def test_all_places_of_a_market_fit_into_a_body() -> None:
    for most in (2, 37, 100):
        assert 0 < most * place_bytes(most) < BODY_BYTES - 8_000
    assert place_bytes(100) > 2_000


def test_a_long_curve_takes_more_room() -> None:
    found = agreed()
    long = copy.deepcopy(found["roles"][1])
    long["roleInputs"]["offerCurve"]["curve"] *= 30
    more = strict_json.encode(long["roleInputs"]["offerCurve"]["curve"])
    before = strict_json.encode(found["roles"][1]["roleInputs"]["offerCurve"]["curve"])
    grown = bytes_of(long, found) - bytes_of(found["roles"][1], found)
    assert grown == len(more) - len(before)


def test_a_curve_on_the_wire_is_the_curve_that_is_cleared() -> None:
    found = read_curve(inputs(market_init(LOAD, LOAD_METER, LOAD_CURVE), "PROSUMER")["offerCurve"])
    assert isinstance(found, OfferCurve)
    assert found.points[0] == CurvePoint(d("0.06"), d(-50))
