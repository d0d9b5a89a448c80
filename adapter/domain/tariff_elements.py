"""A tariff and what it charges, as values: elements, prices, legs.

The words are OCPI 2.2.1's (`mod_tariffs`); what it leaves open is settled in the contract
specification, section 9. Energies and prices are exact fractions of kWh and currency. How a price
is found is in `tariff`.
"""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple

from adapter.domain.errors import AdapterError

GAP = "P2P_TARIFF_GAP"
PROFILE = "P2P_TARIFF_PROFILE"
TOO_LARGE = "P2P_FLOW_VALUE"
"""A tariff or window that would take too long to price has no value."""
NOTHING = Fraction(0)


class TariffError(AdapterError):
    """Energy that cannot be priced: P2P_TARIFF_GAP, P2P_TARIFF_PROFILE or P2P_FLOW_VALUE."""


class Component(StrEnum):
    """What a price is for."""

    ENERGY = "ENERGY"
    """Per kWh, steps in Wh."""
    TIME = "TIME"
    """Per hour, steps in seconds."""
    FLAT = "FLAT"
    """Once."""
    PARKING_TIME = "PARKING_TIME"
    """Not priced, as the next."""
    AD_HOC_PAYMENT = "AD_HOC_PAYMENT"


@dataclass(frozen=True, slots=True)
class PriceComponent:
    """One price of an element."""

    kind: Component
    price: Fraction
    """Currency per kWh, per hour or once, without VAT."""
    vat_percent: Fraction = NOTHING
    step: int = 1
    """What a total is rounded up to: Wh or seconds."""


@dataclass(frozen=True, slots=True)
class TariffElement:
    """Prices and when they hold."""

    components: tuple[PriceComponent, ...]
    start_minute: int | None = None
    """Minute of the local day; set together with the end."""
    end_minute: int | None = None
    """Exclusive; at or before the start it lies on the next day."""
    weekdays: frozenset[int] = frozenset()
    """Local days, Monday is 0; empty means every day."""
    min_kwh: Fraction = NOTHING
    """Running total from which the element holds, for energy."""
    max_kwh: Fraction | None = None
    """Running total below which it holds."""
    for_reservations: bool = True
    """Whether it holds for a contract, which is a reservation."""

    def component(self, kind: Component) -> PriceComponent | None:
        """Return the first price of a kind."""
        return next((part for part in self.components if part.kind is kind), None)

    def matches(self, weekday: int, minute: int) -> bool:
        """Return whether the element holds at a minute of a local day, whatever was delivered."""
        if not self.for_reservations or (self.weekdays and weekday not in self.weekdays):
            return False
        start, end = self.start_minute, self.end_minute
        if start is None or end is None or start == end:
            return True
        if start < end:
            return start <= minute < end
        return minute >= start or minute < end

    def holds(self, total_kwh: Fraction) -> bool:
        """Return whether a running total lies in the element's tier."""
        return self.min_kwh <= total_kwh and (self.max_kwh is None or total_kwh < self.max_kwh)


@dataclass(frozen=True, slots=True)
class Tariff:
    """Elements in the order in which they are tried."""

    currency: str
    elements: tuple[TariffElement, ...]
    min_price: Fraction | None = None
    """Bound of the unit price per kWh, without VAT."""
    max_price: Fraction | None = None

    @property
    def reads_clock(self) -> bool:
        """Return whether it has times of day or weekdays, which mean nothing without a zone."""
        return any(one.start_minute is not None or one.weekdays for one in self.elements)


class ProfilePiece(NamedTuple):
    """Metered energy of `[start_ms, end_ms)`, at even power."""

    start_ms: int
    end_ms: int
    kwh: Fraction


@dataclass(frozen=True, slots=True)
class TariffLeg:
    """What one element charged for one stretch of time."""

    element: int
    """Place in the tariff, from 0."""
    component: PriceComponent
    start_ms: int
    end_ms: int
    """Equal to the start for FLAT and for what rounding up to a step added."""
    kwh: Fraction
    """Zero but for ENERGY."""
    amount: Fraction
    """Without VAT."""

    @property
    def vat(self) -> Fraction:
        """Return the VAT on the amount."""
        return self.amount * self.component.vat_percent / 100


@dataclass(frozen=True, slots=True)
class TariffPrice:
    """The price of some energy with its trace."""

    kwh: Fraction
    total: Fraction
    """Without VAT, after the price bounds."""
    vat: Fraction
    legs: tuple[TariffLeg, ...]
    """Before the price bounds."""
    assumed: bool
    """No profile was given: even power over the window."""
    bound: str | None = None
    """`minPrice` or `maxPrice` when that decided the total."""

    @property
    def unit(self) -> Fraction:
        """Return the price per kWh without VAT; 0 for no energy."""
        return self.total / self.kwh if self.kwh else NOTHING

    @property
    def unit_with_vat(self) -> Fraction:
        """Return the price per kWh with VAT; 0 for no energy."""
        return (self.total + self.vat) / self.kwh if self.kwh else NOTHING
