"""The ledger on PostgreSQL: the statements of SQLite, and a memory of what they found.

Whoever writes the ledger holds its lock until the commit, so nothing changes meanwhile but by his
own hand. Units of one group then read the settings, users, meters and accounts they share once:
a hot account costs a group one look and one row version for each unit, never a wait.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from adapter.settlement.state import Account, Changes, Head, Hold, R
from adapter.store.ledger_sqlite import SqliteLedger
from adapter.store.postgres_connection import Connection

T = TypeVar("T")

KNOWN_MAX = 20_000
"""Things remembered; a large clearing would be remembered whole otherwise."""


class LockedLedger(SqliteLedger):
    """A `LedgerStore` for units that hold the ledger's lock."""

    _connection: Connection

    def __init__(self, connection: Connection) -> None:
        """Use the connection's open transaction, in which the lock was taken."""
        super().__init__(connection)
        self._known = connection.known

    def head(self) -> Head | None:
        """Return the last entry's number and hash."""
        return self._once("head", super().head)

    def account(self, account_id: str) -> Account | None:
        """Return an account."""
        return self._once((Account, account_id), partial(super().account, account_id))

    def hold(self, hold_id: str) -> Hold | None:
        """Return a hold in any state."""
        return self._once((Hold, hold_id), partial(super().hold, hold_id))

    def get(self, kind: type[R], key: str) -> R | None:
        """Return one row."""
        return self._once((kind, key), partial(super().get, kind, key))

    def write(self, changes: Changes) -> None:
        """Write what a command changed."""
        super().write(changes)
        known = self._known
        if len(known) > KNOWN_MAX:
            known.clear()
        known["head"] = Head(changes.entry.seq, changes.entry.hash)
        known |= {(Account, one.id): one for one in changes.accounts}
        known |= {(Hold, one.id): one for one in changes.holds}
        known |= {(type(one.new), one.new.key): one.new for one in changes.rows}

    def _once(self, key: object, look: Callable[[], T]) -> T:
        """Return what is known, or what `look` finds, which is known from then on."""
        if key not in self._known:
            self._known[key] = look()
        found: T = self._known[key]
        return found
