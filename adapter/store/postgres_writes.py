"""Rows that units of work have written and that wait to be sent: one statement for each table.

Nobody asks what such a statement did, so it goes with the next one that somebody does ask about,
or with the commit. One that must hit its rows fails by itself when it does not.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from adapter.store.postgres_arrays import BYTES, INT, TEXT, Arrays, Columns, Kind
from adapter.store.rows import (
    ASKED_COLUMNS,
    INBOX_COLUMNS,
    OFFER_COLUMNS,
    OUTBOX_STORED,
    TRADE_COLUMNS,
)

Row = tuple[Any, ...]
_INTS = frozenset(
    {
        *("received_us", "http_status", "deadline_ms", "created_ms", "available_micro_kwh"),
        *("withdrawn", "due_ms", "version", "next_ms", "expires_ms", "attempts", "sent_us"),
        *("took_us", "base", "id", "is_first"),
    }
)
_BYTES = frozenset({"reply", "body", "summary"})


def _columns(*names: str) -> Columns:
    return Columns({name: _kind(name) for name in names})


def _kind(name: str) -> Kind:
    if name in _INTS:
        return INT
    return BYTES if name in _BYTES else TEXT


def _latest(_before: Row, after: Row) -> Row:
    return after


def _on_the_same_base(before: Row, after: Row) -> Row:
    return (before[0], *after[1:])


def _as_they_are(rows: Sequence[Row]) -> Sequence[Row]:
    return rows


def _in_lines(rows: Sequence[Row]) -> Sequence[Row]:
    """Return messages to send with whether they are the first here of their line."""
    peer, transaction = 1 + OUTBOX_STORED.index("peer"), 1 + OUTBOX_STORED.index("transaction_id")
    lines: set[tuple[str, str]] = set()
    found = []
    for row in rows:
        line = row[peer], row[transaction]
        found.append((*row, int(line not in lines)))
        lines.add(line)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A statement that writes rows of one table."""

    sql: bytes
    columns: Columns
    joined: Callable[[Row, Row], Row] = _latest
    """What is written of a row that was written before and still waits."""
    prepared: Callable[[Sequence[Row]], Sequence[Row]] = _as_they_are


def _number(transaction: str) -> str:
    """Return the number of a transaction, which is locked, so a rival cannot be giving it one."""
    return f"(SELECT number FROM wire_transaction WHERE transaction_id = {transaction})"


def _insert(table: str, columns: Columns, rest: str = "") -> str:
    names, new = ", ".join(columns.names), ", ".join(f"new.{name}" for name in columns.names)
    return f"""
INSERT INTO {table} ({names}, transaction_number)
SELECT {new}, {_number("new.transaction_id")} FROM {columns.rows} {rest}
"""


def _upsert(table: str, key: str, columns: Columns) -> str:
    names = ", ".join(columns.names)
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns.names)
    return f"""
INSERT INTO {table} ({names}) SELECT * FROM {columns.rows}
ON CONFLICT ({key}) DO UPDATE SET {changes}
"""


def _all(sql: str) -> str:
    """Return a statement that fails unless it writes each of its rows."""
    return f"""
WITH done AS ({sql} RETURNING 1)
SELECT 1 / (count(*) = cardinality($1))::int FROM done
"""


_LOCK = Columns({"number": INT})
_TRANSACTION = _columns("transaction_id")
_INBOX = _columns(*INBOX_COLUMNS)
_ASKED = _columns(*ASKED_COLUMNS)
_OFFER = _columns(*OFFER_COLUMNS)
_HISTORY = _columns("key", "summary")
_BOUND = _columns("contract_id", "transaction_id")
_TRADE = _columns("base", "leg", *TRADE_COLUMNS)
_OUTBOX = _columns("id", *OUTBOX_STORED, "is_first")
_BODY = _columns("id", "body")
_ASKED_CHANGES = ", ".join(f"{name} = excluded.{name}" for name in _ASKED.names)
_STORED = ", ".join(TRADE_COLUMNS)
_NEW_STORED = ", ".join(f"new.{name}" for name in TRADE_COLUMNS)
_TRADE_CHANGES = ", ".join(
    f"{name} = new.{name}" for name in TRADE_COLUMNS if name not in ("side", "transaction_id")
)
_QUEUED = ", ".join(_OUTBOX.names[:-1])

_GIVE_NUMBERS = f"""
INSERT INTO wire_transaction (transaction_id)
SELECT transaction_id FROM {_TRANSACTION.rows} WHERE {_number("new.transaction_id")} IS NULL
"""
_ADD_TRADES = f"""
INSERT INTO trade (transaction_number, leg_number, {_STORED})
SELECT {_number("new.transaction_id")}, {_number("new.leg")}, {_NEW_STORED} FROM {_TRADE.rows}
ON CONFLICT (transaction_number, side) DO NOTHING
"""
# OFFSET 0: the row is found by its key first, whatever the planner thinks of a table it has
# never seen filled.
_SAVE_TRADES = f"""
UPDATE trade SET leg_number = new.leg_number, {_TRADE_CHANGES}
FROM (SELECT new.*, {_number("new.leg")} AS leg_number,
             (SELECT id FROM trade AS old
              WHERE old.transaction_number = {_number("new.transaction_id")}
              AND old.side = new.side) AS trade_id
      FROM {_TRADE.rows} OFFSET 0) AS new
WHERE trade.id = new.trade_id AND trade.version = new.base
"""
_ENQUEUE = f"""
INSERT INTO outbox ({_QUEUED}, transaction_number, ready_ms) OVERRIDING SYSTEM VALUE
SELECT {_QUEUED}, number, CASE WHEN is_first = 1 AND NOT EXISTS (
    SELECT 1 FROM outbox AS head WHERE head.transaction_number = new.number
    AND head.peer = new.peer AND head.ready_ms IS NOT NULL) THEN next_ms END
FROM (SELECT new.*, {_number("new.transaction_id")} AS number FROM {_OUTBOX.rows} OFFSET 0) AS new
"""
_TRY = f"SELECT 1 / bool_and(pg_try_advisory_xact_lock(number))::int FROM {_LOCK.rows}"

LOCKS = Target(_TRY.encode(), _LOCK)
"""Locks on what is written and was not read; one that a rival has ends the transaction."""
TRANSACTIONS = Target(_GIVE_NUMBERS.encode(), _TRANSACTION)
"""Transactions that get a number unless they have one."""
NEW_TRADES = Target(_all(_ADD_TRADES).encode(), _TRADE, _on_the_same_base)
"""The version that was read, the leg's transaction, and the columns of trades."""
TRADES = Target(_all(_SAVE_TRADES).encode(), _TRADE, _on_the_same_base)
BOUND = Target(
    f"INSERT INTO bound_contract ({', '.join(_BOUND.names)}) SELECT * FROM {_BOUND.rows}".encode(),
    _BOUND,
)
HISTORIES = Target(_upsert("contract_history", "key", _HISTORY).encode(), _HISTORY)
OFFERS = Target(_upsert("offer", "offer_id", _OFFER).encode(), _OFFER)
ASKED = Target(
    _insert(
        "asked",
        _ASKED,
        f"ON CONFLICT (message_id, action) DO UPDATE SET {_ASKED_CHANGES},"
        " transaction_number = excluded.transaction_number",
    ).encode(),
    _ASKED,
)
OUTBOX = Target(_ENQUEUE.encode(), _OUTBOX, prepared=_in_lines)
BODIES = Target(f"INSERT INTO outbox_body (id, body) SELECT * FROM {_BODY.rows}".encode(), _BODY)
INBOX = Target(_insert("inbox", _INBOX).encode(), _INBOX)
_ORDER = (
    *(LOCKS, TRANSACTIONS, NEW_TRADES, TRADES, BOUND, HISTORIES, OFFERS, ASKED),
    *(OUTBOX, BODIES, INBOX),
)


class Writes:
    """Rows to be written, each once however often it changes."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        """Have none."""
        self._rows: dict[Target, dict[Hashable, Row]] = {}

    def put(self, target: Target, key: Hashable, row: Row) -> None:
        """Write a row, or once more one that waits."""
        if target is TRADES and key in self._rows.get(NEW_TRADES, ()):
            target = NEW_TRADES
        rows = self._rows.setdefault(target, {})
        before = rows.get(key)
        rows[key] = row if before is None else target.joined(before, row)

    def add(self, later: "Writes") -> None:
        """Write also what was to be written after this."""
        for target, rows in later._rows.items():
            for key, row in rows.items():
                self.put(target, key, row)

    def statements(self) -> Iterator[tuple[bytes, Arrays]]:
        """Give what writes the rows.

        Raises:
            psycopg.DataError: a text that PostgreSQL cannot hold.
        """
        for target in _ORDER:
            rows = self._rows.get(target)
            if rows:
                yield target.sql, target.columns.arrays(target.prepared([*rows.values()]))
