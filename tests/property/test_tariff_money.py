"""Under any tariff: the cash held covers every delivery, and parts add up to the whole."""

from collections.abc import Sequence
from datetime import tzinfo
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.domain.clock_offsets import FixedOffsets, offsets_in
from adapter.domain.instants import EPOCH_MS, DeliveryInterval, parse_instant
from adapter.domain.quantities import MICRO, Energy
from adapter.domain.tariff import ProfilePiece, first_gap, price_energy
from adapter.domain.tariff_dearest import dearest_cost
from adapter.domain.tariff_elements import Component, PriceComponent, Tariff, TariffElement
from adapter.domain.tariff_terms import TariffTerms, VatTreatment
from adapter.domain.zones import find_zone
from adapter.settlement.tariff_kind import restore_tariff, write_tariff

QUARTERS = 6
START = parse_instant("2026-03-28T23:00:00Z")
"""Saturday night; in Paris the clock is put forward two hours later."""
WINDOW = DeliveryInterval(START, START + QUARTERS * EPOCH_MS)


def zone_of(name: str) -> tzinfo:
    found = find_zone(name)
    assert found is not None
    return found


PARIS = zone_of("Europe/Paris")

prices = st.integers(0, 900_000).map(lambda micro: Fraction(micro, MICRO))
vats = st.sampled_from([0, 7, 20, 100]).map(Fraction)
steps = st.sampled_from([1, 1, 10, 500, 3_000])
minutes = st.sampled_from([0, 15, 30, 37, 45, 60, 75, 90, 1_380])
tiers = st.sampled_from([Fraction(0), Fraction(1), Fraction(5, 2), Fraction(4)])


@st.composite
def elements(draw: st.DrawFn, *, always: bool = False) -> TariffElement:
    """Return an element; `always`: of every time and tier."""
    parts = [PriceComponent(Component.ENERGY, draw(prices), draw(vats), draw(steps))]
    if draw(st.integers(0, 4)) == 0:
        parts.append(PriceComponent(Component.FLAT, draw(prices), draw(vats)))
    if draw(st.integers(0, 4)) == 0:
        step = draw(st.sampled_from([1, 60, 3_600]))
        parts.append(PriceComponent(Component.TIME, draw(prices), draw(vats), step))
    if always:
        return TariffElement(tuple(parts))
    timed = draw(st.booleans())
    low, high = draw(tiers), draw(st.none() | tiers)
    return TariffElement(
        tuple(parts),
        draw(minutes) if timed else None,
        draw(minutes) if timed else None,
        frozenset(draw(st.sets(st.integers(5, 6)))),
        low,
        high if high is not None and high > low else None,
    )


@st.composite
def tariffs(draw: st.DrawFn) -> Tariff:
    """Return a tariff that has a price for everything."""
    some = draw(st.lists(elements(), max_size=3))
    low, high = draw(st.none() | prices), draw(st.none() | prices)
    if low is not None and high is not None and low > high:
        low, high = high, low
    return Tariff("EUR", (*some, draw(elements(always=True))), low, high)


amounts = st.lists(
    st.one_of(st.just(0), st.integers(1, 3_000_000)), min_size=QUARTERS, max_size=QUARTERS
)
"""Micro-kWh of each quarter hour."""


def pieces(kwh: Sequence[int]) -> list[ProfilePiece]:
    return [
        ProfilePiece(START + n * EPOCH_MS, START + (n + 1) * EPOCH_MS, Fraction(amount, MICRO))
        for n, amount in enumerate(kwh)
    ]


@settings(max_examples=400)
@given(tariffs(), amounts, st.integers(0, 2_000_000), st.sampled_from(VatTreatment))
def test_no_delivery_costs_more_than_is_held(
    tariff: Tariff, kwh: list[int], more: int, vat: VatTreatment
) -> None:
    terms = TariffTerms(tariff, PARIS, vat)
    held = terms.hold(WINDOW, Energy(sum(kwh) + more))
    assert sum(terms.settled(WINDOW, pieces(kwh), final=True)) <= held


@settings(max_examples=300)
@given(tariffs(), amounts, st.sampled_from(VatTreatment))
def test_parts_never_owe_less_than_before_and_add_up(
    tariff: Tariff, kwh: list[int], vat: VatTreatment
) -> None:
    terms = TariffTerms(tariff, PARIS, vat)
    paid = (0, 0)
    for count in range(1, QUARTERS + 1):
        last = count == QUARTERS
        money = terms.settled(WINDOW, pieces(kwh)[:count], final=last)
        assert money.value >= paid[0]
        assert money.vat >= paid[1]
        paid = money
    whole = price_energy(tariff, WINDOW, Fraction(sum(kwh), MICRO), zone=PARIS, profile=pieces(kwh))
    assert paid == terms.money(whole)


@settings(max_examples=200)
@given(
    st.lists(prices, min_size=1, max_size=4),
    st.sampled_from([0, 7, 20]),
    st.lists(st.integers(1, 3_000), min_size=QUARTERS, max_size=QUARTERS),
)
def test_the_bound_is_reached_where_prices_change_with_the_quarter_hours(
    by_quarter: list[Fraction], vat: int, kwh: list[int]
) -> None:
    """Without tiers and steps the dearest delivery is all energy in the dearest quarter hour."""
    listed = [
        TariffElement(
            (PriceComponent(Component.ENERGY, price, Fraction(vat)),), 15 * n, 15 * (n + 1)
        )
        for n, price in enumerate(by_quarter)
    ]
    rest = TariffElement((PriceComponent(Component.ENERGY, Fraction(0)),))
    tariff = Tariff("EUR", (*listed, rest))
    energy = Fraction(sum(kwh), 1_000)
    zone = zone_of("Europe/London")  # 23:00 there, and the elements begin at midnight
    window = DeliveryInterval(START + 4 * EPOCH_MS, START + 8 * EPOCH_MS)
    dearest = max(by_quarter) * energy * (1 + Fraction(vat, 100))
    assert dearest_cost(tariff, window, energy, zone=zone) == dearest


@settings(max_examples=200)
@given(tariffs(), amounts)
def test_what_an_agreement_keeps_prices_alike(tariff: Tariff, kwh: list[int]) -> None:
    kept = restore_tariff(write_tariff(tariff))
    assert kept == tariff
    zone = FixedOffsets(offsets_in(WINDOW, PARIS))
    energy = Fraction(sum(kwh), MICRO)
    assert first_gap(kept, WINDOW, zone=zone, kwh=energy) is None
    one, other = (
        price_energy(found, WINDOW, energy, zone=place, profile=pieces(kwh))
        for found, place in ((tariff, PARIS), (kept, zone))
    )
    assert one == other
