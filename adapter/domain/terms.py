"""The terms of a trade, read out of a contract."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapter.domain.instants import DeliveryInterval
from adapter.domain.quantities import Energy, UnitPrice
from adapter.domain.tariff_terms import TariffTerms


@dataclass(frozen=True, slots=True)
class TariffPricing:
    """A price by tariff, as the contract has it and as a delivery is priced by it."""

    document: Mapping[str, Any]
    """The Tariff object on the wire."""
    time_zone: str
    """IANA name; of this node where the contract names none."""
    terms: TariffTerms

    @property
    def currency(self) -> str:
        """Return the currency."""
        return self.terms.tariff.currency


Price = UnitPrice | TariffPricing


@dataclass(frozen=True, slots=True)
class TradeTerms:
    """What a contract between SELLER and BUYER fixes once both are filled."""

    contract_id: str
    source_meter_id: str
    target_meter_id: str
    energy: Energy
    """The contracted quantity."""
    price: Price
    window: DeliveryInterval
    basis: str
    """Settlement basis: CONTRACTED, DELIVERED or MIN_OF_TWO."""
