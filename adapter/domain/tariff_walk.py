"""Energy walked through a tariff in time order: which element charges which part of it.

Source: contract specification, section 9, steps 3 to 7.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import tzinfo
from fractions import Fraction
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

MAX_CHECKS = 50_000
"""Elements looked at for one price: a year at five elements takes a quarter of it; a hostile
tariff costs some tens of milliseconds."""
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
    tariff: Tariff, window: DeliveryInterval, pieces: Sequence[ProfilePiece], zone: tzinfo
) -> tuple[TariffLeg, ...]:
    """Return what the elements charge: once at the start, for energy, for time.

    Raises:
        TariffError: P2P_TARIFF_GAP, energy without a price; P2P_FLOW_VALUE, too much work.
    """
    clock = ElementClock(tariff, window, zone)
    energy, time = _EnergyWalk(clock), _TimeWalk()
    for piece in pieces:
        duration = piece.end_ms - piece.start_ms
        for part in clock.cut(piece.start_ms, piece.end_ms):
            kwh = piece.kwh * Fraction(part.end_ms - part.start_ms, duration)
            energy.add(part, kwh)
            time.add(part, clock.choices(part, Component.TIME))
    return (*_flat_legs(clock, window), *energy.finish(), *time.finish())


class ElementClock:
    """Which elements of a tariff hold at which local time of a window."""

    def __init__(self, tariff: Tariff, window: DeliveryInterval, zone: tzinfo) -> None:
        """Take what is asked about.

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
        self._checks = 0

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
        if self._checks > MAX_CHECKS:
            raise TariffError(TOO_LARGE, f"the tariff needs more than {MAX_CHECKS} steps")

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
    return (_leg(place, price, (at, at), NOTHING, price.price),)


class _EnergyWalk:
    """Energy in time order, with its running total."""

    def __init__(self, clock: ElementClock) -> None:
        self._clock = clock
        self._total = NOTHING
        self._legs: list[TariffLeg] = []

    def add(self, part: WallPiece, kwh: Fraction) -> None:
        """Charge energy of a part, cut where another tier begins."""
        if not kwh:
            return
        choices = self._clock.choices(part, Component.ENERGY)
        duration = part.end_ms - part.start_ms
        target = self._total + kwh
        at = part.start_ms
        while self._total < target:
            self._clock.spend(len(choices))
            choice = next((c for c in choices if c.element.holds_at(self._total)), None)
            if choice is None:
                raise self._clock.gap(at, self._total)
            until = min(target, *self._ends(choice, choices))
            end = part.end_ms - int((target - until) / kwh * duration)
            self._charge(choice, (at, end), until - self._total)
            self._total, at = until, end

    def _ends(self, choice: Choice, choices: Sequence[Choice]) -> Iterator[Fraction]:
        """Give the totals at which the tier ends or an earlier-listed one begins."""
        for other in choices[: choices.index(choice)]:
            if other.element.min_kwh > self._total:
                yield other.element.min_kwh
        if choice.element.max_kwh is not None:
            yield choice.element.max_kwh

    def _charge(self, choice: Choice, span: tuple[int, int], kwh: Fraction) -> None:
        leg = _leg(choice.place, choice.price, span, kwh, kwh * choice.price.price)
        last = self._legs[-1] if self._legs else None
        if last is not None and (last.element, last.end_ms) == (leg.element, leg.start_ms):
            self._legs[-1] = _joined(last, leg)
        else:
            self._legs.append(leg)

    def finish(self) -> tuple[TariffLeg, ...]:
        """Return the legs, with what the last component's step adds to the total."""
        if self._legs:
            last = self._legs[-1]
            excess = _up_to_step(self._total * WH_PER_KWH, last.step) / WH_PER_KWH
            if excess:
                span = (last.end_ms, last.end_ms)
                self._legs.append(
                    replace(
                        last,
                        start_ms=last.end_ms,
                        kwh=excess,
                        amount=excess * last.price,
                    )
                )
        return tuple(self._legs)
