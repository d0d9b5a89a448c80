"""Rows of the order book: orders, markets, cleared epochs.

An order carries its own holds: what it holds is a function of its row, and no row of its own. After
a clearing the row of an EPOCH order is not written again, its end stands in the block `orders` of
the clearing entry; so an order is read through `contracts.order_book.order_now`. Source: settlement
specification, section 9.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar

from adapter.domain.instants import EPOCH_MS
from adapter.settlement import accounts
from adapter.settlement.agreement_terms import TradeSide
from adapter.settlement.postings import TransitionError
from adapter.settlement.rows import padded
from adapter.settlement.state import Index, Row
from adapter.settlement.units import Rates, cash_hold

GOOD_TILL_TIME = padded(10**16 - 1)
"""In place of an epoch in lists: an order that joins more than one."""


class OrderState(StrEnum):
    """Where an order stands."""

    ACTIVE = "ACTIVE"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


class OrderStep(StrEnum):
    """What can happen to an order."""

    FILL_PART = "FILL_PART"
    FILL = "FILL"
    CANCEL = "CANCEL"
    EXPIRE = "EXPIRE"


_OPEN: Mapping[OrderStep, OrderState] = MappingProxyType(
    {
        OrderStep.FILL_PART: OrderState.PARTIALLY_FILLED,
        OrderStep.FILL: OrderState.FILLED,
        OrderStep.CANCEL: OrderState.CANCELLED,
        OrderStep.EXPIRE: OrderState.EXPIRED,
    }
)
ORDER_TRANSITIONS: Mapping[OrderState, Mapping[OrderStep, OrderState]] = MappingProxyType(
    {
        OrderState.ACTIVE: _OPEN,
        OrderState.PARTIALLY_FILLED: _OPEN,
        OrderState.FILLED: {},
        OrderState.CANCELLED: {},
        OrderState.EXPIRED: {},
    }
)
BLOCK_STATES: Mapping[int, OrderState] = MappingProxyType(
    {
        0: OrderState.ACTIVE,
        1: OrderState.PARTIALLY_FILLED,
        2: OrderState.FILLED,
        4: OrderState.EXPIRED,
    }
)
"""Third column of the block `orders`; a cancelled order is in no clearing."""


class TimeInForce(StrEnum):
    """How long an order waits."""

    EPOCH = "EPOCH"
    """For the clearing of the epoch in which it was accepted."""
    GTT = "GTT"
    """For the clearing of every epoch that ends by a given time."""


def next_order(state: OrderState, step: OrderStep) -> OrderState:
    """Return the state after `step`.

    Raises:
        TransitionError: INVALID_TRANSITION, no such step; nothing changes.
    """
    try:
        return ORDER_TRANSITIONS[state][step]
    except KeyError:
        allowed = ", ".join(ORDER_TRANSITIONS[state]) or "nothing"
        msg = f"an order that is {state} accepts {allowed}, not {step}"
        raise TransitionError("INVALID_TRANSITION", msg) from None


@dataclass(frozen=True, slots=True)
class Order(Row):
    """A limit order for GRID, with what it holds."""

    KIND: ClassVar[str] = "order"
    order_no: int
    """Rises with acceptance: the time priority."""
    seq: int
    """Entry that made it."""
    user: str
    meter_id: str
    area: str
    """Market of the meter."""
    side: TradeSide
    energy: int
    price: int
    """A seller gets at least this, a buyer pays at most this."""
    epoch: int
    """In which it was accepted, the first that it joins."""
    time_in_force: TimeInForce
    expires_ms: int
    """EPOCH: the end of the epoch."""
    wheeling_rate: int
    buyer_fee: int
    seller_fee: int
    cap_account: str
    """Where it holds room under the trade cap; empty when the meter had no cap."""
    hold_seq: int
    """Entry of the holds it has now; the cap's follows that of the asset."""
    hold_index: int
    filled: int = 0
    state: OrderState = OrderState.ACTIVE

    @property
    def key(self) -> str:
        """Return the number."""
        return padded(self.order_no)

    @property
    def purpose(self) -> str:
        """Return what its holds are for."""
        return f"order:{self.order_no}"

    @property
    def is_live(self) -> bool:
        """Return whether it can still trade."""
        return bool(ORDER_TRANSITIONS[self.state])

    @property
    def is_sell(self) -> bool:
        """Return whether it offers energy."""
        return self.side is TradeSide.SELL

    @property
    def lives_on(self) -> bool:
        """Return whether it outlives the clearing of an epoch."""
        return self.time_in_force is TimeInForce.GTT

    @property
    def last_epoch(self) -> int:
        """Return the last epoch that it joins; before `epoch`, it joins none."""
        return self.expires_ms // EPOCH_MS - 1

    @property
    def rates(self) -> Rates:
        """Return the prices per kWh at its own limit."""
        return Rates(self.price, self.wheeling_rate, self.buyer_fee, self.seller_fee)

    @property
    def unfilled(self) -> int:
        """Return the energy that is still to be traded."""
        return self.energy - self.filled

    @property
    def asset_held(self) -> int:
        """Return the GRID or cash that it holds while it is live."""
        return self.unfilled if self.is_sell else cash_hold(self.unfilled, self.rates)

    @property
    def cap_held(self) -> int:
        """Return the room that it holds while it is live."""
        return self.unfilled if self.cap_account else 0

    def asset(self, currency: str) -> str:
        """Return what it gives: GRID, or the currency of the ledger."""
        return accounts.GRID if self.is_sell else currency

    def account(self, currency: str) -> str:
        """Return the account of what it gives."""
        return accounts.main(self.user, self.asset(currency))

    def holds(self, currency: str) -> tuple[tuple[str, int], ...]:
        """Return what it holds now: (account, amount)."""
        if not self.is_live:
            return ()
        held = (self.account(currency), self.asset_held), (self.cap_account, self.cap_held)
        return tuple((account, amount) for account, amount in held if amount)

    def hold_ids(self) -> tuple[str, ...]:
        """Return the ids of these holds, in the same order."""
        return tuple(f"{self.hold_seq}.{self.hold_index + i}" for i in range(1 + self.has_cap))

    @property
    def has_cap(self) -> bool:
        """Return whether it counts against a trade cap."""
        return bool(self.cap_account)

    def indexes(self) -> tuple[Index, ...]:
        """List the user's orders, and where the order stands in the book."""
        mine = Index("user", self.user, self.key)
        if not self.is_live:
            return (mine,)
        value, sort = live_value(self.user, self.area, self.side), f"|{padded(self.price)}"
        if self.lives_on:
            return (
                mine,
                Index("live_of", value, GOOD_TILL_TIME + sort),
                Index("gtt", self.area, padded(max(self.last_epoch, 0))),
                Index("due", "", padded(self.expires_ms)),
            )
        epoch = padded(self.epoch)
        return mine, Index("live_of", value, epoch + sort), Index("book", self.area, epoch)

    def sums(self) -> Mapping[str, int]:
        """Count the live orders of a market and of a user: of one epoch, or those that live on."""
        if not self.is_live:
            return {}
        epoch = GOOD_TILL_TIME if self.lives_on else padded(self.epoch)
        return {live_count(self.area, epoch): 1, live_count_of(self.user, epoch): 1}


def live_value(user: str, area: str, side: TradeSide) -> str:
    """Return under what the live orders of a user in a market are listed, by epoch and price."""
    return f"{user}|{side}|{area}"


def live_count(area: str, epoch: str) -> str:
    """Return the name of the number of live orders of a market."""
    return f"orders|{epoch}|{area}"


def live_count_of(user: str, epoch: str) -> str:
    """Return the name of the number of live orders of a user in all markets."""
    return f"orders_of|{epoch}|{user}"


@dataclass(frozen=True, slots=True)
class Market(Row):
    """The book of one market area."""

    KIND: ClassVar[str] = "market"
    area: str
    next_epoch: int
    """All earlier epochs are cleared, or nobody took part in them."""

    @property
    def key(self) -> str:
        """Return the area."""
        return self.area

    def indexes(self) -> tuple[Index, ...]:
        """List all markets."""
        return (Index("all", ""),)


@dataclass(frozen=True, slots=True)
class ClearedEpoch(Row):
    """The result of a clearing, and where its rows stand in the blocks of the entry."""

    KIND: ClassVar[str] = "cleared"
    area: str
    epoch: int
    seq: int
    """Entry with the blocks."""
    price: int | None
    """None when nothing traded."""
    volume: int
    orders_at: int
    """First row in the block `orders`."""
    orders: int
    """Rows."""
    trades_at: int
    """First row in the block `trades`."""
    trades: int

    @property
    def key(self) -> str:
        """Return area and epoch."""
        return cleared_key(self.area, self.epoch)


def cleared_key(area: str, epoch: int) -> str:
    """Return the key of a cleared epoch."""
    return f"{area}|{padded(epoch)}"


def trade_id(area: str, epoch: int, index: int) -> str:
    """Return the id of a trade, which counts from 0 in its epoch and area."""
    return f"{epoch}-{area}-{index}"
