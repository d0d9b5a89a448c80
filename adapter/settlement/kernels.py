"""Clearing of order books on int64 arrays: the results of `clearing`, hundreds of times faster.

Needs NumPy, so import it where a market is cleared and not at the top of what others import.
Source: settlement specification, section 9.2, with its limits on arithmetic: all sums are int64.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapter.settlement import clearing
from adapter.settlement.clearing import Rule

Ints = NDArray[np.int64]
Sides = NDArray[np.int8]


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
    """10^-6 currency per kWh."""


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
    found = clearing.clear_book_reference(
        side.tolist(), price.tolist(), lots.tolist(), tick=tick, rule=rule, pairs=pairs
    )
    columns = np.array(found.trades, dtype=np.int64).reshape(-1, 4).T
    return Cleared(found.price, found.volume, np.array(found.fills, dtype=np.int64), *columns)
