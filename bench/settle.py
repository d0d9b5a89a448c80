"""Settling an epoch on SQLite, synchronous FULL: the journal-block path beside SQL.

Ours: legs, netting and checks on arrays, the blocks of orders and trades with their Merkle roots
(256 rows per leaf), the sealed entry, the accounts, one commit. A trade is read back by its id
through the block, which is the row that SQL keeps. Left out: reading the orders from the store and
clearing; the case `match_orders` has both. The baselines have no journal and no hash.
"""

import gc
import json
import os
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from adapter.settlement import Command, accounts, execute
from adapter.settlement.block_views import find_trade
from adapter.settlement.blocks import Block
from adapter.settlement.canonical import parse_canonical
from adapter.settlement.epoch_settlement import settle_epoch
from adapter.settlement.journal import entry_hash, seal
from adapter.settlement.order_rows import ClearedEpoch, Market, trade_id
from adapter.settlement.state import Changes, Row, RowChange
from adapter.settlement.units import legs
from adapter.store.ledger_sqlite import SqliteLedger
from adapter.store.sqlite_connection import Connection
from bench.harness import Figure, compared
from bench.settle_book import (
    EPOCH,
    NOON_MS,
    PRICE,
    RATES,
    STEPS,
    Epoch,
    accounts_of,
    copy_of,
    epoch,
    order_row,
    stored,
    stored_book,
)
from bench.settle_sql import Sqlite, SqlTables, Trade

SIZES = (10_000, 100_000, 1_000_000)
BOOKS = (10_000, 100_000)
ROUNDS_MAX = 5
LEAF_ROWS = 256
ONE_BY_ONE = 2_000
"""Trades per round with a transaction each; the figure is per trade."""
SAMPLE = 100
"""Trades read back by id."""
MILLISECONDS = 1e3
MICROSECONDS = 1e6
OURS, BY_ONE, BY_SET = "ours", "one SQL transaction per trade", "set-based SQL"


@dataclass(frozen=True, slots=True)
class Contest:
    """One candidate: what to prepare, untimed, and what to time."""

    name: str
    prepare: Callable[[], Any]
    """Gives a context with what `run` needs."""
    run: Callable[[Any], None]
    check: Callable[[Any], None]
    units: int
    """Trades per run."""


def run(rounds: int) -> dict[str, Any]:
    """Return the result of the benchmark; times are per trade in microseconds."""
    rounds = min(rounds, ROUNDS_MAX)
    # First, because a child's figure begins with what its parent has taken at the fork.
    memory = {f"{size} trades": _memory(size) for size in SIZES}
    cases: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            cases += _settling(Path(folder), size, rounds)
        for size in BOOKS:
            cases.append(_matching(Path(folder), size, rounds))
    top = {key: value for key, value in cases[-4].items() if key != "case"}
    facts = {"memory_mb_max": memory, "orders_per_user": 10, "leaf_rows": LEAF_ROWS}
    return {"name": "settle", "unit": "microseconds per trade", **top, **facts, "cases": cases}


def _settling(folder: Path, size: int, rounds: int) -> list[dict[str, Any]]:
    """Return ours beside both baselines for one size."""
    book = epoch(size)
    template = _template(folder, book)
    trades = _trades(book)
    known: list[list[tuple[int, int]]] = []

    def same(balances: list[tuple[int, int]]) -> None:
        known.append(balances)
        assert balances == known[0], "two ways to settle give two results"

    contests = [
        Contest(
            OURS,
            lambda: copy_of(template, "ours"),
            lambda connection: settle(connection, book),
            lambda connection: same(_checked(connection, book)),
            size,
        ),
        Contest(
            BY_ONE,
            lambda: _tables(folder, book),
            lambda tables: tables.one_by_one(trades[:ONE_BY_ONE]),
            lambda _tables: None,
            ONE_BY_ONE,
        ),
        Contest(
            BY_SET,
            lambda: _tables(folder, book),
            lambda tables: tables.set_based(trades),
            lambda tables: same(tables.balances()),
            size,
        ),
    ]
    figures = _interleaved(contests, rounds)
    if size == SIZES[0]:
        with _tables(folder, book) as tables:
            tables.one_by_one(trades)
            tables.release()
            same(tables.balances())
    template.unlink()
    seconds = figures[OURS].median * size
    extra = {"milliseconds_median": round(seconds * MILLISECONDS, 1)}
    return [
        {"case": f"{size} trades", **compared(figures[OURS], figures[base], MICROSECONDS), **extra}
        for base in (BY_ONE, BY_SET)
    ]


def settle(connection: Connection, book: Epoch) -> None:
    """Settle the epoch as the third entry of a ledger, and commit."""
    ledger = SqliteLedger(connection)
    connection.control("BEGIN IMMEDIATE")
    done = settle_epoch(book.balances, book.orders, book.trades, STEPS)
    blocks = (
        Block("orders", done.orders, LEAF_ROWS),
        Block("trades", done.trades, LEAF_ROWS),
    )
    head = ledger.head()
    assert head is not None
    fields = {"ledger": "host", "seq": head.seq + 1, "time": NOON_MS, "actor": "system"}
    fields |= {"cmd": "clear", "contract": "bench", "function": "settle", "args": {}}
    entry = seal({**fields, "prev": head.hash}, [], [], blocks)
    cleared = ClearedEpoch(
        "main",
        EPOCH,
        entry.seq,
        PRICE,
        done.totals.energy,
        0,
        blocks[0].rows,
        0,
        blocks[1].rows,
    )
    rows = [RowChange(None, cleared), RowChange(None, Market("main", EPOCH + 1))]
    balances = accounts_of(book.names, done.posted, done.held)
    ledger.write(Changes(balances, [], rows, entry, blocks))
    connection.control("COMMIT")


def _checked(connection: Connection, book: Epoch) -> list[tuple[int, int]]:
    """Check what was written and read trades back by id; return posted and held by account."""
    ledger = SqliteLedger(connection)
    connection.control("BEGIN")
    entry = ledger.entry(2)
    assert entry is not None
    assert entry_hash(entry.body) == entry.hash
    for named in parse_canonical(entry.body)["blocks"]:
        block = ledger.block(2, named["name"])
        assert block is not None
        assert (block.root, block.rows) == (named["root"], named["rows"])
    for index in _sample(len(book.trades.lots)):
        trade = find_trade(ledger, trade_id("main", EPOCH, index))
        assert trade is not None
        energy = int(book.trades.lots[index]) * STEPS.lot
        assert (trade.energy, trade.legs) == (energy, legs(energy, RATES))
        assert trade.buy.order_no == int(book.trades.buy[index]) + 1
    found = {account.id: (account.posted, account.held) for account in ledger.accounts()}
    connection.control("COMMIT")
    balances = [found[name] for name in book.names]
    before = book.balances.posted.tolist()
    changes = [now[0] - then for now, then in zip(balances, before, strict=True)]
    assets = [accounts.asset_of(name) for name in book.names]
    for asset in ("GRID", "INR"):
        moved = [change for change, mine in zip(changes, assets, strict=True) if mine == asset]
        assert sum(moved) == 0, asset
    assert not any(held for _, held in balances)
    return balances


def _sample(trades: int) -> list[int]:
    return np.linspace(0, trades - 1, SAMPLE, dtype=np.int64).tolist()


def _trades(book: Epoch) -> list[Trade]:
    columns = (book.trades.buy.tolist(), book.trades.sell.tolist(), book.trades.lots.tolist())
    return list(zip(range(len(columns[0])), *columns, strict=True))


def _template(folder: Path, book: Epoch) -> Path:
    """Return a ledger with the balances, and the orders of the trades to read back."""
    path = folder / "template"
    wanted = {int(row) for i in _sample(len(book.trades.lots)) for row in _sides(book, i)}
    rows: list[Row] = [order_row(book, row) for row in sorted(wanted)]
    stored(path, accounts_of(book.names, book.balances.posted, book.balances.held), rows)
    return path


def _sides(book: Epoch, index: int) -> tuple[int, int]:
    return int(book.trades.sell[index]), int(book.trades.buy[index])


@contextmanager
def _tables(folder: Path, book: Epoch) -> Iterator[SqlTables]:
    tables = SqlTables(Sqlite(folder / "tables"), book)
    try:
        yield tables
    finally:
        tables.close()
        for part in folder.glob("tables*"):
            part.unlink()


def _interleaved(contests: list[Contest], rounds: int) -> dict[str, Figure]:
    """Return seconds per trade; each run begins from the same state, one round warms up."""
    samples: dict[str, list[float]] = {contest.name: [] for contest in contests}
    for turn in range(rounds + 1):
        for contest in contests:
            with contest.prepare() as subject:
                gc.collect()
                os.sync()  # so that nobody waits for what was prepared
                begin = time.perf_counter()
                contest.run(subject)
                seconds = time.perf_counter() - begin
                contest.check(subject)
            if turn:
                samples[contest.name].append(seconds / contest.units)
    return {
        name: Figure(name, _version(name), min(times), statistics.median(times), max(times))
        for name, times in samples.items()
    }


def _version(name: str) -> str:
    return version("p2ptrade") if name == OURS else f"SQLite {sqlite3.sqlite_version}"


def _matching(folder: Path, orders: int, rounds: int) -> dict[str, Any]:
    """Return the command `match_orders` on stored orders beside settling them one by one in SQL."""
    template = folder / "book"
    stored_book(template, orders)
    book = epoch(orders - 1)
    trades = _trades(book)[:ONE_BY_ONE]
    contests = [
        Contest(
            OURS, lambda: copy_of(template, "match"), _match, lambda _: None, len(book.trades.lots)
        ),
        Contest(
            BY_ONE,
            lambda: _tables(folder, book),
            lambda tables: tables.one_by_one(trades),
            lambda _: None,
            ONE_BY_ONE,
        ),
    ]
    figures = _interleaved(contests, rounds)
    template.unlink()
    milliseconds = round(figures[OURS].median * len(book.trades.lots) * MILLISECONDS, 1)
    case = f"match_orders, {orders} stored orders"
    pair = compared(figures[OURS], figures[BY_ONE], MICROSECONDS)
    return {"case": case, **pair, "milliseconds_median": milliseconds}


def _match(connection: Connection) -> None:
    connection.control("BEGIN IMMEDIATE")
    command = Command("clear", "trading", "match_orders", {"epoch": EPOCH, "area": "main"})
    receipt = execute(SqliteLedger(connection), command, "system", NOON_MS + 900_000)
    connection.control("COMMIT")
    assert receipt.result["trades"] > 0
    assert receipt.result["price"] == "6.00"


def _memory(size: int) -> int:
    """Return the most memory that a process takes which settles once, in MB."""
    words = [sys.executable, "-m", "bench.settle", str(size)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return int(json.loads(done.stdout))


def _settle_once(size: int) -> int:
    """Settle once and return the most memory that this process has taken, in MB."""
    book = epoch(size)
    with tempfile.TemporaryDirectory() as folder:
        template = _template(Path(folder), book)
        with copy_of(template, "ours") as connection:
            settle(connection, book)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1_024


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_settle_once(int(sys.argv[1]))))
