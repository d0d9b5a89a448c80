"""What the settlement benchmark settles: an epoch of so many trades, and a stored book."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adapter.settlement import accounts
from adapter.settlement.agreement_terms import TradeSide
from adapter.settlement.apply import execute, genesis_command
from adapter.settlement.epoch_settlement import NO_CAP, Balances, Grid, Orders, Trades
from adapter.settlement.journal import seal
from adapter.settlement.order_rows import Market, Order, TimeInForce
from adapter.settlement.rows import User, UserState, UserType
from adapter.settlement.state import Account, Changes, LedgerStore, Row, RowChange
from adapter.settlement.units import Rates, cash_hold
from adapter.store.ledger_sqlite import SqliteLedger
from adapter.store.migrate import migrate_sqlite
from adapter.store.sqlite_connection import Connection, open_writer

EPOCH = 1_963_632
NOON_MS = EPOCH * 900_000
KWH = 1_000_000
STEPS = Grid(lot=1_000, tick=10_000)
PRICE = 6 * KWH
LIMIT = {0: 5 * KWH, 1: 7 * KWH}
RATES = Rates(PRICE, 500_000, 50_000, 50_000)
ORDERS_PER_USER = 10
GENESIS = {
    "admin": "admin",
    "regulators": ["regulator"],
    "settings": {
        "currency": "INR",
        "wheeling_rate": "0.5",
        "buyer_fee": "0.05",
        "seller_fee": "0.05",
        "leaf_rows": 256,
        "max_orders_per_epoch": 10_000_000,
    },
}


@dataclass(frozen=True, slots=True, eq=False)
class Epoch:
    """One epoch to settle, on arrays."""

    names: list[str]
    """Account ids by index."""
    users: list[str]
    """By row of the book."""
    balances: Balances
    orders: Orders
    trades: Trades


def epoch(trades: int) -> Epoch:
    """Return an epoch of exactly so many trades, a stair of asks and bids as clearing makes it.

    Each order is part of two trades but for the ends; every user has ten orders on one side.
    Seed 7.
    """
    lots = np.random.default_rng(7).integers(1, 5_000, trades)
    asks, bids = (trades + 1) // 2, trades // 2 + 1
    step = np.arange(trades)
    sell, buy = step // 2, asks + (step + 1) // 2
    count = asks + bids
    energy = np.zeros(count, dtype=np.int64)
    np.add.at(energy, sell, lots * STEPS.lot)
    np.add.at(energy, buy, lots * STEPS.lot)
    side = (np.arange(count) >= asks).astype(np.int8)
    user = np.where(side == 0, np.arange(count), np.arange(count) - asks) // ORDERS_PER_USER
    sellers = int(user[:asks].max()) + 1
    user = user + np.where(side == 0, 0, sellers)
    users = sellers + int(user[asks:].max() - sellers) + 1
    grid, cash = 2 * user, 2 * user + 1
    held = np.where(side == 0, energy, energy // STEPS.lot * (7_550_000 // 10_000) * STEPS.unit)
    gives, gets = np.where(side == 0, grid, cash), np.where(side == 0, cash, grid)
    names = [f"user-{n:07d}|{asset}|MAIN" for n in range(users) for asset in ("GRID", "INR")]
    names += [accounts.fees("host", "INR"), accounts.wheeling("host", "INR")]
    on_hold = np.zeros(len(names), dtype=np.int64)
    np.add.at(on_hold, gives, held)
    is_grid = np.arange(len(names)) % 2 == 0
    is_grid[-2:] = False
    balances = Balances(on_hold.copy(), on_hold, is_grid, len(names) - 2, len(names) - 1)
    return Epoch(
        names,
        [f"user-{n:07d}" for n in user.tolist()],
        balances,
        _orders(side, gives, gets, energy, held),
        Trades(sell, buy, lots, PRICE),
    )


def _orders(side: Any, gives: Any, gets: Any, energy: Any, held: Any) -> Orders:
    same = np.ones(len(side), dtype=np.int64)
    return Orders(
        order_no=np.arange(1, len(side) + 1),
        side=side,
        gives=gives,
        gets=gets,
        cap=same * NO_CAP,
        energy=energy,
        filled=same * 0,
        held=held,
        cap_held=same * 0,
        wheeling_rate=same * RATES.wheeling,
        buyer_fee=same * RATES.buyer_fee,
        seller_fee=same * RATES.seller_fee,
        lives_on=np.zeros(len(side), dtype=np.bool_),
    )


def accounts_of(names: list[str], posted: Any, held: Any) -> list[Account]:
    """Return balances as the store keeps them."""
    return [Account(*row) for row in zip(names, posted.tolist(), held.tolist(), strict=True)]


def order_row(book: Epoch, row: int) -> Order:
    """Return the stored row of an order."""
    side = int(book.orders.side[row])
    return Order(
        order_no=row + 1,
        seq=1,
        user=book.users[row],
        meter_id=f"m-{book.users[row]}",
        area="main",
        side=(TradeSide.SELL, TradeSide.BUY)[side],
        energy=int(book.orders.energy[row]),
        price=LIMIT[side],
        epoch=EPOCH,
        time_in_force=TimeInForce.EPOCH,
        expires_ms=NOON_MS + 900_000,
        wheeling_rate=RATES.wheeling,
        buyer_fee=RATES.buyer_fee,
        seller_fee=RATES.seller_fee,
        cap_account="",
        hold_seq=1,
        hold_index=0,
    )


def stored(path: Path, balances: list[Account], rows: list[Row]) -> None:
    """Write a ledger with these balances and rows as its second entry."""
    connection = open_writer(path)
    migrate_sqlite(connection)
    connection.control("BEGIN IMMEDIATE")
    fill(SqliteLedger(connection), balances, rows)
    connection.control("COMMIT")
    connection.close()


def fill(ledger: LedgerStore, balances: list[Account], rows: list[Row]) -> None:
    """Write the two entries inside the caller's transaction."""
    execute(ledger, genesis_command(GENESIS, ledger="host"), "admin", NOON_MS)
    head = ledger.head()
    assert head is not None
    fields = {"ledger": "host", "seq": 1, "time": NOON_MS, "actor": "admin", "cmd": "set-up"}
    fields |= {"contract": "bench", "function": "set_up", "args": {}, "prev": head.hash}
    ledger.write(
        Changes(balances, [], [RowChange(None, row) for row in rows], seal(fields, [], []))
    )


def stored_book(path: Path, orders: int) -> None:
    """Write a ledger with so many live orders, all of which trade."""
    book = epoch(orders - 1)
    rows: list[Row] = [order_row(book, row) for row in range(orders)]
    rows += [
        User(user, UserType.PROSUMER, "", UserState.ACTIVE) for user in dict.fromkeys(book.users)
    ]
    rows.append(Market("main", EPOCH))
    assert cash_hold(KWH, Rates(LIMIT[1], *RATES[1:])) == 7_550_000
    stored(path, accounts_of(book.names, book.balances.posted, book.balances.held), rows)


@contextmanager
def copy_of(template: Path, name: str) -> Iterator[Connection]:
    """Give a connection to a copy of a ledger, which is deleted afterwards."""
    path = template.with_name(name)
    shutil.copy(template, path)
    connection = open_writer(path)
    try:
        yield connection
    finally:
        connection.close()
        for part in template.parent.glob(f"{name}*"):
            part.unlink()
