"""A tariff as an agreement keeps it: one canonical text, and the terms that it spells.

The text holds the tariff, the name of its zone, the VAT treatment, and the offsets of that zone in
the window as the host knew them when it was proposed: an agreement is priced by these to its end,
and so is every replay of it, whatever later time-zone data says. Source: decision 0014.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from adapter.domain.clock_offsets import FixedOffsets, offsets_in
from adapter.domain.instants import EPOCH_MS, DeliveryInterval
from adapter.domain.quantities import MICRO, Energy
from adapter.domain.tariff import TariffError, first_gap
from adapter.domain.tariff_elements import Component, ProfilePiece
from adapter.domain.tariff_terms import TariffTerms, VatTreatment, kwh_of
from adapter.domain.tariff_walk import LATEST_MS, MAX_CHECKS, walk
from adapter.domain.wall_clock import DAY_MS
from adapter.domain.zones import find_zone
from adapter.settlement import units
from adapter.settlement.agreement_terms import Terms
from adapter.settlement.canonical import canonical_bytes, parse_canonical
from adapter.settlement.kinds import Kind
from adapter.settlement.refusals import invalid, refusal
from adapter.settlement.tariff_kind import restore_tariff
from adapter.settlement.units import MONEY_MAX_MICRO

DEFAULT_ZONE = "UTC"
CACHED = 1_024
"""Agreements whose tariff is kept parsed."""
MAX_OFFSETS = 10
"""Changes of a clock within the longest window, and more."""
WORK_MAX = MAX_CHECKS // 2
"""For a delivery of even quarter hours; no other one takes twice as much to settle."""


class Agreed(NamedTuple):
    """What the text of an agreement says."""

    document: Mapping[str, Any]
    """The canonical tariff."""
    terms: TariffTerms
    time_zone: str


def with_zone_offsets(args: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of create_agreement, under a tariff with the offsets of its zone.

    Raises:
        ContractError: INVALID_INPUT, no such zone; INVALID_INTERVAL, years that no zone knows.
    """
    if "tariff" not in args:
        return args
    name = args.get("time_zone", DEFAULT_ZONE)
    zone = find_zone(name)
    if zone is None:
        raise invalid("time_zone", f"{name[:40]!r} is no known time zone")
    window = DeliveryInterval(args["window"]["start"], args["window"]["end"])
    if window.end_ms > LATEST_MS:
        raise refusal("INVALID_INTERVAL", "window: a tariff prices the years 1970 to 2999")
    return {**args, "zone_offsets": [list(pair) for pair in offsets_in(window, zone)]}


def _no_wire(name: str, _wire: object) -> None:
    raise invalid(name, "written by the host, not by a caller")


def _check_offsets(name: str, value: Any) -> None:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= MAX_OFFSETS:
        raise invalid(name, f"not a list of 1 to {MAX_OFFSETS}")
    for pair in value:
        if not isinstance(pair, list | tuple) or [type(part) for part in pair] != [int, int]:
            raise invalid(name, "not pairs of milliseconds: from, offset")
        if abs(pair[1]) >= DAY_MS:
            raise invalid(name, "an offset is not shorter than a day")
    starts = [pair[0] for pair in value]
    if starts != sorted(set(starts)):
        raise invalid(name, "not in order of time")


ZONE_OFFSETS = Kind(
    "what a time zone adds to UTC, written by the host",
    {"type": "array", "maxItems": 0},
    _no_wire,
    _check_offsets,
)


def agree_tariff(
    tariff: Mapping[str, Any], time_zone: str, vat: VatTreatment, offsets: Sequence[Sequence[int]]
) -> str:
    """Return the text for terms that are agreed now."""
    document = {
        "offsets": [list(pair) for pair in offsets],
        "tariff": tariff,
        "time_zone": time_zone,
        "vat_treatment": vat.value,
    }
    return canonical_bytes(document).decode()


@lru_cache(maxsize=CACHED)
def agreed(text: str) -> Agreed:
    """Return what a text of `agree_tariff` says."""
    document = parse_canonical(text.encode())
    offsets = tuple((start_ms, offset_ms) for start_ms, offset_ms in document["offsets"])
    terms = TariffTerms(
        restore_tariff(document["tariff"]),
        FixedOffsets(offsets),
        VatTreatment(document["vat_treatment"]),
    )
    return Agreed(document["tariff"], terms, document["time_zone"])


def check_tariff(terms: Terms) -> None:
    """Check that every delivery of an agreement has a price, and one that can be held.

    Raises:
        ContractError: INVALID_INPUT, an instant without a price or too much work;
            INVALID_PRICE, nothing to pay, too much, or less than the seller's fee.
    """
    tariff = agreed(terms.tariff).terms
    kwh, window = kwh_of(Energy(terms.energy)), terms.window
    try:
        gap = first_gap(tariff.tariff, window, zone=tariff.zone, kwh=kwh)
        if gap is not None:
            raise gap
        quarters = [
            ProfilePiece(start_ms, start_ms + EPOCH_MS, kwh / len(window.epochs()))
            for start_ms in window.epochs()
        ]
        walk(tariff.tariff, window, quarters, tariff.zone, max_checks=WORK_MAX)
        held = sum(cash_needed(terms, terms.energy).values())
    except TariffError as error:
        raise invalid("tariff", error.message) from None
    if not 0 < held <= MONEY_MAX_MICRO:
        raise refusal("INVALID_PRICE", "tariff: what it can cost at most is nothing, or too much")
    parts = (part for element in tariff.tariff.elements for part in element.components)
    least = min(part.price for part in parts if part.kind is Component.ENERGY)
    most = tariff.tariff.max_price
    if terms.seller_fee > (least if most is None else min(least, most)) * MICRO:
        raise refusal("INVALID_PRICE", "the seller fee is above the lowest price of the tariff")


def cash_needed(terms: Terms, energy: int) -> dict[str, int]:
    """Return the cash by payer that covers every delivery of up to `energy`, a ceiling per leg.

    Raises:
        TariffError: the tariff takes too much work; `check_tariff` has refused it.
    """
    price = units.cash_hold(energy, terms.rates._replace(wheeling=0))
    if terms.tariff and energy:
        price += agreed(terms.tariff).terms.hold(terms.window, Energy(energy))
    return terms.by_payer(price, units.ceiling(energy, terms.rates.wheeling))
