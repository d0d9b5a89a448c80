"""Messages to send, in PostgreSQL: claimed by any number of processes, each row by one."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from adapter.service.records import ALL, OutboxRow, OutboxState, Share
from adapter.store.errors import StoreError
from adapter.store.postgres_connection import SESSION, Connection, once
from adapter.store.postgres_locks import Kind, Locks
from adapter.store.postgres_rows import Rows
from adapter.store.postgres_writes import BODIES, OUTBOX, TRANSACTIONS
from adapter.store.rows import outbox_changes, outbox_from, outbox_values
from adapter.store.sqlite_outbox import (
    CHANGES,
    HEAD,
    OLD,
    PEERS,
    SELECTED,
    STEP_BACK,
    STEP_UP,
    OutboxTable,
)
from adapter.store.sqlite_table import NUMBER

_LOG = logging.getLogger(__name__)
_ROW_LOCK = " FOR UPDATE OF outbox"
_OF_TRANSACTION = HEAD.replace("transaction_number = ?", f"transaction_number = {NUMBER}")
_HEAD = f"{_OF_TRANSACTION} FOR UPDATE".replace("id, state", "id, state, claimed_by")
_CLAIMANT = "SELECT state, claimed_by FROM outbox WHERE id = ? FOR UPDATE"
_SAVE = once(f"UPDATE outbox SET {CHANGES}, ready_ms = ? WHERE id = ?")
_STEP_UP = STEP_UP.replace("transaction_number = ?", f"transaction_number = {NUMBER}")
_READY = f"""
WITH {PEERS}, share AS (SELECT * FROM unnest(?::text[], ?::bigint[]) AS share (peer, most))
SELECT {SELECTED} FROM line CROSS JOIN LATERAL (
    SELECT * FROM outbox AS due WHERE due.peer = line.peer AND due.ready_ms <= ?
    ORDER BY due.ready_ms, due.id
    LIMIT coalesce((SELECT most FROM share WHERE share.peer = line.peer), ?)
    FOR UPDATE SKIP LOCKED) AS outbox
CROSS JOIN outbox_body USING (id)
WHERE line.peer IS NOT NULL ORDER BY outbox.ready_ms, outbox.id LIMIT ?
"""
_DELETE = (
    "DELETE FROM outbox WHERE id = ANY(?)",
    "DELETE FROM outbox_body WHERE id = ANY(?)",
)
_MESSAGES = """
(message_id, action) IN (SELECT * FROM unnest(?::text[], ?::text[]) AS gone (message_id, action))
"""
_DELETE_MESSAGES = (
    f"DELETE FROM attempt WHERE {_MESSAGES}",
    f"DELETE FROM asked WHERE {_MESSAGES} AND state <> 'OPEN'",
)
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

    __slots__ = ("_kept", "_locks", "_seen")
    _connection: Connection
    _kept: Rows
    """What is known of the other tables; it has new ids, too."""
    _locks: Locks | None
    """None in a query, which locks nothing."""
    _seen: set[int]
    """Rows that were read here and locked, so that what is saved is made of what is there."""

    def enqueue(self, row: OutboxRow) -> int:
        """Queue a message, which is DUE; return its id."""
        assert row.state is OutboxState.DUE, row.state
        self._named(row.transaction_id)
        row_id = self._kept.new_id()
        self._connection.put(OUTBOX, row_id, (row_id, *outbox_values(row)))
        self._connection.put(BODIES, row_id, (row_id, row.body))
        return row_id

    def claim_outbox(
        self, now_ms: int, lease_ms: int, limit: int, share: Share = ALL
    ) -> Sequence[OutboxRow]:
        """Claim due rows, longest due first, at most one per (peer, transaction).

        As of SQLite; a row that another process takes at the same time is its own.
        """
        # READ COMMITTED looks again at a row that was locked: one claimed meanwhile is not due.
        left = list(share.left), list(share.left.values())
        rows = self._rows(_READY, (*left, now_ms, min(share.each, limit), limit))
        if rows:
            if self._locks is not None:
                self._locks.has_claimed = True
            claim = (now_ms + lease_ms, self._connection.session, [row.id for row in rows])
            self._connection.execute(_CLAIM, claim)
        return [replace(row, state=OutboxState.CLAIMED) for row in rows]

    def save_outbox(self, row: OutboxRow) -> bool:
        """Write a row back after an attempt; peer, transaction, message and body stay.

        A row that this unit has not read was claimed earlier. When that claim is over, because its
        lease ended or it was written back before, what others made of the row stays.

        Raises:
            StoreError: there is no such row.
        """
        self._lock(Kind.TRANSACTION, row.transaction_id)
        line = (row.transaction_id, row.peer)
        head = self._connection.execute(_HEAD, line).fetchone()
        if row.id not in self._seen and not self._is_ours(row, head):
            _LOG.warning("outbox row %d is not ours any more, %s is dropped", row.id, row.state)
            return False
        other = None if head is None or head[0] == row.id else head
        if other is not None and row.state is OutboxState.DUE and other[1] == OutboxState.DUE:
            # A dead letter is sent again; the line forms anew.
            self._connection.execute(STEP_BACK, (other[0],))
            other = None
        values = (*outbox_changes(row), self._lease_end(row), row.id)
        if not self._connection.is_done(_SAVE, values):
            msg = f"there is no outbox row {row.id}"
            raise StoreError(msg)
        if other is None and row.state is not OutboxState.CLAIMED:
            self._connection.execute(_STEP_UP, line)
        return True

    def is_due(self, message_id: str, action: str) -> bool:
        """Return whether the newest outbox row of a message is DUE; in a unit it stays so."""
        is_due = super().is_due(message_id, action)
        if not is_due or self._locks is None:
            return is_due
        row = self.find_outbox(message_id, action)  # nobody claims it from here on
        return row is not None and row.state is OutboxState.DUE

    def prune_outbox(self, before_us: int, limit: int) -> Sequence[int]:
        """Delete the oldest delivered messages queued before then of which no trade is open.

        As of SQLite, with their bodies, which nothing but this deletes.
        """
        old = self._connection.execute(OLD, (before_us // 1_000, limit)).fetchall()
        ids = [row_id for row_id, *_ in old]
        messages = [message_id for _, message_id, *_ in old], [action for *_, action, _ in old]
        for statement in _DELETE:
            self._connection.execute(statement, (ids,))
        for statement in _DELETE_MESSAGES:
            self._connection.execute(statement, messages)
        return [number for *_, number in old]

    def _is_ours(self, row: OutboxRow, head: Sequence[Any] | None) -> bool:
        """Return whether a row is claimed by this store, or was never claimed, or is not there."""
        if head is not None and head[0] == row.id:
            state, claimant = head[1:]
        else:
            found = self._connection.execute(_CLAIMANT, (row.id,)).fetchone()
            state, claimant = found or (None, None)
        is_claimed = state == OutboxState.CLAIMED
        return claimant is None or (is_claimed and claimant in self._connection.own_sessions)

    def _named(self, transaction_id: str) -> None:
        """Give a transaction a number unless it has one, before a row that bears it is written."""
        if self._locks is not None:
            self._locks.take_to_write(Kind.TRANSACTION, transaction_id)
        self._connection.put(TRANSACTIONS, transaction_id, (transaction_id,))

    def _row(self, sql: str, key: tuple[Any, ...]) -> OutboxRow | None:
        """Return one row; in a unit nobody claims it until the end."""
        row = super()._row(sql, key)
        if row is None or self._locks is None:
            return row
        # First its transaction: who holds that may be waiting for the row.
        self._lock(Kind.TRANSACTION, row.transaction_id)
        found = self._connection.execute(f"{sql}{_ROW_LOCK}", key).fetchone()
        if found is None:
            return None
        row = outbox_from(found)
        self._seen.add(row.id)
        return row

    def _lock(self, kind: Kind, name: str) -> None:
        """Lock what is read in order to be written."""
        if self._locks is not None:
            self._locks.take(kind, name)
