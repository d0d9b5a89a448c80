"""Books between rows and arrays: what their clearing and settlement take and give.

Needs NumPy, so import it where a market is cleared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from adapter.settlement import accounts
from adapter.settlement.contracts.parties import is_verified
from adapter.settlement.epoch_settlement import (
    NO_CAP,
    Balances,
    Grid,
    Ints,
    Orders,
    Settlement,
    Trades,
    cash_holds,
    settle_epoch,
)
from adapter.settlement.kernel_books import NO_PRICE
from adapter.settlement.order_rows import Order
from adapter.settlement.refusals import refusal
from adapter.settlement.sharding import clear_here
from adapter.settlement.state import Account
from adapter.settlement.work import Work


@dataclass(frozen=True, slots=True, eq=False)
class Book:
    """One book to clear, in the order of entry."""

    orders: Sequence[Order]
    names: list[str]
    """Accounts of its users; `rows` counts them."""
    rows: Orders
    price: Ints
    """Limits."""
    places: Ints
    """Rows that may trade."""


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """What a book clears to."""

    price: int | None
    """None without trades."""
    trades: Trades


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the clearing of one book gives."""

    price: int | None
    settlement: Settlement
    accounts: tuple[Account, ...]
    """Those whose balance changes."""
    filled: tuple[tuple[Order, int], ...]
    """Orders that live on and got energy, and how much."""


_COLUMNS = (
    "order_no",
    "energy",
    "filled",
    "price",
    "wheeling_rate",
    "buyer_fee",
    "seller_fee",
    "is_sell",
    "lives_on",
    "has_cap",
)
_columns_of = attrgetter(*_COLUMNS)


def open_book(work: Work, orders: Sequence[Order], grid: Grid) -> Book:
    """Return the book of these orders, which come by number."""
    names, rows, price = _order_rows(work, orders)
    return Book(orders, names, rows, price, _taking_part(work, orders, rows, price, grid))


def match_books(work: Work, books: Sequence[Book], grid: Grid) -> list[Matched]:
    """Return what independent books clear to, wherever `work` has them cleared."""
    sizes = [len(book.places) for book in books]
    ends = np.cumsum(sizes)
    found = (work.clear_books or clear_here)(
        np.repeat(np.arange(len(books)), sizes),
        np.concatenate([book.rows.side[book.places] for book in books]),
        np.concatenate([book.price[book.places] for book in books]),
        np.concatenate([_lots_left(book, grid) for book in books]),
        tick=grid.tick,
    )
    traded = np.searchsorted(found.trade_area, np.arange(len(books) + 1))
    matched = []
    for place, book in enumerate(books):
        start = ends[place] - sizes[place]
        part = slice(traded[place], traded[place + 1])
        trades = Trades(
            book.places[found.trade_sell[part] - start],
            book.places[found.trade_buy[part] - start],
            found.trade_lots[part],
            found.trade_price[part],
        )
        has_price = sizes[place] and found.price[place] != NO_PRICE
        matched.append(Matched(int(found.price[place]) if has_price else None, trades))
    return matched


def settle(work: Work, book: Book, matched: Matched, grid: Grid) -> Outcome:
    """Return what the trades of a book change; nothing is written.

    Raises:
        ContractError: OVERFLOW.
    """
    fees, wheeling = len(book.names), len(book.names) + 1
    names = book.names + _income(work)
    known = [work.account(name) or Account(name) for name in names]
    balances = Balances(
        np.array([account.posted for account in known], dtype=np.int64),
        np.array([account.held for account in known], dtype=np.int64),
        np.array([accounts.asset_of(name) == accounts.GRID for name in names], dtype=np.bool_),
        fees,
        wheeling,
    )
    try:
        settlement = settle_epoch(balances, book.rows, matched.trades, grid)
    except OverflowError as error:
        raise refusal("OVERFLOW", str(error)) from None
    changed = (settlement.posted != balances.posted) | (settlement.held != balances.held)
    new = tuple(
        Account(names[place], int(settlement.posted[place]), int(settlement.held[place]))
        for place in np.flatnonzero(changed).tolist()
    )
    kept = np.flatnonzero(book.rows.lives_on & (settlement.filled > 0)).tolist()
    filled = tuple((book.orders[row], int(settlement.filled[row])) for row in kept)
    return Outcome(matched.price, settlement, new, filled)


def _order_rows(work: Work, orders: Sequence[Order]) -> tuple[list[str], Orders, Ints]:
    """Return the accounts, the rows of the book with their indexes, and the price limits."""
    table = np.array([_columns_of(order) for order in orders], dtype=np.int64)
    columns = dict(zip(_COLUMNS, table.reshape(len(orders), len(_COLUMNS)).T, strict=True))
    sells, capped = columns["is_sell"].astype(np.bool_), columns["has_cap"].astype(np.bool_)
    names, grid, cash = _main_accounts(work, [order.user for order in orders])
    cap, cap_names = _cap_accounts(orders, len(names))
    left = columns["energy"] - columns["filled"]
    rates = (columns["price"], columns["wheeling_rate"], columns["buyer_fee"])
    rows = Orders(
        order_no=columns["order_no"],
        side=np.where(sells, 0, 1).astype(np.int8),
        gives=np.where(sells, grid, cash),
        gets=np.where(sells, cash, grid),
        cap=cap,
        energy=columns["energy"],
        filled=columns["filled"],
        held=np.where(sells, left, cash_holds(left, *rates)),
        cap_held=np.where(capped, left, 0),
        wheeling_rate=columns["wheeling_rate"],
        buyer_fee=columns["buyer_fee"],
        seller_fee=columns["seller_fee"],
        lives_on=columns["lives_on"].astype(np.bool_),
    )
    return names + cap_names, rows, columns["price"]


def _main_accounts(work: Work, users: Sequence[str]) -> tuple[list[str], Ints, Ints]:
    """Return the accounts of all users, and the index of GRID and of cash for each in order."""
    known = {user: place for place, user in enumerate(dict.fromkeys(users))}
    assets = (accounts.GRID, work.genesis.currency)
    names = [accounts.main(user, asset) for user in known for asset in assets]
    grid = np.array([known[user] for user in users], dtype=np.int64) * 2
    return names, grid, grid + 1


def _cap_accounts(orders: Sequence[Order], start: int) -> tuple[Ints, list[str]]:
    """Return the index of each order's cap account, and these accounts from index `start` on."""
    caps = [order.cap_account for order in orders]
    known = {name: start + place for place, name in enumerate(filter(None, dict.fromkeys(caps)))}
    return np.array([known.get(name, NO_CAP) for name in caps], dtype=np.int64), list(known)


def _income(work: Work) -> list[str]:
    """Return the accounts of fees and of wheeling."""
    genesis = work.genesis
    fees = accounts.fees(genesis.platform, genesis.currency)
    return [fees, accounts.wheeling(genesis.grid_operator, genesis.currency)]


def _taking_part(
    work: Work, orders: Sequence[Order], rows: Orders, price: Ints, grid: Grid
) -> Ints:
    """Return the rows that may trade: their user is ACTIVE, and the steps of the epoch fit them.

    An order that lives on may be older than a change of lot or tick.
    """
    verified = {user: is_verified(work, user) for user in {order.user for order in orders}}
    active = np.array([verified[order.user] for order in orders], dtype=np.bool_)
    fits = (rows.energy - rows.filled) % grid.lot == 0
    for rate in (price, rows.wheeling_rate, rows.buyer_fee, rows.seller_fee):
        fits &= rate % grid.tick == 0
    return np.flatnonzero(active & fits)


def _lots_left(book: Book, grid: Grid) -> Ints:
    lots: Ints = (book.rows.energy - book.rows.filled)[book.places] // grid.lot
    return lots
