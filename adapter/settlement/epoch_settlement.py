"""Delivery versus payment for a whole epoch, on int64 arrays.

Energy leg and all cash legs of every trade, netted into new balances, with what is left of the
holds released: the sums of what `block_views` spells out posting by posting. Needs NumPy, so import
it where an epoch is settled. Amounts are millionths; nothing is rounded, because energies are
lots, prices and rates are ticks, and lot times tick is a whole number of money. Source: settlement
specification, sections 2, 9.1 and 9.3.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapter.domain.quantities import MICRO
from adapter.settlement.units import INT64_MAX

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
SELL = 0
NO_CAP = -1
_HALF = 31
"""Bits of a part of an exact sum: 2^31 numbers below 2^31 stay below 2^62."""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Steps of the book: `lot` energy and `tick` price, with `lot * tick` a multiple of 10^6."""

    lot: int
    tick: int

    @property
    def unit(self) -> int:
        """Return the money of one lot at one tick."""
        unit, rest = divmod(self.lot * self.tick, MICRO)
        assert not rest, f"lot {self.lot} and tick {self.tick} would round"
        return unit


@dataclass(frozen=True, slots=True, eq=False)
class Balances:
    """Accounts of users and of those who earn on trades, by index."""

    posted: Ints
    held: Ints
    is_grid: Flags
    """Counts GRID; CAP accounts never change what is posted, the others are cash."""
    fees: int
    """Account of the platform's fees."""
    wheeling: int
    """Account of the grid operator's income."""


@dataclass(frozen=True, slots=True, eq=False)
class Orders:
    """The book in order of number: one row per order."""

    order_no: Ints
    side: NDArray[np.int8]
    """0 sells, 1 buys."""
    gives: Ints
    """Account that the hold is on: GRID of a seller, cash of a buyer."""
    gets: Ints
    """Account of the other leg: cash of a seller, GRID of a buyer."""
    cap: Ints
    """Account of its room under the trade cap; -1 for none."""
    energy: Ints
    filled: Ints
    """Before this epoch."""
    held: Ints
    """On `gives`."""
    cap_held: Ints
    wheeling_rate: Ints
    buyer_fee: Ints
    seller_fee: Ints
    lives_on: Flags
    """Good till time: keeps its hold when nothing of it is filled."""


@dataclass(frozen=True, slots=True, eq=False)
class Trades:
    """Who trades with whom; rows of `Orders`."""

    sell: Ints
    buy: Ints
    lots: Ints
    price: Ints | int
    """One for all, or one each."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all trades, exact."""

    energy: int
    value: int
    wheeling: int
    buyer_fee: int
    seller_fee: int


@dataclass(frozen=True, slots=True, eq=False)
class Settlement:
    """What an epoch leaves."""

    posted: Ints
    """New balances by account."""
    held: Ints
    """A GTT order that was filled in part holds nothing here: it takes a new hold for its rest."""
    filled: Ints
    """Energy filled of each order in this epoch."""
    totals: Totals
    orders: bytes
    """Rows of the block `orders`."""
    trades: bytes
    """Rows of the block `trades`."""


def settle_epoch(balances: Balances, orders: Orders, trades: Trades, grid: Grid) -> Settlement:
    """Return what an epoch leaves; the arrays that come in stay as they are.

    Raises:
        OverflowError: a balance would leave 63 bits.
        AssertionError: the trades are not covered by the orders and their holds: a bug.
    """
    filled = _filled(orders, trades, grid)
    posted, held = balances.posted.copy(), balances.held.copy()
    totals = _move(posted, balances, orders, trades, grid)
    _release(held, orders, filled)
    _check(balances, posted, held)
    return Settlement(
        posted,
        held,
        filled,
        totals,
        _order_rows(orders, filled),
        _rows(orders.order_no[trades.buy], orders.order_no[trades.sell], trades.lots * grid.lot),
    )


def _filled(orders: Orders, trades: Trades, grid: Grid) -> Ints:
    """Return the energy that each order trades, which its rest must cover."""
    lots = np.zeros(len(orders.order_no), dtype=np.int64)
    np.add.at(lots, trades.sell, trades.lots)
    np.add.at(lots, trades.buy, trades.lots)
    filled = lots * grid.lot
    assert np.all(trades.lots > 0), "a trade of nothing"
    assert np.all(filled <= orders.energy - orders.filled), "an order is filled beyond its energy"
    assert np.all(orders.side[trades.sell] == SELL), "a bid sells"
    assert np.all(orders.side[trades.buy] != SELL), "an ask buys"
    assert np.all(orders.gets[trades.sell] != orders.gives[trades.buy]), "a user trades with itself"
    return filled


def _move(posted: Ints, balances: Balances, orders: Orders, trades: Trades, grid: Grid) -> Totals:
    """Post all legs. A leg is below 2^63 and so is every sum of legs, as the totals are."""
    sell, buy, lots = trades.sell, trades.buy, trades.lots
    per_tick = lots * grid.unit
    energy = lots * grid.lot
    value = per_tick * (trades.price // grid.tick)
    wheeling = per_tick * (orders.wheeling_rate[buy] // grid.tick)
    buyer_fee = per_tick * (orders.buyer_fee[buy] // grid.tick)
    seller_fee = per_tick * (orders.seller_fee[sell] // grid.tick)
    legs = (energy, value, wheeling, buyer_fee, seller_fee)
    totals = Totals(*(exact_sum(leg) for leg in legs))
    if max(totals.energy, totals.value + totals.wheeling + totals.buyer_fee) > INT64_MAX:
        msg = "the epoch moves more than 2^63 - 1"
        raise OverflowError(msg)
    assert np.all(seller_fee <= value), "a seller would be left owing"
    paid = np.zeros(len(orders.order_no), dtype=np.int64)
    np.add.at(paid, buy, value + wheeling + buyer_fee)
    assert np.all(paid[buy] <= orders.held[buy]), "a buyer pays more than its hold"
    change = np.zeros(len(posted), dtype=np.int64)
    np.subtract.at(change, orders.gives[sell], energy)
    np.add.at(change, orders.gets[buy], energy)
    np.subtract.at(change, orders.gives, paid)
    np.add.at(change, orders.gets[sell], value - seller_fee)
    change[balances.fees] += totals.buyer_fee + totals.seller_fee
    change[balances.wheeling] += totals.wheeling
    assert not exact_sum(change[balances.is_grid]), "the energy legs do not balance"
    assert not exact_sum(change[~balances.is_grid]), "the cash legs do not balance"
    if np.any(change > INT64_MAX - np.maximum(posted, 0)):
        msg = "a balance would leave 2^63 - 1"
        raise OverflowError(msg)
    posted += change
    return totals


def _release(held: Ints, orders: Orders, filled: Ints) -> None:
    """Resolve the holds of all orders that end here or are filled in part."""
    over = ~orders.lives_on | (filled > 0)
    np.subtract.at(held, orders.gives[over], orders.held[over])
    capped = over & (orders.cap != NO_CAP)
    np.subtract.at(held, orders.cap[capped], orders.cap_held[capped])


def _check(balances: Balances, posted: Ints, held: Ints) -> None:
    """Check 0 <= held <= posted wherever something changed."""
    changed = (posted != balances.posted) | (held != balances.held)
    sound = (held >= 0) & (held <= posted)
    assert np.all(sound[changed]), "a balance falls below what is held"


def _order_rows(orders: Orders, filled: Ints) -> bytes:
    """Return order, filled in all, status: 0 ACTIVE, 1 PARTIALLY_FILLED, 2 FILLED, 4 EXPIRED."""
    in_all = orders.filled + filled
    waiting = np.where(in_all > 0, 1, 0)
    unfilled = np.where(orders.lives_on, waiting, 4)
    status = np.where(in_all == orders.energy, 2, unfilled)
    return _rows(orders.order_no, in_all, status)


def _rows(*columns: Ints) -> bytes:
    rows = np.empty((len(columns[0]), len(columns)), dtype="<i8")
    for place, column in enumerate(columns):
        rows[:, place] = column
    return rows.tobytes()


def cash_holds(energy: Ints, *rates: Ints) -> Ints:
    """Return the cash that bids hold for `energy`: one ceiling per rate, as `units.cash_hold`.

    The energy is split, because energy times rate would leave 64 bits.
    """
    whole, rest = energy // MICRO, energy % MICRO
    total = np.zeros(len(energy), dtype=np.int64)
    for rate in rates:
        total += whole * rate - -(rest * rate) // MICRO
    return total


def exact_sum(values: Ints) -> int:
    """Return the sum of at most 2^31 numbers, also beyond 64 bits."""
    high = int(np.sum(values >> _HALF, dtype=np.int64))
    low = int(np.sum(values & (2**_HALF - 1), dtype=np.int64))
    return (high << _HALF) + low
