"""Shares of metered energy: exact, bounded, fair, and independent of how a window is cut."""

from hypothesis import given
from hypothesis import strategies as st

from adapter.settlement.contracts.allocation_rule import share

WEIGHTS = st.lists(st.integers(0, 10**12), min_size=1, max_size=8)


@given(metered=st.integers(0, 10**13), weights=WEIGHTS)
def test_nobody_gets_more_than_its_weight_and_nothing_is_lost(
    metered: int, weights: list[int]
) -> None:
    shares = share(metered, weights)
    assert sum(shares) == min(metered, sum(weights))
    assert all(0 <= part <= weight for part, weight in zip(shares, weights, strict=True))


@given(metered=st.integers(0, 10**13), weights=WEIGHTS)
def test_a_share_is_within_one_unit_of_its_proportion(metered: int, weights: list[int]) -> None:
    total = sum(weights)
    if metered >= total:
        return
    for part, weight in zip(share(metered, weights), weights, strict=True):
        assert abs(part * total - weight * metered) < total


@given(metered=st.integers(0, 10**13), weights=WEIGHTS)
def test_equal_weights_differ_by_at_most_one_unit_and_the_earlier_is_first(
    metered: int, weights: list[int]
) -> None:
    shares = share(metered, [weights[0]] * len(weights))
    assert sorted(shares, reverse=True) == list(shares)
    assert shares[0] - shares[-1] <= 1


@given(
    intervals=st.lists(st.integers(0, 10**7), min_size=1, max_size=6),
    weights=st.lists(st.integers(1, 10**7), min_size=1, max_size=4),
)
def test_interval_by_interval_equals_the_whole_up_to_single_units(
    intervals: list[int], weights: list[int]
) -> None:
    whole = share(sum(intervals), weights)
    got = [0] * len(weights)
    for metered in intervals:
        left = [weight - part for weight, part in zip(weights, got, strict=True)]
        got = [part + more for part, more in zip(got, share(metered, left), strict=True)]
    assert sum(got) == sum(whole)
    assert all(abs(a - b) <= len(intervals) for a, b in zip(got, whole, strict=True))
