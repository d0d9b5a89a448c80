from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.domain.errors import ContractError
from adapter.settlement.units import (
    Legs,
    Rates,
    cash_hold,
    ceiling,
    check_rates,
    from_psp22,
    legs,
    to_psp22,
    value,
)

ENERGY = st.integers(1, 10**12)
RATE = st.integers(0, 10**12)


@pytest.mark.parametrize(
    ("energy", "price", "expected"),
    [
        pytest.param(5, 100_000, 0, id="half a unit goes to the even 0"),
        pytest.param(15, 100_000, 2, id="one and a half go to the even 2"),
        pytest.param(25, 100_000, 2, id="two and a half go to the even 2"),
        pytest.param(1_234_567, 150_000, 185_185, id="1.234567 kWh x 0.15 = 0.18518505"),
    ],
)
def test_a_value_rounds_ties_to_even(energy: int, price: int, expected: int) -> None:
    assert value(energy, price) == expected


def test_parts_post_the_difference_of_cumulative_values() -> None:
    # 1.000001 kWh at 0.333333: 333333.33, 666666.67, 999999.999999 in all.
    totals = [legs(1_000_001 * n, Rates(333_333, 0, 0, 0)) for n in range(4)]
    parts = [after.minus(before).value for before, after in pairwise(totals)]
    assert parts == [333_333, 333_334, 333_333]


def test_a_hold_is_one_ceiling_per_leg() -> None:
    # Three legs of 0.1 millionths each need 1 + 1 + 1, not the 1 that one ceiling would give.
    assert cash_hold(1, Rates(100_000, 100_000, 100_000, 0)) == 3


def test_the_demo_holds_1_75() -> None:
    assert cash_hold(10_000_000, Rates(150_000, 25_000, 0, 0)) == 1_750_000


def test_the_buyer_pays_value_wheeling_and_buyer_fee() -> None:
    # Book A, trade (5, 6, 3): 3 kWh at 6.00, wheeling 0.50, both fees 0.05.
    due = legs(3_000_000, Rates(6_000_000, 500_000, 50_000, 50_000))
    assert due == Legs(18_000_000, 1_500_000, 150_000, 150_000)
    assert due.buyer_debit == 19_650_000


@given(energy=ENERGY, rates=st.tuples(RATE, RATE, RATE))
def test_the_hold_always_covers_the_legs(energy: int, rates: tuple[int, int, int]) -> None:
    price, wheeling, fee = rates
    all_rates = Rates(price, wheeling, fee, 0)
    assert legs(energy, all_rates).buyer_debit <= cash_hold(energy, all_rates)


@given(energy=ENERGY, rate=RATE)
def test_the_ceiling_is_the_smallest_cover(energy: int, rate: int) -> None:
    assert 0 <= ceiling(energy, rate) * 10**6 - energy * rate < 10**6


@pytest.mark.parametrize(
    "rates",
    [
        pytest.param(Rates(10**12, 1, 0, 0), id="price and wheeling above 10^12"),
        pytest.param(Rates(10**12 - 1, 0, 2, 0), id="price and fee above 10^12"),
        pytest.param(Rates(5, 0, 0, 6), id="seller fee above the price"),
    ],
)
def test_rates_that_could_overflow_or_leave_the_seller_owing_are_refused(rates: Rates) -> None:
    with pytest.raises(ContractError) as caught:
        check_rates(rates)
    assert caught.value.code == "INVALID_PRICE"


def test_rates_at_the_bound_are_allowed() -> None:
    check_rates(Rates(10**12 - 2, 1, 1, 10**12 - 2))


@given(ENERGY)
def test_18_decimals_come_back_exactly(energy: int) -> None:
    assert from_psp22(to_psp22(energy)) == energy


def test_18_decimals_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ContractError) as caught:
        from_psp22(10**12 + 1)
    assert caught.value.code == "INVALID_ENERGY_AMOUNT"
