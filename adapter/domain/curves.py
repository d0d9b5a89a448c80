"""Offer curves: power over price, and what is wrong with one.

A curve is a non-decreasing piecewise-linear supply function: linear between points, flat before
the first and after the last; two points at one price are a vertical step. Power is kW, + export,
- withdrawal; prices are currency per kWh. A curve is of decimals, as sent; what lies between its
points is a fraction. Clearing is left to others.
Source: contract specification, sections 10.1 and 12 (rules 63 to 67 and 75).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

RESOLUTION = Fraction(1, 1_000_000)
"""What a price and a power on the wire are rounded to."""


class CurvePoint(NamedTuple):
    """Power from a price on."""

    price: Decimal
    power_kw: Decimal


class Side(StrEnum):
    """Which way a curve trades."""

    BUYER = "BUYER"
    SELLER = "SELLER"
    BOTH = "BOTH"
    """Storage."""


@dataclass(frozen=True, slots=True)
class CurveFault:
    """A rule that a curve breaks."""

    code: str
    """P2P_CURVE_RANGE, ORDER, ENDS or BOUNDS."""
    point: int | None = None
    """Place of the point in the curve; None for the whole."""
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OfferCurve:
    """What one prosumer offers at each price."""

    currency: str
    min_export_kw: Decimal
    max_export_kw: Decimal
    points: tuple[CurvePoint, ...]
    """At least one; in order when `faults` finds nothing."""

    @property
    def side(self) -> Side:
        """Return which way the curve trades."""
        if self.min_export_kw < 0 and self.max_export_kw <= 0:
            return Side.BUYER
        return Side.SELLER if self.min_export_kw >= 0 and self.max_export_kw > 0 else Side.BOTH

    def below(self, price: Fraction) -> Fraction:
        """Return the power just below a price: at a step, its lower end."""
        return self._power(price, bisect_left(self.points, price, key=_price))

    def above(self, price: Fraction) -> Fraction:
        """Return the power from a price on: at a step, its upper end."""
        return self._power(price, bisect_right(self.points, price, key=_price))

    def _power(self, price: Fraction, turn: int) -> Fraction:
        """Return the power at a price that lies between point `turn - 1` and point `turn`."""
        if turn == 0:
            return Fraction(self.points[0].power_kw)
        left_price, left_kw = map(Fraction, self.points[turn - 1])
        if turn == len(self.points) or left_price == price:
            return left_kw
        right_price, right_kw = map(Fraction, self.points[turn])
        return left_kw + (price - left_price) / (right_price - left_price) * (right_kw - left_kw)

    def band(self, price: Fraction) -> tuple[Fraction, Fraction]:
        """Return the least and most power that a clearing price, rounded, may mean.

        Source: contract specification, section 10.3.
        """
        low, high = self.below(price - RESOLUTION), self.above(price + RESOLUTION)
        return low - RESOLUTION, high + RESOLUTION


def _price(point: CurvePoint) -> Fraction:
    return Fraction(point.price)


def faults(curve: OfferCurve) -> Iterator[CurveFault]:
    """Give what makes a curve unfit for clearing, each rule where it is broken."""
    low, high = curve.min_export_kw, curve.max_export_kw
    limits = {"min": low, "max": high}
    if low > high or low == high == 0:
        yield CurveFault("P2P_CURVE_RANGE", details=limits)
    for index, (before, after) in enumerate(pairwise(curve.points), start=1):
        if after.price < before.price or after.power_kw < before.power_kw:
            yield CurveFault("P2P_CURVE_ORDER", index, {"i": index})
    first, last = curve.points[0].power_kw, curve.points[-1].power_kw
    if (first, last) != (low, high):
        yield CurveFault("P2P_CURVE_ENDS", details={"first": first, "last": last, **limits})
    for index, point in enumerate(curve.points):
        if not low <= point.power_kw <= high:
            details = {"i": index, "power": point.power_kw, **limits}
            yield CurveFault("P2P_CURVE_BOUNDS", index, details)
