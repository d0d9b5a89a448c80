"""Settling an epoch on a PostgreSQL of its own, with fsync, beside SQL per trade and set-based.

As `settle` does on SQLite; each run begins in a schema of its own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from adapter.store.ledger_sqlite import SqliteLedger
from adapter.store.postgres_connection import Connection
from adapter.store.postgres_migrate import migrate_postgres
from bench.harness import compared
from bench.settle_book import Epoch, epoch, fill
from bench.settle_epoch import (
    BY_ONE,
    BY_SET,
    OURS,
    Contest,
    before,
    check_epoch,
    interleaved,
    trades_of,
    write_epoch,
)
from bench.settle_sql import Postgres, SqlTables
from tests.fakes.postgres import PostgresServer, running

SIZES = (10_000, 100_000)
ONE_BY_ONE = 1_000
"""Trades per round with a transaction each; the figure is per trade."""
MICROSECONDS = 1e6
MODE = "READ COMMITTED"
_PSYCOPG = f"PostgreSQL, psycopg {version('psycopg')}"
_VERSIONS = {OURS: version("p2ptrade"), BY_ONE: _PSYCOPG, BY_SET: _PSYCOPG}


def cases(rounds: int) -> list[dict[str, Any]]:
    """Return ours beside both baselines for each size; times are per trade in microseconds."""
    found = []
    with running(durable=True) as server:
        for size in SIZES:
            found += _settling(server, epoch(size), size, rounds)
    return found


def _settling(server: PostgresServer, book: Epoch, size: int, rounds: int) -> list[dict[str, Any]]:
    trades = trades_of(book)
    known: list[list[tuple[int, int]]] = []

    def same(balances: list[tuple[int, int]]) -> None:
        known.append(balances)
        assert balances == known[0], "two ways to settle give two results"

    contests = [
        Contest(
            OURS,
            lambda: _ledger(server, book),
            lambda connection: _settle(connection, book),
            lambda connection: same(_checked(connection, book)),
            size,
        ),
        Contest(
            BY_ONE,
            lambda: _tables(server, book),
            lambda tables: tables.one_by_one(trades[:ONE_BY_ONE]),
            lambda _tables: None,
            ONE_BY_ONE,
        ),
        Contest(
            BY_SET,
            lambda: _tables(server, book),
            lambda tables: tables.set_based(trades),
            lambda tables: same(tables.balances()),
            size,
        ),
    ]
    figures = interleaved(contests, rounds, _VERSIONS)
    return [
        {
            "case": f"PostgreSQL, {size} trades",
            **compared(figures[OURS], figures[base], MICROSECONDS),
        }
        for base in (BY_ONE, BY_SET)
    ]


def _settle(connection: Connection, book: Epoch) -> None:
    connection.begin(MODE)
    write_epoch(SqliteLedger(connection), book)
    connection.commit()


def _checked(connection: Connection, book: Epoch) -> list[tuple[int, int]]:
    connection.begin(MODE)
    balances = check_epoch(SqliteLedger(connection), book)
    connection.commit()
    return balances


@contextmanager
def _ledger(server: PostgresServer, book: Epoch) -> Iterator[Connection]:
    """Give a session on a ledger with the balances, and the orders of the trades to read back."""
    connection = Connection.open(server.fresh_url())
    try:
        migrate_postgres(connection)
        connection.begin(MODE)
        fill(SqliteLedger(connection), *before(book))
        connection.commit()
        connection.control("CHECKPOINT")
        yield connection
        connection.control(f"DROP SCHEMA {connection.schema} CASCADE")
    finally:
        connection.close()


@contextmanager
def _tables(server: PostgresServer, book: Epoch) -> Iterator[SqlTables]:
    tables = SqlTables(Postgres(server.fresh_url()), book)
    try:
        yield tables
    finally:
        tables.close()
