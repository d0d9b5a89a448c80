"""What the blocks of a clearing mean: trades, states of orders, events and postings.

An entry that clears lists no trade. Its trades, the events TradeExecuted, Transfer and OrderExpired
and the postings of its settlement are views: computed here from the rows of its blocks, from the
orders and from the price. Source: settlement specification, sections 5 and 9.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple, Protocol

from adapter.settlement import accounts, units
from adapter.settlement.blocks import Block
from adapter.settlement.events import Event, make_event
from adapter.settlement.journal import entry_events
from adapter.settlement.order_rows import (
    BLOCK_STATES,
    ClearedEpoch,
    Order,
    OrderState,
    cleared_key,
    trade_id,
)
from adapter.settlement.rows import Genesis, padded
from adapter.settlement.state import Reader
from adapter.settlement.units import Legs, Rates

CLEARED = "MarketCleared"
EVENTS_PER_TRADE = 2


class BlockReader(Reader, Protocol):
    """Rows and blocks to look up."""

    def block(self, seq: int, name: str) -> Block | None:
        """Return a block of one entry."""
        ...


class OneBlock:
    """A reader that remembers the block it gave last, for many looks at the same one."""

    def __init__(self, reader: BlockReader) -> None:
        """Read from `reader`."""
        self._reader = reader
        self.get = reader.get
        self.find = reader.find
        self.account = reader.account
        self._place: tuple[int, str] | None = None
        self._block: Block | None = None

    def block(self, seq: int, name: str) -> Block | None:
        """Return a block of one entry."""
        if self._place != (seq, name):
            self._place, self._block = (seq, name), self._reader.block(seq, name)
        return self._block


class OrderEnd(NamedTuple):
    """What a clearing made of an order."""

    order_no: int
    filled: int
    """In all, this clearing included."""
    state: OrderState


@dataclass(frozen=True, slots=True)
class BookTrade:
    """A trade of a clearing, with its two orders as they were entered."""

    trade_id: str
    cleared: ClearedEpoch
    index: int
    """In its epoch and area."""
    buy: Order
    sell: Order
    energy: int
    legs: Legs

    @property
    def price(self) -> int:
        """Return the price of the epoch."""
        assert self.cleared.price is not None
        return self.cleared.price

    def fields(self) -> Mapping[str, Any]:
        """Return the fields of TradeExecuted."""
        return {
            "trade_id": self.trade_id,
            "buy_order": self.buy.order_no,
            "sell_order": self.sell.order_no,
            "buyer": self.buy.user,
            "seller": self.sell.user,
            "energy": self.energy,
            "price": self.price,
            "value": self.legs.value,
            "wheeling": self.legs.wheeling,
            "buyer_fee": self.legs.buyer_fee,
            "seller_fee": self.legs.seller_fee,
        }


class ViewPosting(NamedTuple):
    """Use the oldest open hold for `purpose` on `account`, and release what the legs leave."""

    purpose: str
    account: str
    legs: tuple[tuple[str, int], ...]
    """None: the hold is void."""


def order_end(reader: BlockReader, cleared: ClearedEpoch, order_no: int) -> OrderEnd:
    """Return what a clearing made of an order that took part."""
    block = _block(reader, cleared, "orders")
    low, high = cleared.orders_at, cleared.orders_at + cleared.orders
    while low < high:
        middle = (low + high) // 2
        if block.row(middle)[0] < order_no:
            low = middle + 1
        else:
            high = middle
    end = _end(block.row(low))
    assert end.order_no == order_no
    return end


def order_ends(reader: BlockReader, cleared: ClearedEpoch) -> Iterator[OrderEnd]:
    """Give what a clearing made of each order, by number."""
    if cleared.orders:
        block = _block(reader, cleared, "orders")
        for row in range(cleared.orders_at, cleared.orders_at + cleared.orders):
            yield _end(block.row(row))


def _end(row: tuple[int, ...]) -> OrderEnd:
    return OrderEnd(row[0], row[1], BLOCK_STATES[row[2]])


def find_trade(reader: BlockReader, trade: str) -> BookTrade | None:
    """Return a trade by its id."""
    epoch, _, rest = trade.partition("-")
    area, _, index = rest.rpartition("-")
    if not (epoch.isascii() and epoch.isdigit() and index.isascii() and index.isdigit()):
        return None
    cleared = reader.get(ClearedEpoch, cleared_key(area, int(epoch)))
    if cleared is None or trade_id(area, int(epoch), int(index)) != trade:
        return None
    return book_trade(reader, cleared, int(index)) if int(index) < cleared.trades else None


def book_trade(reader: BlockReader, cleared: ClearedEpoch, index: int) -> BookTrade:
    """Return one trade of a clearing."""
    buy_no, sell_no, energy = _block(reader, cleared, "trades").row(cleared.trades_at + index)
    return _trade(cleared, index, _order(reader, buy_no), _order(reader, sell_no), energy)


def trades_of(reader: BlockReader, cleared: ClearedEpoch, start: int = 0) -> Iterator[BookTrade]:
    """Give the trades of a clearing in order, from the one with index `start`."""
    for index in range(start, cleared.trades):
        yield book_trade(reader, cleared, index)


def _trade(cleared: ClearedEpoch, index: int, buy: Order, sell: Order, energy: int) -> BookTrade:
    assert cleared.price is not None
    rates = Rates(cleared.price, buy.wheeling_rate, buy.buyer_fee, sell.seller_fee)
    number = trade_id(cleared.area, cleared.epoch, index)
    return BookTrade(number, cleared, index, buy, sell, energy, units.legs(energy, rates))


def entry_clearings(reader: Reader, document: Mapping[str, Any]) -> list[ClearedEpoch]:
    """Return the clearings of a parsed entry in order."""
    if "blocks" not in document:
        return []
    found = []
    for event in document["events"]:
        if event["name"] == CLEARED:
            cleared = reader.get(ClearedEpoch, cleared_key(event["area"], event["epoch"]))
            assert cleared is not None
            found.append(cleared)
    return found


def all_events(
    reader: BlockReader, document: Mapping[str, Any], start: int = 0
) -> Iterator[tuple[int, Event]]:
    """Give (index, event) of a parsed entry: those written in it, then the views.

    Args:
        reader: the state that the entry belongs to, now or later.
        document: the entry.
        start: the first index wanted; trades before it are not looked at.
    """
    inline = entry_events(document)
    for index in range(start, len(inline)):
        yield index, inline[index]
    reader, base = OneBlock(reader), len(inline)
    for cleared in entry_clearings(reader, document):
        for index, event in _views(reader, cleared, max(start - base, 0)):
            yield base + index, event
        base += EVENTS_PER_TRADE * cleared.trades + _count_expired(reader, cleared)


def _views(reader: BlockReader, cleared: ClearedEpoch, start: int) -> Iterator[tuple[int, Event]]:
    views = chain(
        _trade_events(reader, cleared, start // EVENTS_PER_TRADE),
        _expired_events(reader, cleared),
    )
    index = min(start - start % EVENTS_PER_TRADE, EVENTS_PER_TRADE * cleared.trades)
    for event in views:
        if index >= start:
            yield index, event
        index += 1


def _trade_events(reader: BlockReader, cleared: ClearedEpoch, start: int) -> Iterator[Event]:
    for trade in trades_of(reader, cleared, start):
        moved = {"from": trade.sell.user, "to": trade.buy.user, "amount": trade.energy}
        yield make_event("Transfer", moved)
        yield make_event("TradeExecuted", trade.fields())


def _expired_events(reader: BlockReader, cleared: ClearedEpoch) -> Iterator[Event]:
    currency = _genesis(reader).currency
    for end in order_ends(reader, cleared):
        if end.state is OrderState.EXPIRED:
            order = _order(reader, end.order_no)
            yield make_event("OrderExpired", expired_fields(order, end.filled, cleared, currency))


def expired_fields(
    order: Order, filled: int, cleared: ClearedEpoch, currency: str
) -> Mapping[str, Any]:
    """Return the fields of OrderExpired of an EPOCH order."""
    used = filled
    if not order.is_sell:
        rates = order.rates._replace(price=cleared.price or 0)
        used = units.legs(filled, rates).buyer_debit
    held = order.energy if order.is_sell else units.cash_hold(order.energy, order.rates)
    return {
        "order_no": order.order_no,
        "user": order.user,
        "filled": filled,
        "released": held - used,
        "asset": order.asset(currency),
    }


def _count_expired(reader: BlockReader, cleared: ClearedEpoch) -> int:
    return sum(end.state is OrderState.EXPIRED for end in order_ends(reader, cleared))


def view_postings(reader: BlockReader, document: Mapping[str, Any]) -> Iterator[ViewPosting]:
    """Give the postings of a parsed entry that its blocks stand for, trade by trade.

    They come after those written in the entry, which hold anew what an order that lives on still
    needs.
    """
    genesis = reader.get(Genesis, "")
    for cleared in entry_clearings(reader, document):
        assert genesis is not None
        yield from _settlement(OneBlock(reader), cleared, genesis)


def _settlement(
    reader: BlockReader, cleared: ClearedEpoch, genesis: Genesis
) -> Iterator[ViewPosting]:
    legs: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for trade in trades_of(reader, cleared):
        for order_no, account, amount in _legs(trade, genesis):
            legs[order_no].append((account, amount))
    for end in order_ends(reader, cleared):
        used = legs.get(end.order_no, [])
        if used or end.state is OrderState.EXPIRED:
            order = _order(reader, end.order_no)
            yield ViewPosting(order.purpose, order.account(genesis.currency), tuple(used))
            if order.has_cap:
                yield ViewPosting(order.purpose, order.cap_account, ())


def _legs(trade: BookTrade, genesis: Genesis) -> Iterator[tuple[int, str, int]]:
    """Give (order that pays, account, amount) of each leg. Source: section 9.3."""
    buy, sell, money, currency = trade.buy, trade.sell, trade.legs, genesis.currency
    fees = accounts.fees(genesis.platform, currency)
    yield sell.order_no, accounts.main(buy.user, accounts.GRID), trade.energy
    cash = (
        (accounts.main(sell.user, currency), money.value - money.seller_fee),
        (fees, money.seller_fee),
        (accounts.wheeling(genesis.grid_operator, currency), money.wheeling),
        (fees, money.buyer_fee),
    )
    for account, amount in cash:
        if amount:
            yield buy.order_no, account, amount


def _block(reader: BlockReader, cleared: ClearedEpoch, name: str) -> Block:
    block = reader.block(cleared.seq, name)
    assert block is not None
    return block


def _order(reader: Reader, order_no: int) -> Order:
    order = reader.get(Order, padded(order_no))
    assert order is not None
    return order


def _genesis(reader: Reader) -> Genesis:
    genesis = reader.get(Genesis, "")
    assert genesis is not None
    return genesis
