"""Messages to send, in SQLite.

The rows of one (peer, transaction) form a line, and at most one of a line is in flight. A line's
head has `ready_ms`, the others have not: what holds is in the first migration, beside the table.
"""

import logging
from collections.abc import Sequence
from typing import Any

from adapter.domain.replace import replace
from adapter.service.records import ALL, LoggedMessage, OutboxRow, OutboxState, Share
from adapter.store.errors import StoreError
from adapter.store.rows import (
    OUTBOX_CHANGED,
    OUTBOX_COLUMNS,
    OUTBOX_STORED,
    outbox_changes,
    outbox_from,
    outbox_values,
)
from adapter.store.sqlite_inbox import NO_OPEN_TRADE, OURSELVES
from adapter.store.sqlite_table import NUMBER, Table, given_id, names, places

_log = logging.getLogger(__name__)

SELECTED = ", ".join(
    "outbox_body.body" if column == "body" else f"outbox.{column}" for column in OUTBOX_COLUMNS
)
# CROSS JOIN: SQLite then reads the outbox first, by the index that the condition names.
_ROWS = f"SELECT {SELECTED} FROM outbox CROSS JOIN outbox_body USING (id)"

HEAD = """
SELECT id, state FROM outbox WHERE transaction_number = ? AND peer = ? AND ready_ms IS NOT NULL
"""
ADD = f"""
INSERT INTO outbox ({names(OUTBOX_STORED)}, transaction_number, ready_ms)
VALUES ({places(OUTBOX_STORED)}, ?, CASE WHEN EXISTS ({HEAD}) THEN NULL ELSE ? END)
"""
_ADD_BODY = "INSERT INTO outbox_body (id, body) VALUES (?, ?)"
_ONE = f"{_ROWS} WHERE outbox.id = ?"
_OF_MESSAGE = f"{_ROWS} WHERE message_id = ? AND action = ? ORDER BY outbox.id DESC LIMIT 1"
_STATE = "SELECT state FROM outbox WHERE message_id = ? AND action = ? ORDER BY id DESC LIMIT 1"
_OF_TRANSACTION = f"{_ROWS} WHERE transaction_number = {NUMBER} ORDER BY outbox.id"
_DEAD = f"{_ROWS} WHERE state = 'DEAD' ORDER BY outbox.id LIMIT ?"
PEERS = """
RECURSIVE line (peer) AS (
    SELECT min(peer) FROM outbox WHERE ready_ms IS NOT NULL
    UNION ALL
    SELECT (SELECT min(later.peer) FROM outbox AS later
            WHERE later.ready_ms IS NOT NULL AND later.peer > line.peer)
    FROM line WHERE line.peer IS NOT NULL)
"""
"""The peers for whom messages wait: one step in the index for each, however many messages."""
_FIRST = """
(SELECT min(first.ready_ms) FROM outbox AS first
 WHERE first.ready_ms IS NOT NULL AND first.peer = line.peer)
"""
_WAITING = f"WITH {PEERS} SELECT peer, {_FIRST} FROM line WHERE peer IS NOT NULL ORDER BY 2"
_NEXT = f"WITH {PEERS} SELECT min({_FIRST}) FROM line WHERE peer IS NOT NULL"
_READY = f"""
{_ROWS} WHERE outbox.peer = ? AND ready_ms <= ? ORDER BY ready_ms, outbox.id LIMIT ?
"""

_CLAIM = "UPDATE outbox SET state = 'CLAIMED', ready_ms = ? WHERE id = ?"
RELEASE_CLAIMS = """
UPDATE outbox SET state = 'DUE', ready_ms = next_ms WHERE state = 'CLAIMED' AND ready_ms IS NOT NULL
"""
"""Makes rows due again that nobody sends any more; the last condition is that of the index."""

CHANGES = ", ".join(f"{column} = ?" for column in OUTBOX_CHANGED)
_SAVE = f"UPDATE outbox SET {CHANGES}, ready_ms = ? WHERE id = ?"
_SAVE_CLAIMED = f"""
UPDATE outbox SET {CHANGES}, ready_ms = NULL WHERE id = ? AND state = 'CLAIMED'
"""
STEP_BACK = "UPDATE outbox SET ready_ms = NULL WHERE id = ?"
STEP_UP = """
UPDATE outbox SET ready_ms = next_ms WHERE id = (
    SELECT id FROM outbox
    WHERE transaction_number = ? AND peer = ? AND state = 'DUE' AND ready_ms IS NULL
    ORDER BY id LIMIT 1)
"""
_STEP_UP_BEHIND = STEP_UP.replace(
    "transaction_number = ?",
    "transaction_number = (SELECT transaction_number FROM outbox AS head WHERE head.id = ?)",
)
_LEASE = "SELECT ready_ms FROM outbox WHERE id = ?"

OLD = f"""
SELECT id, message_id, action, transaction_number FROM outbox AS message
WHERE state IN ('SENT', 'REFUSED') AND created_ms < ? AND {NO_OPEN_TRADE}
ORDER BY created_ms LIMIT ?
"""
_DELETE = "DELETE FROM outbox WHERE id = ?"
_DELETE_ATTEMPTS = "DELETE FROM attempt WHERE message_id = ? AND action = ?"
_DELETE_ASKED = "DELETE FROM asked WHERE message_id = ? AND action = ? AND state <> 'OPEN'"

_OPEN = (OutboxState.DUE, OutboxState.CLAIMED)


def say_released(count: int) -> None:
    """Log how many messages are due again that a killed process had claimed."""
    if count:
        _log.warning("a process was killed: %d messages it had claimed are due again", count)


class OutboxTable(Table):
    """The outbox part of a unit of work."""

    __slots__ = ()

    def enqueue(self, row: OutboxRow) -> int:
        """Queue a message, which is DUE; return its id."""
        assert row.state is OutboxState.DUE, row.state
        number = self._number(row.transaction_id)
        values = (*outbox_values(row), number, number, row.peer, row.next_ms)
        row_id = given_id(self._connection.execute(ADD, values))
        self._connection.execute(_ADD_BODY, (row_id, row.body))
        return row_id

    def outbox_row(self, row_id: int) -> OutboxRow | None:
        """Return one outbox row."""
        return self._row(_ONE, (row_id,))

    def find_outbox(self, message_id: str, action: str) -> OutboxRow | None:
        """Return the newest outbox row of a message."""
        return self._row(_OF_MESSAGE, (message_id, action))

    def is_due(self, message_id: str, action: str) -> bool:
        """Return whether the newest outbox row of a message is DUE; the row is not read."""
        found = self._connection.execute(_STATE, (message_id, action)).fetchone()
        return found is not None and found[0] == OutboxState.DUE

    def claim_outbox(
        self, now_ms: int, lease_ms: int, limit: int, share: Share = ALL
    ) -> Sequence[OutboxRow]:
        """Claim due rows, longest due first, at most one per (peer, transaction).

        A row is due when it is DUE and `next_ms` has come, or CLAIMED with a lease that ended. A
        row behind an earlier unsent row of its (peer, transaction) waits; one that is DEAD is not
        waited for. Of each peer come no more than its share, first of the one that waits longest.
        """
        rows: list[OutboxRow] = []
        for peer, ready_ms in self._connection.execute(_WAITING).fetchall():
            most = min(limit - len(rows), share.of(peer))
            if most > 0 and ready_ms <= now_ms:
                rows += self._rows(_READY, (peer, now_ms, most))
        rows.sort(key=_due)
        self._connection.executemany(_CLAIM, [(now_ms + lease_ms, row.id) for row in rows])
        return [replace(row, state=OutboxState.CLAIMED) for row in rows]

    def save_outbox(self, row: OutboxRow) -> bool:
        """Write a row back after an attempt; peer, transaction, message and body stay.

        Raises:
            StoreError: there is no such row.
        """
        changes = outbox_changes(row)
        # Nearly always: what is claimed is the head of its line, and the next one steps up.
        is_over = row.state is not OutboxState.CLAIMED
        if is_over and self._connection.execute(_SAVE_CLAIMED, (*changes, row.id)).rowcount == 1:
            self._connection.execute(_STEP_UP_BEHIND, (row.id, row.peer))
            return True
        line = (self._number(row.transaction_id), row.peer)
        head = self._connection.execute(HEAD, line).fetchone()
        other = None if head is None or head[0] == row.id else head
        if other is not None and row.state is OutboxState.DUE and other[1] == OutboxState.DUE:
            # A dead letter is sent again; the line forms anew.
            self._connection.execute(STEP_BACK, (other[0],))
            other = None
        values = (*changes, self._lease_end(row), row.id)
        if self._connection.execute(_SAVE, values).rowcount != 1:
            msg = f"there is no outbox row {row.id}"
            raise StoreError(msg)
        if other is None and row.state is not OutboxState.CLAIMED:
            self._connection.execute(STEP_UP, line)
        return True

    def next_outbox_ms(self) -> int | None:
        """Return when the next row becomes due or a lease ends, None when nothing waits."""
        earliest: int | None = self._connection.execute(_NEXT).fetchone()[0]
        return earliest

    def dead_outbox(self, limit: int) -> Sequence[OutboxRow]:
        """Return dead letters, oldest first."""
        return self._rows(_DEAD, (limit,))

    def sent_messages(self, transaction_id: str) -> Sequence[LoggedMessage]:
        """Return the messages out of one transaction, in the order they were queued."""
        return [_logged(row) for row in self._rows(_OF_TRANSACTION, (transaction_id,))]

    def prune_outbox(self, before_us: int, limit: int) -> Sequence[int]:
        """Delete the oldest delivered messages queued before then of which no trade is open.

        What was kept beside them goes too: the headers of their attempts and, when answered, the
        request they were. Returns the number of the transaction of each.
        """
        old = self._connection.execute(OLD, (before_us // 1_000, limit)).fetchall()
        messages = [(message_id, action) for _, message_id, action, _ in old]
        self._connection.executemany(_DELETE, [(row_id,) for row_id, *_ in old])
        self._connection.executemany(_DELETE_ATTEMPTS, messages)
        self._connection.executemany(_DELETE_ASKED, messages)
        return [number for *_, number in old]

    def _lease_end(self, row: OutboxRow) -> int | None:
        """Return the lease of a row that stays in flight, which a save does not change."""
        if row.state is not OutboxState.CLAIMED:
            return None
        lease: tuple[int] | None = self._connection.execute(_LEASE, (row.id,)).fetchone()
        return None if lease is None else lease[0]

    def _row(self, sql: str, key: tuple[Any, ...]) -> OutboxRow | None:
        found = self._connection.execute(sql, key).fetchone()
        return None if found is None else outbox_from(found)

    def _rows(self, sql: str, key: tuple[Any, ...]) -> Sequence[OutboxRow]:
        return [outbox_from(values) for values in self._connection.execute(sql, key)]


def _due(row: OutboxRow) -> tuple[int, int]:
    return row.next_ms, row.id


def _logged(row: OutboxRow) -> LoggedMessage:
    return LoggedMessage(
        direction="out",
        at_us=row.created_ms * 1_000 if row.sent_us is None else row.sent_us,
        sender=OURSELVES,
        receiver=row.peer,
        action=row.action,
        transaction_id=row.transaction_id,
        message_id=row.message_id,
        state=row.state.value,
        http_status=row.http_status,
        code=row.code,
        signature=row.ack_signature,
        attempts=row.attempts,
        next_ms=row.next_ms if row.state in _OPEN else None,
        took_us=row.took_us,
        body=row.body,
    )
