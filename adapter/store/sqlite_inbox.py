"""Messages received and answered, in SQLite."""

from collections.abc import Sequence

from adapter.domain.codes import CODES
from adapter.service.records import InboxRow, LoggedMessage
from adapter.store.rows import FINISHED, INBOX_COLUMNS, inbox_from, inbox_values
from adapter.store.sqlite_table import NUMBER, Table, names, places

OURSELVES = ""
"""Name of this node in a message log: the store does not know its subscriber id."""

_COLUMNS = names(INBOX_COLUMNS)
_ADD = f"""
INSERT INTO inbox ({_COLUMNS}, transaction_number) VALUES ({places(INBOX_COLUMNS)}, ?)
"""
_ONE = f"""
SELECT {_COLUMNS} FROM inbox WHERE sender = ? AND message_id = ? AND action = ? AND variant = ?
"""
_OF_TRANSACTION = f"SELECT {_COLUMNS} FROM inbox WHERE transaction_number = {NUMBER} ORDER BY id"

_FINISHED = names([f"'{state.value}'" for state in FINISHED])
NO_OPEN_TRADE = f"""
NOT EXISTS (SELECT 1 FROM trade WHERE state NOT IN ({_FINISHED})
            AND trade.transaction_number = message.transaction_number)
AND NOT EXISTS (SELECT 1 FROM trade WHERE state NOT IN ({_FINISHED})
                AND leg_number = message.transaction_number)
"""
"""Condition on a row named `message`: no trade of its transaction, nor of its leg, goes on."""

_PRUNE = f"""
DELETE FROM inbox WHERE id IN (
    SELECT id FROM inbox AS message WHERE received_us < ? AND {NO_OPEN_TRADE}
    ORDER BY received_us LIMIT ?)
RETURNING transaction_number
"""


class InboxTable(Table):
    """The inbox part of a unit of work."""

    __slots__ = ()

    def inbox_row(self, sender: str, message_id: str, action: str, variant: str) -> InboxRow | None:
        """Return the stored message, if it was received before."""
        found = self._connection.execute(_ONE, (sender, message_id, action, variant)).fetchone()
        return None if found is None else inbox_from(found)

    def add_inbox_row(self, row: InboxRow) -> None:
        """Keep a message and its reply; the key must be new."""
        number = self._number(row.transaction_id)
        self._connection.execute(_ADD, (*inbox_values(row), number))

    def received_messages(self, transaction_id: str) -> Sequence[LoggedMessage]:
        """Return the messages in of one transaction, in order of arrival."""
        found = self._connection.execute(_OF_TRANSACTION, (transaction_id,))
        return [_logged(inbox_from(values)) for values in found]

    def prune_inbox(self, before_us: int, limit: int) -> Sequence[int]:
        """Delete the oldest messages received before then of which no trade is open.

        Returns the number of the transaction of each.
        """
        gone = self._connection.execute(_PRUNE, (before_us, limit))
        return [number for (number,) in gone]


def _logged(row: InboxRow) -> LoggedMessage:
    return LoggedMessage(
        direction="in",
        at_us=row.received_us,
        sender=row.sender,
        receiver=OURSELVES,
        action=row.action,
        transaction_id=row.transaction_id,
        message_id=row.message_id,
        state="NACK" if _refused(row.code) else "ACK",
        http_status=row.http_status,
        code=row.code,
        signature="valid" if row.authorization else "missing",
        attempts=1,
        next_ms=None,
        took_us=None,
        body=row.body,
    )


def _refused(code: str | None) -> bool:
    """Return whether a reply with this code says NACK: BIZ_ALREADY_CANCELLED goes with an ACK."""
    return code is not None and not (code in CODES and CODES[code].http_status < 300)
