"""Messages to send, in PostgreSQL: claimed by any number of processes, each row by one."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from adapter.service.records import OutboxRow, OutboxState
from adapter.store.postgres_connection import SESSION, Connection
from adapter.store.postgres_locks import Kind, Locks
from adapter.store.rows import outbox_from, outbox_values
from adapter.store.sqlite_outbox import ADD, HEAD, READY, OutboxTable

_ROW_LOCK = " FOR UPDATE OF outbox"
_ADD = f"""
WITH added AS ({ADD})
INSERT INTO outbox_body (id, body) SELECT id, ? FROM added RETURNING id
"""
_CLAIM = "UPDATE outbox SET state = 'CLAIMED', ready_ms = ?, claimed_by = ? WHERE id = ANY(?)"
RELEASE_DEAD_CLAIMS = f"""
UPDATE outbox SET state = 'DUE', ready_ms = next_ms WHERE id IN (
    SELECT id FROM outbox WHERE state = 'CLAIMED' AND ready_ms IS NOT NULL
    AND claimed_by NOT IN (SELECT {SESSION} FROM pg_stat_activity WHERE backend_start IS NOT NULL)
    FOR UPDATE SKIP LOCKED)
"""
"""Makes rows due again whose process was killed; waiting for the leases to end would cost a request
its life. A process that lives keeps the session it claims by, unless the server was restarted."""


class LockedOutboxTable(OutboxTable):
    """The outbox part of a unit of work.

    A line belongs to a transaction, so whoever queues or saves holds its lock. A claim does not:
    it locks the rows it takes and passes over those that others have, and never waits.
    """

    __slots__ = ("_locks",)
    _connection: Connection
    _locks: Locks | None
    """None in a query, which locks nothing."""

    def enqueue(self, row: OutboxRow) -> int:
        """Queue a message, which is DUE; return its id."""
        assert row.state is OutboxState.DUE, row.state
        number = self._number(row.transaction_id)
        values = (*outbox_values(row), number, number, row.peer, row.next_ms, row.body)
        found = self._connection.execute(_ADD, values).fetchone()
        assert found is not None
        return int(found[0])

    def claim_outbox(self, now_ms: int, lease_ms: int, limit: int) -> Sequence[OutboxRow]:
        """Claim due rows, longest due first, at most one per (peer, transaction).

        As of SQLite; a row that another process takes at the same time is its own.
        """
        # READ COMMITTED looks again at a row that was locked: one claimed meanwhile is not due.
        rows = self._rows(f"{READY}{_ROW_LOCK} SKIP LOCKED", (now_ms, limit))
        if rows:
            claim = (now_ms + lease_ms, self._connection.session, [row.id for row in rows])
            self._connection.execute(_CLAIM, claim)
        return [replace(row, state=OutboxState.CLAIMED) for row in rows]

    def save_outbox(self, row: OutboxRow) -> None:
        """Write a row back after an attempt; peer, transaction, message and body stay.

        Raises:
            StoreError: there is no such row.
        """
        number = self._number(row.transaction_id)
        self._connection.execute(f"{HEAD} FOR UPDATE", (number, row.peer))  # no claim in between
        super().save_outbox(row)

    def _number(self, transaction_id: str) -> int:
        """Return the number of a transaction, which is locked."""
        self._lock(Kind.TRANSACTION, transaction_id)
        return super()._number(transaction_id)

    def _row(self, sql: str, key: tuple[Any, ...]) -> OutboxRow | None:
        """Return one row; in a unit nobody claims it until the end."""
        row = super()._row(sql, key)
        if row is None or self._locks is None:
            return row
        # First its transaction: who holds that may be waiting for the row.
        self._lock(Kind.TRANSACTION, row.transaction_id)
        found = self._connection.execute(f"{sql}{_ROW_LOCK}", key).fetchone()
        return None if found is None else outbox_from(found)

    def _lock(self, kind: Kind, name: str) -> None:
        if self._locks is not None:
            self._locks.take(kind, name)
