"""One book between rows and arrays: what its clearing and settlement take and give.

Needs NumPy, so import it where a market is cleared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from adapter.settlement import accounts, kernels
from adapter.settlement.contracts.parties import is_verified
from adapter.settlement.epoch_settlement import (
    NO_CAP,
    Balances,
    Flags,
    Grid,
    Ints,
    Orders,
    Settlement,
    Trades,
    cash_holds,
    settle_epoch,
)
from adapter.settlement.order_rows import Order
from adapter.settlement.refusals import refusal
from adapter.settlement.state import Account
from adapter.settlement.work import Work


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the clearing of one book gives."""

    price: int | None
    settlement: Settlement
    accounts: tuple[Account, ...]
    """Those whose balance changes."""
    filled: tuple[tuple[Order, int], ...]
    """Orders that live on and got energy, and how much."""
    trades: int


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


def clear_and_settle(work: Work, orders: Sequence[Order], grid: Grid) -> Outcome:
    """Return what the clearing of these orders, by number, changes; nothing is written.

    Raises:
        ContractError: OVERFLOW.
    """
    names, rows, price = _order_rows(work, orders)
    fees, wheeling = len(names), len(names) + 1
    names += _income(work)
    cleared_price, trades = _clear(rows, price, _taking_part(work, orders, rows, price, grid), grid)
    known = [work.account(name) or Account(name) for name in names]
    balances = Balances(
        np.array([account.posted for account in known], dtype=np.int64),
        np.array([account.held for account in known], dtype=np.int64),
        np.array([accounts.asset_of(name) == accounts.GRID for name in names], dtype=np.bool_),
        fees,
        wheeling,
    )
    try:
        settlement = settle_epoch(balances, rows, trades, grid)
    except OverflowError as error:
        raise refusal("OVERFLOW", str(error)) from None
    changed = (settlement.posted != balances.posted) | (settlement.held != balances.held)
    new = tuple(
        Account(names[place], int(settlement.posted[place]), int(settlement.held[place]))
        for place in np.flatnonzero(changed).tolist()
    )
    kept = np.flatnonzero(rows.lives_on & (settlement.filled > 0)).tolist()
    filled = tuple((orders[row], int(settlement.filled[row])) for row in kept)
    return Outcome(cleared_price, settlement, new, filled, len(trades.lots))


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
) -> Flags:
    """Return which orders trade: their user is ACTIVE, and the steps of the epoch fit them.

    An order that lives on may be older than a change of lot or tick.
    """
    verified = {user: is_verified(work, user) for user in {order.user for order in orders}}
    active = np.array([verified[order.user] for order in orders], dtype=np.bool_)
    fits = (rows.energy - rows.filled) % grid.lot == 0
    for rate in (price, rows.wheeling_rate, rows.buyer_fee, rows.seller_fee):
        fits &= rate % grid.tick == 0
    taking: Flags = active & fits
    return taking


def _clear(rows: Orders, price: Ints, taking: Flags, grid: Grid) -> tuple[int | None, Trades]:
    """Return the price, None without trades, and the trades."""
    places = np.flatnonzero(taking)
    lots = (rows.energy - rows.filled)[places] // grid.lot
    found = kernels.clear_book(rows.side[places], price[places], lots, tick=grid.tick)
    sell, buy = places[found.trade_sell], places[found.trade_buy]
    return found.price, Trades(sell, buy, found.trade_lots, found.trade_price)
