"""What an EnergyTradeDelivery says was delivered, and by its meter readings: when.

The delivery has passed its schema. Source: contract specification, sections 7.4 and 9.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

from adapter.domain.errors import QuantityError
from adapter.domain.instants import DeliveryInterval, parse_instant
from adapter.domain.quantities import MICRO, Energy
from adapter.domain.tariff import ProfilePiece, TariffError, checked_profile

MAX_INSTANT = 40
"""Characters of a date-time; longer text is none, and no key of the cache."""
OVER = frozenset({"COMPLETED", "FAILED"})
"""States of a delivery that no energy is added to any more."""


def instant(value: object) -> int | None:
    """Return a date-time in milliseconds; None for anything else."""
    if not isinstance(value, str) or len(value) > MAX_INSTANT:
        return None
    try:
        return parse_instant(value)
    except ValueError:
        return None


def energy_or_none(kwh: Any) -> Energy | None:
    """Return an energy; None when it has too many decimals, which is a finding elsewhere."""
    try:
        return Energy.from_kwh(kwh)
    except QuantityError:
        return None


def is_final(delivery: Mapping[str, Any]) -> bool:
    """Return whether a delivery is over and says its quantity."""
    return delivery.get("deliveryStatus") in OVER and delivery.get("deliveredQuantity") is not None


def metered_pieces(readings: Sequence[Mapping[str, Any]]) -> tuple[ProfilePiece, ...]:
    """Return the energy between neighbouring readings, as they say it."""
    points = [(instant(one.get("timestamp")), one.get("targetReading")) for one in readings]
    return tuple(
        ProfilePiece(start, end, Fraction(last) - Fraction(first))
        for (start, first), (end, last) in pairwise(points)
        if start is not None and end is not None and first is not None and last is not None
    )


def metered_profile(
    pieces: Sequence[ProfilePiece], window: DeliveryInterval, delivered: Energy
) -> tuple[ProfilePiece, ...] | None:
    """Return metered energy if it is that of the delivery: when it came is then known."""
    if not pieces:
        return None
    try:
        return checked_profile(pieces, window, Fraction(delivered.micro_kwh, MICRO))
    except TariffError:
        return None
