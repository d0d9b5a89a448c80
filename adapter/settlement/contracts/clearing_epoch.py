"""trading.match_orders: one uniform price per epoch and area, settled in the same entry.

Source: settlement specification, sections 9.1 to 9.3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any

from adapter.domain.instants import EPOCH_MS
from adapter.domain.quantities import to_text
from adapter.settlement.blocks import Block
from adapter.settlement.commands import NoEntry
from adapter.settlement.contracts.anchoring import EPOCH
from adapter.settlement.contracts.order_book import (
    DueEpoch,
    book,
    end_of,
    first_open,
    next_epoch,
)
from adapter.settlement.kinds import text_kind
from adapter.settlement.order_rows import (
    ClearedEpoch,
    Market,
    Order,
    OrderStep,
    cleared_key,
    next_order,
)
from adapter.settlement.refusals import refusal
from adapter.settlement.work import Work

if TYPE_CHECKING:
    from adapter.settlement.contracts.book_arrays import Outcome

ENTRY_ROWS = 1_000_000
"""Orders after which an entry takes no further book: what one commit writes stays below 100 MB."""
AREA = text_kind("a market area", 64)


@dataclass(frozen=True, slots=True)
class MatchOrders:
    """Clear an ended epoch of a market and settle its trades, all or nothing."""

    epoch: Annotated[int, EPOCH]
    area: Annotated[str, AREA] = "main"


def match_orders(work: Work, args: MatchOrders) -> Mapping[str, Any]:
    """Clear the epoch once; afterwards the stored result is the answer."""
    start = next_epoch(work, args.area)
    if args.epoch < start:
        known = work.get(ClearedEpoch, cleared_key(args.area, args.epoch))
        empty = ClearedEpoch(args.area, args.epoch, 0, None, 0, 0, 0, 0, 0)
        result = clearing_result(known or empty, work.genesis.digits)
        raise NoEntry(result, known.seq if known else None)
    first = first_open(work.ledger, args.area, start)
    if first is not None and first < args.epoch:
        msg = f"epoch {first} of {args.area} comes first"
        raise refusal("EPOCH_OUT_OF_ORDER", msg, expected=first)
    if end_of(args.epoch) > work.now_ms:
        msg = f"epoch {args.epoch} ends at {end_of(args.epoch)}"
        raise refusal("EPOCH_NOT_ENDED", msg, retry_at=end_of(args.epoch))
    (cleared,) = clear_books(work, [DueEpoch(args.epoch, args.area)])
    return clearing_result(cleared, work.genesis.digits)


def clearing_result(cleared: ClearedEpoch, digits: int) -> Mapping[str, Any]:
    """Return a clearing as JSON values; no price when nothing traded."""
    price = {} if cleared.price is None else {"price": to_text(cleared.price, digits)}
    return {
        "epoch": cleared.epoch,
        "area": cleared.area,
        **price,
        "volume": to_text(cleared.volume),
        "trades": cleared.trades,
    }


def clear_books(work: Work, due: Sequence[DueEpoch]) -> list[ClearedEpoch]:
    """Clear and settle books in order, into one pair of blocks of the entry.

    The books of one epoch are cleared together and settled one after the other; those of the next
    one may hold orders that this one filled in part. Stops after the book that fills the entry;
    the rest is for the next one.
    """
    blocks = _Blocks(work.settings.leaf_rows)
    cleared: list[ClearedEpoch] = []
    for epoch, books in groupby(due, key=attrgetter("epoch")):
        room = ENTRY_ROWS - sum(one.orders for one in cleared)
        if room <= 0:
            break
        cleared += _clear(work, epoch, [book.area for book in books], room, blocks)
    work.blocks += blocks.filled()
    return cleared


class _Blocks:
    """The rows of all clearings of one entry."""

    def __init__(self, leaf_rows: int) -> None:
        self._leaf_rows = leaf_rows
        self._parts: dict[str, list[bytes]] = {"orders": [], "trades": []}

    def add(self, name: str, data: bytes) -> tuple[int, Block]:
        """Append rows and return the place of the first one, and the rows as a block."""
        at = sum(self._block(name, part).rows for part in self._parts[name])
        self._parts[name].append(data)
        return at, self._block(name, data)

    def filled(self) -> list[Block]:
        """Return the blocks that have rows."""
        blocks = [self._block(name, b"".join(parts)) for name, parts in self._parts.items()]
        return [block for block in blocks if block.data]

    def _block(self, name: str, data: bytes) -> Block:
        return Block(name, data, self._leaf_rows)


def _clear(
    work: Work, epoch: int, areas: Sequence[str], room: int, blocks: _Blocks
) -> list[ClearedEpoch]:
    """Clear the books of areas, as many as there is room for their orders."""
    # Imported here, so that nothing else waits for NumPy.
    from adapter.settlement.contracts.book_arrays import match_books, open_book, settle
    from adapter.settlement.epoch_settlement import Grid

    settings = work.settings_at(epoch * EPOCH_MS)
    grid = Grid(settings.lot_energy, settings.price_tick)
    reader = work if work.has_changed(Order) else work.ledger  # which is faster for many rows
    books = []
    for area in areas:
        books.append(open_book(work, book(reader, area, epoch), grid))
        room -= len(books[-1].orders)
        if room <= 0:
            break
    cleared = []
    for area, one, matched in zip(areas, books, match_books(work, books, grid), strict=False):
        outcome = settle(work, one, matched, grid)
        for account in outcome.accounts:
            work.take_balance(account)
        for order, energy in outcome.filled:
            _fill(work, order, energy)
        cleared.append(_write(work, epoch, area, outcome, blocks))
    return cleared


def _fill(work: Work, order: Order, energy: int) -> None:
    """Write an order that lives on; what is left of it takes a new hold."""
    filled = order.filled + energy
    step = OrderStep.FILL if filled == order.energy else OrderStep.FILL_PART
    order = replace(order, filled=filled, state=next_order(order.state, step))
    held = order.holds(work.genesis.currency)
    if held:
        ids = [work.set_aside(*hold, order.purpose, order.expires_ms) for hold in held]
        order = replace(order, hold_seq=work.seq, hold_index=int(ids[0].split(".")[1]))
    work.put(order)


def _write(work: Work, epoch: int, area: str, outcome: "Outcome", blocks: _Blocks) -> ClearedEpoch:
    """Note the result and say it."""
    orders_at, orders = blocks.add("orders", outcome.settlement.orders)
    trades_at, trades = blocks.add("trades", outcome.settlement.trades)
    volume = outcome.settlement.totals.energy
    cleared = ClearedEpoch(
        area,
        epoch,
        work.seq,
        outcome.price,
        volume,
        orders_at,
        orders.rows,
        trades_at,
        trades.rows,
    )
    work.put(cleared)
    work.put(Market(area, epoch + 1))
    work.emit(
        "MarketCleared",
        {
            "epoch": epoch,
            "area": area,
            "price": outcome.price,
            "volume": volume,
            "trades": trades.rows,
            "trades_root": trades.root,
        },
    )
    return cleared
