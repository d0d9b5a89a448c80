"""What is broken in the hosted journal. Table: `migrations/0008_journal_fault.sqlite.sql`."""

from adapter.store.sqlite_table import Table

_FAULT = "SELECT fault FROM journal_fault"
_KEEP = "INSERT INTO journal_fault (number, fault) VALUES (1, ?) ON CONFLICT DO NOTHING"
_DROP = "DELETE FROM journal_fault WHERE fault = ?"


class JournalFaultTable(Table):
    """At most one row."""

    __slots__ = ()

    def journal_fault(self) -> str | None:
        """Return what is broken in the hosted journal, None when nothing is known to be."""
        row = self._connection.execute(_FAULT).fetchone()
        return None if row is None else str(row[0])

    def keep_journal_fault(self, fault: str) -> None:
        """Keep what was found; what was found before stays."""
        self._connection.execute(_KEEP, (fault,))

    def drop_journal_fault(self, fault: str) -> None:
        """Forget a fault that is no more; another one stays."""
        self._connection.execute(_DROP, (fault,))
