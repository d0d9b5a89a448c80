"""The unit of work on one SQLite connection."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from adapter.service.records import LoggedMessage
from adapter.settlement import LedgerStore
from adapter.store.ledger_known import KnownLedger
from adapter.store.sqlite_connection import Connection, transaction_lost
from adapter.store.sqlite_inbox import InboxTable
from adapter.store.sqlite_journal_fault import JournalFaultTable
from adapter.store.sqlite_kept import KeptRows
from adapter.store.sqlite_outbox import OutboxTable
from adapter.store.sqlite_roots import RootTable

T = TypeVar("T")

_FORGET = """
DELETE FROM wire_transaction WHERE number = ?1
AND NOT EXISTS (SELECT 1 FROM inbox WHERE transaction_number = ?1)
AND NOT EXISTS (SELECT 1 FROM outbox WHERE transaction_number = ?1)
AND NOT EXISTS (SELECT 1 FROM asked WHERE transaction_number = ?1 AND state = 'OPEN')
AND NOT EXISTS (SELECT 1 FROM trade WHERE transaction_number = ?1)
AND NOT EXISTS (SELECT 1 FROM trade WHERE leg_number = ?1)
"""
"""The number of a transaction of which nothing is left, as after a discover."""


class SqliteUnit(InboxTable, KeptRows, OutboxTable, RootTable, JournalFaultTable):
    """One unit of work or query, inside a transaction that its caller begins and ends.

    The methods of `service.ports.UnitOfWork`, grouped by table in the modules of the bases.
    """

    __slots__ = ("_ledger",)
    _connection: Connection

    def __init__(self, connection: Connection) -> None:
        """Work inside the open transaction of `connection`."""
        super().__init__(connection)
        self._ledger: LedgerStore | None = None

    @property
    def ledger(self) -> LedgerStore:
        """Return the ledger inside this transaction."""
        if self._ledger is None:
            self._ledger = KnownLedger(self._connection)
        return self._ledger

    def run(self, work: Callable[["SqliteUnit"], T]) -> T:
        """Return what `work` does on this unit, all of it written."""
        result = work(self)
        self.flush()
        return result

    def savepoint(self, work: Callable[[], T]) -> T:
        """Run `work`; when it raises, its writes are undone and the exception goes on.

        Raises:
            WireError: NET_DOWNSTREAM_UNAVAILABLE, the database has given up the transaction.
        """
        unsaved = self.unsaved()
        try:
            return within_savepoint(self._connection, work)
        except BaseException:
            self.forget(unsaved)
            raise

    def messages(self, transaction_ids: Iterable[str]) -> Sequence[LoggedMessage]:
        """Return the messages of transactions, in order of time."""
        found: list[LoggedMessage] = []
        for transaction_id in dict.fromkeys(transaction_ids):
            found += self.received_messages(transaction_id)
            found += self.sent_messages(transaction_id)
        return sorted(found, key=lambda message: message.at_us)

    def prune(self, before_us: int, limit: int) -> int:
        """Delete inbox rows and sent outbox rows of finished trades older than that."""
        self.prune_signatures(before_us)
        gone = [*self.prune_inbox(before_us, limit)]
        gone += self.prune_outbox(before_us, limit - len(gone))
        self._connection.executemany(_FORGET, [(number,) for number in set(gone)])
        self.forget(self.unsaved())
        return len(gone)


def within_savepoint(connection: Connection, work: Callable[[], T]) -> T:
    """Run `work` in a savepoint of the open transaction; nested ones may have the same name."""
    connection.execute("SAVEPOINT step")
    try:
        result = work()
    except BaseException as error:
        if not connection.in_transaction:
            raise transaction_lost(error) from error
        connection.known.clear()
        connection.execute("ROLLBACK TO step")
        connection.execute("RELEASE step")
        raise
    connection.execute("RELEASE step")
    return result
