"""Time-of-use price of energy under a tariff, exact, with its trace.

`price_energy` prices what was delivered, `first_gap` looks for times that have no price before
anything is. Nothing is rounded but to the tariff's own steps. The tariff itself is a value of
`tariff_elements`, and how energy runs through it is in `tariff_walk`.
Source: contract specification, section 9.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import tzinfo
from fractions import Fraction
from itertools import pairwise

from adapter.domain.instants import DeliveryInterval
from adapter.domain.tariff_elements import (
    GAP,
    NOTHING,
    PROFILE,
    Component,
    PriceComponent,
    ProfilePiece,
    Tariff,
    TariffElement,
    TariffError,
    TariffLeg,
    TariffPrice,
)
from adapter.domain.tariff_walk import Choice, ElementClock, walk

TOLERANCE_KWH = Fraction(1, 1_000_000)
"""What each interval of a profile may be off. Source: rule P2P_TARIFF_PROFILE."""
PATTERN_MS = 15 * 86_400_000
"""After two weeks the same days and times come again; one of the two may change its clock."""

__all__ = [
    "GAP",
    "PROFILE",
    "Component",
    "PriceComponent",
    "ProfilePiece",
    "Tariff",
    "TariffElement",
    "TariffError",
    "TariffLeg",
    "TariffPrice",
    "checked_profile",
    "first_gap",
    "price_energy",
]


def price_energy(
    tariff: Tariff,
    window: DeliveryInterval,
    kwh: Fraction,
    *,
    zone: tzinfo,
    profile: Sequence[ProfilePiece] | None = None,
    whole_steps: bool = True,
) -> TariffPrice:
    """Return the price of energy delivered in a window.

    Args:
        tariff: with an ENERGY price in each element.
        window: the trade window.
        kwh: not negative.
        zone: in which times of day and weekdays are read.
        profile: metered energy of intervals inside the window; None: even power over it.
        whole_steps: round energy and time up to the tariff's steps; not while more is to come.

    Raises:
        TariffError: P2P_TARIFF_GAP, energy without a price; P2P_TARIFF_PROFILE, the profile does
            not fit; P2P_FLOW_VALUE, more work than a price is worth.
    """
    if profile is None:
        pieces: Sequence[ProfilePiece] = (ProfilePiece(window.start_ms, window.end_ms, kwh),)
    else:
        pieces = checked_profile(profile, window, kwh)
    legs: tuple[TariffLeg, ...] = ()
    if kwh:
        legs = walk(tariff, window, pieces, zone, whole_steps=whole_steps)
    total = sum((leg.amount for leg in legs), NOTHING)
    vat = sum((leg.vat for leg in legs), NOTHING)
    return _bounded(tariff, TariffPrice(kwh, total, vat, legs, profile is None))


def _bounded(tariff: Tariff, price: TariffPrice) -> TariffPrice:
    """Return the price with its unit inside the tariff's bounds, and the VAT scaled with it."""
    unit = price.unit
    name = None
    if tariff.min_price is not None and unit < tariff.min_price:
        unit, name = tariff.min_price, "minPrice"
    if tariff.max_price is not None and unit > tariff.max_price:
        unit, name = tariff.max_price, "maxPrice"
    if name is None or not price.kwh:
        return price
    total = unit * price.kwh
    return replace(price, total=total, vat=total * _vat_share(price), bound=name)


def _vat_share(price: TariffPrice) -> Fraction:
    """Return VAT over total; where nothing was charged, that of the energy."""
    if price.total:
        return price.vat / price.total
    energy = sum((leg.kwh for leg in price.legs), NOTHING)
    weighted = sum((leg.kwh * leg.component.vat_percent for leg in price.legs), NOTHING)
    return weighted / energy / 100


def checked_profile(
    profile: Sequence[ProfilePiece], window: DeliveryInterval, kwh: Fraction
) -> tuple[ProfilePiece, ...]:
    """Return a profile in time order that sums to the delivered energy exactly.

    Raises:
        TariffError: P2P_TARIFF_PROFILE.
    """
    pieces = sorted(profile)
    if any(p.end_ms <= p.start_ms or p.kwh < 0 for p in pieces):
        why = "an interval is empty or its energy negative"
        raise _misfit(why)
    if pieces and (pieces[0].start_ms < window.start_ms or pieces[-1].end_ms > window.end_ms):
        why = "an interval lies outside the trade window"
        raise _misfit(why)
    if any(later.start_ms < earlier.end_ms for earlier, later in pairwise(pieces)):
        raise _misfit("intervals overlap")
    total = sum((piece.kwh for piece in pieces), NOTHING)
    if abs(total - kwh) > TOLERANCE_KWH * len(pieces) or (kwh and not total):
        why = "its energy is not the delivered quantity"
        raise _misfit(why)
    if total == kwh:
        return tuple(pieces)
    return tuple(piece._replace(kwh=piece.kwh * kwh / total) for piece in pieces)


def _misfit(why: str) -> TariffError:
    return TariffError(PROFILE, f"delivery profile does not fit: {why}", details={"why": why})


def first_gap(
    tariff: Tariff, window: DeliveryInterval, *, zone: tzinfo, kwh: Fraction | None
) -> TariffError | None:
    """Return the first time and running total in a window that have no ENERGY price.

    Args:
        tariff: the tariff.
        window: every instant of it is looked at.
        zone: in which times of day and weekdays are read.
        kwh: totals from this on are not reached; None looks at all.

    Raises:
        TariffError: P2P_FLOW_VALUE, more work than a price is worth.
    """
    clock = ElementClock(tariff, window, zone)
    seen = set()
    end_ms = min(window.end_ms, window.start_ms + PATTERN_MS)
    for part in clock.cut(window.start_ms, end_ms):
        choices = clock.choices(part, Component.ENERGY)
        places = tuple(choice.place for choice in choices)
        if places in seen:
            continue
        seen.add(places)
        clock.spend(len(choices))
        total = _uncovered(choices)
        if total is not None and (kwh is None or total < kwh):
            return clock.gap(part.start_ms, total)
    return None


def _uncovered(choices: Sequence[Choice]) -> Fraction | None:
    """Return the smallest running total outside every tier; None if there is none."""
    total = NOTHING
    for low, high in sorted(
        ((c.element.min_kwh, c.element.max_kwh) for c in choices), key=lambda tier: tier[0]
    ):
        if low > total:
            return total
        if high is None:
            return None
        total = max(total, high)
    return total
