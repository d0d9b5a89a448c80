"""The order book as contracts and reads see it: orders as they are now, books, epochs to clear."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from adapter.domain.instants import EPOCH_MS
from adapter.settlement.agreement_terms import TradeSide
from adapter.settlement.block_views import BlockReader, order_end
from adapter.settlement.order_rows import (
    GOOD_TILL_TIME,
    ClearedEpoch,
    Market,
    Order,
    OrderState,
    cleared_key,
    live_count,
    live_count_of,
    live_value,
)
from adapter.settlement.rows import padded
from adapter.settlement.state import LedgerStore, Reader, Span
from adapter.settlement.work import sum_of


class DueEpoch(NamedTuple):
    """A book to clear; sorts in the order of clearing."""

    epoch: int
    area: str


def order_now(reader: BlockReader, order_no: int) -> Order | None:
    """Return an order as it is now; after its clearing it is in the state that the block says."""
    order = reader.get(Order, padded(order_no))
    return None if order is None else as_it_is(reader, order)


def as_it_is(reader: BlockReader, order: Order) -> Order:
    """Return an order as it is now from its row."""
    if not order.is_live or order.lives_on:
        return order
    cleared = reader.get(ClearedEpoch, cleared_key(order.area, order.epoch))
    if cleared is None:
        return order
    end = order_end(reader, cleared, order.order_no)
    return replace(order, filled=end.filled, state=end.state)


def effective_state(reader: Reader, order: Order, now_ms: int) -> OrderState:
    """Return the state of an order as it is now, a passed deadline included.

    An order that still has to be cleared is not over: its clearing is judged at the epoch's end.
    """
    is_over = order.is_live and order.lives_on and order.expires_ms < now_ms
    if is_over and not is_awaiting(reader, order, now_ms):
        return OrderState.EXPIRED
    return order.state


def is_awaiting(reader: Reader, order: Order, now_ms: int) -> bool:
    """Return whether an ended epoch that a live order joins is not cleared."""
    first = max(order.epoch, next_epoch(reader, order.area))
    return first <= order.last_epoch and end_of(first) <= now_ms


def may_expire(reader: Reader, order: Order) -> bool:
    """Return whether a live order past its time has been through all its clearings."""
    return max(order.epoch, next_epoch(reader, order.area)) > order.last_epoch


def next_epoch(reader: Reader, area: str) -> int:
    """Return the first epoch of a market that may still be cleared."""
    market = reader.get(Market, area)
    return market.next_epoch if market else 0


def end_of(epoch: int) -> int:
    """Return the first instant after an epoch, ms."""
    return (epoch + 1) * EPOCH_MS


def markets(reader: Reader) -> list[Market]:
    """Return all markets by area."""
    return list(reader.find(Market, "all", ""))


def live_orders(reader: Reader, user: str, area: str) -> list[Order]:
    """Return the live orders of a user in a market that no clearing has ended, by number."""
    since = Span(start=padded(next_epoch(reader, area)))
    found = [
        order
        for side in TradeSide
        for order in reader.find(Order, "live_of", live_value(user, area, side), since)
    ]
    return sorted(found, key=lambda order: order.order_no)


def best_own(ledger: LedgerStore, order: Order, now_ms: int) -> Order | None:
    """Return the own live order that would meet this one first in a book that both join.

    After a clock that went back there may be orders of later epochs, which one that lives on joins.
    """
    other = TradeSide.BUY if order.is_sell else TradeSide.SELL
    value = live_value(order.user, order.area, other)
    epochs = range(order.epoch, max(order.epoch, order.last_epoch) + 1)
    own = [_first(ledger, value, span, now_ms) for span in _spans(ledger, value, epochs, order)]
    found = [one for one in own if one is not None]
    return max(found, key=lambda one: one.price if order.is_sell else -one.price, default=None)


def _spans(ledger: LedgerStore, value: str, epochs: range, order: Order) -> Iterator[Span]:
    """Give the parts of a list that are of one epoch, best price first."""
    start = epochs.start
    while start < epochs.stop:
        rest = Span(padded(start), padded(epochs.stop))
        known = next(iter(ledger.find(Order, "live_of", value, rest)), None)
        if known is None:
            break
        start = known.epoch + 1
        yield Span(padded(known.epoch), padded(start), newest_first=order.is_sell)
    yield Span(GOOD_TILL_TIME, newest_first=order.is_sell)


def _first(ledger: LedgerStore, value: str, span: Span, now_ms: int) -> Order | None:
    """Return the first order of a list that is not past its time."""
    listed = ledger.find(Order, "live_of", value, span)
    return next((order for order in listed if order.expires_ms >= now_ms), None)


def count_live(reader: Reader, area: str, epoch: int) -> int:
    """Return how many live orders a book has."""
    return _count(reader, live_count(area, padded(epoch)), live_count(area, GOOD_TILL_TIME))


def count_live_of(reader: Reader, user: str, epoch: int) -> int:
    """Return how many live orders a user has in the books of an epoch."""
    names = (live_count_of(user, padded(epoch)), live_count_of(user, GOOD_TILL_TIME))
    return _count(reader, *names)


def _count(reader: Reader, *names: str) -> int:
    return sum(sum_of(reader, name) for name in names)


def book(reader: Reader, area: str, epoch: int) -> list[Order]:
    """Return the orders that take part in the clearing of an epoch, by number."""
    span = Span(start=padded(epoch), end=padded(epoch + 1))
    orders = list(reader.find(Order, "book", area, span))
    waiting = reader.find(Order, "gtt", area, Span(start=padded(epoch)))
    joining = [order for order in waiting if order.epoch <= epoch]
    return sorted(orders + joining, key=lambda order: order.order_no) if joining else orders


def first_open(reader: Reader, area: str, start: int) -> int | None:
    """Return the first epoch from `start` on in which a live order takes part, if there is one."""
    span = Span(start=padded(start))
    own = next((order.epoch for order in reader.find(Order, "book", area, span)), None)
    if own == start:
        return start
    for order in reader.find(Order, "gtt", area, span):
        joins = max(order.epoch, start)
        if joins <= order.last_epoch and (own is None or joins < own):
            own = joins
        if own == start:
            break
    return own


def due_epochs(reader: Reader, now_ms: int, limit: int) -> list[DueEpoch]:
    """Return at most `limit` books that have ended and are not cleared, in order of clearing."""
    due = [part for market in markets(reader) for part in _due_in(reader, market, now_ms, limit)]
    return sorted(due)[:limit]


def _due_in(reader: Reader, market: Market, now_ms: int, limit: int) -> Iterator[DueEpoch]:
    start = market.next_epoch
    for _ in range(limit):
        epoch = first_open(reader, market.area, start)
        if epoch is None or end_of(epoch) > now_ms:
            return
        yield DueEpoch(epoch, market.area)
        start = epoch + 1
