"""The ledger on PostgreSQL: the statements of SQLite, and a memory of what they found.

Whoever writes the ledger holds its lock until the commit, so nothing changes meanwhile but by his
own hand. Units of one group then read the settings, users, meters and accounts they share once:
a hot account costs a group one look and one row version for each unit, never a wait.
"""

from adapter.store.ledger_known import KnownLedger


class LockedLedger(KnownLedger):
    """A `LedgerStore` for units that hold the ledger's lock."""
