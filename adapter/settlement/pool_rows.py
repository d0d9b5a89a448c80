"""Rows of the pool: fixed-price offers, the pool price, and energy that an operator vouches for.

Source: settlement specification, section 12.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar

from adapter.settlement.postings import TransitionError
from adapter.settlement.rows import NET, OPERATOR_NET, net_of, operator_net_of, padded
from adapter.settlement.state import Index, Row
from adapter.settlement.units import Rates


class OfferState(StrEnum):
    """Where an offer stands."""

    OPEN = "OPEN"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


class OfferStep(StrEnum):
    """What can happen to an offer."""

    BUY = "BUY"
    CANCEL = "CANCEL"
    EXPIRE = "EXPIRE"


OFFER_TRANSITIONS: Mapping[OfferState, Mapping[OfferStep, OfferState]] = MappingProxyType(
    {
        OfferState.OPEN: {
            OfferStep.BUY: OfferState.COMPLETED,
            OfferStep.CANCEL: OfferState.CANCELLED,
            OfferStep.EXPIRE: OfferState.EXPIRED,
        },
        OfferState.COMPLETED: {},
        OfferState.CANCELLED: {},
        OfferState.EXPIRED: {},
    }
)


def next_offer(state: OfferState, step: OfferStep) -> OfferState:
    """Return the state after `step`.

    Raises:
        TransitionError: INVALID_TRANSITION, no such step; nothing changes.
    """
    try:
        return OFFER_TRANSITIONS[state][step]
    except KeyError:
        allowed = ", ".join(OFFER_TRANSITIONS[state]) or "nothing"
        msg = f"a {state} offer accepts {allowed}, not {step}"
        raise TransitionError("INVALID_TRANSITION", msg) from None


@dataclass(frozen=True, slots=True)
class PoolOffer(Row):
    """GRID for sale as a whole at a fixed price; it is held while the offer is OPEN."""

    KIND: ClassVar[str] = "offer"
    offer_no: int
    seller: str
    energy: int
    price: int
    wheeling_rate: int
    """This and the fees are copied when the offer is made."""
    buyer_fee: int
    seller_fee: int
    expires_ms: int
    """0 for never; still good at this instant."""
    state: OfferState
    hold: str
    made_ms: int
    buyer: str = ""

    @property
    def key(self) -> str:
        """Return the padded number."""
        return padded(self.offer_no)

    @property
    def purpose(self) -> str:
        """Return what its hold is for."""
        return f"offer:{self.offer_no}"

    @property
    def rates(self) -> Rates:
        """Return prices per kWh."""
        return Rates(self.price, self.wheeling_rate, self.buyer_fee, self.seller_fee)

    def state_at(self, now_ms: int) -> OfferState:
        """Return the effective state: a passed deadline shows before its command ran."""
        is_late = self.expires_ms and self.expires_ms < now_ms
        return OfferState.EXPIRED if self.state is OfferState.OPEN and is_late else self.state

    def indexes(self) -> tuple[Index, ...]:
        """List open offers, of all and per seller, and those that will expire."""
        if self.state is not OfferState.OPEN:
            return ()
        found = (Index("open", "", self.key), Index("open_of", self.seller, self.key))
        return (*found, Index("due", "", padded(self.expires_ms))) if self.expires_ms else found


@dataclass(frozen=True, slots=True)
class PoolPrice(Row):
    """The reference price, and the price of offers that name none."""

    KIND: ClassVar[str] = "pool_price"
    price: int
    seq: int

    @property
    def key(self) -> str:
        """Return the only key."""
        return ""


@dataclass(frozen=True, slots=True)
class OperatorLot(Row):
    """Energy that a pool operator vouched for, apart from what meters proved."""

    KIND: ClassVar[str] = "operator_lot"
    lot_no: int
    user: str
    operator: str
    generated: int
    """Minted for it."""
    consumed: int
    """Retired for it."""
    seq: int
    """Entry that holds the evidence."""

    @property
    def key(self) -> str:
        """Return the padded number."""
        return padded(self.lot_no)

    def indexes(self) -> tuple[Index, ...]:
        """List the lots of a user."""
        return (Index("user", self.user, self.key),)

    def sums(self) -> Mapping[str, int]:
        """Add to the net positions of the user and the area."""
        names = (net_of(self.user), NET, operator_net_of(self.user), OPERATOR_NET)
        return dict.fromkeys(names, self.generated - self.consumed)
