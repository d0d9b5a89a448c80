"""Offer curves: the examples C1 to C7 of the contract specification, section 10.2, and edges."""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.domain.curves import CurvePoint, OfferCurve, faults
from adapter.settlement.curve_clearing import ClearedCurves, balanced, clear_curves

Points = list[tuple[str, str]]


def curve(points: Points) -> OfferCurve:
    """Return a curve of (price, kW), as its ends say it spans."""
    decimals = tuple(CurvePoint(Decimal(price), Decimal(kw)) for price, kw in points)
    found = OfferCurve("EUR", decimals[0].power_kw, decimals[-1].power_kw, decimals)
    assert [fault for fault in faults(found) if fault.code != "P2P_CURVE_RANGE"] == []
    return found


def cleared(curves: Mapping[str, Points]) -> ClearedCurves:
    return clear_curves({key: curve(points) for key, points in curves.items()})


def step(price: str, below: str, above: str) -> Points:
    return [(price, below), (price, above)]


C1 = {
    "load": [("0.06", "-50"), ("0.07", "0")],
    "pv": [("0.05", "0"), ("0.06", "2"), ("0.07", "5")],
}
SELLERS = {name: step("0.08", "0", "1") for name in ("s1", "s2", "s3")}


@pytest.mark.parametrize(
    ("curves", "price", "powers"),
    [
        # -48 + 5300 (p - 0.06) = 0
        pytest.param(C1, Fraction(183, 2650), [-4_716_981, 4_716_981], id="C1"),
        pytest.param(
            {
                "x": step("0.10", "-6", "0"),
                "s1": step("0.05", "0", "4"),
                "s2": step("0.08", "0", "4"),
            },
            Fraction(8, 100),
            [-6_000_000, 4_000_000, 2_000_000],
            id="C2",
        ),
        pytest.param(
            {"b": step("0.12", "-4", "0"), "s": step("0.06", "0", "4")},
            Fraction(9, 100),
            [-4_000_000, 4_000_000],
            id="C3",
        ),
        pytest.param(
            {
                "b": step("0.12", "-5", "0"),
                "s1": step("0.08", "0", "4"),
                "s2": step("0.08", "0", "2"),
            },
            Fraction(8, 100),
            [-5_000_000, 3_333_333, 1_666_667],
            id="C4",
        ),
        pytest.param(
            {"b": step("0.12", "-1", "0"), **SELLERS},
            Fraction(8, 100),
            [-1_000_000, 333_334, 333_333, 333_333],
            id="C5",
        ),
        pytest.param(
            {"b": step("0.05", "-4", "0"), "s": step("0.09", "0", "4")}, None, [0, 0], id="C6"
        ),
        pytest.param(
            {"b": [("0.05", "-10"), ("0.09", "-8")], "s": [("0.06", "0"), ("0.08", "4")]},
            None,
            [0, 0],
            id="C7",
        ),
        pytest.param({}, None, [], id="no curve"),
        pytest.param({"s": step("0.06", "0", "4")}, None, [0], id="nobody buys"),
        pytest.param(
            {"b": [("0.05", "-4")], "s": [("0.09", "6")]},
            None,
            [0, 0],
            id="too much at every price",
        ),
        # net: -4 below 0.06, 0 from there on; quotes end at 0.10
        pytest.param(
            {"b": [("0.10", "-4")], "s": step("0.06", "0", "4")},
            Fraction(8, 100),
            [-4_000_000, 4_000_000],
            id="a load at any price: up to the highest quote",
        ),
        pytest.param(
            {"b": [("0.10", "-4")], "s": [("0.06", "4")]},
            Fraction(8, 100),
            [-4_000_000, 4_000_000],
            id="balance at every price: between the quotes",
        ),
        # storage gives (p - 0.07) x 100, which is 1 at 0.08
        pytest.param(
            {"store": [("0.05", "-2"), ("0.09", "2")], "b": step("0.2", "-1", "0")},
            Fraction(8, 100),
            [1_000_000, -1_000_000],
            id="storage gives",
        ),
        pytest.param(
            {"s": step("0.06", "0", "0.0000004"), "b": step("0.08", "-0.0000004", "0")},
            None,
            [0, 0],
            id="less than a millionth kW is no trade",
        ),
    ],
)
def test_the_examples(curves: dict[str, Points], price: Fraction | None, powers: list[int]) -> None:
    found = cleared(curves)
    assert (found.price, list(found.power_micro_kw.values())) == (price, powers)
    assert list(found.power_micro_kw) == list(curves)
    assert sum(powers) == 0
    assert found.volume_micro_kw == sum(power for power in powers if power > 0)


def test_the_wire_price_of_c1() -> None:
    # 183/2650 = 0.069056603...
    found = cleared(C1)
    assert found.price_micro == 69_057
    assert cleared({}).price_micro is None


@pytest.mark.parametrize(
    ("low", "high", "micro"),
    [
        pytest.param("0.08", "0.080001", 80_000, id="80000.5 to the even 80000"),
        pytest.param("0.080001", "0.080002", 80_002, id="80001.5 to the even 80002"),
    ],
)
def test_a_tie_goes_to_the_even_price(low: str, high: str, micro: int) -> None:
    found = cleared({"s": step(low, "0", "1"), "b": step(high, "-1", "0")})
    assert found.price_micro == micro


def test_ties_of_remainders_go_by_key_in_whatever_order_the_curves_come() -> None:
    backwards = dict(reversed(SELLERS.items()))
    found = cleared({**backwards, "b": step("0.12", "-1", "0")})
    assert found.power_micro_kw["s1"] == 333_334
    assert list(found.power_micro_kw) == ["s3", "s2", "s1", "b"]


def test_remainders_are_given_largest_first() -> None:
    # floors 0, 0, -2 miss two units, remainders 2/3, 3/4, 7/12
    powers = [Fraction(2, 3), Fraction(3, 4), Fraction(-17, 12)]
    assert balanced(powers) == [1, 1, -2]


@st.composite
def markets(draw: st.DrawFn) -> dict[str, Points]:
    """Return curves with few prices, so that steps and flats meet."""
    names = draw(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=6))
    found = {}
    for name in names:
        size = draw(st.integers(1, 5))
        prices = sorted(draw(st.lists(st.integers(0, 9), min_size=size, max_size=size)))
        powers = sorted(draw(st.lists(st.integers(-6, 6), min_size=size, max_size=size)))
        found[name] = [
            (str(Decimal(price) / 100), str(kw)) for price, kw in zip(prices, powers, strict=True)
        ]
    return found


@settings(max_examples=200)
@given(curves=markets())
def test_every_power_is_on_its_curve_and_all_balance(curves: dict[str, Points]) -> None:
    found = cleared(curves)
    assert sum(found.power_micro_kw.values()) == 0
    if found.price is None:
        return
    for key, points in curves.items():
        low, high = curve(points).band(found.price)
        assert low <= Fraction(found.power_micro_kw[key], 10**6) <= high


@settings(max_examples=100)
@given(curves=markets(), factor=st.integers(2, 9))
def test_prices_scale(curves: dict[str, Points], factor: int) -> None:
    scaled = {
        key: [(str(Decimal(price) * factor), kw) for price, kw in points]
        for key, points in curves.items()
    }
    found, again = cleared(curves), cleared(scaled)
    assert again.power_micro_kw == found.power_micro_kw
    assert again.price == (None if found.price is None else found.price * factor)
