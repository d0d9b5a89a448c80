"""Offer curves: values at a price, sides, and what is wrong with one."""

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.domain.curves import CurvePoint, OfferCurve, Side, faults

n = Fraction


def curve(*points: tuple[str, str], low: str | None = None, high: str | None = None) -> OfferCurve:
    """Return a curve of price and kW; its range is that of the points unless told."""
    found = tuple(CurvePoint(Decimal(price), Decimal(power)) for price, power in points)
    return OfferCurve("EUR", Decimal(low or points[0][1]), Decimal(high or points[-1][1]), found)


LOAD = curve(("0.06", "-50"), ("0.07", "0"))
PV = curve(("0.05", "0"), ("0.06", "2"), ("0.07", "5"))
STEP = curve(("0.05", "0"), ("0.05", "4"))
STORAGE = curve(("0.05", "-11"), ("0.08", "10"))


@pytest.mark.parametrize(
    ("which", "price", "below", "above"),
    [
        pytest.param(LOAD, "0.01", "-50", "-50", id="flat before the first point"),
        pytest.param(LOAD, "0.06", "-50", "-50", id="at a point"),
        pytest.param(LOAD, "0.065", "-25", "-25", id="half way"),
        pytest.param(LOAD, "0.09", "0", "0", id="flat after the last point"),
        pytest.param(PV, "0.0690566", "4.71698", "4.71698", id="2 + 0.0090566 x 300 = 4.71698"),
        pytest.param(PV, "0.055", "1", "1", id="first stretch: 0.005 x 200"),
        pytest.param(STEP, "0.05", "0", "4", id="a step has two values"),
        pytest.param(STEP, "0.04", "0", "0", id="before a step"),
        pytest.param(STEP, "0.06", "4", "4", id="after a step"),
        pytest.param(curve(("0.05", "3")), "0.05", "3", "3", id="one point"),
    ],
)
def test_power_at_a_price(which: OfferCurve, price: str, below: str, above: str) -> None:
    assert (which.below(n(price)), which.above(n(price))) == (n(below), n(above))


def test_the_band_of_a_rounded_price() -> None:
    # load at 0.069056 and 0.069058: -50 + 9056 x 0.005 = -4.72 and -4.71, and a millionth each way
    assert LOAD.band(n("0.069057")) == (n("-4.720001"), n("-4.709999"))
    # a step at the price itself covers all of it
    assert STEP.band(n("0.05")) == (n("-0.000001"), n("4.000001"))


@pytest.mark.parametrize(
    ("which", "side"), [(LOAD, Side.BUYER), (PV, Side.SELLER), (STORAGE, Side.BOTH)]
)
def test_sides(which: OfferCurve, side: Side) -> None:
    assert which.side is side


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        pytest.param(LOAD, [], id="a buyer"),
        pytest.param(STEP, [], id="a step"),
        pytest.param(STORAGE, [], id="both ways"),
        pytest.param(curve(("0.05", "3")), [], id="one point"),
        pytest.param(
            curve(("0.05", "0"), low="0", high="0"), [("P2P_CURVE_RANGE", None)], id="nothing"
        ),
        pytest.param(
            curve(("0.05", "2"), ("0.06", "1")),
            [
                ("P2P_CURVE_RANGE", None),
                ("P2P_CURVE_ORDER", 1),
                ("P2P_CURVE_BOUNDS", 0),
                ("P2P_CURVE_BOUNDS", 1),
            ],
            id="falling",
        ),
        pytest.param(
            curve(("0.06", "0"), ("0.05", "2"), ("0.07", "5")),
            [("P2P_CURVE_ORDER", 1)],
            id="prices fall",
        ),
        pytest.param(
            curve(("0.05", "0"), ("0.07", "5"), high="6"), [("P2P_CURVE_ENDS", None)], id="short"
        ),
        pytest.param(
            curve(("0.05", "0"), ("0.06", "7"), ("0.07", "5")),
            [("P2P_CURVE_ORDER", 2), ("P2P_CURVE_BOUNDS", 1)],
            id="beyond its range",
        ),
    ],
)
def test_faults(which: OfferCurve, expected: list[tuple[str, int | None]]) -> None:
    assert [(fault.code, fault.point) for fault in faults(which)] == expected


NUMBERS = st.decimals(-20, 20, places=2)


@given(
    prices=st.lists(st.decimals(0, 1, places=2), min_size=1, max_size=6).map(sorted),
    powers=st.lists(NUMBERS, min_size=6, max_size=6).map(sorted),
    asked=st.lists(st.fractions(0, 2, max_denominator=500), min_size=2, max_size=2).map(sorted),
)
def test_a_curve_in_order_never_falls_and_keeps_its_range(
    prices: list[Decimal], powers: list[Decimal], asked: list[Fraction]
) -> None:
    points = tuple(CurvePoint(p, kw) for p, kw in zip(prices, powers, strict=False))
    found = OfferCurve("EUR", points[0].power_kw, points[-1].power_kw, points)
    assert [f.code for f in faults(found) if f.code != "P2P_CURVE_RANGE"] == []
    low, high = asked
    values = [found.below(low), found.above(low), found.below(high), found.above(high)]
    if low < high:
        assert values == sorted(values)
    assert all(found.min_export_kw <= value <= found.max_export_kw for value in values)


# Clipping


@st.composite
def any_curve(draw: st.DrawFn) -> OfferCurve:
    """Return a rising curve with steps and flat stretches, both ways."""
    count = draw(st.integers(1, 6))
    prices = sorted(draw(st.lists(st.integers(0, 12), min_size=count, max_size=count)))
    powers = sorted(draw(st.lists(st.integers(-9, 9), min_size=count, max_size=count)))
    return curve(*((f"0.{price:02}", str(kw)) for price, kw in zip(prices, powers, strict=True)))


thirds = st.integers(-40, 40).map(lambda number: Fraction(number, 3))


@given(any_curve(), thirds, thirds, st.integers(-1, 140))
def test_a_clipped_curve_is_the_curve_held_between_two_powers(
    found: OfferCurve, one: Fraction, other: Fraction, price: int
) -> None:
    low, high = min(one, other), max(one, other)
    clipped = found.clipped(low, high)
    if clipped is None:
        assert found.max_export_kw < low or found.min_export_kw > high
        return
    at = Fraction(price, 1000)
    assert clipped.below(at) == min(max(found.below(at), low), high)
    assert clipped.above(at) == min(max(found.above(at), low), high)


@given(any_curve(), thirds, thirds)
def test_a_clipped_curve_is_a_line_between_its_points(
    found: OfferCurve, one: Fraction, other: Fraction
) -> None:
    clipped = found.clipped(min(one, other), max(one, other))
    prices = [] if clipped is None else clipped.prices
    assert prices == sorted(prices)
    for left, right in pairwise(prices):
        assert clipped is not None
        third = left + (right - left) / 3
        ends = clipped.above(left), clipped.below(right)
        if left < right:
            assert clipped.above(third) == ends[0] + (ends[1] - ends[0]) / 3


def test_a_bend_of_a_clipped_curve_lies_where_the_curve_passes_the_power() -> None:
    # -50 at 0.06 rises by 5000 a unit of price: -15 at 0.06 + 35 / 5000 = 0.067
    clipped = LOAD.clipped(n(-15), n(15))
    assert clipped is not None
    assert clipped.points == ((n("0.06"), n(-15)), (n("0.067"), n(-15)), (n("0.07"), n(0)))


@pytest.mark.parametrize(
    ("low", "high"),
    [pytest.param(0, 10, id="only zero is left of a load"), pytest.param(-50, 0, id="all is")],
)
def test_what_a_curve_offers_at_its_end_is_kept(low: int, high: int) -> None:
    assert LOAD.clipped(n(low), n(high)) is not None


def test_nothing_is_left_of_a_curve_outside_of_its_limits() -> None:
    must_run = curve(("0.05", "2"), ("0.06", "5"))
    assert must_run.clipped(n(-1), n("1.999999")) is None
    assert must_run.clipped(n(-1), n(2)) is not None
    assert LOAD.clipped(n("0.000001"), n(2)) is None
