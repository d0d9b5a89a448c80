"""Offer curves as arrays clear as the exact fractions do."""

import random
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.domain.curves import CurvePoint, OfferCurve
from adapter.settlement import curve_kernel, kernel_rows
from adapter.settlement.curve_balance import Parts, balanced
from adapter.settlement.curve_clearing import clear_curves
from adapter.settlement.curve_kernel import clear_curve_arrays, clear_many_curves

Curve = list[tuple[int, int]]
"""Points of price and power in millionths."""


def micro(value: int) -> Decimal:
    return Decimal(value).scaleb(-6)


def check(curves: list[Curve]) -> Fraction | None:
    """Check that arrays and fractions agree; return the price."""
    named = {
        f"{place:09d}": OfferCurve(
            "EUR",
            micro(points[0][1]),
            micro(points[-1][1]),
            tuple(CurvePoint(micro(price), micro(power)) for price, power in points),
        )
        for place, points in enumerate(curves)
    }
    longest = max(map(len, curves), default=1)
    padded = [points + points[-1:] * (longest - len(points)) for points in curves]
    columns = np.array(padded, dtype=np.int64).reshape(len(curves), longest, 2)
    price, power = (np.ascontiguousarray(columns[:, :, part].T) for part in (0, 1))
    price.setflags(write=False)
    power.setflags(write=False)
    found, expected = clear_curve_arrays(price, power), clear_curves(named)
    assert clear_many_curves(dict(reversed(named.items()))) == expected
    assert found.price == expected.price
    assert found.power_micro_kw.tolist() == list(expected.power_micro_kw.values())
    return found.price


def random_curves(draw: random.Random, count: int, prices: int, powers: int) -> list[Curve]:
    found = []
    for place in range(count):
        size = draw.randint(1, 5)
        price = sorted(draw.randint(0, prices) for _ in range(size))
        low = -powers if place % 2 else 0
        power = sorted(draw.randint(low, low + powers) for _ in range(size))
        found.append(list(zip(price, power, strict=True)))
    return found


@st.composite
def markets(draw: st.DrawFn) -> list[Curve]:
    prices = draw(st.sampled_from([st.integers(0, 6), st.integers(0, 200_000)]))
    powers = draw(st.sampled_from([st.integers(-4, 4), st.integers(-9_000_000, 9_000_000)]))
    found = []
    for _ in range(draw(st.integers(0, 6))):
        size = draw(st.integers(1, 5))
        lists = (sorted(draw(st.lists(v, min_size=size, max_size=size))) for v in (prices, powers))
        found.append(list(zip(*lists, strict=True)))
    return found


@settings(max_examples=300)
@given(curves=markets())
def test_any_market(curves: list[Curve]) -> None:
    check(curves)


@settings(max_examples=200)
@given(curves=markets())
def test_any_market_by_halving(curves: list[Curve]) -> None:
    searched = curve_kernel.CURVES_SEARCHED
    curve_kernel.CURVES_SEARCHED = 0
    try:
        check(curves)
    finally:
        curve_kernel.CURVES_SEARCHED = searched


def test_c1() -> None:
    load = [(60_000, -50_000_000), (70_000, 0)]
    pv = [(50_000, 0), (60_000, 2_000_000), (70_000, 5_000_000)]
    assert check([load, pv]) == Fraction(183, 2650)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("prices", "powers"),
    [
        pytest.param(30, 20, id="few prices, so steps meet"),
        pytest.param(200_000, 9_000_000, id="prices apart"),
    ],
)
def test_a_market_around_a_sample(
    seed: int, prices: int, powers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curve_kernel, "PILOT_CURVES", 40)
    monkeypatch.setattr(curve_kernel, "CURVES_SEARCHED", 10)
    monkeypatch.setattr(kernel_rows, "BLOCK_ROWS", 70)
    check(random_curves(random.Random(seed), 300, prices, powers))


def test_a_sample_that_misleads(monkeypatch: pytest.MonkeyPatch) -> None:
    # every sixteenth curve, which the sample takes, is nothing like the others
    monkeypatch.setattr(curve_kernel, "PILOT_CURVES", 4)
    draw = random.Random(7)
    curves = random_curves(draw, 64, 1_000, 5_000_000)
    for place in range(0, 64, 16):
        curves[place] = [(100_000, -9_000_000), (100_001, 0)]
    check(curves)


def test_curves_that_all_are_straight_around_the_price(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curve_kernel, "PILOT_CURVES", 4)
    draw = random.Random(7)
    ends = [(draw.randint(1, 9_000_000), draw.randint(1, 9_000_000)) for _ in range(64)]
    price = check([[(0, -low), (1_000_003, high)] for low, high in ends])
    assert price is not None
    assert 0 < price * 10**6 < 1_000_003


def test_a_sample_takes_buyers_and_sellers_that_stand_in_turns() -> None:
    for curves in (16_400, 1_000_000, 1_000_003, 1_048_576):
        sample = curve_kernel._sample(curves)
        assert len(set(sample.tolist())) == curve_kernel.PILOT_CURVES
        for turns in (2, 3, 4, 5, 7, 8, 16):
            counts = np.bincount(sample % turns)
            assert counts.min() * turns > 0.9 * len(sample)


def test_equal_curves_share_by_order() -> None:
    # a third each: 0.333334 for the first
    sellers = [[(80_000, 0), (80_000, 1_000_000)]] * 3
    check([[(120_000, -1_000_000), (120_000, 0)], *sellers])
    # on slopes: 70 curves of one sort, 1 kW in all at 1/70 each
    check([[(120_000, -1_000_000)], *([[(50_000, 0), (150_000, 1_000_000)]] * 70)])


def test_a_share_that_is_rounded_does_not_lose_a_whole_unit() -> None:
    # (2 + 3/3) / 3 is a whole; halves over 2^41 leave no bits for a third
    half = 2**40
    parts = Parts(np.array([2, half, half]), np.array([3, 0, 0]), np.array([3, 2 * half, 2 * half]))
    found = balanced(np.array([-1, 0, -1]), parts, Fraction(1, 3))
    assert found.tolist() == [0, 1, -1]


def test_numbers_too_large_for_arrays() -> None:
    check([[(0, -(10**12)), (10**12, 0)], [(0, 0), (10**12 - 7, 10**12)]])


def test_curves_of_very_many_points() -> None:
    draw = random.Random(1)
    prices = sorted(draw.randint(0, 10**6) for _ in range(200))
    powers = sorted(draw.randint(0, 10**7) for _ in range(200))
    check([list(zip(prices, powers, strict=True)), [(500_000, -(10**7)), (500_003, 0)]])


def test_lengths_of_all_sorts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curve_kernel, "BUCKETS_MAX", 4)
    monkeypatch.setattr(curve_kernel, "PILOT_CURVES", 20)
    check(random_curves(random.Random(3), 120, 100_000, 7_000_000))


@pytest.mark.parametrize(
    ("price", "power", "message"),
    [
        pytest.param([[1, 2]], [[1]], "one shape", id="shapes"),
        pytest.param([1, 2], [1, 2], "one shape", id="one dimension"),
        pytest.param([[2], [1]], [[0], [0]], "falls", id="falling price"),
        pytest.param([[1], [2]], [[1], [0]], "falls", id="falling power"),
        pytest.param([[-1]], [[0]], "price is not", id="negative price"),
        pytest.param([[1]], [[10**12 + 1]], "power is not", id="power beyond"),
    ],
)
def test_what_are_no_curves_is_refused(price: list[int], power: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        clear_curve_arrays(np.array(price), np.array(power))
    with pytest.raises(ValueError, match="int64"):
        clear_curve_arrays(np.array([[1]], np.int32), np.array([[1]], np.int32))
