"""What the tables of a unit of work share: the connection, and the numbers of transactions."""

import sqlite3
from collections.abc import Sequence

from adapter.store.sql import Rows, SqlConnection

NUMBER = "(SELECT number FROM wire_transaction WHERE transaction_id = ?)"
"""Number of a transaction, in conditions; NULL, which equals nothing, when it has none."""

_NUMBER = "SELECT number FROM wire_transaction WHERE transaction_id = ?"
_GIVE_NUMBER = "INSERT INTO wire_transaction (transaction_id) VALUES (?)"


class Table:
    """Reads and writes some tables inside the open transaction of a connection."""

    __slots__ = ("_connection", "_numbers")

    def __init__(self, connection: SqlConnection) -> None:
        """Work inside the open transaction of `connection`."""
        self._connection = connection
        self._numbers: dict[str, int | None] = {}

    def _number(self, transaction_id: str) -> int:
        """Return the number of a transaction, a new one when it has none.

        Remembered until a savepoint is rolled back, which may take the number away.
        """
        if transaction_id not in self._numbers:
            found = self._connection.execute(_NUMBER, (transaction_id,)).fetchone()
            self._numbers[transaction_id] = None if found is None else int(found[0])
        number = self._numbers[transaction_id]
        if number is None:
            number = given_id(self._connection.execute(_GIVE_NUMBER, (transaction_id,)))
            self._numbers[transaction_id] = number
        return number


def given_id(rows: Rows) -> int:
    """Return the id that an INSERT on SQLite gave; RETURNING takes 14 µs, for a table beside."""
    assert isinstance(rows, sqlite3.Cursor)
    assert rows.lastrowid is not None
    return rows.lastrowid


def names(columns: Sequence[str]) -> str:
    """Return a list of columns for a statement."""
    return ", ".join(columns)


def places(columns: Sequence[str]) -> str:
    """Return as many places for values as there are columns."""
    return ", ".join("?" for _ in columns)
