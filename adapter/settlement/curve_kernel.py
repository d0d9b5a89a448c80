"""Pay-as-clear over very many offer curves on int64 arrays: the results of `curve_clearing`.

A sample of the curves says about where the sum crosses zero. Around it nearly all curves are
straight lines, which add up by the length of their pieces; only the few that bend there are
searched. Where rounded sums leave a sign open it is decided in whole numbers of any size.
Source: contract specification, section 10.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt, lcm
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapter.domain.curves import CurvePoint, OfferCurve
from adapter.domain.quantities import MAX_MICRO, MICRO, to_decimal, to_micro
from adapter.settlement.curve_clearing import ClearedCurves, clear_curves
from adapter.settlement.kernel_rows import Ints, indexed

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


def _lines(price: Ints, power: Ints, passed: Counts) -> _Lines:
    """Return the pieces of curves after so many of their points."""
    points, curves = price.shape
    place = np.arange(curves)
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

    def plus(self, other: "_Sum") -> "_Sum":
        """Return the sum of both."""
        over = dict(self.over)
        for length, value in other.over.items():
            over[length] = over.get(length, 0) + value
        return _Sum(self.whole + other.whole, over)

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
        lines = _lines(self.price, self.power, _passed(self.price, price, inclusive=inclusive))
        whole, over = lines.at(price)
        straight = self._straight_at(price)
        floor = int(whole.sum()) + straight.whole
        floor += sum(value // length for length, value in straight.over.items())
        return floor, floor + int(np.count_nonzero(over)) + len(straight.over)

    def exact(self, price: int, *, inclusive: bool) -> Fraction:
        """Return the sum just below a price, or from it on when inclusive."""
        lines = _lines(self.price, self.power, _passed(self.price, price, inclusive=inclusive))
        whole, over = lines.at(price)
        bent = _Sum(int(whole.sum()), _by_length(lines.length, over))
        return self._straight_at(price).plus(bent).exact()

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
        whole, over = lines.at(at)
        if not on_point:
            return _balanced(whole, _Parts(over, lines.rise, lines.length), price - at)
        above = _lines(self.price, self.power, _passed(self.price, at, inclusive=True)).at(at)[0]
        step = np.zeros_like(whole)
        step[self.bent] = above - whole[self.bent]
        before, after = (self.exact(at, inclusive=inclusive) for inclusive in (False, True))
        share = -before / (after - before) if after > before else Fraction()
        return _balanced(whole, _Parts(over, step, np.where(step > 0, 1, lines.length)), share)

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
        passed = _passed(self.price, low, inclusive=True)
        bends = passed != _passed(self.price, high, inclusive=False)
        still = np.flatnonzero(bends)
        lines = _lines(self.price, self.power, passed)
        kept = self.lines if len(self.bent) < len(self.lines.price) else lines
        if kept is not lines:
            for values, others in zip(kept, lines, strict=True):
                values[self.bent] = others
        whole, over = lines.at(low)
        sloped = np.flatnonzero((lines.rise > 0) & ~bends)
        length = lines.length[sloped]
        added = _Sum(int(whole.sum() - whole[still].sum()), _by_length(length, over[sloped]))
        slope = _Sum(0, self.slope).plus(_Sum(0, _by_length(length, lines.rise[sloped]))).over
        return _Market(
            low,
            high,
            kept,
            self.bent[still],
            np.take(self.price, still, axis=1),
            np.take(self.power, still, axis=1),
            self._straight_at(low).plus(added),
            slope,
        )


def _market(price: Ints, power: Ints) -> _Market:
    """Return the curves around the crossing."""
    lowest, highest = int(price.min()) - 1, int(price.max()) + 1
    every = np.arange(price.shape[1])
    flat = np.zeros_like(every), np.ones_like(every)
    lines = _Lines(price[0].copy(), power[0].copy(), *flat)
    all_bend = _Market(lowest, highest, lines, every, price, power, _Sum(0, {}), {})
    if price.shape[1] > 4 * PILOT_CURVES:
        near = all_bend.between(*_pilot(price, power, lowest, highest))
        starts = near.floor(near.low, inclusive=True)[1]
        ends = near.floor(near.high, inclusive=False)[0]
        if starts <= 0 < ends and near.exact(near.low, inclusive=True) < 0:
            return near.closer()
    return all_bend.closer()


def _pilot(price: Ints, power: Ints, lowest: int, highest: int) -> tuple[int, int]:
    """Return prices around the one at which a sample balances, three deviations to each side."""
    every = price.shape[1] // PILOT_CURVES
    some, offered = price[:, ::every].copy(), power[:, ::every].copy()

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


class _Parts(NamedTuple):
    """What a power has beyond whole units: (over + share * rise) / length."""

    over: Ints
    rise: Ints
    length: Ints


_KEY_BITS = 20
"""Remainders are ranked by so many bits first, exactly where that leaves a choice."""
_DENOMINATOR_BITS = 42


def _balanced(whole: Ints, parts: _Parts, share: Fraction) -> Ints:
    """Return whole numbers that sum to zero, as the exact powers do.

    Each is rounded down; what is then missing goes to the largest remainders, earlier ones first.
    """
    broken = np.flatnonzero((parts.over | parts.rise) != 0)
    if not len(broken):
        return whole
    some = _Parts(*(values[broken] for values in parts))
    added, key, error = _ranked(some, share)
    whole[broken] += added
    missing = -int(whole.sum())
    if not missing:
        return whole
    turn = int(np.partition(key, -missing)[-missing])
    sure = key > turn + error
    open_ones = np.flatnonzero((key >= turn - error) & ~sure)
    whole[broken[sure]] += 1
    left = missing - int(np.count_nonzero(sure))

    chosen = _largest(open_ones.tolist(), some, share)[:left]
    whole[broken[chosen]] += 1
    return whole


def _largest(places: list[int], parts: _Parts, share: Fraction) -> list[int]:
    """Return places by exact remainder, largest first, in whole numbers over one denominator."""
    lengths = parts.length[places].tolist()
    common = lcm(*set(lengths))
    top, bottom = share.numerator, share.denominator
    rows = zip(parts.over[places].tolist(), parts.rise[places].tolist(), lengths, strict=True)
    remainders = [
        (over * bottom + rise * top) % (length * bottom) * (common // length)
        for over, rise, length in rows
    ]
    by_remainder = sorted(range(len(places)), key=remainders.__getitem__, reverse=True)
    return [places[turn] for turn in by_remainder]


def _exact(parts: _Parts, share: Fraction, place: int) -> Fraction:
    over, rise, length = (int(values[place]) for values in parts)
    return (over + share * rise) / length


def _ranked(parts: _Parts, share: Fraction) -> tuple[Ints, Ints, int]:
    """Return whole units, the first bits of the remainders, and how far those may be too low."""
    over, rise, length = parts
    longest, steepest = int(length.max()), int(rise.max())
    low, scale = share.numerator, share.denominator
    is_exact = longest * scale < 2**_DENOMINATOR_BITS and (longest + steepest) * scale < 2**62
    if not is_exact:
        bits = min(_DENOMINATOR_BITS - longest.bit_length(), 61 - steepest.bit_length())
        scale = 2**bits
        low = share.numerator * scale // share.denominator
    numerator, denominator = over * scale + rise * low, length * scale
    added = numerator // denominator
    rest = numerator - added * denominator
    if is_exact:
        return added, (rest << _KEY_BITS) // denominator, 0
    for place in np.flatnonzero(rest + rise >= denominator).tolist():
        found = _exact(parts, share, place)
        added[place] = found.numerator // found.denominator
        exact_rest = (found % 1) * int(denominator[place])
        rest[place] = exact_rest.numerator // exact_rest.denominator
    key = (rest << _KEY_BITS) // denominator
    error = int((((rest + rise) << _KEY_BITS) // denominator - key).max())
    return added, key, error
