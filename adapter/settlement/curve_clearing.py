"""Pay-as-clear over offer curves, in exact fractions: one price at which the sum of all is zero.

Curves are checked before (`domain.curves.faults`). The same over arrays, for very many curves, is
`curve_kernel`. Source: contract specification, section 10.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from adapter.domain.curves import Curve
from adapter.domain.quantities import MICRO, divide_half_even


@dataclass(frozen=True, slots=True)
class ClearedCurves:
    """What a market of curves clears to; the powers sum to zero."""

    price: Fraction | None
    """Currency per kWh, not rounded: the midpoint of the clearing interval; None: no trade."""
    power_micro_kw: Mapping[str, int]
    """10^-6 kW of each key, + export; all 0 when nothing trades."""

    @property
    def price_micro(self) -> int | None:
        """Return the price in 10^-6 currency per kWh, ties to even."""
        return None if self.price is None else micro_half_even(self.price)

    @property
    def volume_micro_kw(self) -> int:
        """Return the sum of the exports in 10^-6 kW."""
        return sum(power for power in self.power_micro_kw.values() if power > 0)


def micro_half_even(price: Fraction) -> int:
    """Return a price in millionths, ties to even."""
    return divide_half_even(price.numerator * MICRO, price.denominator)


def clear_curves(curves: Mapping[str, Curve]) -> ClearedCurves:
    """Return price and power at which all curves together balance.

    The price is the midpoint of all at which they do, between the lowest and the highest price of
    a point: beyond, nobody has named a price. Powers are taken at the price before it is rounded;
    millionths of a kW that rounding down left over go to the largest remainders, ties in the order
    of the keys.

    Args:
        curves: by key, each without `faults`; of one currency.

    Source: contract specification, 10.2.
    """
    nothing = ClearedCurves(None, dict.fromkeys(curves, 0))
    interval = _interval(list(curves.values()))
    if interval is None:
        return nothing
    price = sum(interval, Fraction()) / 2
    keys = sorted(curves)
    powers = balanced(_powers([curves[key] for key in keys], price))
    if not any(powers):
        return nothing
    by_key = dict(zip(keys, powers, strict=True))
    return ClearedCurves(price, {key: by_key[key] for key in curves})


def _interval(curves: Sequence[Curve]) -> tuple[Fraction, Fraction] | None:
    """Return the lowest and highest price with net(p-) <= 0 <= net(p+); None: there is none."""

    def below(price: Fraction) -> Fraction:
        return sum((curve.below(price) for curve in curves), Fraction())

    def above(price: Fraction) -> Fraction:
        return sum((curve.above(price) for curve in curves), Fraction())

    prices = sorted({price for curve in curves for price in curve.prices})
    lowest = bisect_left(prices, True, key=lambda price: above(price) >= 0)
    highest = bisect_left(prices, True, key=lambda price: below(price) > 0) - 1
    if lowest == len(prices) or highest < 0:
        return None
    if lowest <= highest:
        return prices[lowest], prices[highest]
    # Between two neighbouring points the sum is a line, which crosses zero once.
    left, right = prices[highest], prices[lowest]
    start, end = above(left), below(right)
    price = left + (right - left) * -start / (end - start)
    return price, price


def _powers(curves: Sequence[Curve], price: Fraction) -> list[Fraction]:
    """Return the power of each curve in 10^-6 kW at a price of the clearing interval.

    Those on a vertical step at the price share what is missing in proportion to their step.
    """
    low = [curve.below(price) * MICRO for curve in curves]
    high = [curve.above(price) * MICRO for curve in curves]
    step = sum(high) - sum(low)
    share = Fraction(-sum(low)) / step if step else Fraction()
    return [below + (above - below) * share for below, above in zip(low, high, strict=True)]


def balanced(powers: Sequence[Fraction]) -> list[int]:
    """Return whole numbers that sum to zero, as the powers do.

    Each is rounded down; what is then missing goes to the largest remainders, earlier ones first.
    """
    whole = [power.numerator // power.denominator for power in powers]
    remainders = [power - below for power, below in zip(powers, whole, strict=True)]
    by_remainder = sorted(range(len(powers)), key=lambda place: -remainders[place])
    for place in by_remainder[: -sum(whole)]:
        whole[place] += 1
    return whole
