"""Messages to send, in PostgreSQL: claimed by any number of processes, each row by one."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from adapter.service.records import ALL, OutboxRow, OutboxState, Share
from adapter.store.errors import StoreError
from adapter.store.postgres_connection import SESSION, Connection, once
from adapter.store.postgres_locks import Kind, Locks
from adapter.store.rows import OUTBOX_STORED, outbox_changes, outbox_from, outbox_values
from adapter.store.sql import Rows
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
from adapter.store.sqlite_table import NUMBER, names, places

_LOG = logging.getLogger(__name__)
_ROW_LOCK = " FOR UPDATE OF outbox"
_ADD = f"""
WITH added AS (
    INSERT INTO outbox (id, {names(OUTBOX_STORED)}, transaction_number, ready_ms)
    OVERRIDING SYSTEM VALUE
    VALUES (?, {places(OUTBOX_STORED)}, ?, CASE WHEN EXISTS ({HEAD}) THEN NULL ELSE ? END)
    RETURNING id)
INSERT INTO outbox_body (id, body) SELECT id, ? FROM added
"""
_NEW_ID = "SELECT nextval('outbox_id_seq')"
_FIND_NUMBER = f"""
SELECT coalesce((SELECT number FROM wire_transaction WHERE transaction_id = ?),
                -nextval('wire_transaction_number_seq')), ({_NEW_ID})
"""
"""The number of a transaction, below zero when it is a new one; and a new id for the outbox. It
goes along when a transaction is locked, so that neither costs a round trip of its own."""
_GIVE_NUMBER = """
INSERT INTO wire_transaction (number, transaction_id) OVERRIDING SYSTEM VALUE VALUES (?, ?)
"""
_OF_TRANSACTION = HEAD.replace("transaction_number = ?", f"transaction_number = {NUMBER}")
_HEAD = f"{_OF_TRANSACTION} FOR UPDATE".replace("id, state", "id, state, claimed_by")
_CLAIMANT = "SELECT state, claimed_by FROM outbox WHERE id = ? FOR UPDATE"
_SAVE = once(f"UPDATE outbox SET {CHANGES}, ready_ms = ? WHERE id = ?")
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

    __slots__ = ("_found", "_locks", "_new_ids", "_seen")
    _connection: Connection
    _found: dict[str, Rows]
    """Numbers that were asked for, by transaction."""
    _new_ids: dict[str, int]
    """By transaction: drawn while it was locked, so that a line is in order of ids."""
    _locks: Locks | None
    """None in a query, which locks nothing."""
    _seen: set[int]
    """Rows that were read here and locked, so that what is saved is made of what is there."""

    def enqueue(self, row: OutboxRow) -> int:
        """Queue a message, which is DUE; return its id."""
        assert row.state is OutboxState.DUE, row.state
        number = self._number(row.transaction_id)
        row_id = self._new_ids.pop(row.transaction_id, None)
        if row_id is None:
            row_id = int(self._connection.execute(_NEW_ID).fetchone()[0])
        values = (row_id, *outbox_values(row), number, number, row.peer, row.next_ms, row.body)
        self._connection.execute(_ADD, values)
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
            self._connection.execute(STEP_UP, (self._number(row.transaction_id), row.peer))
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

    def _number(self, transaction_id: str) -> int:
        """Return the number of a transaction, which is locked; a new one when it has none."""
        number = self._numbers.get(transaction_id)
        if number is None:
            self._lock(Kind.TRANSACTION, transaction_id)
            found = self._found.pop(transaction_id, None) or self._find(transaction_id)
            number, self._new_ids[transaction_id] = found.fetchone()
            if number < 0:
                number = -number
                self._connection.execute(_GIVE_NUMBER, (number, transaction_id))
            self._numbers[transaction_id] = number
        return number

    def _forget_found(self) -> None:
        """Forget what a savepoint that was undone may have taken away."""
        self._numbers.clear()
        self._found.clear()
        self._new_ids.clear()

    def _find(self, transaction_id: str) -> Rows:
        return self._connection.execute(_FIND_NUMBER, (transaction_id,))

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
        if self._locks is None or not self._locks.take(kind, name):
            return
        if kind is Kind.TRANSACTION and name not in self._numbers:
            self._found[name] = self._find(name)
