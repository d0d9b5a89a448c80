"""Offers of a seller's platform and their stock."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Offer:
    """Energy from one source meter at a fixed price, as long as the stock lasts."""

    offer_id: str
    source_meter_id: str
    source_type: str
    currency: str
    price_micro_per_kwh: int
    available_micro_kwh: int
    """What is not yet taken by an init."""
    published_micro_kwh: int
    """What was offered at the beginning."""
    production_start_ms: int
    production_end_ms: int
    created_ms: int
    minimum_micro_kwh: int | None = None
    maximum_micro_kwh: int | None = None
    valid_from_ms: int | None = None
    valid_until_ms: int | None = None
    withdrawn: bool = False

    @property
    def item_id(self) -> str:
        """Return the id of the catalogue item that the offer sells."""
        return f"item-{self.offer_id}"

    @property
    def template_contract_id(self) -> str:
        """Return the contract id printed in the catalogue; the first trade takes it."""
        return f"contract-{self.offer_id}"
