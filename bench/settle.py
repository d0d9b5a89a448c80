"""Settling an epoch on SQLite, synchronous FULL: the journal-block path beside SQL.

Ours: legs, netting and checks on arrays, the blocks of orders and trades with their Merkle roots
(256 rows per leaf), the sealed entry, the accounts, one commit. A trade is read back by its id
through the block, which is the row that SQL keeps. Left out: reading the orders from the store and
clearing; the case `match_orders` has both. The baselines have no journal and no hash.
"""

import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adapter.settlement import Command, execute
from adapter.store.ledger_sqlite import SqliteLedger
from adapter.store.sqlite_connection import Connection
from bench import settle_postgres
from bench.harness import compared
from bench.settle_book import (
    EPOCH,
    NOON_MS,
    Epoch,
    copy_of,
    epoch,
    stored,
    stored_book,
)
from bench.settle_epoch import (
    BY_ONE,
    BY_SET,
    LEAF_ROWS,
    OURS,
    Contest,
    before,
    check_epoch,
    interleaved,
    trades_of,
    write_epoch,
)
from bench.settle_sql import Sqlite, SqlTables

SIZES = (10_000, 100_000, 1_000_000)
BOOKS = (10_000, 100_000)
ROUNDS_MAX = 5
ONE_BY_ONE = 2_000
"""Trades per round with a transaction each; the figure is per trade."""
MILLISECONDS = 1e3
MICROSECONDS = 1e6
_SQLITE = f"SQLite {sqlite3.sqlite_version}"
_VERSIONS = {OURS: version("p2ptrade"), BY_ONE: _SQLITE, BY_SET: _SQLITE}


def run(rounds: int) -> dict[str, Any]:
    """Return the result of the benchmark; times are per trade in microseconds."""
    rounds = min(rounds, ROUNDS_MAX)
    # First, because a child's figure begins with what its parent has taken at the fork.
    memory = {f"{size} trades": _memory(size) for size in SIZES}
    cases: list[dict[str, Any]] = []
    top: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            here = _settling(Path(folder), size, rounds)
            cases += here
            top = {key: value for key, value in here[0].items() if key != "case"}
        cases += settle_postgres.cases(rounds)
        for size in BOOKS:
            cases.append(matching(Path(folder), size, rounds))
    facts = {"memory_mb_max": memory, "orders_per_user": 10, "leaf_rows": LEAF_ROWS}
    return {"name": "settle", "unit": "microseconds per trade", **top, **facts, "cases": cases}


def _settling(folder: Path, size: int, rounds: int) -> list[dict[str, Any]]:
    """Return ours beside both baselines for one size."""
    book = epoch(size)
    template = _template(folder, book)
    trades = trades_of(book)
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
    figures = interleaved(contests, rounds, _VERSIONS)
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
    connection.control("BEGIN IMMEDIATE")
    write_epoch(SqliteLedger(connection), book)
    connection.control("COMMIT")


def _checked(connection: Connection, book: Epoch) -> list[tuple[int, int]]:
    """Check what was written and read trades back by id; return posted and held."""
    ledger = SqliteLedger(connection)
    connection.control("BEGIN")
    balances = check_epoch(ledger, book)
    connection.control("COMMIT")
    return balances


def _template(folder: Path, book: Epoch) -> Path:
    """Return a ledger with the balances, and the orders of the trades to read back."""
    path = folder / "template"
    stored(path, *before(book))
    return path


@contextmanager
def _tables(folder: Path, book: Epoch) -> Iterator[SqlTables]:
    tables = SqlTables(Sqlite(folder / "tables"), book)
    try:
        yield tables
    finally:
        tables.close()
        for part in folder.glob("tables*"):
            part.unlink()


def matching(folder: Path, orders: int, rounds: int) -> dict[str, Any]:
    """Return the command `match_orders` on stored orders beside settling them one by one in SQL."""
    template = folder / "book"
    stored_book(template, orders)
    book = epoch(orders - 1)
    trades = trades_of(book)[:ONE_BY_ONE]
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
    figures = interleaved(contests, rounds, _VERSIONS)
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
