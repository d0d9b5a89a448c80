"""Signed root statements in SQLite. Tables: `migrations/0004_roots.sqlite.sql`."""

from collections.abc import Sequence

from adapter.settlement import Countersignature, SignedRoot, parse_statement
from adapter.store.sqlite_table import Table

_KEEP = """
INSERT INTO root_statement (hash, ledger, last_epoch, body, signature, contradicts)
VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (hash) DO NOTHING"""
_COUNTERSIGN = """
INSERT INTO root_countersignature (statement, key_id, subscriber, public_key, signature)
VALUES (?, ?, ?, ?, ?) ON CONFLICT (statement, key_id) DO NOTHING"""
_ROOTS = """
SELECT hash, body, signature FROM root_statement
WHERE ledger = ? AND last_epoch > ? AND contradicts = '' ORDER BY last_epoch LIMIT ?"""
_LAST = """
SELECT hash, body, signature FROM root_statement
WHERE ledger = ? AND contradicts = '' ORDER BY last_epoch DESC LIMIT 1"""
_BY_HASH = "SELECT hash, body, signature FROM root_statement WHERE hash = ?"
_OTHERS = """
SELECT key_id, public_key, signature FROM root_countersignature
WHERE statement = ? ORDER BY key_id"""
_HAS_SIGNED = "SELECT EXISTS (SELECT 1 FROM root_countersignature WHERE subscriber = ?)"
_LEDGER = "SELECT ledger FROM root_statement WHERE contradicts = '' ORDER BY ledger LIMIT 1"
_CONFLICTS = """
SELECT hash, body, signature FROM root_statement
WHERE contradicts <> '' ORDER BY ledger, last_epoch LIMIT ?"""


class RootTable(Table):
    """Statements and their signatures."""

    __slots__ = ()

    def keep_root(self, root: SignedRoot, contradicts: str = "") -> None:
        """Keep a statement with its signatures; what is kept stays.

        Args:
            root: its signatures have been checked.
            contradicts: hash of the kept statement that it cannot stand beside.
        """
        statement = root.statement
        name = statement.hash
        body = statement.body()
        row = (name, statement.ledger, statement.last_epoch, body, root.signature, contradicts)
        self._connection.execute(_KEEP, row)
        for one in root.countersignatures:
            subscriber = one.key_id.split("|")[0]
            signed = (name, one.key_id, subscriber, one.public_key, one.signature)
            self._connection.execute(_COUNTERSIGN, signed)

    def root(self, statement_hash: str) -> SignedRoot | None:
        """Return a kept statement by its hash."""
        row = self._connection.execute(_BY_HASH, (statement_hash,)).fetchone()
        return None if row is None else self._signed(row)

    def roots(self, ledger: str, after_epoch: int, limit: int) -> Sequence[SignedRoot]:
        """Return kept statements with a last epoch above `after_epoch`, in order of epochs."""
        rows = self._connection.execute(_ROOTS, (ledger, after_epoch, limit)).fetchall()
        return [self._signed(row) for row in rows]

    def last_root(self, ledger: str) -> SignedRoot | None:
        """Return the kept statement of the highest epoch."""
        row = self._connection.execute(_LAST, (ledger,)).fetchone()
        return None if row is None else self._signed(row)

    def root_ledger(self) -> str | None:
        """Return the name of the ledger whose statements are kept; a node follows one."""
        row = self._connection.execute(_LEDGER).fetchone()
        return None if row is None else str(row[0])

    def has_countersigned(self, subscriber_id: str) -> bool:
        """Return whether a subscriber has countersigned any statement."""
        row = self._connection.execute(_HAS_SIGNED, (subscriber_id,)).fetchone()
        return bool(row[0])

    def contradicting_roots(self, limit: int) -> Sequence[SignedRoot]:
        """Return kept statements that contradict others."""
        rows = self._connection.execute(_CONFLICTS, (limit,)).fetchall()
        return [self._signed(row) for row in rows]

    def _signed(self, row: tuple[str, bytes, str]) -> SignedRoot:
        name, body, signature = row
        others = self._connection.execute(_OTHERS, (name,)).fetchall()
        signed = tuple(Countersignature(*other) for other in others)
        return SignedRoot(parse_statement(body), signature, signed)
