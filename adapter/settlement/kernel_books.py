"""Clearing of many books in one pass: a stable sort of some books at a time, then sums along them.

In the sorted rows every book is a stretch; prices rise, at one price asks come before bids, and
bids in the reverse order of entry. So a sum from the left serves the asks in their turn and a sum
from the right the bids. As many books are taken at a time as stay in the cache.
Source: settlement specification, section 9.2.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adapter.domain.quantities import MAX_MICRO
from adapter.settlement.clearing import LOTS_SUM_END, Rule
from adapter.settlement.kernel_rows import (
    Bools,
    Ints,
    Rows,
    Sides,
    Trades,
    TradeTerms,
    checked_rows,
    column,
    indexed,
    met,
    stable_order,
    trade_price,
)

AREAS_MAX = 2**24
"""Areas are numbered below, since a result has an entry for each number."""


@dataclass(frozen=True, slots=True)
class Options:
    """What else clearing of many books may respect."""

    rule: Rule = Rule.UNIFORM
    """What prices the trades."""
    pairs: bool = True
    """Whether to say who trades with whom; without, the trade arrays are empty."""
    caps: Ints | None = None
    """Trade cap of each row in lots; it clips the row."""
    limits: Ints | None = None
    """Lots that the feeder of each area carries; the price stays that of the book without it."""


@dataclass(frozen=True, slots=True, eq=False)
class ClearedBooks:
    """Cleared books; `price` and `volume` have an entry for each area number."""

    price: Ints
    """Uniform price in 10^-6 currency per kWh; -1 when nothing trades or under another rule."""
    volume: Ints
    """Lots sold, which are the lots bought."""
    fills: Ints
    """Lots filled of each row."""
    trade_area: Ints
    """Trades come by area, then as in a book of its own."""
    trade_sell: Ints
    """Row of the ask."""
    trade_buy: Ints
    """Row of the bid."""
    trade_lots: Ints
    trade_price: Ints
    """10^-6 currency per kWh."""


NO_PRICE = -1
PLAIN = Options()


def clear_books(
    area: Ints, side: Sides, price: Ints, lots: Ints, *, tick: int, options: Options = PLAIN
) -> ClearedBooks:
    """Return the cleared books of these rows, which are in the order of entry.

    Every area is a book of its own, cleared as by `clear_book`.

    Args:
        area: number of the book, from 0 on; best without gaps.
        side: 0 sells, 1 buys.
        price: limit in 10^-6 currency per kWh, a multiple of `tick`, 0 to 10^12.
        lots: 0 or more, below 2^62 in sum over all books.
        tick: step of prices, in the unit of `price`.
        options: rule, pairs, caps and limits.

    Raises:
        ValueError: the arrays are no such books.

    Source: settlement specification, section 9.2.
    """
    if options.caps is not None:
        lots = _clipped(column("lots", lots), column("caps", options.caps))
    rows = checked_rows(side, price, lots)
    area = column("area", area)
    result = _Result(_areas(area, rows, options.limits), len(area))
    order = None if (area[1:] >= area[:-1]).all() else stable_order(area, int(area.max()) + 1)
    if order is not None:
        area, rows = area[order], rows.at(order)
    for part in _parts(area):
        books, turns = _books(area[part], rows.at(part), tick)
        turns += part.start
        if order is not None:
            turns = order[turns]
        result.add(books, _matched(books, tick, options.limits), turns, tick, options)
    return result.cleared()


PART_ROWS = 2**15
"""Rows that are cleared at a time, unless a single book has more."""


def _parts(area: Ints) -> Iterator[slice]:
    """Give stretches of whole books."""
    start = 0
    while start < len(area):
        end = start + PART_ROWS
        if end < len(area):
            cut = int(np.searchsorted(area, area[end]))
            end = cut if cut > start else int(np.searchsorted(area, area[start], side="right"))
        yield slice(start, min(end, len(area)))
        start = end


def _clipped(lots: Ints, caps: Ints) -> Ints:
    if len(caps) != len(lots) or (caps < 0).any():
        msg = "caps are not a number of 0 or more for each row"
        raise ValueError(msg)
    return np.minimum(lots, caps)


def _areas(area: Ints, rows: Rows, limits: Ints | None) -> int:
    """Return how many areas there are."""
    if len(area) != len(rows.lots):
        msg = "area and lots differ in length"
        raise ValueError(msg)
    count = int(area.max(initial=-1)) + 1
    if count > AREAS_MAX or area.min(initial=0) < 0:
        msg = f"an area is not from 0 to {AREAS_MAX - 1}"
        raise ValueError(msg)
    if limits is None:
        return count
    if len(column("limits", limits)) < count or (limits < 0).any():
        msg = "limits are not a number of 0 or more for each area"
        raise ValueError(msg)
    return len(limits)


class _Books(NamedTuple):
    """Sorted rows and the books in them."""

    rows: Rows
    is_bid: Bools
    area: Ints
    """Number of each book that has rows."""
    start: Ints
    """Its first row."""
    last: Ints
    """Its last row."""

    def spread(self, values: Ints) -> Ints:
        """Return the value of its book for each row."""
        return np.repeat(values, self.last - self.start + 1)


def _books(area: Ints, rows: Rows, tick: int) -> tuple[_Books, Ints]:
    """Return the books of rows that come by area, and the place of each sorted row."""
    index, _ = indexed(rows.price, tick)
    order = _turns(rows.side, index, area - area[0])
    start = np.flatnonzero(np.diff(area, prepend=-1))
    last = np.append(start[1:], len(area)) - 1
    rows = rows.at(order)
    return _Books(rows, rows.side.view(np.bool_), area[start], start, last), order


def _turns(side: Sides, index: Ints, area: Ints) -> Ints:
    """Return the rows by area, price, asks before bids; asks in the order of entry, bids reversed.

    Args:
        side: of each row.
        index: what stands for its price, 0 or more.
        area: of each row, from 0 on.
    """
    is_bid = side.view(np.bool_)
    order = np.concatenate((np.flatnonzero(~is_bid), np.flatnonzero(is_bid)[::-1]))
    prices, areas = int(index.max()) + 1, int(area.max()) + 1
    if prices * areas < LOTS_SUM_END:  # one number for both has the fewest digits
        keys = [(area * prices + index, prices * areas)]
    else:
        keys = [(index, prices), (area, areas)]
    for key, end in keys:
        order = order[stable_order(key[order], end)]
    return order


class _Matched(NamedTuple):
    """What sorted rows clear to."""

    price: Ints
    """Uniform price of each book; NO_PRICE when nothing trades."""
    volume: Ints
    """Of each book, within its limit."""
    fills: Ints
    """Of each sorted row."""


def _matched(books: _Books, tick: int, limits: Ints | None) -> _Matched:
    """Return what the books clear to."""
    supply, demand = _reach(books)
    volume = np.maximum.reduceat(np.minimum(supply, demand), books.start)
    before = np.where(books.is_bid, demand, supply) - books.rows.lots
    fills = _served(books, before, volume)
    price = np.where(volume > 0, _uniform_price(books, fills, tick), NO_PRICE)
    if limits is not None:
        volume = np.minimum(volume, limits[books.area])
        fills = _served(books, before, volume)
    return _Matched(price, volume, fills)


def _reach(books: _Books) -> tuple[Ints, Ints]:
    """Return the lots asked up to each row and bid from it on, within its book."""
    bid = np.where(books.is_bid, books.rows.lots, 0)
    supply, demand = np.cumsum(books.rows.lots - bid), np.cumsum(bid)
    earlier = np.append(0, supply[books.last[:-1]])
    return supply - books.spread(earlier), books.spread(demand[books.last]) - demand + bid


def _served(books: _Books, before: Ints, volume: Ints) -> Ints:
    """Return the fills; `before` are the lots that have their turn before each row."""
    left: Ints = books.spread(volume)
    left -= before
    np.maximum(left, 0, out=left)
    np.minimum(left, books.rows.lots, out=left)
    return left


def _uniform_price(books: _Books, fills: Ints, tick: int) -> Ints:
    """Return for each book the midpoint of prices at which nobody would rather trade otherwise.

    It means nothing for a book in which nothing is filled.
    """
    filled, unfilled = fills > 0, fills < books.rows.lots
    price = books.rows.price
    floors = np.where(np.where(books.is_bid, unfilled, filled), price, 0)
    ceilings = np.where(np.where(books.is_bid, filled, unfilled), price, MAX_MICRO)
    low: Ints = np.maximum.reduceat(floors, books.start)
    high: Ints = np.minimum.reduceat(ceilings, books.start)
    return low + (high - low) // tick // 2 * tick


class _Result:
    """Collects what books clear to, by area number and by the rows in the order of entry."""

    def __init__(self, areas: int, rows: int) -> None:
        self._price = np.full(areas, NO_PRICE)
        self._volume = np.zeros(areas, dtype=np.int64)
        self._fills = np.empty(rows, dtype=np.int64)
        self._trades = np.empty((5, rows), dtype=np.int64)
        """More than there can be; memory that is not written to costs nothing."""
        self._count = 0

    def add(
        self, books: _Books, matched: _Matched, order: Ints, tick: int, options: Options
    ) -> None:
        """Take the result of some books; `order` has the row of each sorted row."""
        self._volume[books.area] = matched.volume
        if options.rule is Rule.UNIFORM:
            self._price[books.area] = np.where(matched.volume > 0, matched.price, NO_PRICE)
        self._fills[order] = matched.fills
        if not options.pairs:
            return
        trades = _pairs(books, matched.fills)
        book = books.spread(np.arange(len(books.start)))[trades.sell]
        terms = TradeTerms(books.rows.price, trades, lambda: matched.price[book], tick)
        part = slice(self._count, self._count + len(book))
        self._trades[0, part] = books.area[book]
        self._trades[1, part] = order[trades.sell]
        self._trades[2, part] = order[trades.buy]
        self._trades[3, part] = trades.lots
        self._trades[4, part] = trade_price(options.rule, terms)
        self._count = part.stop

    def cleared(self) -> ClearedBooks:
        """Return it all."""
        trades = self._trades[:, : self._count]
        return ClearedBooks(self._price, self._volume, self._fills, *trades)


def _pairs(books: _Books, fills: Ints) -> Trades:
    """Return who trades with whom, as sorted rows."""
    filled = np.flatnonzero(fills > 0)
    is_bid = books.is_bid[filled]
    asks, bids = filled[~is_bid], filled[is_bid]
    first = np.searchsorted(bids, books.start)
    end = np.searchsorted(bids, books.last, side="right")
    mirror = np.repeat(first + end - 1, end - first) - np.arange(len(bids))
    return met(np.append(asks, bids[mirror]), len(asks), fills)
