"""Baselines of the settlement benchmark: plain SQL tables, per trade and set-based.

They do the same legs, netting, checks and order states, and keep one row per trade; they have no
hash and no journal. SQLite in WAL mode, synchronous FULL, like ours.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from bench.settle_book import PRICE, RATES, STEPS, Epoch

PER_LOT = {
    "value": PRICE * STEPS.lot // 10**6,
    "wheeling": RATES.wheeling * STEPS.lot // 10**6,
    "buyer_fee": RATES.buyer_fee * STEPS.lot // 10**6,
    "seller_fee": RATES.seller_fee * STEPS.lot // 10**6,
}
TABLES = """
CREATE TABLE accounts (
    id INTEGER PRIMARY KEY, posted INTEGER NOT NULL, held INTEGER NOT NULL,
    CHECK (held BETWEEN 0 AND posted)) STRICT;
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, gives INTEGER NOT NULL, gets INTEGER NOT NULL,
    energy INTEGER NOT NULL, held INTEGER NOT NULL, filled INTEGER NOT NULL,
    CHECK (filled BETWEEN 0 AND energy AND held >= 0)) STRICT;
CREATE TABLE trades (
    id INTEGER PRIMARY KEY, buy INTEGER NOT NULL, sell INTEGER NOT NULL,
    lots INTEGER NOT NULL) STRICT;
"""
Trade = tuple[int, int, int, int]
"""Id, row of the bid, row of the ask, lots."""


class SqlTables:
    """Accounts, orders and trades in a database of their own."""

    def __init__(self, path: Path, book: Epoch) -> None:
        """Fill the tables."""
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute("PRAGMA cache_size = -65536")
        self.connection.executescript(TABLES)
        self._fees, self._wheeling = book.balances.fees, book.balances.wheeling
        self._gives, self._gets = book.orders.gives.tolist(), book.orders.gets.tolist()
        posted, held = book.balances.posted.tolist(), book.balances.held.tolist()
        columns = (self._gives, self._gets, book.orders.energy.tolist(), book.orders.held.tolist())
        self.connection.execute("BEGIN")
        self.connection.executemany(
            "INSERT INTO accounts VALUES (?, ?, ?)",
            zip(range(len(posted)), posted, held, strict=True),
        )
        self.connection.executemany(
            "INSERT INTO orders VALUES (?, ?, ?, ?, ?, 0)",
            zip(range(len(self._gives)), *columns, strict=True),
        )
        self.connection.execute("COMMIT")
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def balances(self) -> list[tuple[int, int]]:
        """Return posted and held by account."""
        return self.connection.execute("SELECT posted, held FROM accounts ORDER BY id").fetchall()

    def one_by_one(self, trades: Sequence[Trade]) -> None:
        """Settle each trade in a transaction of its own."""
        run = self.connection.execute
        use = "UPDATE accounts SET posted = posted - ?, held = held - ? WHERE id = ?"
        add = "UPDATE accounts SET posted = posted + ? WHERE id = ?"
        fill = "UPDATE orders SET filled = filled + ?, held = held - ? WHERE id = ?"
        for trade in trades:
            _, buy, sell, lots = trade
            energy = lots * STEPS.lot
            value, wheeling, buyer_fee, seller_fee = (lots * part for part in PER_LOT.values())
            paid = value + wheeling + buyer_fee
            run("BEGIN IMMEDIATE")
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
        self.connection.execute("BEGIN IMMEDIATE")
        self._release()
        self.connection.execute("COMMIT")

    def set_based(self, trades: Sequence[Trade]) -> None:
        """Settle all trades and release the rest in one transaction of statements over sets."""
        run = self.connection.execute
        v, w, fb, fs = PER_LOT.values()
        run("BEGIN IMMEDIATE")
        self.connection.executemany("INSERT INTO trades VALUES (?, ?, ?, ?)", trades)
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
            ) GROUP BY account"""
        )
        run(
            """UPDATE accounts SET posted = accounts.posted + m.posted,
            held = accounts.held + m.held FROM moves AS m WHERE accounts.id = m.account"""
        )
        self._release()
        run("DROP TABLE moves")
        run("COMMIT")

    def _release(self) -> None:
        self.connection.execute(
            """UPDATE accounts SET held = accounts.held - h.held
            FROM (SELECT gives, SUM(held) AS held FROM orders GROUP BY gives) AS h
            WHERE accounts.id = h.gives"""
        )
        self.connection.execute("UPDATE orders SET held = 0")
