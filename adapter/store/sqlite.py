"""The store of a node in one SQLite file, or in memory for tests.

One connection writes (`sqlite_writer`), a few read (`sqlite_readers`); `sqlite_unit` is what both
hand to their callers. Write-ahead log with `synchronous = FULL`: what was acknowledged outlives a
kill and a power cut.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

from adapter.service.ports import UnitOfWork
from adapter.service.records import NOTHING, About
from adapter.store.errors import StoreError
from adapter.store.migrate import migrate_sqlite
from adapter.store.sqlite_connection import Connection, FileLock, open_writer
from adapter.store.sqlite_outbox import RELEASE_CLAIMS, say_released
from adapter.store.sqlite_readers import Readers
from adapter.store.sqlite_writer import QUEUE_UNITS, Writer

T = TypeVar("T")

MEMORY: Literal[":memory:"] = ":memory:"


class SqliteStore:
    """Durable state of one node. Implements `service.ports.Store`."""

    def __init__(self, path: Path | Literal[":memory:"], *, queue_units: int = QUEUE_UNITS) -> None:
        """Open the database, bring its schema up to date and start the threads.

        Args:
            path: the file, made with its folder when there is none; or `:memory:`, where reads
                wait for the writer.
            queue_units: units of work that may wait before NET_OVERLOADED.

        Raises:
            StoreError: not a database of ours, of a newer program, in use, or out of reach.
        """
        self._lock: FileLock | None = None
        self._readers: Readers | None = None
        if path == MEMORY:
            self._writer = Writer(_opened(None), MEMORY, queue_units)
            return
        assert isinstance(path, Path), path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)  # it holds meter ids and contracts
            self._lock = FileLock(path)
            connection = _opened(path)
            self._readers = Readers(path)
        except (OSError, sqlite3.DatabaseError) as error:
            self._unlock()
            msg = f"the database {path} cannot be opened: {error}"
            raise StoreError(msg) from error
        except BaseException:
            self._unlock()
            raise
        self._writer = Writer(connection, path.name, queue_units)

    @property
    def waiting(self) -> int:
        """Return how many units of work wait for the writer."""
        return self._writer.waiting

    async def write(
        self, unit: Callable[[UnitOfWork], T], *, brief: bool = False, about: About = NOTHING
    ) -> T:
        """Run a unit of work and return its result once it is durably committed.

        A brief one runs on the event loop itself; what it is `about` is found as it is asked for,
        nothing is faster here. When the caller is cancelled the unit still runs, whole.

        Raises:
            WireError: NET_OVERLOADED when too many units wait, NET_DOWNSTREAM_UNAVAILABLE when
                the database refuses. Whatever `unit` raises rolls it back and is raised here.
        """
        del about
        return await self._writer.run(unit, is_brief=brief)

    async def read(self, query: Callable[[UnitOfWork], T]) -> T:
        """Run a query on one consistent snapshot.

        Raises:
            StoreError: the query writes.
            WireError: NET_DOWNSTREAM_UNAVAILABLE when the database refuses.
        """
        if self._readers is None:
            return await self._writer.run(query, is_query=True)
        return await self._readers.run(query)

    async def close(self) -> None:
        """Finish waiting units and close."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        # The writer last: the last connection writes the log back into the file.
        if self._readers is not None:
            self._readers.close()
        self._writer.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()


def _release_claims(connection: Connection) -> None:
    """Make messages due again that a killed process had claimed.

    The file belongs to one process, so no claim is alive when it is opened; waiting for the leases
    to end would cost a request its life.
    """
    connection.control("BEGIN IMMEDIATE")
    count = connection.execute(RELEASE_CLAIMS).rowcount
    connection.control("COMMIT")
    say_released(count)


def _opened(path: Path | None) -> Connection:
    connection = open_writer(path)
    try:
        migrate_sqlite(connection)
        _release_claims(connection)
    except BaseException:
        connection.close()
        raise
    return connection
