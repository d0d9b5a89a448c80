"""What the tables of a unit of work need of a connection, whichever database is behind it."""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol


class Rows(Protocol):
    """What a statement found and did."""

    @property
    def rowcount(self) -> int:
        """Return how many rows were written."""
        ...

    def fetchone(self) -> Any:
        """Return the next row, None at the end."""
        ...

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Give the rows that are left."""
        ...


class SqlConnection(Protocol):
    """A connection with an open transaction; statements have `?` where values go."""

    def execute(self, sql: str, parameters: Any = (), /) -> Rows:
        """Run a statement."""
        ...

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> object:
        """Run a statement once for each row of values."""
        ...
