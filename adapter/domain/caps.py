"""How much energy a pair of meters may still trade under the grid operator's caps."""

from dataclasses import dataclass

from adapter.domain.quantities import Energy


@dataclass(frozen=True, slots=True)
class TradeLimit:
    """The cap of one meter and what it has traded already."""

    cap: Energy
    total: Energy
    """Running total of the operator's ledger, reservations of others included."""

    @property
    def left(self) -> Energy:
        """Return what the meter may still trade; below zero when the cap was lowered since."""
        return self.cap - self.total


def tradeable(*, buyer: TradeLimit, seller: TradeLimit) -> Energy:
    """Return the most that one further trade may move; trading exactly this is allowed.

    Never below zero. Source: contract specification, section 8.
    """
    return max(min(buyer.left, seller.left), Energy(0))
