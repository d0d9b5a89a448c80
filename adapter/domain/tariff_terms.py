"""A tariff as two parties agree on it, and what a delivery under it costs in whole millionths.

Source: contract specification, sections 7.1 and 9, step 9.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from enum import StrEnum
from fractions import Fraction
from math import ceil
from typing import NamedTuple

from adapter.domain.instants import DeliveryInterval
from adapter.domain.quantities import MICRO, Energy, divide_half_even
from adapter.domain.tariff import ProfilePiece, TariffPrice, price_energy
from adapter.domain.tariff_dearest import dearest_cost, vat_rates
from adapter.domain.tariff_elements import NOTHING, Tariff


class VatTreatment(StrEnum):
    """How VAT is paid."""

    EXCLUSIVE = "EXCLUSIVE"
    """Beside the flow, as a leg of its own."""
    INCLUSIVE = "INCLUSIVE"
    """Within the flow."""


class TariffMoney(NamedTuple):
    """What the buyer owes the seller, in millionths of the currency, each leg rounded once."""

    value: int
    """The flow amount."""
    vat: int
    """Beside it."""


@dataclass(frozen=True, slots=True)
class TariffTerms:
    """A tariff with the zone of its local times."""

    tariff: Tariff
    zone: tzinfo
    vat: VatTreatment = VatTreatment.EXCLUSIVE

    def money(self, price: TariffPrice) -> TariffMoney:
        """Return the legs of a price."""
        if self.vat is VatTreatment.INCLUSIVE:
            return TariffMoney(_rounded(price.total + price.vat), 0)
        return TariffMoney(_rounded(price.total), _rounded(price.vat))

    def estimate(self, window: DeliveryInterval, energy: Energy) -> TariffPrice:
        """Return the price of an energy at even power over the window.

        Raises:
            TariffError: P2P_TARIFF_GAP, P2P_FLOW_VALUE.
        """
        return price_energy(self.tariff, window, kwh_of(energy), zone=self.zone)

    def settled(
        self, window: DeliveryInterval, profile: Sequence[ProfilePiece], *, final: bool
    ) -> TariffMoney:
        """Return what is owed for a profile; while more is to come, what it is at least.

        Until the last part of a delivery nothing is rounded up to a step, and VAT waits that the
        price bounds may still make smaller: later parts then never owe less than this.

        Raises:
            TariffError: as `price_energy`.
        """
        kwh = sum((piece.kwh for piece in profile), NOTHING)
        price = price_energy(
            self.tariff,
            window,
            kwh,
            zone=self.zone,
            profile=profile,
            whole_steps=final,
        )
        if final or not self._vat_can_fall:
            return self.money(price)
        return TariffMoney(_rounded(price.total), 0)

    @property
    def _vat_can_fall(self) -> bool:
        bounded = self.tariff.min_price is not None or self.tariff.max_price is not None
        return bounded and len(vat_rates(self.tariff)) > 1

    def hold(self, window: DeliveryInterval, energy: Energy) -> int:
        """Return the millionths that cover value and VAT of every delivery of up to `energy`.

        Raises:
            TariffError: P2P_FLOW_VALUE.
        """
        cost = dearest_cost(self.tariff, window, kwh_of(energy), zone=self.zone) * MICRO
        held = ceil(cost)
        # Two halves that both round up to even make an odd sum one larger; no other two can.
        two_legs = self.vat is VatTreatment.EXCLUSIVE and max(vat_rates(self.tariff)) > 0
        return held + (two_legs and cost == held and held % 2 == 1)


def kwh_of(energy: Energy) -> Fraction:
    """Return an energy as the fraction of kWh that tariffs are computed with."""
    return Fraction(energy.micro_kwh, MICRO)


def _rounded(amount: Fraction) -> int:
    return divide_half_even(amount.numerator * MICRO, amount.denominator)
