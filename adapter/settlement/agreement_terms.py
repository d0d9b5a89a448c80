"""What an agreement fixes: parties, meters, prices, window.

A market is a party without a meter. It buys from everybody who exports and sells to everybody who
withdraws, so each of its agreements has one metered side, which says how far both have come.
Source: settlement specification, section 11; contract specification, section 7.3.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from adapter.domain.instants import EPOCH_MS, DeliveryInterval
from adapter.settlement.units import Legs, Rates


class TradeSide(StrEnum):
    """The side of a meter in a trade; also the bucket of its cap account."""

    SELL = "SELL"
    BUY = "BUY"


_METERED: Mapping[tuple[bool, bool], tuple[TradeSide, ...]] = {
    (True, True): (TradeSide.SELL, TradeSide.BUY),
    (True, False): (TradeSide.SELL,),
    (False, True): (TradeSide.BUY,),
    (False, False): (),
}
"""The sides that have a meter, by whether there is a source and a target meter."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What an agreement fixes; a superseding proposal replaces all of it."""

    contract_id: str
    provider: str
    consumer: str
    source_meter: str
    """Empty: the provider is a market, which has no meter."""
    target_meter: str
    """Empty: the consumer is a market."""
    energy: int
    """Contracted quantity."""
    price: int
    """0 under a tariff."""
    wheeling_rate: int
    buyer_fee: int
    seller_fee: int
    start_ms: int
    end_ms: int
    deadline_ms: int
    """Readings stored later do not count."""
    basis: str
    tariff: str = ""
    """Canonical text of a tariff with its zone and VAT treatment; empty: the price is fixed."""

    @property
    def window(self) -> DeliveryInterval:
        """Return the delivery window."""
        return DeliveryInterval(self.start_ms, self.end_ms)

    @property
    def rates(self) -> Rates:
        """Return the prices per kWh."""
        return Rates(self.price, self.wheeling_rate, self.buyer_fee, self.seller_fee)

    @property
    def starts(self) -> range:
        """Return the starts of the 15-minute intervals of the window."""
        return range(self.start_ms, self.end_ms, EPOCH_MS)

    def meter(self, side: TradeSide) -> str:
        """Return the meter of a side; empty for a market."""
        return self.source_meter if side is TradeSide.SELL else self.target_meter

    @property
    def metered(self) -> tuple[TradeSide, ...]:
        """Return the sides that have a meter."""
        return _METERED[self.source_meter != "", self.target_meter != ""]

    def counted_by(self, side: TradeSide) -> tuple[TradeSide, ...]:
        """Return the sides for which the meter of `side` counts: a market follows the other."""
        return tuple(TradeSide) if self.market else (side,)

    @property
    def market(self) -> str:
        """Return the party without a meter, the counterparty of a market; empty without one."""
        if not self.source_meter:
            return self.provider
        return "" if self.target_meter else self.consumer

    @property
    def is_withdrawal(self) -> bool:
        """Return whether a market sells: energy comes from those that export to it."""
        return not self.source_meter

    @property
    def bound(self) -> str:
        """Return the party that nobody binds without its consent: it pays, or sells to a market."""
        return self.consumer if self.target_meter else self.provider

    def by_payer(self, price: int, wheeling: int) -> dict[str, int]:
        """Return who pays what: the consumer the price, and wheeling a market if there is one."""
        payer = self.market or self.consumer
        amounts = {self.consumer: price}
        amounts[payer] = amounts.get(payer, 0) + wheeling
        return amounts

    def debits(self, legs: Legs) -> dict[str, int]:
        """Return what each payer pays of some legs."""
        return self.by_payer(legs.buyer_debit - legs.wheeling, legs.wheeling)
