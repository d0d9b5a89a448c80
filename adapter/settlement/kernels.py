"""Clearing of order books on int64 arrays: the results of `clearing`, hundreds of times faster.

Needs NumPy, so import it where a market is cleared and not at the top of what others import.
A book whose prices fill few buckets is cleared without sorting, over a histogram of its lots; any
other one, and many books in one pass, by sorting (`kernel_books`). All sums are int64.
Source: settlement specification, section 9.2.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adapter.settlement.clearing import LOTS_SUM_END, Rule, check_limit, midpoint
from adapter.settlement.kernel_books import NO_PRICE, ClearedBooks, Options, clear_books
from adapter.settlement.kernel_rows import (
    DIGITS,
    EMPTY,
    Ints,
    Rows,
    Sides,
    Steps,
    Trades,
    TradeTerms,
    blocks,
    checked_rows,
    indexed,
    met,
    stable_order,
    trade_price,
)

__all__ = ["Cleared", "ClearedBooks", "Options", "clear_book", "clear_books", "clear_limited"]

BUCKETS_MAX = 2**20
"""Prices in more buckets than this are sorted: the histogram would leave the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Cleared:
    """A cleared book; the four trade arrays have one length."""

    price: int | None
    """10^-6 currency per kWh; None when nothing trades and under a rule without one price."""
    volume: int
    """Lots sold, which are the lots bought."""
    fills: Ints
    """Lots filled of each row."""
    trade_sell: Ints
    """Row of the ask."""
    trade_buy: Ints
    """Row of the bid."""
    trade_lots: Ints
    trade_price: Ints
    """10^-6 currency per kWh; read-only, since one price for all is there once."""


def clear_book(
    side: Sides,
    price: Ints,
    lots: Ints,
    *,
    tick: int,
    rule: Rule = Rule.UNIFORM,
    pairs: bool = True,
) -> Cleared:
    """Return the cleared book of these rows, which are in the order of entry.

    A trade cap clips a row beforehand: `lots = numpy.minimum(lots, cap)`.

    Args:
        side: 0 sells, 1 buys.
        price: limit in 10^-6 currency per kWh, a multiple of `tick`, 0 to 10^12.
        lots: 0 or more, below 2^62 in sum.
        tick: step of prices, in the unit of `price`.
        rule: what prices the trades.
        pairs: whether to say who trades with whom; without, the trade arrays are empty.

    Raises:
        ValueError: the arrays are no such book.

    Source: settlement specification, section 9.2.
    """
    return _clear(checked_rows(side, price, lots), tick, LOTS_SUM_END, rule, pairs)


def clear_limited(
    side: Sides, price: Ints, lots: Ints, *, tick: int, limit: int, rule: Rule = Rule.UNIFORM
) -> Cleared:
    """Return the cleared book when a feeder carries no more than `limit` lots.

    Cheapest asks and dearest bids keep their turn; the price is that of the book without the limit.

    Raises:
        ValueError: the arrays are no book, or the limit is negative.
    """
    check_limit(limit)
    return _clear(checked_rows(side, price, lots), tick, limit, rule, pairs=True)


def _clear(rows: Rows, tick: int, limit: int, rule: Rule, pairs: bool) -> Cleared:
    index, steps = indexed(rows.price, tick)
    if steps.buckets > BUCKETS_MAX:
        return _sorted(rows, tick, limit, rule, pairs)
    levels = _levels(rows, index, steps.buckets)
    free = _crossing(levels, int(np.minimum(levels.supply, levels.demand).max()))
    if not free.volume:
        return Cleared(None, 0, np.zeros(len(rows.lots), np.int64), EMPTY, EMPTY, EMPTY, EMPTY)
    uniform = _uniform_price(levels, free, steps, tick)
    crossing = free if free.volume <= limit else _crossing(levels, limit)
    fills = _fills(rows, levels, crossing)
    price = uniform if rule is Rule.UNIFORM and crossing.volume else None
    if not pairs:
        return Cleared(price, crossing.volume, fills, EMPTY, EMPTY, EMPTY, EMPTY)
    trades = _pairs(levels, fills)
    terms = TradeTerms(
        rows.price, trades, lambda: np.broadcast_to(np.int64(uniform), len(trades.lots)), tick
    )
    return Cleared(price, crossing.volume, fills, *trades, trade_price(rule, terms))


class _Levels(NamedTuple):
    """Lots by price bucket."""

    key: Ints
    """Bucket of each row; bids come after all buckets of the asks."""
    asked: Ints
    """Lots asked at each bucket."""
    bid: Ints
    supply: Ints
    """Lots asked at a bucket or below."""
    demand: Ints
    """Lots bid at a bucket or above."""


def _levels(rows: Rows, index: Ints, count: int) -> _Levels:
    """Return the sums of a book; `index` becomes the key."""
    lots = np.zeros(2 * count, dtype=np.int64)
    of_side = np.int64(count)
    for block in blocks(len(index)):
        key = index[block]
        key += rows.side[block] * of_side
        np.add.at(lots, key, rows.lots[block])
    asked, bid = lots[:count], lots[count:]
    return _Levels(index, asked, bid, np.cumsum(asked), np.cumsum(bid[::-1])[::-1])


class _Crossing(NamedTuple):
    """Where supply and demand end."""

    volume: int
    ask: int
    """Bucket of the dearest filled ask."""
    bid: int
    """Bucket of the cheapest filled bid."""


def _crossing(levels: _Levels, volume: int) -> _Crossing:
    ask = int(np.searchsorted(levels.supply, volume))
    bid = len(levels.bid) - 1 - int(np.searchsorted(levels.demand[::-1], volume))
    return _Crossing(volume, ask, bid)


def _uniform_price(levels: _Levels, at: _Crossing, steps: Steps, tick: int) -> int:
    """Return the midpoint of all prices at which nobody would rather have traded otherwise."""
    low, high = at.ask, at.bid
    lower_bids = np.flatnonzero(levels.bid[: at.bid])
    if levels.demand[at.bid] > at.volume:
        low = max(low, at.bid)
    elif len(lower_bids):
        low = max(low, int(lower_bids[-1]))
    higher_asks = np.flatnonzero(levels.asked[at.ask + 1 :])
    if levels.supply[at.ask] > at.volume:
        high = min(high, at.ask)
    elif len(higher_asks):
        high = min(high, at.ask + 1 + int(higher_asks[0]))
    return midpoint(steps.low + low * steps.size, steps.low + high * steps.size, tick)


def _fills(rows: Rows, levels: _Levels, at: _Crossing) -> Ints:
    """Return the lots filled: all below the crossing, at it what is left by order of entry."""
    count = len(levels.asked)
    is_full = np.zeros(2 * count, dtype=np.int64)
    is_full[: at.ask + 1] = 1
    is_full[count + at.bid :] = 1
    fills = np.empty(len(rows.lots), dtype=np.int64)
    for block in blocks(len(fills)):
        np.multiply(is_full[levels.key[block]], rows.lots[block], out=fills[block])
    beyond = {
        at.ask: int(levels.supply[at.ask]) - at.volume,
        count + at.bid: int(levels.demand[at.bid]) - at.volume,
    }
    for key, unfilled in beyond.items():
        if unfilled:
            last = np.flatnonzero(levels.key == key)
            lots = rows.lots[last]
            left = int(lots.sum()) - unfilled - (np.cumsum(lots) - lots)
            fills[last] = np.clip(left, 0, lots)
    return fills


def _pairs(levels: _Levels, fills: Ints) -> Trades:
    """Return who trades with whom: cheapest asks and dearest bids come first."""
    served, asks = _served(levels, fills)
    return met(served, asks, fills)


def _served(levels: _Levels, fills: Ints) -> tuple[Ints, int]:
    """Return the filled rows in their turn, asks and then bids, and how many are asks."""
    count = len(levels.asked)
    turn = np.append(np.arange(count), np.arange(2 * count - 1, count - 1, -1))
    turns = turn.astype(np.uint16 if len(turn) <= DIGITS else np.int64)
    filled = np.flatnonzero(fills > 0)
    key = np.empty(len(filled), dtype=turns.dtype)
    for block in blocks(len(filled)):
        np.take(turns, levels.key[filled[block]], out=key[block], mode="clip")
    return filled[stable_order(key, len(turn))], int(np.count_nonzero(key < count))


def _sorted(rows: Rows, tick: int, limit: int, rule: Rule, pairs: bool) -> Cleared:
    options = Options(rule, pairs, limits=np.array([limit]))
    found = clear_books(np.zeros_like(rows.lots), *rows, tick=tick, options=options)
    price = int(found.price[0])
    return Cleared(
        None if price == NO_PRICE else price,
        int(found.volume[0]),
        found.fills,
        found.trade_sell,
        found.trade_buy,
        found.trade_lots,
        found.trade_price,
    )
