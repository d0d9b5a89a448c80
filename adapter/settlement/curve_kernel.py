"""Pay-as-clear over very many offer curves on int64 arrays: the results of `curve_clearing`.

A sample of the curves says about where the sum crosses zero. Around it nearly all curves are
straight lines, which add up by the length of their pieces; only the few that bend there are
searched. Where rounded sums leave a sign open it is decided in whole numbers of any size.
Source: contract specification, section 10.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, isqrt, lcm
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapter.domain.curves import CurvePoint, OfferCurve
from adapter.domain.quantities import MAX_MICRO, MICRO, to_decimal, to_micro
from adapter.settlement.curve_balance import Parts, balanced
from adapter.settlement.curve_clearing import ClearedCurves, clear_curves
from adapter.settlement.kernel_rows import Ints, blocks, indexed

Counts = NDArray[np.int8]
"""Of points of a curve."""
POINTS_MAX = 127
"""Curves of more points are left to fractions."""

PILOT_CURVES = 4_096
"""Curves of the sample; no more curves than four times this are searched without one."""
CURVES_SEARCHED = 1_024
"""So few curves that bend are no longer worth halving."""
BUCKETS_MAX = 2**20
"""Lengths in more buckets are sorted."""
_PRODUCT_END = 2**61
"""Products of a price and a power difference stay below, or else fractions do the work."""


@dataclass(frozen=True, slots=True, eq=False)
class ClearedPowers:
    """What a market of curves clears to; the powers sum to zero."""

    price: Fraction | None
    """Currency per kWh, not rounded; None: no trade."""
    power_micro_kw: Ints
    """10^-6 kW of each curve, + export; all 0 when nothing trades."""


def clear_curve_arrays(price: Ints, power: Ints) -> ClearedPowers:
    """Return price and power at which all curves together balance.

    Args:
        price: 10^-6 currency per kWh, a column of points for each curve: (points, curves), 0 to
            10^12; a curve with fewer points repeats its last one.
        power: 10^-6 kW of the same points, -10^12 to 10^12. Neither falls along a column. Columns
            stand in the order of their keys, which decides ties.

    Raises:
        ValueError: other shapes, a falling curve or a number out of bounds.

    Source: contract specification, 10.2.
    """
    _check(price, power)
    price, power = np.ascontiguousarray(price), np.ascontiguousarray(power)
    if not price.size:
        return ClearedPowers(None, np.zeros(price.shape[1], dtype=np.int64))
    spread = int(price.max()) - int(price.min())
    widest = max(1, int((power[-1] - power[0]).max()))
    total = int(np.abs(power[[0, -1]]).max()) * price.shape[1]
    is_small = 2 * spread * widest < _PRODUCT_END and total < _PRODUCT_END
    if not is_small or len(price) > POINTS_MAX:
        return _by_fractions(price, power)
    market = _market(price, power)
    found = market.interval()
    if found is None:
        return ClearedPowers(None, np.zeros(price.shape[1], dtype=np.int64))
    powers = market.powers(found)
    if not powers.any():
        return ClearedPowers(None, powers)
    return ClearedPowers((found[0] + found[1]) / 2 / MICRO, powers)


def clear_many_curves(curves: Mapping[str, OfferCurve]) -> ClearedCurves:
    """Return what `curve_clearing.clear_curves` does, by arrays.

    Args:
        curves: by key, each without `faults`, of one currency, no number of over six decimals.

    Raises:
        QuantityError: over six decimals.
        ValueError: a number out of bounds.

    Source: contract specification, 10.2.
    """
    if not curves:
        return ClearedCurves(None, {})
    keys = sorted(curves)
    most = max(len(curve.points) for curve in curves.values())
    rows = []
    for key in keys:
        points = curves[key].points
        row = [(to_micro(point.price), to_micro(point.power_kw)) for point in points]
        rows.append(row + row[-1:] * (most - len(row)))
    columns = np.array(rows, dtype=np.int64)
    price, power = (np.ascontiguousarray(columns[:, :, part].T) for part in (0, 1))
    found = clear_curve_arrays(price, power)
    by_key = dict(zip(keys, found.power_micro_kw.tolist(), strict=True))
    return ClearedCurves(found.price, {key: by_key[key] for key in curves})


def _check(price: Ints, power: Ints) -> None:
    if price.ndim != 2 or price.shape != power.shape or not len(price):
        msg = "price and power are not of one shape, (points, curves)"
        raise ValueError(msg)
    if price.dtype != np.int64 or power.dtype != np.int64:
        msg = "price and power are not of int64"
        raise ValueError(msg)
    if (price[1:] < price[:-1]).any() or (power[1:] < power[:-1]).any():
        msg = "price or power falls along a curve"
        raise ValueError(msg)
    if price.size and not (price[0].min() >= 0 and price[-1].max() <= MAX_MICRO):
        msg = f"a price is not from 0 to {MAX_MICRO}"
        raise ValueError(msg)
    if power.size and not (power[0].min() >= -MAX_MICRO and power[-1].max() <= MAX_MICRO):
        msg = f"a power is not from -{MAX_MICRO} to {MAX_MICRO}"
        raise ValueError(msg)


def _by_fractions(price: Ints, power: Ints) -> ClearedPowers:
    """Return the result by `curve_clearing`, for numbers whose products leave 63 bits."""
    curves = {}
    for place, (prices, powers) in enumerate(zip(price.T.tolist(), power.T.tolist(), strict=True)):
        points = zip(map(to_decimal, prices), map(to_decimal, powers), strict=True)
        low, high = to_decimal(powers[0]), to_decimal(powers[-1])
        curves[f"{place:012d}"] = OfferCurve("XXX", low, high, tuple(map(CurvePoint._make, points)))
    found = clear_curves(curves)
    return ClearedPowers(found.price, np.array(list(found.power_micro_kw.values()), dtype=np.int64))


class _Lines(NamedTuple):
    """For each curve the straight piece on which a price lies."""

    price: Ints
    """Where the piece begins."""
    power: Ints
    rise: Ints
    """Power gained along it; 0 before the first point and after the last."""
    length: Ints
    """1 or more, in price."""

    def at(self, price: int) -> tuple[Ints, Ints]:
        """Return the power at a price in whole units, rounded down, and what is over / length."""
        gained = self.rise * (price - self.price)
        whole = gained // self.length
        return self.power + whole, gained - whole * self.length

    def part(self, places: slice) -> "_Lines":
        """Return some of them."""
        return _Lines(*(values[places] for values in self))


def _lines(price: Ints, power: Ints, passed: Counts, first: int = 0) -> _Lines:
    """Return the pieces of curves, from the `first` one on, after so many of their points."""
    points, curves = price.shape
    place = np.arange(first, first + len(passed))
    begin = np.maximum(passed - 1, 0) * np.int64(curves) + place
    end = np.minimum(passed, points - 1) * np.int64(curves) + place
    flat_price, flat_power = price.reshape(-1), power.reshape(-1)
    start, low = flat_price[begin], flat_power[begin]
    is_end = (passed == 0) | (passed == points)
    rise = np.where(is_end, 0, flat_power[end] - low)
    return _Lines(start, low, rise, np.where(rise > 0, flat_price[end] - start, 1))


def _passed(price: Ints, at: int, *, inclusive: bool) -> Counts:
    """Return how many points of each curve lie before a price, or at it when inclusive."""
    count = np.zeros(price.shape[1], dtype=np.int8)
    for points in price:
        count += (points <= at if inclusive else points < at).view(np.int8)
    return count


class _Sum(NamedTuple):
    """An exact sum of fractions: whole units and numerators by denominator."""

    whole: int
    over: dict[int, int]

    def plus(self, *others: "_Sum") -> "_Sum":
        """Return the sum of all."""
        over = dict(self.over)
        for other in others:
            for length, value in other.over.items():
                over[length] = over.get(length, 0) + value
        return _Sum(self.whole + sum(other.whole for other in others), over)

    def exact(self) -> Fraction:
        """Return the value, over the least common denominator of all."""
        common = lcm(*self.over)
        parts = (value * (common // length) for length, value in self.over.items())
        return Fraction(self.whole * common + sum(parts), common)


def _by_length(length: Ints, values: Ints) -> dict[int, int]:
    """Return the sum of the values of each length."""
    index, steps = indexed(length, 1)
    if steps.buckets <= BUCKETS_MAX:
        sums = np.zeros(steps.buckets, dtype=np.int64)
        lengths = np.arange(steps.buckets) * steps.size + steps.low
    else:
        lengths, index = np.unique(length, return_inverse=True)
        sums = np.zeros(len(lengths), dtype=np.int64)
    np.add.at(sums, index, values)
    used = np.flatnonzero(sums)
    return dict(zip(lengths[used].tolist(), sums[used].tolist(), strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class _Market:
    """Curves around the crossing: straight ones as sums, those that bend there in full."""

    low: int
    """The sum is negative here, or no point is below."""
    high: int
    """The sum is positive here, or no point is above."""
    lines: _Lines
    """Of all curves from `low` on; for those that bend only up to their first point."""
    bent: Ints
    """The curves with a point between `low` and `high`."""
    price: Ints
    """Points of those curves."""
    power: Ints
    straight: _Sum
    """The others' sum at `low`."""
    slope: dict[int, int]
    """Their rise by length."""

    def floor(self, price: int, *, inclusive: bool) -> tuple[int, int]:
        """Return two whole numbers: the sum is one of [first, second) or equals both."""
        straight = self._straight_at(price)
        floor = straight.whole + sum(value // length for length, value in straight.over.items())
        broken = len(straight.over)
        for _, whole, over in self._pieces(price, inclusive=inclusive):
            floor += int(whole.sum())
            broken += int(np.count_nonzero(over))
        return floor, floor + broken

    def exact(self, price: int, *, inclusive: bool) -> Fraction:
        """Return the sum just below a price, or from it on when inclusive."""
        bent = [
            _Sum(int(whole.sum()), _by_length(lines.length, over))
            for lines, whole, over in self._pieces(price, inclusive=inclusive)
        ]
        return self._straight_at(price).plus(*bent).exact()

    def _pieces(self, price: int, *, inclusive: bool) -> Iterator[tuple[_Lines, Ints, Ints]]:
        """Give the lines of the curves that bend, some at a time, and where they are at a price."""
        for block in blocks(len(self.bent)):
            passed = _passed(self.price[:, block], price, inclusive=inclusive)
            lines = _lines(self.price, self.power, passed, block.start)
            yield lines, *lines.at(price)

    def _straight_at(self, price: int) -> _Sum:
        gained = {length: rise * (price - self.low) for length, rise in self.slope.items()}
        return self.straight.plus(_Sum(0, gained))

    def is_supplied(self, price: int) -> bool:
        """Return whether the sum is 0 or more from a price on."""
        low, high = self.floor(price, inclusive=True)
        return low >= 0 or (high > 0 and self.exact(price, inclusive=True) >= 0)

    def is_oversupplied(self, price: int) -> bool:
        """Return whether the sum is above 0 just below a price."""
        low, high = self.floor(price, inclusive=False)
        return low > 0 or (high > 0 and self.exact(price, inclusive=False) > 0)

    def interval(self) -> tuple[Fraction, Fraction] | None:
        """Return the lowest and highest price, in millionths, at which all balance."""
        inside = (self.price > self.low) & (self.price < self.high)
        prices = sorted(set(self.price[inside].tolist()))
        lowest = bisect_left(prices, True, key=self.is_supplied)
        highest = bisect_left(prices, True, key=self.is_oversupplied) - 1
        if lowest <= highest:
            return Fraction(prices[lowest]), Fraction(prices[highest])
        left = prices[highest] if highest >= 0 else self.low
        right = prices[lowest] if lowest < len(prices) else self.high
        start, end = self.exact(left, inclusive=True), self.exact(right, inclusive=False)
        if not start < 0 < end:
            return None  # left and right are beyond all points
        price = left + (right - left) * -start / (end - start)
        return price, price

    def powers(self, interval: tuple[Fraction, Fraction]) -> Ints:
        """Return the whole powers of all curves in the middle of the clearing interval.

        It writes to `lines`, which nothing reads after.
        """
        price = (interval[0] + interval[1]) / 2
        at = price.numerator // price.denominator
        on_point = interval[0] == interval[1] == at
        passed = _passed(self.price, at, inclusive=not on_point)
        bent = _lines(self.price, self.power, passed)
        lines = self.lines
        for values, others in zip(lines, bent, strict=True):
            values[self.bent] = others
        whole, over = np.empty((2, len(lines.price)), dtype=np.int64)
        for block in blocks(len(whole)):
            whole[block], over[block] = lines.part(block).at(at)
        if not on_point:
            return balanced(whole, Parts(over, lines.rise, lines.length), price - at)
        above = _lines(self.price, self.power, _passed(self.price, at, inclusive=True)).at(at)[0]
        step = np.zeros_like(whole)
        step[self.bent] = above - whole[self.bent]
        before, after = (self.exact(at, inclusive=inclusive) for inclusive in (False, True))
        share = -before / (after - before) if after > before else Fraction()
        return balanced(whole, Parts(over, step, np.where(step > 0, 1, lines.length)), share)

    def bracketed(self, start: int, end: int) -> "_Market":
        """Return the market around where a straight line from low to high crosses zero, if it can.

        Args:
            start: about the sum at `low`, below 0.
            end: about the sum at `high`, above 0.
        """
        if not len(self.bent):
            return self
        width = self.high - self.low
        guess = self.low + width * -start // (end - start)
        low, high = guess - width // 64 - 1, guess + width // 64 + 1
        if low <= self.low or self.is_supplied(low):
            low = self.low
        if high >= self.high or not self.is_oversupplied(high):
            high = self.high
        return self.between(low, high)

    def closer(self) -> "_Market":
        """Return the same curves with only few that bend, unless they bend at the clearing price.

        Each turn halves the points in between.
        """
        found = self
        while len(found.bent) > CURVES_SEARCHED:
            middle = found.middle()
            if not found.low < middle < found.high:
                break
            if not found.is_supplied(middle):
                found = found.between(middle, found.high)
            elif found.is_oversupplied(middle):
                found = found.between(found.low, middle)
            else:
                break
        return found

    def middle(self) -> int:
        """Return about the median price of the points in between."""
        some = self.price[:, :: len(self.bent) // 256 + 1]
        inside = np.sort(some[(some > self.low) & (some < self.high)])
        return int(inside[len(inside) // 2]) if len(inside) else self.low

    def between(self, low: int, high: int) -> "_Market":
        """Return the market around a narrower stretch; `lines` are carried along in place."""
        parts, added, steeper = [], [], []
        for block in blocks(len(self.bent)):
            prices = self.price[:, block]
            passed = _passed(prices, low, inclusive=True)
            bends = passed != _passed(prices, high, inclusive=False)
            lines = _lines(self.price, self.power, passed, block.start)
            for values, others in zip(self.lines, lines, strict=True):
                values[self.bent[block]] = others
            whole, over = lines.at(low)
            sloped = np.flatnonzero((lines.rise > 0) & ~bends)
            length = lines.length[sloped]
            still = np.flatnonzero(bends)
            parts.append(still + block.start)
            of_straight = int(whole.sum() - whole[still].sum())
            added.append(_Sum(of_straight, _by_length(length, over[sloped])))
            steeper.append(_Sum(0, _by_length(length, lines.rise[sloped])))
        still = np.concatenate(parts)
        return _Market(
            low,
            high,
            self.lines,
            self.bent[still],
            np.take(self.price, still, axis=1),
            np.take(self.power, still, axis=1),
            self._straight_at(low).plus(*added),
            _Sum(0, self.slope).plus(*steeper).over,
        )


def _market(price: Ints, power: Ints) -> _Market:
    """Return the curves around the crossing."""
    lowest, highest = int(price.min()) - 1, int(price.max()) + 1
    every = np.arange(price.shape[1])
    lines = _Lines(*np.empty((4, len(every)), dtype=np.int64))
    all_bend = _Market(lowest, highest, lines, every, price, power, _Sum(0, {}), {})
    if price.shape[1] > 4 * PILOT_CURVES:
        near = all_bend.between(*_pilot(price, power, lowest, highest))
        start = near.floor(near.low, inclusive=True)
        end = near.floor(near.high, inclusive=False)
        if start[1] <= 0 < end[0] and start[0] < 0:
            return near.bracketed(start[0], end[0]).closer()
    return all_bend.closer()


def _sample(curves: int) -> Ints:
    """Return places all over; not evenly, for curves may stand in turns."""
    step = curves * 987 // 1597  # golden, so that a few are spread as well as many
    while gcd(step, curves) > 1:
        step += 1
    return np.arange(PILOT_CURVES) * step % curves


def _pilot(price: Ints, power: Ints, lowest: int, highest: int) -> tuple[int, int]:
    """Return prices around the one at which a sample balances, three deviations to each side."""
    sample = _sample(price.shape[1])
    some, offered = price[:, sample], power[:, sample]

    def sum_at(at: int) -> Ints:
        return _lines(some, offered, _passed(some, at, inclusive=True)).at(at)[0]

    def first(least: int) -> int:
        place = bisect_left(
            range(lowest, highest), True, key=lambda at: int(sum_at(at).sum()) >= least
        )
        return lowest + place

    found = sum_at(first(0)) // MICRO  # whole kW will do to see how widely powers vary
    far = 3 * MICRO * (isqrt(int((found * found).sum())) + 1)
    return max(lowest, first(-far) - 1), min(highest, first(far) + 1)
