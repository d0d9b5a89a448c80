"""Offer curves: power over price, and what is wrong with one.

A curve is a non-decreasing piecewise-linear supply function: linear between points, flat before
the first and after the last; two points at one price are a vertical step. Power is kW, + export,
- withdrawal; prices are currency per kWh. A curve is of decimals, as sent; what lies between its
points is a fraction, and so is a curve that was clipped. Clearing is left to others.
Source: contract specification, sections 10.1 and 12 (rules 63 to 67 and 75).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple, Protocol

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


class Curve(Protocol):
    """What clearing needs to know of a curve."""

    @property
    def prices(self) -> Iterable[Fraction]:
        """Return the prices of its points, between which it is a line."""
        ...

    def below(self, price: Fraction) -> Fraction:
        """Return the power just below a price."""
        ...

    def above(self, price: Fraction) -> Fraction:
        """Return the power from a price on."""
        ...


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

    @property
    def prices(self) -> list[Fraction]:
        """Return the prices of its points."""
        return [Fraction(point.price) for point in self.points]

    def below(self, price: Fraction) -> Fraction:
        """Return the power just below a price: at a step, its lower end."""
        return _power(self.points, price, bisect_left(self.points, price, key=_price))

    def above(self, price: Fraction) -> Fraction:
        """Return the power from a price on: at a step, its upper end."""
        return _power(self.points, price, bisect_right(self.points, price, key=_price))

    def band(self, price: Fraction) -> tuple[Fraction, Fraction]:
        """Return the least and most power that a clearing price, rounded, may mean.

        Source: contract specification, section 10.3.
        """
        low, high = self.below(price - RESOLUTION), self.above(price + RESOLUTION)
        return low - RESOLUTION, high + RESOLUTION

    def clipped(self, low_kw: Fraction, high_kw: Fraction) -> "ClippedCurve | None":
        """Return the curve held between two powers, exactly, as `min(max(power, low), high)`.

        None where it offers nothing between them, so that every power would be another one than
        the prosumer named.

        Args:
            low_kw: least power, at most `high_kw`.
            high_kw: most power.
        """
        if self.max_export_kw < low_kw or self.min_export_kw > high_kw:
            return None
        exact = [(Fraction(price), Fraction(power)) for price, power in self.points]
        found = exact[:1]
        for before, after in pairwise(exact):
            found += _crossings(before, after, (low_kw, high_kw))
            found.append(after)
        return ClippedCurve(
            tuple((price, min(max(power, low_kw), high_kw)) for price, power in found)
        )


@dataclass(frozen=True, slots=True)
class ClippedCurve:
    """A curve between two powers; its new bends need not be decimals."""

    points: tuple[tuple[Fraction, Fraction], ...]
    """Price and kW, in order; at least one."""

    @property
    def prices(self) -> list[Fraction]:
        """Return the prices of its points."""
        return [price for price, _ in self.points]

    def below(self, price: Fraction) -> Fraction:
        """Return the power just below a price: at a step, its lower end."""
        return _power(self.points, price, bisect_left(self.points, price, key=_first))

    def above(self, price: Fraction) -> Fraction:
        """Return the power from a price on: at a step, its upper end."""
        return _power(self.points, price, bisect_right(self.points, price, key=_first))


_Point = tuple[Fraction, Fraction]


def _crossings(before: _Point, after: _Point, levels: Sequence[Fraction]) -> Iterator[_Point]:
    """Give where the line between two points passes a power; a vertical one has no new price."""
    (left, start), (right, end) = before, after
    for level in levels:
        if left < right and start < level < end:
            yield left + (level - start) / (end - start) * (right - left), level


def _power(
    points: Sequence[tuple[Decimal | Fraction, Decimal | Fraction]], price: Fraction, turn: int
) -> Fraction:
    """Return the power at a price that lies between point `turn - 1` and point `turn`."""
    if turn == 0:
        return Fraction(points[0][1])
    left_price, left_kw = (Fraction(part) for part in points[turn - 1])
    if turn == len(points) or left_price == price:
        return left_kw
    right_price, right_kw = (Fraction(part) for part in points[turn])
    return left_kw + (price - left_price) / (right_price - left_price) * (right_kw - left_kw)


def _price(point: CurvePoint) -> Fraction:
    return Fraction(point.price)


def _first(point: _Point) -> Fraction:
    return point[0]


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
