"""Requests of our own and the attempts to send them, in SQLite."""

from collections.abc import Sequence

from adapter.service.records import Asked
from adapter.store.rows import ASKED_COLUMNS, asked_from, asked_values
from adapter.store.sqlite_table import NUMBER, Table, names, places

_COLUMNS = names(ASKED_COLUMNS)
_SAVE = f"""
INSERT INTO asked ({_COLUMNS}, transaction_number) VALUES ({places(ASKED_COLUMNS)}, ?)
ON CONFLICT (message_id, action) DO UPDATE SET
    side = excluded.side, transaction_id = excluded.transaction_id, peer = excluded.peer,
    deadline_ms = excluded.deadline_ms, state = excluded.state,
    answer_digest = excluded.answer_digest, error = excluded.error,
    transaction_number = excluded.transaction_number
"""
_ONE = f"SELECT {_COLUMNS} FROM asked WHERE message_id = ? AND action = ?"
_OPEN = f"SELECT {_COLUMNS} FROM asked WHERE transaction_number = {NUMBER} AND state = 'OPEN'"
_OPEN_ALL = f"{_OPEN} ORDER BY deadline_ms, message_id"
_OPEN_ACTION = f"{_OPEN} AND action = ? ORDER BY deadline_ms, message_id"
_DUE = f"""
SELECT {_COLUMNS} FROM asked WHERE state = 'OPEN' AND deadline_ms < ?
ORDER BY deadline_ms, message_id LIMIT ?
"""
_ADD_ATTEMPT = "INSERT INTO attempt (message_id, action, authorization) VALUES (?, ?, ?)"
_DROP_ATTEMPT = "DELETE FROM attempt WHERE message_id = ? AND action = ? AND authorization = ?"
_ATTEMPTS = "SELECT authorization FROM attempt WHERE message_id = ? AND action = ? ORDER BY id"


class AskedTable(Table):
    """The part of a unit of work about requests of our own."""

    __slots__ = ()

    def asked(self, message_id: str, action: str) -> Asked | None:
        """Return a request of ours."""
        found = self._connection.execute(_ONE, (message_id, action)).fetchone()
        return None if found is None else asked_from(found)

    def open_asked(self, transaction_id: str, action: str | None = None) -> Sequence[Asked]:
        """Return our unanswered requests of a transaction, nearest deadline first."""
        if action is None:
            found = self._connection.execute(_OPEN_ALL, (transaction_id,))
        else:
            found = self._connection.execute(_OPEN_ACTION, (transaction_id, action))
        return [asked_from(values) for values in found]

    def save_asked(self, asked: Asked) -> None:
        """Write a request of ours."""
        number = self._number(asked.transaction_id)
        self._connection.execute(_SAVE, (*asked_values(asked), number))

    def due_asked(self, now_ms: int, limit: int) -> Sequence[Asked]:
        """Return open requests with a deadline before `now_ms`, oldest first."""
        return [asked_from(values) for values in self._connection.execute(_DUE, (now_ms, limit))]

    def add_attempt(self, message_id: str, action: str, authorization: str) -> None:
        """Keep the Authorization header of one attempt to send."""
        self._connection.execute(_ADD_ATTEMPT, (message_id, action, authorization))

    def drop_attempt(self, message_id: str, action: str, authorization: str) -> None:
        """Forget the header of an attempt that was not made."""
        self._connection.execute(_DROP_ATTEMPT, (message_id, action, authorization))

    def attempts(self, message_id: str, action: str) -> Sequence[str]:
        """Return the Authorization headers of all attempts of a message of ours, in order."""
        found = self._connection.execute(_ATTEMPTS, (message_id, action))
        return [authorization for (authorization,) in found]
