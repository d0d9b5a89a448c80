"""Clearing of one order book at one instant, in plain integers: what every kernel must equal.

A book is its rows in the order of entry: side, price and lots. The fast form with the same results
is `kernels`; orders as objects are in `clearing_orders`. Prices are 10^-6 currency per kWh, lots
count the smallest tradable energy. Source: settlement specification, section 9.2.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from adapter.domain.quantities import MAX_MICRO

SELL, BUY = 0, 1
"""Values of `side`."""
LOTS_SUM_END = 2**62
"""Lots of a book stay below in sum, so that no cumulative sum leaves 63 bits."""


class Rule(StrEnum):
    """How trades are priced; who trades how much is the same under all."""

    UNIFORM = "uniform"
    """One price for all: the midpoint of the competitive interval."""
    PAY_AS_BID_MIDPOINT = "pay_as_bid_midpoint"
    """Each pair at the midpoint between its ask and its bid."""
    SELLER_ASK = "seller_ask"
    """Each pair at its ask."""


class Trade(NamedTuple):
    """A part of an ask and of a bid that meet."""

    sell: int
    """Row of the ask."""
    buy: int
    """Row of the bid."""
    lots: int
    price: int


@dataclass(frozen=True, slots=True)
class Reference:
    """What clearing gives, without arrays."""

    price: int | None
    """The one price; None when nothing trades and under a rule without one."""
    volume: int
    """Lots sold, which are the lots bought."""
    fills: tuple[int, ...]
    """Lots filled of each row."""
    trades: tuple[Trade, ...]
    """By ask price, then order of entry; empty when not asked for."""


class _Match(NamedTuple):
    """An ask and a bid that meet, and how many lots."""

    sell: int
    buy: int
    lots: int


def clear_book_reference(
    side: Sequence[int],
    price: Sequence[int],
    lots: Sequence[int],
    *,
    tick: int,
    rule: Rule = Rule.UNIFORM,
    pairs: bool = True,
) -> Reference:
    """Return the cleared book of these rows, which are in the order of entry.

    Args:
        side: 0 sells, 1 buys.
        price: limit in 10^-6 currency per kWh, a multiple of `tick`, 0 to 10^12.
        lots: 0 or more, below 2^62 in sum.
        tick: step of prices, in the unit of `price`.
        rule: what prices the trades.
        pairs: whether to list the trades.

    Raises:
        ValueError: the rows are no such book.

    Source: settlement specification, section 9.2.
    """
    check_rows(side, price, lots, tick)
    matches = _matches(side, price, lots, limit=LOTS_SUM_END)
    p_star = _uniform_price(side, price, lots, _fills(len(lots), matches), tick)
    found = _priced(matches, price, p_star, tick, rule)
    return found if pairs else replace(found, trades=())


def clear_limited_reference(
    side: Sequence[int],
    price: Sequence[int],
    lots: Sequence[int],
    *,
    tick: int,
    limit: int,
    rule: Rule = Rule.UNIFORM,
) -> Reference:
    """Return the cleared book when a feeder carries no more than `limit` lots.

    Cheapest asks and dearest bids keep their turn. The price is that of the book without the limit:
    nobody's limit is broken by it, and scarcity of the feeder favours neither side.

    Raises:
        ValueError: the rows are no book, or the limit is negative.
    """
    check_rows(side, price, lots, tick)
    check_limit(limit)
    free = _fills(len(lots), _matches(side, price, lots, limit=LOTS_SUM_END))
    p_star = _uniform_price(side, price, lots, free, tick)
    matches = _matches(side, price, lots, limit=limit)
    return _priced(matches, price, p_star, tick, rule)


def check_rows(side: Sequence[int], price: Sequence[int], lots: Sequence[int], tick: int) -> None:
    """Check that rows are a book.

    Raises:
        ValueError: they are not; with the first row at fault.
    """
    if not len(side) == len(price) == len(lots):
        msg = "side, price and lots differ in length"
        raise ValueError(msg)
    check_tick(tick)
    for row, (one_side, one_price, one_lots) in enumerate(zip(side, price, lots, strict=True)):
        if one_side not in (SELL, BUY):
            msg = f"row {row}: side {one_side} is neither 0 nor 1"
            raise ValueError(msg)
        if not 0 <= one_price <= MAX_MICRO or one_price % tick:
            msg = f"row {row}: price {one_price} is no multiple of {tick} from 0 to {MAX_MICRO}"
            raise ValueError(msg)
        if one_lots < 0:
            msg = f"row {row}: {one_lots} lots are negative"
            raise ValueError(msg)
    if sum(lots) >= LOTS_SUM_END:
        msg = "the lots are 2^62 or more in sum"
        raise ValueError(msg)


def check_tick(tick: int) -> None:
    """Check that a tick is a step of prices.

    Raises:
        ValueError: it is not positive.
    """
    if tick <= 0:
        msg = f"a tick of {tick} is not positive"
        raise ValueError(msg)


def check_limit(limit: int) -> None:
    """Check that a limit can bound a volume.

    Raises:
        ValueError: it is negative.
    """
    if limit < 0:
        msg = f"a limit of {limit} lots is negative"
        raise ValueError(msg)


def _matches(
    side: Sequence[int], price: Sequence[int], lots: Sequence[int], *, limit: int
) -> list[_Match]:
    """Return what meets: cheapest asks and dearest bids, equal prices in the order of entry.

    Two pointers walk along both queues while the ask is not above the bid, which trades the most
    that can be traded, as long as the feeder carries it.
    """
    rows = [row for row in range(len(lots)) if lots[row]]
    asks = sorted((row for row in rows if side[row] == SELL), key=lambda row: price[row])
    bids = sorted((row for row in rows if side[row] == BUY), key=lambda row: -price[row])
    found: list[_Match] = []
    at_ask = at_bid = 0
    ask_left = lots[asks[0]] if asks else 0
    bid_left = lots[bids[0]] if bids else 0
    while limit and at_ask < len(asks) and at_bid < len(bids):
        sell, buy = asks[at_ask], bids[at_bid]
        if price[sell] > price[buy]:
            break
        met = min(ask_left, bid_left, limit)
        found.append(_Match(sell, buy, met))
        ask_left, bid_left, limit = ask_left - met, bid_left - met, limit - met
        if not ask_left:
            at_ask += 1
            ask_left = lots[asks[at_ask]] if at_ask < len(asks) else 0
        if not bid_left:
            at_bid += 1
            bid_left = lots[bids[at_bid]] if at_bid < len(bids) else 0
    return found


def _fills(rows: int, matches: Sequence[_Match]) -> list[int]:
    fills = [0] * rows
    for sell, buy, lots in matches:
        fills[sell] += lots
        fills[buy] += lots
    return fills


def _uniform_price(
    side: Sequence[int],
    price: Sequence[int],
    lots: Sequence[int],
    fills: Sequence[int],
    tick: int,
) -> int | None:
    """Return the midpoint of all prices at which nobody would rather have traded otherwise.

    None when nothing is filled. It is not below a filled ask or an unfilled bid and not above a
    filled bid or an unfilled ask; a partly filled order is both filled and unfilled.
    """
    if not any(fills):
        return None
    filled = [row for row, lots_filled in enumerate(fills) if lots_filled]
    unfilled = [row for row, lots_filled in enumerate(fills) if lots_filled < lots[row]]
    floors = [price[row] for row in filled if side[row] == SELL]
    floors += [price[row] for row in unfilled if side[row] == BUY]
    ceilings = [price[row] for row in filled if side[row] == BUY]
    ceilings += [price[row] for row in unfilled if side[row] == SELL]
    return midpoint(max(floors), min(ceilings), tick)


def midpoint(low: int, high: int, tick: int) -> int:
    """Return the price halfway, on the tick; an odd tick goes to the buyers."""
    return low + (high - low) // tick // 2 * tick


# By ask, bid, uniform price and tick.
_TRADE_PRICE: Mapping[Rule, Callable[[int, int, int, int], int]] = MappingProxyType(
    {
        Rule.UNIFORM: lambda _ask, _bid, uniform, _tick: uniform,
        Rule.PAY_AS_BID_MIDPOINT: lambda ask, bid, _uniform, tick: midpoint(ask, bid, tick),
        Rule.SELLER_ASK: lambda ask, _bid, _uniform, _tick: ask,
    }
)


def _priced(
    matches: Sequence[_Match], price: Sequence[int], uniform: int | None, tick: int, rule: Rule
) -> Reference:
    """Return the result with the trades priced by a rule."""
    of_trade = _TRADE_PRICE[rule]
    trades = tuple(
        Trade(sell, buy, lots, of_trade(price[sell], price[buy], uniform or 0, tick))
        for sell, buy, lots in matches
    )
    return Reference(
        uniform if rule is Rule.UNIFORM and trades else None,
        sum(trade.lots for trade in trades),
        tuple(_fills(len(price), matches)),
        trades,
    )
