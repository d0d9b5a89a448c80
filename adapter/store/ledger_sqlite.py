"""The ledger in SQLite, inside the caller's transaction: it never begins or commits one.

Amounts are computed in Python and only stored here, because SQLite turns an overflow into REAL.
Tables: `migrations/0002_ledger.sqlite.sql`.
"""

from collections.abc import Iterable, Iterator, Sequence

from adapter.settlement.blocks import Block
from adapter.settlement.codec import decode_row, encode_row
from adapter.settlement.postings import HoldState
from adapter.settlement.state import (
    EVERYTHING,
    Account,
    Changes,
    Entry,
    Head,
    Hold,
    R,
    RowChange,
    Span,
    hold_order,
)
from adapter.store.sql import SqlConnection

_HOLD = "SELECT id, account, amount, purpose, until_ms, state, posted FROM ledger_holds"
_PUT_ACCOUNT = """
    INSERT INTO ledger_accounts (id, posted, held) VALUES (?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET posted = excluded.posted, held = excluded.held"""
_PUT_HOLD = """
    INSERT INTO ledger_holds (id, account, amount, purpose, until_ms, state, posted)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET state = excluded.state, posted = excluded.posted"""
_PUT_ROW = """
    INSERT INTO ledger_rows (kind, key, body) VALUES (?, ?, ?)
    ON CONFLICT (kind, key) DO UPDATE SET body = excluded.body"""
_FIND = """
    SELECT r.key, r.body FROM ledger_lists AS l
    JOIN ledger_rows AS r ON r.kind = l.kind AND r.key = l.key
    WHERE l.kind = ? AND l.name = ? AND l.value = ? AND l.sort >= ? AND l.sort < ?"""
_IN_ORDER = " ORDER BY l.sort, l.key"
_NEWEST_FIRST = " ORDER BY l.sort DESC, l.key DESC"
_UNLIST = (
    "DELETE FROM ledger_lists WHERE kind = ? AND name = ? AND value = ? AND sort = ? AND key = ?"
)
_LIST = "INSERT INTO ledger_lists (kind, name, value, sort, key) VALUES (?, ?, ?, ?, ?)"
_PUT_ENTRY = "INSERT INTO ledger_entries (seq, time_ms, hash, body) VALUES (?, ?, ?, ?)"
_PUT_BLOCK = "INSERT INTO ledger_blocks (seq, name, leaf_rows, data) VALUES (?, ?, ?, ?)"
_ENTRY = "SELECT seq, time_ms, hash, body FROM ledger_entries"


class SqliteLedger:
    """A `LedgerStore` on one connection."""

    def __init__(self, connection: SqlConnection) -> None:
        """Use the connection's open transaction or savepoint."""
        self._connection = connection

    def head(self) -> Head | None:
        """Return the last entry's number and hash."""
        row = self._connection.execute(
            "SELECT seq, hash FROM ledger_entries ORDER BY seq DESC LIMIT 1"
        ).fetchone()
        return Head(*row) if row else None

    def entry(self, seq: int) -> Entry | None:
        """Return one entry."""
        row = self._connection.execute(f"{_ENTRY} WHERE seq = ?", (seq,)).fetchone()
        return Entry(*row) if row else None

    def entries(self, after: int, limit: int) -> Sequence[Entry]:
        """Return entries with `seq > after`, in order."""
        query = f"{_ENTRY} WHERE seq > ? ORDER BY seq LIMIT ?"
        return [Entry(*row) for row in self._connection.execute(query, (after, limit))]

    def block(self, seq: int, name: str) -> Block | None:
        """Return a block of one entry."""
        query = "SELECT name, data, leaf_rows FROM ledger_blocks WHERE seq = ? AND name = ?"
        row = self._connection.execute(query, (seq, name)).fetchone()
        return Block(*row) if row else None

    def account(self, account_id: str) -> Account | None:
        """Return an account."""
        query = "SELECT id, posted, held FROM ledger_accounts WHERE id = ?"
        row = self._connection.execute(query, (account_id,)).fetchone()
        return Account(*row) if row else None

    def accounts(self, owner: str | None = None) -> Sequence[Account]:
        """Return accounts in order of id."""
        query = "SELECT id, posted, held FROM ledger_accounts"
        if owner is None:
            rows = self._connection.execute(f"{query} ORDER BY id")
        else:  # '}' follows '|' in ASCII
            span = (f"{owner}|", f"{owner}}}")
            rows = self._connection.execute(f"{query} WHERE id > ? AND id < ? ORDER BY id", span)
        return [Account(*row) for row in rows]

    def hold(self, hold_id: str) -> Hold | None:
        """Return a hold in any state."""
        found = self._holds(f"{_HOLD} WHERE id = ?", (hold_id,))
        return found[0] if found else None

    def open_holds(self, purpose: str) -> Sequence[Hold]:
        """Return the pending holds for `purpose`, oldest first."""
        query = f"{_HOLD} WHERE purpose = ? AND state = 'PENDING'"
        return sorted(self._holds(query, (purpose,)), key=lambda hold: hold_order(hold.id))

    def _holds(self, query: str, args: Iterable[str]) -> list[Hold]:
        return [
            Hold(hold_id, account, amount, purpose, until_ms, HoldState(state), posted)
            for hold_id, account, amount, purpose, until_ms, state, posted in (
                self._connection.execute(query, tuple(args))
            )
        ]

    def get(self, kind: type[R], key: str) -> R | None:
        """Return one row."""
        row = self._connection.execute(
            "SELECT body FROM ledger_rows WHERE kind = ? AND key = ?", (kind.KIND, key)
        ).fetchone()
        return decode_row(kind, row[0]) if row else None

    def find(self, kind: type[R], name: str, value: str, span: Span = EVERYTHING) -> Iterator[R]:
        """Give the rows listed under (name, value)."""
        query = _FIND + (_NEWEST_FIRST if span.newest_first else _IN_ORDER)
        args = (kind.KIND, name, value, span.start, span.end)
        for key, body in self._connection.execute(query, args):
            yield self._row(kind, key, body)

    def _row(self, kind: type[R], key: str, body: str) -> R:
        """Return the row that a list has led to."""
        del key
        return decode_row(kind, body)

    def write(self, changes: Changes) -> None:
        """Write what a command changed."""
        entry = changes.entry
        rows = [change.new for change in changes.rows]
        gone, new = _list_changes(changes.rows)
        self._connection.execute(_PUT_ENTRY, (entry.seq, entry.time_ms, entry.hash, entry.body))
        self._each(_PUT_BLOCK, [(entry.seq, b.name, b.leaf_rows, b.data) for b in changes.blocks])
        self._each(_PUT_ACCOUNT, [(a.id, a.posted, a.held) for a in changes.accounts])
        self._each(
            _PUT_HOLD,
            [
                (h.id, h.account, h.amount, h.purpose, h.until_ms, str(h.state), h.posted)
                for h in changes.holds
            ],
        )
        self._each(_PUT_ROW, [(row.KIND, row.key, encode_row(row)) for row in rows])
        self._each(_UNLIST, gone)
        self._each(_LIST, new)

    def _each(self, sql: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Run a statement once for each row; for none it is not even looked up."""
        if rows:
            self._connection.executemany(sql, rows)


_Listed = tuple[str, str, str, str, str]


def _list_changes(changes: Iterable[RowChange]) -> tuple[list[_Listed], list[_Listed]]:
    """Return what leaves and what joins the lists."""
    gone: list[_Listed] = []
    new: list[_Listed] = []
    for old, row in changes:
        before = set(old.indexes()) if old else set()
        now = set(row.indexes())
        gone += [(row.KIND, *index, row.key) for index in before - now]
        new += [(row.KIND, *index, row.key) for index in now - before]
    return gone, new
