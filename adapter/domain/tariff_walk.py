"""Energy walked through a tariff in time order: which element charges which part of it.

Source: contract specification, section 9, steps 3 to 7.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import tzinfo
from fractions import Fraction
from math import ceil
from typing import NamedTuple

from adapter.domain.instants import DeliveryInterval, format_instant
from adapter.domain.tariff_elements import (
    GAP,
    NOTHING,
    TOO_LARGE,
    Component,
    PriceComponent,
    ProfilePiece,
    Tariff,
    TariffElement,
    TariffError,
    TariffLeg,
)
from adapter.domain.wall_clock import WallPiece, local_time, wall_pieces

MAX_CHECKS = 200_000
"""Elements looked at for one price: a year of quarter hours takes half of it, a hostile tariff
costs some tenths of a second."""
MAX_WINDOW_MS = 366 * 86_400_000
EARLIEST_MS, LATEST_MS = 0, 32_503_680_000_000
"""1970 and 3000: years that every calendar and time zone knows."""
WH_PER_KWH = 1_000
MS_PER_SECOND = 1_000
MS_PER_HOUR = 3_600_000


class Choice(NamedTuple):
    """An element with its price of the kind that is looked for."""

    place: int
    element: TariffElement
    price: PriceComponent


def walk(
    tariff: Tariff,
    window: DeliveryInterval,
    pieces: Sequence[ProfilePiece],
    zone: tzinfo,
    *,
    whole_steps: bool = True,
    max_checks: int = MAX_CHECKS,
) -> tuple[TariffLeg, ...]:
    """Return what the elements charge: once at the start, for energy, for time.

    Args:
        tariff: the tariff.
        window: the trade window.
        pieces: metered energy in time order.
        zone: in which times of day and weekdays are read.
        whole_steps: round energy and time up to the step of their last price.
        max_checks: bound of the work.

    Raises:
        TariffError: P2P_TARIFF_GAP, energy without a price; P2P_FLOW_VALUE, too much work.
    """
    clock = ElementClock(tariff, window, zone, max_checks)
    energy, time = _EnergyWalk(clock), _TimeWalk()
    for piece in pieces:
        duration = piece.end_ms - piece.start_ms
        for part in clock.cut(piece.start_ms, piece.end_ms):
            length = part.end_ms - part.start_ms
            energy.add(part, piece.kwh * length / duration if length < duration else piece.kwh)
            time.add(part, clock.choices(part, Component.TIME))
    used = (energy.finish(), time.finish()) if whole_steps else (energy.legs, time.legs)
    return (*_flat_legs(clock, window), *used[0], *used[1])


class ElementClock:
    """Which elements of a tariff hold at which local time of a window."""

    def __init__(
        self,
        tariff: Tariff,
        window: DeliveryInterval,
        zone: tzinfo,
        max_checks: int = MAX_CHECKS,
    ) -> None:
        """Take what is asked about, and how much work it may be.

        Raises:
            TariffError: P2P_FLOW_VALUE, the window is too long or too far away.
        """
        if window.end_ms - window.start_ms > MAX_WINDOW_MS:
            raise TariffError(TOO_LARGE, "a tariff prices at most 366 days")
        if window.start_ms < EARLIEST_MS or window.end_ms > LATEST_MS:
            raise TariffError(TOO_LARGE, "a tariff prices the years 1970 to 2999")
        self._elements = tariff.elements
        self._zone = zone
        ends = [(e.start_minute, e.end_minute) for e in tariff.elements]
        self._minutes = {minute for pair in ends for minute in pair if minute is not None}
        self._known: dict[tuple[int, int, Component], tuple[Choice, ...]] = {}
        self._checks, self._max_checks = 0, max_checks

    def cut(self, start_ms: int, end_ms: int) -> Iterator[WallPiece]:
        """Give the parts of an interval in which the same elements hold."""
        for part in wall_pieces(DeliveryInterval(start_ms, end_ms), self._zone, self._minutes):
            self.spend(1)
            yield part

    def choices(self, part: WallPiece, kind: Component) -> tuple[Choice, ...]:
        """Return the elements that hold then and have a price of a kind, in list order."""
        key = (part.weekday, part.minute, kind)
        known = self._known.get(key)
        if known is None:
            self.spend(len(self._elements))
            known = self._known[key] = tuple(
                Choice(place, element, price)
                for place, element in enumerate(self._elements)
                if element.matches(part.weekday, part.minute)
                and (price := element.component(kind)) is not None
            )
        return known

    def spend(self, checks: int) -> None:
        """Count work, and stop when it is more than a price is worth."""
        self._checks += checks
        if self._checks > self._max_checks:
            raise TariffError(TOO_LARGE, f"the tariff needs more than {self._max_checks} steps")

    def gap(self, at_ms: int, total_kwh: Fraction) -> TariffError:
        """Return the error for energy without a price."""
        local = local_time(at_ms, self._zone)
        place = f"{local:%a %H:%M} ({format_instant(at_ms)})"
        total = f"{total_kwh.numerator}/{total_kwh.denominator}"
        shown = total.removesuffix("/1")
        return TariffError(
            GAP,
            f"no ENERGY price at {place} for {shown} kWh",
            details={"at": place, "cum": shown},
        )


def _flat_legs(clock: ElementClock, window: DeliveryInterval) -> tuple[TariffLeg, ...]:
    """Return the charge of the first element that holds at the start and has a FLAT price."""
    start = next(clock.cut(window.start_ms, window.end_ms))
    choices = clock.choices(start, Component.FLAT)
    if not choices:
        return ()
    place, _, price = choices[0]
    at = window.start_ms
    return (TariffLeg(place, price, at, at, NOTHING, price.price),)


class _EnergyWalk:
    """Energy in time order, with its running total."""

    def __init__(self, clock: ElementClock) -> None:
        self._clock = clock
        self._total = NOTHING
        self.legs: list[TariffLeg] = []
        """Without what rounding adds."""

    def add(self, part: WallPiece, kwh: Fraction) -> None:
        """Charge the energy of a part, cut where another tier begins."""
        if not kwh:
            return
        choices = self._clock.choices(part, Component.ENERGY)
        duration = part.end_ms - part.start_ms
        target = self._total + kwh
        at = part.start_ms
        while self._total < target:
            self._clock.spend(len(choices))
            turn = next((n for n, c in enumerate(choices) if c.element.holds(self._total)), None)
            if turn is None:
                raise self._clock.gap(at, self._total)
            until = min((target, *self._ends(choices, turn)))
            end = part.end_ms
            if until < target:
                end -= int((target - until) / kwh * duration)
            place, _, price = choices[turn]
            energy = until - self._total
            _append(self.legs, TariffLeg(place, price, at, end, energy, energy * price.price))
            self._total, at = until, end

    def _ends(self, choices: Sequence[Choice], turn: int) -> Iterator[Fraction]:
        """Give the totals at which the tier ends or an earlier-listed one begins."""
        for earlier in choices[:turn]:
            if earlier.element.min_kwh > self._total:
                yield earlier.element.min_kwh
        most = choices[turn].element.max_kwh
        if most is not None:
            yield most

    def finish(self) -> tuple[TariffLeg, ...]:
        """Return the legs, and what the step of the last price adds to the total."""
        if self.legs:
            last = self.legs[-1]
            total_wh = self._total * WH_PER_KWH
            excess = (_up_to_step(total_wh, last.component.step) - total_wh) / WH_PER_KWH
            if excess:
                at, amount = last.end_ms, excess * last.component.price
                self.legs.append(TariffLeg(last.element, last.component, at, at, excess, amount))
        return tuple(self.legs)


class _TimeWalk:
    """Time that has a price."""

    def __init__(self) -> None:
        self._total_ms = 0
        self.legs: list[TariffLeg] = []
        """Without what rounding adds."""

    def add(self, part: WallPiece, choices: Sequence[Choice]) -> None:
        """Charge the time of a part, if an element has a price for it."""
        if choices:
            place, _, price = choices[0]
            duration = part.end_ms - part.start_ms
            amount = price.price * Fraction(duration, MS_PER_HOUR)
            leg = TariffLeg(place, price, part.start_ms, part.end_ms, NOTHING, amount)
            _append(self.legs, leg)
            self._total_ms += duration

    def finish(self) -> tuple[TariffLeg, ...]:
        """Return the legs, and what the step of the last price adds to the total."""
        if self.legs:
            last = self.legs[-1]
            step_ms = last.component.step * MS_PER_SECOND
            excess = _up_to_step(Fraction(self._total_ms), step_ms) - self._total_ms
            if excess:
                at, amount = last.end_ms, excess / MS_PER_HOUR * last.component.price
                self.legs.append(TariffLeg(last.element, last.component, at, at, NOTHING, amount))
        return tuple(self.legs)


def _append(legs: list[TariffLeg], leg: TariffLeg) -> None:
    """Add a leg, as part of the last one when that goes on in the same element."""
    last = legs[-1] if legs else None
    if last is not None and last.element == leg.element and last.end_ms == leg.start_ms:
        legs[-1] = replace(
            last, end_ms=leg.end_ms, kwh=last.kwh + leg.kwh, amount=last.amount + leg.amount
        )
    else:
        legs.append(leg)


def _up_to_step(total: Fraction, step: int) -> Fraction:
    """Return the smallest multiple of a step that is not below the total."""
    return Fraction(ceil(total / step) * step)
