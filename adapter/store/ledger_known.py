"""A ledger that remembers what it found, as long as nobody else can change it.

Two have that right: whoever holds the ledger's lock in PostgreSQL, until his commit, and the one
connection that writes to a SQLite file, which outlives its commits. Settings, users, meters and hot
accounts are then read once and not by every command, and what one command wrote the next one has.
The connection keeps the memory, and forgets it whenever a transaction or a savepoint is undone.
"""

from collections.abc import Iterator
from typing import Any, Protocol

from adapter.settlement.rows import Binding
from adapter.settlement.state import EVERYTHING, Account, Changes, Head, Hold, R, Span
from adapter.store.ledger_sqlite import SqliteLedger
from adapter.store.sql import SqlConnection

KNOWN_MAX = 20_000
"""Things remembered, about 20 MB; a large clearing would be remembered whole otherwise."""
LISTS_KNOWN = frozenset({Binding})
"""Kinds of which whole lists are remembered: short ones, asked for by every trade and seldom
written."""
_HEAD = "head"


class KnowingConnection(SqlConnection, Protocol):
    """A connection with a memory."""

    known: dict[object, Any]
    """What was found and is still true; emptied when a transaction or savepoint is undone."""


class KnownLedger(SqliteLedger):
    """A `LedgerStore` for the one who alone may write."""

    def __init__(self, connection: KnowingConnection) -> None:
        """Use the connection's open transaction, and what is known on it."""
        super().__init__(connection)
        self._known = connection.known

    def head(self) -> Head | None:
        """Return the last entry's number and hash."""
        if _HEAD not in self._known:
            self._keep(_HEAD, super().head())
        found: Head | None = self._known[_HEAD]
        return found

    def account(self, account_id: str) -> Account | None:
        """Return an account."""
        place = (Account, account_id)
        if place not in self._known:
            self._keep(place, super().account(account_id))
        found: Account | None = self._known[place]
        return found

    def hold(self, hold_id: str) -> Hold | None:
        """Return a hold in any state."""
        place = (Hold, hold_id)
        if place not in self._known:
            self._keep(place, super().hold(hold_id))
        found: Hold | None = self._known[place]
        return found

    def get(self, kind: type[R], key: str) -> R | None:
        """Return one row."""
        place = (kind, key)
        if place not in self._known:
            self._keep(place, super().get(kind, key))
        found: R | None = self._known[place]
        return found

    def find(self, kind: type[R], name: str, value: str, span: Span = EVERYTHING) -> Iterator[R]:
        """Give the rows listed under (name, value)."""
        if kind not in LISTS_KNOWN:
            return super().find(kind, name, value, span)
        place = (kind, name, value, span)
        if place not in self._known:
            self._keep(place, tuple(super().find(kind, name, value, span)))
        return iter(self._known[place])

    def _row(self, kind: type[R], key: str, body: str) -> R:
        """Return the row that a list has led to, as it was written or found before."""
        return self._known.get((kind, key)) or super()._row(kind, key, body)

    def write(self, changes: Changes) -> None:
        """Write what a command changed."""
        super().write(changes)
        written: dict[object, Any] = {
            _HEAD: Head(changes.entry.seq, changes.entry.hash),
            **{(Account, one.id): one for one in changes.accounts},
            **{(Hold, one.id): one for one in changes.holds},
            **{(type(one.new), one.new.key): one.new for one in changes.rows},
        }
        is_listed = any(type(one.new) in LISTS_KNOWN for one in changes.rows)
        if is_listed or len(self._known) + len(written) > KNOWN_MAX:
            self._known.clear()
        if len(written) <= KNOWN_MAX:
            self._known.update(written)

    def _keep(self, place: object, found: object) -> None:
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        self._known[place] = found
