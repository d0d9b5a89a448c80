"""What all clearing kernels do with arrays: check rows, find the step of prices, pair what meets.

All sums are int64. Source: settlement specification, section 9.2.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapter.domain.quantities import MAX_MICRO
from adapter.settlement.clearing import LOTS_SUM_END, Rule, check_tick

Ints = NDArray[np.int64]
Sides = NDArray[np.int8]
Bools = NDArray[np.bool_]
Digits = NDArray[np.uint16]

BLOCK_ROWS = 2**16
"""Rows worked on at a time, so that what lies between two operations stays in the cache."""
_PROBED = 256
"""Prices that suggest the largest common step; all others are then checked against it."""
_LOW_WORD = 2**32 - 1
_DIGIT_BITS = 16
DIGITS = 2**_DIGIT_BITS
"""Numbers below are sorted in one turn."""


class Rows(NamedTuple):
    """Rows of one book or of many, in the order of entry."""

    side: Sides
    price: Ints
    lots: Ints

    def at(self, places: Ints | slice) -> "Rows":
        """Return some rows."""
        return Rows(self.side[places], self.price[places], self.lots[places])


class Steps(NamedTuple):
    """Prices as multiples of a common step above the lowest one."""

    low: int
    """The price of index 0."""
    size: int
    """Of one step."""
    buckets: int
    """Indices are below."""


class Trades(NamedTuple):
    """Columns of one length."""

    sell: Ints
    """Row of the ask."""
    buy: Ints
    """Row of the bid."""
    lots: Ints


EMPTY: Ints = np.empty(0, dtype=np.int64)
EMPTY.flags.writeable = False


def checked_rows(side: Sides, price: Ints, lots: Ints) -> Rows:
    """Return the columns of a book in the types that the kernels calculate with.

    Raises:
        ValueError: other shapes or types, a side but 0 and 1, lots below 0 or too many.
    """
    rows = Rows(_column("side", side, np.int8), column("price", price), column("lots", lots))
    if not len(rows.side) == len(rows.price) == len(rows.lots):
        msg = "side, price and lots differ in length"
        raise ValueError(msg)
    if not len(rows.side):
        return rows
    if rows.side.view(np.uint8).max() > 1:
        msg = "a side is neither 0 nor 1"
        raise ValueError(msg)
    if rows.lots.min() < 0:
        msg = "lots are negative"
        raise ValueError(msg)
    if exact_sum(rows.lots) >= LOTS_SUM_END:
        msg = "the lots are 2^62 or more in sum"
        raise ValueError(msg)
    return rows


def column(name: str, values: NDArray[Any]) -> Ints:
    """Return a column of integers as int64; a copy only when it is of another type.

    Raises:
        ValueError: it is not one-dimensional, not of integers, or one is out of bounds.
    """
    return _column(name, values, np.int64)


def _column(name: str, values: NDArray[Any], kind: type[Any]) -> NDArray[Any]:
    if values.ndim != 1 or values.dtype.kind not in "iu":
        msg = f"{name} is not a one-dimensional array of integers"
        raise ValueError(msg)
    found = np.ascontiguousarray(values, dtype=kind)
    if values.dtype != kind and (found != values).any():
        msg = f"{name} has a number that is out of bounds"
        raise ValueError(msg)
    return found


def exact_sum(values: Ints) -> int:
    """Return the sum of numbers from 0 on, which may leave 63 bits."""
    if int(values.max()) * len(values) < LOTS_SUM_END:
        return int(values.sum())
    return (int((values >> 32).sum()) << 32) + int((values & _LOW_WORD).sum())


def indexed(price: Ints, tick: int) -> tuple[Ints, Steps]:
    """Return prices as indices, the largest common step apart.

    Raises:
        ValueError: a price is out of bounds or no multiple of the tick.
    """
    check_tick(tick)
    if not len(price):
        return price.copy(), Steps(0, tick, 1)
    low, high = int(price.min()), int(price.max())
    if low < 0 or high > MAX_MICRO:
        msg = f"a price is not from 0 to {MAX_MICRO}"
        raise ValueError(msg)
    probed = price[:: len(price) // _PROBED + 1] - low
    size = int(np.gcd.reduce(probed, initial=high - low)) or tick
    index = np.empty_like(price)
    while (odd := _divide(price, low, size, index)) is not None:
        size = int(np.gcd.reduce(odd, initial=size))
    if low % tick or size % tick:
        msg = f"a price is no multiple of the tick, {tick}"
        raise ValueError(msg)
    return index, Steps(low, size, (high - low) // size + 1)


def _divide(price: Ints, low: int, size: int, index: Ints) -> Ints | None:
    """Write (price - low) / size to `index`; return a block of differences that size misses.

    Every quotient is rounded down, so the sums are equal only if all divide.
    """
    scratch = np.empty(min(len(price), BLOCK_ROWS), dtype=np.int64)
    for block in blocks(len(price)):
        above = np.subtract(price[block], low, out=scratch[: len(price[block])])
        quotient = np.floor_divide(above, size, out=index[block])
        if int(quotient.sum()) * size != int(above.sum()):
            return above
    return None


def blocks(rows: int) -> Iterator[slice]:
    """Give the parts of a column that are worked on at a time."""
    return (slice(start, start + BLOCK_ROWS) for start in range(0, rows, BLOCK_ROWS))


def stable_order(key: Ints | Digits, end: int) -> Ints:
    """Return the places of `key` in ascending order, equal ones as they stand; 0 <= key < end.

    Digit by digit from the lowest, as NumPy sorts 16 bits in linear time and 64 bits do not.
    """
    order: Ints = np.argsort(key.astype(np.uint16, copy=False), kind="stable")
    for shift in range(_DIGIT_BITS, (end - 1).bit_length(), _DIGIT_BITS):
        digit = (key >> shift).astype(np.uint16)
        order = order[np.argsort(digit[order], kind="stable")]
    return order


def met(served: Ints, asks: int, fills: Ints) -> Trades:
    """Return who trades with whom.

    Asks and bids are laid on one axis; each piece between neighbouring ends is a trade.

    Args:
        served: filled rows, asks and then bids, each in the order in which they are served.
        asks: how many are asks; they fill as much as the bids.
        fills: lots of every row.
    """
    ends = fills[served]
    for one_side in (ends[:asks], ends[asks:]):
        np.cumsum(one_side, out=one_side)
    ends <<= 1
    ends[asks:] += 1
    ends.sort(kind="stable")  # two sorted runs, which it merges
    found = np.empty((3, len(ends)), dtype=np.int64)
    trades = done = bids = 0  # so far, with the asks and bids that have ended
    for block in blocks(len(ends)):
        is_bid = ends[block] & 1
        end = ends[block] >> 1
        lots = np.diff(end, prepend=done)
        buy = np.cumsum(is_bid)
        buy -= is_bid
        buy += bids
        sell = np.arange(block.start, block.start + len(end))
        sell -= buy
        real = np.flatnonzero(lots)
        part = slice(trades, trades + len(real))
        np.take(served[:asks], sell[real], out=found[0, part], mode="clip")
        np.take(served[asks:], buy[real], out=found[1, part], mode="clip")
        np.take(lots, real, out=found[2, part], mode="clip")
        trades, done, bids = part.stop, int(end[-1]), int(buy[-1] + is_bid[-1])
    return Trades(*found[:, :trades])


class TradeTerms(NamedTuple):
    """What a rule may look at to price trades."""

    price: Ints
    """Limit of each row."""
    trades: Trades
    uniform: Callable[[], Ints]
    """Gives the uniform price of each trade."""
    tick: int


def trade_price(rule: Rule, terms: TradeTerms) -> Ints:
    """Return the price of each trade under a rule."""
    return _TRADE_PRICE[rule](terms)


def _midpoint(terms: TradeTerms) -> Ints:
    ask = terms.price[terms.trades.sell]
    return ask + (terms.price[terms.trades.buy] - ask) // terms.tick // 2 * terms.tick


_TRADE_PRICE: Mapping[Rule, Callable[[TradeTerms], Ints]] = MappingProxyType(
    {
        Rule.UNIFORM: lambda terms: terms.uniform(),
        Rule.PAY_AS_BID_MIDPOINT: _midpoint,
        Rule.SELLER_ASK: lambda terms: terms.price[terms.trades.sell],
    }
)
