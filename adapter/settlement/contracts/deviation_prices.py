"""What deviations would cost in the side contracts: a preview, nothing of it is booked here.

The part of an agreement that was paid and not delivered, the seller buys from its utility at the
import price; what was paid and not consumed, the buyer's utility takes at the export price. Energy
that the settlement basis did not let be paid costs nothing. Source: settlement specification,
section 11.3.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from adapter.settlement.agreement_rows import Agreement
from adapter.settlement.agreement_terms import TradeSide
from adapter.settlement.units import value


@dataclass(frozen=True, slots=True)
class Preview:
    """Net positions of an agreement with its deviations, in millionths; their sum is 0."""

    buyer: int
    seller: int
    seller_utility: int
    buyer_utility: int

    def to_mapping(self) -> Mapping[str, int]:
        """Return the positions by name."""
        return {
            "buyer": self.buyer,
            "seller": self.seller,
            "seller_utility": self.seller_utility,
            "buyer_utility": self.buyer_utility,
        }


def priced(agreement: Agreement, *, import_price: int, export_price: int) -> Preview:
    """Return the positions for what has been paid so far; wheeling and fees are left out.

    Args:
        agreement: with at least one settled part.
        import_price: what the seller's utility takes per kWh, in millionths.
        export_price: what the buyer's utility gives per kWh, in millionths.
    """
    paid = agreement.settled

    def missed(side: TradeSide) -> int:
        metered = side in agreement.terms.metered  # a market has no utility
        return max(0, paid.quantity - agreement.progress(side).allocated) if metered else 0

    short, left = missed(TradeSide.SELL), missed(TradeSide.BUY)
    bought, sold = value(short, import_price), value(left, export_price)
    return Preview(
        buyer=sold - paid.value,
        seller=paid.value - bought,
        seller_utility=bought,
        buyer_utility=-sold,
    )
