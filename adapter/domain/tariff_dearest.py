"""The most that energy can cost under a tariff, whenever in the window it is delivered.

Cash is held for the dearest delivery, so that settlement never lacks any. Over the running total
a tariff has bands of one price; a band is dearest when all of it comes at one time, and time only
goes on: the best way through bands and times is found band by band, in time order.
Source: contract specification, section 7.4.
"""

from collections.abc import Iterator, Sequence
from datetime import tzinfo
from fractions import Fraction
from itertools import pairwise
from math import ceil

from adapter.domain.instants import DeliveryInterval
from adapter.domain.tariff_elements import (
    NOTHING,
    Component,
    PriceComponent,
    ProfilePiece,
    Tariff,
)
from adapter.domain.tariff_walk import WH_PER_KWH, Choice, ElementClock, walk

PRICED = frozenset({Component.ENERGY, Component.TIME, Component.FLAT})


def dearest_cost(
    tariff: Tariff, window: DeliveryInterval, kwh: Fraction, *, zone: tzinfo
) -> Fraction:
    """Return what no delivery of up to `kwh` in the window costs more than, VAT included.

    It is what the dearest delivery costs, but where price bounds meet several VAT rates: then the
    highest rate counts.

    Raises:
        TariffError: P2P_FLOW_VALUE, more work than a price is worth.
    """
    whole = (ProfilePiece(window.start_ms, window.end_ms, NOTHING),)
    fixed = walk(tariff, window, whole, zone)  # no energy: what FLAT and TIME charge
    cost = sum((leg.amount + leg.vat for leg in fixed), NOTHING)
    cost += _dearest_energy(tariff, window, kwh, zone)
    with_vat = 1 + max(vat_rates(tariff)) / 100
    if tariff.min_price is not None:
        cost = max(cost, tariff.min_price * kwh * with_vat)
    if tariff.max_price is not None:
        cost = min(cost, tariff.max_price * kwh * with_vat)
    return cost


def vat_rates(tariff: Tariff) -> frozenset[Fraction]:
    """Return the VAT percentages of all prices that count."""
    parts = (part for element in tariff.elements for part in element.components)
    return frozenset(part.vat_percent for part in parts if part.kind in PRICED)


def _dearest_energy(
    tariff: Tariff, window: DeliveryInterval, kwh: Fraction, zone: tzinfo
) -> Fraction:
    clock = ElementClock(tariff, window, zone)
    bands = list(pairwise(_levels(tariff, kwh)))
    best: list[Fraction | None] = [NOTHING] + [None] * len(bands)
    """The most that the energy up to each level can have cost so far."""
    most = NOTHING
    for part in clock.cut(window.start_ms, window.end_ms):
        choices = clock.choices(part, Component.ENERGY)
        clock.spend(len(bands))
        for band, (low, high) in enumerate(bands):
            before, price = best[band], _price_at(choices, low)
            if before is None or price is None:
                continue
            unit = _with_vat(price)
            after = max(best[band + 1] or NOTHING, before + (high - low) * unit)
            best[band + 1] = after
            end = Fraction(ceil(high * WH_PER_KWH / price.step) * price.step, WH_PER_KWH)
            # Ending here, it charges up to its step: all of the band, or the last touch of it.
            most = max(most, before + (end - low) * unit, after + (end - high) * unit)
    return most


def _levels(tariff: Tariff, kwh: Fraction) -> Iterator[Fraction]:
    """Give the running totals between which the same element holds, from 0 to `kwh`."""
    ends = {end for e in tariff.elements for end in (e.min_kwh, e.max_kwh) if end is not None}
    yield from sorted({NOTHING, kwh} | {end for end in ends if NOTHING < end < kwh})


def _price_at(choices: Sequence[Choice], total: Fraction) -> PriceComponent | None:
    return next((choice.price for choice in choices if choice.element.holds(total)), None)


def _with_vat(price: PriceComponent) -> Fraction:
    return price.price * (1 + price.vat_percent / 100)
