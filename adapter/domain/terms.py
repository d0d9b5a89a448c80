"""The terms of a trade, read out of a contract."""

from dataclasses import dataclass

from adapter.domain.instants import DeliveryInterval
from adapter.domain.quantities import Energy, UnitPrice


@dataclass(frozen=True, slots=True)
class TradeTerms:
    """What a fixed-price contract fixes once SELLER and BUYER are filled."""

    contract_id: str
    source_meter_id: str
    target_meter_id: str
    energy: Energy
    """The contracted quantity."""
    price: UnitPrice
    window: DeliveryInterval
    basis: str
    """Settlement basis: CONTRACTED, DELIVERED or MIN_OF_TWO."""
