"""Baselines of the settlement benchmark: plain SQL tables, per trade and set-based.

They do the same legs, netting, checks and order states, and keep one row per trade; they have no
hash and no journal. As durable as ours: SQLite in WAL mode, synchronous FULL, PostgreSQL with
fsync.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import psycopg

from bench.settle_book import PRICE, RATES, STEPS, Epoch

PER_LOT = {
    "value": PRICE * STEPS.lot // 10**6,
    "wheeling": RATES.wheeling * STEPS.lot // 10**6,
    "buyer_fee": RATES.buyer_fee * STEPS.lot // 10**6,
    "seller_fee": RATES.seller_fee * STEPS.lot // 10**6,
}
TABLES = """
CREATE TABLE accounts (
    id {int} PRIMARY KEY, posted {int} NOT NULL, held {int} NOT NULL,
    CHECK (held BETWEEN 0 AND posted)){strict};
CREATE TABLE orders (
    id {int} PRIMARY KEY, gives {int} NOT NULL, gets {int} NOT NULL,
    energy {int} NOT NULL, held {int} NOT NULL, filled {int} NOT NULL,
    CHECK (filled BETWEEN 0 AND energy AND held >= 0)){strict};
CREATE TABLE trades (
    id {int} PRIMARY KEY, buy {int} NOT NULL, sell {int} NOT NULL,
    lots {int} NOT NULL){strict};
"""
Trade = tuple[int, int, int, int]
"""Id, row of the bid, row of the ask, lots."""


class Sqlite:
    """SQLite behind the few calls that the tables need."""

    begin = "BEGIN IMMEDIATE"
    types: ClassVar = {"int": "INTEGER", "strict": " STRICT"}

    def __init__(self, path: Path) -> None:
        """Open a database of its own."""
        self._connection = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "cache_size = -65536"):
            self._connection.execute(f"PRAGMA {pragma}")

    def script(self, text: str) -> None:
        """Run statements without values."""
        self._connection.executescript(text)

    def run(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run a statement and return its rows."""
        return self._connection.execute(statement, values).fetchall()

    def fill(self, table: str, columns: int, rows: Iterable[Sequence[int]]) -> None:
        """Insert many rows."""
        places = ", ".join("?" * columns)
        self._connection.executemany(f"INSERT INTO {table} VALUES ({places})", rows)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Postgres:
    """PostgreSQL behind the same calls."""

    begin = "BEGIN"
    types: ClassVar = {"int": "BIGINT", "strict": ""}

    def __init__(self, url: str) -> None:
        """Open a session; the schema of the URL has no tables yet."""
        self._connection = psycopg.connect(url, autocommit=True)

    def script(self, text: str) -> None:
        """Run statements without values."""
        self._connection.execute(text.encode())

    def run(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run a statement and return its rows; psycopg prepares the ones that come again."""
        cursor = self._connection.execute(statement.replace("?", "%s").encode(), values)
        return cursor.fetchall() if cursor.description else []

    def fill(self, table: str, columns: int, rows: Iterable[Sequence[int]]) -> None:
        """Insert many rows, by COPY."""
        del columns
        with self._connection.cursor().copy(f"COPY {table} FROM STDIN".encode()) as copy:
            for row in rows:
                copy.write_row(row)

    def close(self) -> None:
        """Close the session."""
        self._connection.close()


class SqlTables:
    """Accounts, orders and trades in a database of their own."""

    def __init__(self, engine: Sqlite | Postgres, book: Epoch) -> None:
        """Fill the tables."""
        self._engine = engine
        engine.script(TABLES.format_map(engine.types))
        self._fees, self._wheeling = book.balances.fees, book.balances.wheeling
        self._gives, self._gets = book.orders.gives.tolist(), book.orders.gets.tolist()
        posted, held = book.balances.posted.tolist(), book.balances.held.tolist()
        columns = (self._gives, self._gets, book.orders.energy.tolist(), book.orders.held.tolist())
        unfilled = [0] * len(self._gives)
        engine.run("BEGIN")
        engine.fill("accounts", 3, zip(range(len(posted)), posted, held, strict=True))
        engine.fill("orders", 6, zip(range(len(self._gives)), *columns, unfilled, strict=True))
        engine.run("COMMIT")
        engine.script(
            "PRAGMA wal_checkpoint(TRUNCATE)" if isinstance(engine, Sqlite) else "CHECKPOINT"
        )

    def close(self) -> None:
        """Close the connection."""
        self._engine.close()

    def balances(self) -> list[tuple[int, int]]:
        """Return posted and held by account."""
        return self._engine.run("SELECT posted, held FROM accounts ORDER BY id")

    def one_by_one(self, trades: Sequence[Trade]) -> None:
        """Settle each trade in a transaction of its own."""
        run = self._engine.run
        use = "UPDATE accounts SET posted = posted - ?, held = held - ? WHERE id = ?"
        add = "UPDATE accounts SET posted = posted + ? WHERE id = ?"
        fill = "UPDATE orders SET filled = filled + ?, held = held - ? WHERE id = ?"
        for trade in trades:
            _, buy, sell, lots = trade
            energy = lots * STEPS.lot
            value, wheeling, buyer_fee, seller_fee = (lots * part for part in PER_LOT.values())
            paid = value + wheeling + buyer_fee
            run(self._engine.begin)
            run("INSERT INTO trades VALUES (?, ?, ?, ?)", trade)
            run(use, (energy, energy, self._gives[sell]))
            run(add, (energy, self._gets[buy]))
            run(use, (paid, paid, self._gives[buy]))
            run(add, (value - seller_fee, self._gets[sell]))
            run(add, (buyer_fee + seller_fee, self._fees))
            run(add, (wheeling, self._wheeling))
            run(fill, (energy, energy, sell))
            run(fill, (energy, paid, buy))
            run("COMMIT")

    def release(self) -> None:
        """Release what the orders still hold, all in one transaction."""
        self._engine.run(self._engine.begin)
        self._release()
        self._engine.run("COMMIT")

    def set_based(self, trades: Sequence[Trade]) -> None:
        """Settle all trades and release the rest in one transaction of statements over sets."""
        run = self._engine.run
        v, w, fb, fs = PER_LOT.values()
        run(self._engine.begin)
        self._engine.fill("trades", 4, trades)
        for side in ("sell", "buy"):
            paid = STEPS.lot if side == "sell" else v + w + fb
            run(
                f"""UPDATE orders SET filled = filled + t.lots * {STEPS.lot},
                held = held - t.lots * {paid}
                FROM (SELECT {side} AS id, SUM(lots) AS lots FROM trades GROUP BY {side}) AS t
                WHERE orders.id = t.id"""
            )
        run(
            f"""CREATE TEMP TABLE moves AS
            SELECT account, SUM(posted) AS posted, SUM(held) AS held FROM (
            SELECT o.gives AS account, -t.lots * {STEPS.lot} AS posted,
            -t.lots * {STEPS.lot} AS held FROM trades AS t JOIN orders AS o ON o.id = t.sell
            UNION ALL SELECT o.gets, t.lots * {v - fs}, 0
            FROM trades AS t JOIN orders AS o ON o.id = t.sell
            UNION ALL SELECT o.gives, -t.lots * {v + w + fb}, -t.lots * {v + w + fb}
            FROM trades AS t JOIN orders AS o ON o.id = t.buy
            UNION ALL SELECT o.gets, t.lots * {STEPS.lot}, 0
            FROM trades AS t JOIN orders AS o ON o.id = t.buy
            UNION ALL SELECT {self._fees}, SUM(lots) * {fb + fs}, 0 FROM trades
            UNION ALL SELECT {self._wheeling}, SUM(lots) * {w}, 0 FROM trades
            ) AS m GROUP BY account"""
        )
        run(
            """UPDATE accounts SET posted = accounts.posted + m.posted,
            held = accounts.held + m.held FROM moves AS m WHERE accounts.id = m.account"""
        )
        self._release()
        run("DROP TABLE moves")
        run("COMMIT")

    def _release(self) -> None:
        self._engine.run(
            """UPDATE accounts SET held = accounts.held - h.held
            FROM (SELECT gives, SUM(held) AS held FROM orders GROUP BY gives) AS h
            WHERE accounts.id = h.gives"""
        )
        self._engine.run("UPDATE orders SET held = 0")
