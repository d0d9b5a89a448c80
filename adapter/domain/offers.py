"""Offers of a seller's platform and their stock."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapter.domain.market import FeeTreatment

MOST_PARTICIPANTS = 100
"""Of one market: its confirm names all of them and has to stay below 256 KiB."""


@dataclass(frozen=True, slots=True)
class MarketPlace:
    """What makes an offer an invitation to a market; its window is the production window."""

    gate_ms: int
    """When it closes: on the 15-minute grid of UTC, before the window begins."""
    fee_micro_per_kwh: int
    """marketMakingFee in millionths of the offer's currency."""
    fee_treatment: FeeTreatment = FeeTreatment.SYMMETRIC
    most_participants: int = MOST_PARTICIPANTS


@dataclass(frozen=True, slots=True)
class Offer:
    """Energy from one source meter at a price or under a tariff, as long as the stock lasts.

    With `market` it is an invitation to a market instead: no meter, no stock, no price.
    """

    offer_id: str
    source_meter_id: str
    source_type: str
    currency: str
    price_micro_per_kwh: int
    """0 under a tariff."""
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
    tariff: Mapping[str, Any] | None = None
    """Tariff object as on the wire."""
    time_zone: str | None = None
    """IANA name for the tariff's times; None where it has none."""
    vat_treatment: str | None = None
    """EXCLUSIVE or INCLUSIVE; None leaves it open, which means EXCLUSIVE."""
    market: MarketPlace | None = None

    @property
    def item_id(self) -> str:
        """Return the id of the catalogue item that the offer sells."""
        return f"item-{self.offer_id}"

    @property
    def template_contract_id(self) -> str:
        """Return the contract id printed in the catalogue; the first trade takes it."""
        return f"contract-{self.offer_id}"
