"""Prices under a tariff: table T of the contract specification, section 9, and its edges."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.domain import zones
from adapter.domain.instants import DeliveryInterval, format_instant, parse_instant
from adapter.domain.quantities import MICRO, divide_half_even
from adapter.domain.tariff import (
    Component,
    PriceComponent,
    ProfilePiece,
    Tariff,
    TariffElement,
    TariffError,
    TariffPrice,
    first_gap,
    price_energy,
)
from adapter.domain.zones import find_zone

WORKDAYS = frozenset(range(5))
FRIDAY = frozenset({4})
HOUR_MS = 3_600_000


def n(text: str) -> Fraction:
    """Return an exact number."""
    return Fraction(text)


def energy(price: str, *, vat: str = "0", step: int = 1) -> PriceComponent:
    """Return a price per kWh."""
    return PriceComponent(Component.ENERGY, n(price), n(vat), step)


def element(
    *components: PriceComponent, times: str = "", days: frozenset[int] = frozenset(), **tier: Any
) -> TariffElement:
    """Return an element; times such as `17:00-21:00`."""
    start, _, end = times.partition("-")
    return TariffElement(components, _minute(start), _minute(end), days, **tier)


def _minute(text: str) -> int | None:
    return int(text[:2]) * 60 + int(text[3:]) if text else None


def tariff(*elements: TariffElement, **bounds: Fraction) -> Tariff:
    """Return a tariff in EUR."""
    return Tariff("EUR", elements, **bounds)


def window(start: str, end: str) -> DeliveryInterval:
    """Return a window."""
    return DeliveryInterval(parse_instant(f"{start}:00Z"), parse_instant(f"{end}:00Z"))


def price(
    terms: Tariff, when: DeliveryInterval, kwh: str, zone: str = "UTC", **host: Any
) -> TariffPrice:
    """Return the price of energy."""
    found = find_zone(zone)
    assert found is not None
    return price_energy(terms, when, n(kwh), zone=found, **host)


T = tariff(
    element(energy("0.30", vat="20"), times="17:00-21:00", days=WORKDAYS),
    element(energy("0.10", vat="20"), times="21:00-07:00"),
    element(energy("0.18", vat="20"), times="07:00-17:00"),
)
MONDAY = window("2026-03-02T16:00", "2026-03-02T22:00")
SATURDAY = window("2026-03-07T16:00", "2026-03-07T22:00")
TIERS = tariff(element(energy("0.20"), max_kwh=n("30")), element(energy("0.12"), min_kwh=n("30")))
NIGHTS = tariff(element(energy("0.10"), times="22:00-06:00"), element(energy("0.20")))
FRIDAY_NIGHT = tariff(
    element(energy("0.05"), times="22:00-02:00", days=FRIDAY), element(energy("0.25"))
)
STEPS = tariff(
    element(energy("0.20", step=1000), times="10:00-10:30"),
    element(energy("0.10", step=500), times="10:30-11:00"),
)
WITH_TIME = tariff(
    element(
        energy("0.20"),
        PriceComponent(Component.FLAT, n("0.50"), n("10")),
        PriceComponent(Component.TIME, n("0.40"), step=3600),
    )
)
MORNING = tariff(element(energy("0.20"), times="08:00-09:00"), element(energy("0.10")))


def split(first: str, second: str) -> list[ProfilePiece]:
    """Return a profile of two energies, cut at 20:00Z."""
    middle = parse_instant("2026-03-02T20:00:00Z")
    return [
        ProfilePiece(MONDAY.start_ms, middle, n(first)),
        ProfilePiece(middle, MONDAY.end_ms, n(second)),
    ]


@pytest.mark.parametrize(
    ("find", "total", "vat"),
    [
        pytest.param(
            lambda: price(T, MONDAY, "30", "Europe/Paris"),
            "7.00",
            "1.40",
            id="T1 20 x 0.30 + 10 x 0.10 = 7.00, VAT 20 %",
        ),
        pytest.param(
            lambda: price(T, MONDAY, "30"),
            "7.40",
            "1.48",
            id="T2 in UTC 5 x 0.18 + 20 x 0.30 + 5 x 0.10 = 7.40",
        ),
        pytest.param(
            lambda: price(T, MONDAY, "30", "Europe/Paris", profile=split("24", "6")),
            "7.80",
            "1.56",
            id="T3 metered 24 x 0.30 + 6 x 0.10 = 7.80",
        ),
        pytest.param(
            lambda: price(FRIDAY_NIGHT, window("2026-03-06T22:00", "2026-03-07T02:00"), "8"),
            "1.20",
            "0",
            id="T5 4 x 0.05 + 4 x 0.25 = 1.20, Saturday is no Friday",
        ),
        pytest.param(
            lambda: price(TIERS, MONDAY, "50"), "8.40", "0", id="T6 30 x 0.20 + 20 x 0.12 = 8.40"
        ),
        pytest.param(lambda: price(TIERS, MONDAY, "30"), "6", "0", id="T6 30 x 0.20 = 6.00"),
        pytest.param(
            lambda: price(TIERS, MONDAY, "30.001"),
            "6.00012",
            "0",
            id="T6 6.00 + 0.001 x 0.12 = 6.00012",
        ),
        pytest.param(
            lambda: price(tariff(element(energy("0.20", step=500))), MONDAY, "10.2"),
            "2.10",
            "0",
            id="T7 10.2 becomes 10.5 x 0.20 = 2.10",
        ),
        pytest.param(
            lambda: price(STEPS, window("2026-03-02T10:00", "2026-03-02T11:00"), "10.2"),
            "1.56",
            "0",
            id="T8 5.1 x 0.20 + 5.1 x 0.10 + 0.3 x 0.10 = 1.56",
        ),
        pytest.param(
            lambda: price(WITH_TIME, window("2026-03-02T16:00", "2026-03-02T17:30"), "5"),
            "2.30",
            "0.05",
            id="T9 5 x 0.20 + 0.50 + 2 h x 0.40 = 2.30, VAT 10 % of 0.50",
        ),
        pytest.param(
            lambda: price(replace(TIERS, min_price=n("0.18")), MONDAY, "50"),
            "9",
            "0",
            id="T10 50 x 0.18 = 9.00",
        ),
        pytest.param(
            lambda: price(replace(TIERS, max_price=n("0.15")), MONDAY, "50"),
            "7.5",
            "0",
            id="T10 50 x 0.15 = 7.50",
        ),
        pytest.param(
            lambda: price(
                NIGHTS, window("2026-03-28T21:00", "2026-03-29T05:00"), "8", "Europe/Paris"
            ),
            "0.90",
            "0",
            id="T11 7 x 0.10 + 1 x 0.20 = 0.90, a day of 23 hours",
        ),
        pytest.param(
            lambda: price(MORNING, window("2026-03-02T08:00", "2026-03-02T11:00"), "10"),
            "4/3",
            "0",
            id="T12 10/3 x 0.20 + 20/3 x 0.10 = 4/3, wire 1.333333",
        ),
    ],
)
def test_table_t(find: Callable[[], TariffPrice], total: str, vat: str) -> None:
    found = find()
    assert (found.total, found.vat) == (n(total), n(vat))


def test_t1_says_which_element_priced_which_time() -> None:
    found = price(T, MONDAY, "30", "Europe/Paris")
    assert found.unit == n("7/30")
    assert found.unit_with_vat == n("8.40") / 30
    assert found.assumed
    told: list[tuple[object, ...]] = [
        (leg.element, format_instant(leg.start_ms), format_instant(leg.end_ms), leg.kwh, leg.amount)
        for leg in found.legs
    ]
    expected: list[tuple[object, ...]] = [
        (0, "2026-03-02T16:00:00Z", "2026-03-02T20:00:00Z", 20, 6),
        (1, "2026-03-02T20:00:00Z", "2026-03-02T22:00:00Z", 10, 1),
    ]
    assert told == expected


def test_t4_energy_in_a_gap_has_no_price() -> None:
    with pytest.raises(
        TariffError, match=r"Sat 17:00 \(2026-03-07T16:00:00Z\) for 0 kWh"
    ) as caught:
        price(T, SATURDAY, "30", "Europe/Paris")
    assert caught.value.code == "P2P_TARIFF_GAP"


def test_a_gap_without_energy_costs_nothing() -> None:
    evening = ProfilePiece(parse_instant("2026-03-07T20:00:00Z"), SATURDAY.end_ms, n("3"))
    assert price(T, SATURDAY, "3", "Europe/Paris", profile=[evening]).total == n("0.30")


def test_t12_rounds_the_total_and_not_the_unit() -> None:
    found = price(MORNING, window("2026-03-02T08:00", "2026-03-02T11:00"), "10")
    amount = found.unit * 10
    assert divide_half_even(amount.numerator * MICRO, amount.denominator) == 1_333_333


def test_a_tier_is_cut_where_it_ends_in_time_as_well() -> None:
    # 50 kWh in 6 h: the 30 kWh of the first tier take 3.6 h.
    found = price(TIERS, MONDAY, "50")
    assert [format_instant(leg.end_ms) for leg in found.legs] == [
        "2026-03-02T19:36:00Z",
        "2026-03-02T22:00:00Z",
    ]


def test_an_earlier_listed_tier_takes_over_as_soon_as_it_begins() -> None:
    # 10 kWh at 0.20, then the first element from 10 on: 20 x 0.12.
    terms = tariff(element(energy("0.12"), min_kwh=n("10")), element(energy("0.20")))
    assert price(terms, MONDAY, "30").total == n("4.40")


def test_the_hour_that_comes_twice_is_charged_twice() -> None:
    # Paris 2026-10-25: 02:00 to 03:00 happens at 00:00Z and at 01:00Z; 2 of 4 kWh at 0.50.
    terms = tariff(element(energy("0.50"), times="02:00-03:00"), element(energy("0.10")))
    when = window("2026-10-24T23:00", "2026-10-25T03:00")
    assert price(terms, when, "4", "Europe/Paris").total == n("1.20")


def test_the_hour_that_is_skipped_is_charged_to_nobody() -> None:
    terms = tariff(element(energy("0.50"), times="02:00-03:00"), element(energy("0.10")))
    when = window("2026-03-29T00:00", "2026-03-29T02:00")
    assert price(terms, when, "2", "Europe/Paris").total == n("0.20")


@pytest.mark.parametrize(
    ("times", "total"),
    [
        pytest.param("22:00-00:00", "2", id="00:00 is the end of the day: 2 of 4 hours"),
        pytest.param("22:00-22:00", "4", id="equal times are the whole day"),
        pytest.param("00:00-00:00", "4", id="also at midnight"),
        pytest.param("23:00-01:00", "2", id="past midnight"),
    ],
)
def test_times_of_day(times: str, total: str) -> None:
    terms = tariff(element(energy("1"), times=times), element(energy("0")))
    assert price(terms, window("2026-03-02T22:00", "2026-03-03T02:00"), "4").total == n(total)


def test_an_element_for_those_without_reservation_is_not_for_us() -> None:
    terms = tariff(element(energy("9"), for_reservations=False), element(energy("1")))
    assert price(terms, MONDAY, "2").total == 2


def test_nothing_delivered_costs_nothing() -> None:
    found = price(replace(WITH_TIME, min_price=n("1")), MONDAY, "0")
    assert found.unit == found.unit_with_vat == found.total == found.vat == 0
    assert found.legs == ()


def test_vat_is_scaled_with_the_bound() -> None:
    # 30 kWh cost 7.00 with VAT 1.40; at least 0.35 each makes 10.50 and 2.10.
    found = price(replace(T, min_price=n("0.35")), MONDAY, "30", "Europe/Paris")
    assert (found.total, found.vat, found.bound) == (n("10.50"), n("2.10"), "minPrice")


def test_vat_of_free_energy_at_a_minimum_price() -> None:
    free = tariff(element(energy("0", vat="20")), min_price=n("0.10"))
    found = price(free, MONDAY, "10")
    assert (found.total, found.vat) == (n("1"), n("0.20"))


def test_time_without_a_price_is_free_and_the_last_step_counts() -> None:
    # 16:00 to 16:50 at 6 per hour, in steps of an hour: one hour; after 17:00 nothing.
    paid = PriceComponent(Component.TIME, n("6"), step=3600)
    terms = tariff(element(energy("0"), paid, times="16:10-17:00"), element(energy("0")))
    assert price(terms, MONDAY, "1").total == 6


@pytest.mark.parametrize(
    ("profile", "why"),
    [
        pytest.param(split("24", "5"), "delivered quantity", id="29 of 30 kWh"),
        pytest.param([], "delivered quantity", id="no interval"),
        pytest.param(
            [ProfilePiece(MONDAY.start_ms - 1, MONDAY.end_ms, n("30"))],
            "outside",
            id="before the window",
        ),
        pytest.param(
            [ProfilePiece(MONDAY.start_ms, MONDAY.end_ms, n("15"))] * 2, "overlap", id="twice"
        ),
        pytest.param(
            [ProfilePiece(MONDAY.start_ms, MONDAY.start_ms, n("30"))], "empty", id="no time"
        ),
        pytest.param(split("31", "-1"), "negative", id="backwards"),
    ],
)
def test_a_profile_that_does_not_fit_is_refused(profile: list[ProfilePiece], why: str) -> None:
    with pytest.raises(TariffError, match=why) as caught:
        price(T, MONDAY, "30", "Europe/Paris", profile=profile)
    assert caught.value.code == "P2P_TARIFF_PROFILE"


def test_a_profile_may_be_off_by_a_millionth_for_each_interval() -> None:
    found = price(T, MONDAY, "30", "Europe/Paris", profile=split("24.000001", "6.000001"))
    assert sum(leg.kwh for leg in found.legs) == 30
    with pytest.raises(TariffError):
        price(T, MONDAY, "30", "Europe/Paris", profile=split("24.000002", "6.000001"))


def test_the_first_gap_is_found_before_anything_is_delivered() -> None:
    def gap(terms: Tariff, when: DeliveryInterval, kwh: str | None) -> str | None:
        zone = find_zone("Europe/Paris")
        assert zone is not None
        found = first_gap(terms, when, zone=zone, kwh=None if kwh is None else n(kwh))
        return None if found is None else f"{found.details['at'][:9]} {found.details['cum']}"

    assert gap(T, MONDAY, "30") is None
    assert gap(T, SATURDAY, "30") == "Sat 17:00 0"
    low = tariff(element(energy("1"), max_kwh=n("30")))
    assert gap(low, MONDAY, "30") is None
    assert gap(low, MONDAY, "30.000001") == "Mon 17:00 30"
    assert gap(low, MONDAY, None) == "Mon 17:00 30"
    high = tariff(element(energy("1"), min_kwh=n("0.5")))
    assert gap(high, MONDAY, "30") == "Mon 17:00 0"
    assert gap(TIERS, MONDAY, None) is None
    inside = tariff(
        element(energy("1"), max_kwh=n("50")),
        element(energy("1"), min_kwh=n("10"), max_kwh=n("30")),
    )
    assert gap(inside, MONDAY, None) == "Mon 17:00 50"


@pytest.mark.parametrize(
    "when",
    [
        pytest.param(DeliveryInterval(0, 367 * 24 * HOUR_MS), id="367 days"),
        pytest.param(window("1960-01-01T00:00", "1960-01-01T01:00"), id="long ago"),
        pytest.param(window("9999-12-31T00:00", "9999-12-31T23:59"), id="the last day"),
    ],
)
def test_windows_beyond_reason_are_not_priced(when: DeliveryInterval) -> None:
    with pytest.raises(TariffError) as caught:
        price(T, when, "1")
    assert caught.value.code == "P2P_FLOW_VALUE"


def test_hostile_tariff_of_many_elements_is_given_up() -> None:
    many = tariff(
        *(element(energy("1"), times=f"{i // 60:02}:{i % 60:02}-00:01") for i in range(1440))
    )
    with pytest.raises(TariffError, match="200000 steps"):
        price(many, window("2026-01-01T00:00", "2026-12-31T00:00"), "1")


def test_hostile_profile_of_odd_lengths_takes_no_time() -> None:
    # 2 500 intervals fill a body; the sum of their parts has a denominator of 34 000 bits
    hours = tariff(
        *(element(energy("0.1"), times=f"{h:02}:00-{(h + 1) % 24:02}:00") for h in range(24))
    )
    start = at = parse_instant("2026-01-01T00:30:00Z")
    pieces = []
    for i in range(2_500):
        end = at + HOUR_MS + 2 * i + 1
        pieces.append(ProfilePiece(at, end, n("1")))
        at = end
    assert price(hours, DeliveryInterval(start, at), "2500", profile=pieces).total == 250


def test_a_year_of_hours_is_priced() -> None:
    step = HOUR_MS
    start = parse_instant("2026-01-01T00:00:00Z")
    pieces = [ProfilePiece(start + i * step, start + (i + 1) * step, n("1")) for i in range(8_760)]
    when = DeliveryInterval(start, start + 365 * 24 * HOUR_MS)
    assert price(NIGHTS, when, "8760", "Europe/Paris", profile=pieces).total > 0


@pytest.mark.parametrize(
    "name",
    ["Nowhere/City", "", "../etc/passwd", "Europe", "zone.tab", "right/Europe/Paris", "x" * 41],
)
def test_names_that_are_no_zones(name: str) -> None:
    assert find_zone(name) is None


def test_zones_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UTC", "Europe/Paris", "America/Argentina/Buenos_Aires", "Etc/GMT+1"):
        assert find_zone(name) is not None
    zones._find.cache_clear()
    monkeypatch.setattr(zones, "ZoneInfo", dict[str, str]().__getitem__)  # a machine without data
    assert find_zone("UTC") is not None
    assert find_zone("Europe/Paris") is None
    zones._find.cache_clear()


MINUTES = st.integers(0, 1_439)
ELEMENTS = st.builds(
    lambda cents, start, end, days: TariffElement(
        (PriceComponent(Component.ENERGY, Fraction(cents, 100), Fraction(20)),),
        start,
        end,
        days,
    ),
    st.integers(0, 100),
    MINUTES,
    MINUTES,
    st.frozensets(st.integers(0, 6), max_size=3),
)


@given(
    elements=st.lists(ELEMENTS, max_size=4),
    start_s=st.integers(0, 200 * 86_400),
    hours=st.integers(1, 60),
    cuts=st.lists(st.integers(1, 59 * 60), max_size=5, unique=True),
    zone=st.sampled_from(["UTC", "Europe/Paris", "Asia/Kolkata", "Australia/Lord_Howe"]),
)
def test_each_minute_is_charged_by_the_first_element_that_holds(
    elements: list[TariffElement], start_s: int, hours: int, cuts: list[int], zone: str
) -> None:
    """An oracle that looks at every minute for itself, one kWh a minute."""
    from adapter.domain.wall_clock import local_time

    terms = tariff(*elements, element(energy("0.5")))
    start = parse_instant("2026-01-01T00:00:00Z") + (start_s // 60) * 60_000
    when = DeliveryInterval(start, start + hours * HOUR_MS)
    found = find_zone(zone)
    assert found is not None
    expected = Fraction(0)
    for minute in range(hours * 60):
        local = local_time(start + minute * 60_000, found)
        first = next(
            e for e in terms.elements if e.matches(local.weekday(), local.hour * 60 + local.minute)
        )
        expected += first.components[0].price
    marks = [0, *sorted(c for c in cuts if c < hours * 60), hours * 60]
    pieces = [
        ProfilePiece(start + a * 60_000, start + b * 60_000, Fraction(b - a))
        for a, b in pairwise(marks)
    ]
    kwh = str(hours * 60)
    metered = price(terms, when, kwh, zone, profile=pieces)
    assert metered.total == expected == price(terms, when, kwh, zone).total
    assert sum(leg.kwh for leg in metered.legs) == hours * 60
    assert metered.total == sum(leg.kwh * leg.component.price for leg in metered.legs)
