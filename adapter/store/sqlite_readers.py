"""Reads on a SQLite file beside its writer: each query sees one committed snapshot."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from adapter.service.ports import UnitOfWork
from adapter.store.sqlite_connection import Connection, closed, open_reader, told
from adapter.store.sqlite_unit import SqliteUnit

T = TypeVar("T")

READERS = 4
"""Connections: reads take well under 1 ms, and beyond the cores there is nothing to gain."""


class Readers:
    """A few read-only connections and as many threads."""

    def __init__(self, path: Path) -> None:
        """Open the connections; the file must exist."""
        self._connections = [open_reader(path) for _ in range(READERS)]
        self._free: SimpleQueue[Connection] = SimpleQueue()
        for connection in self._connections:
            self._free.put(connection)
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix=f"reader {path.name}")
        self._closed = False

    async def run(self, query: Callable[[UnitOfWork], T]) -> T:
        """Return the result of a query on one snapshot.

        Raises:
            WireError: NET_DOWNSTREAM_UNAVAILABLE.
            StoreError: the query writes.
        """
        if self._closed:
            raise closed()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._query, query)

    def close(self) -> None:
        """Finish the queries that wait and close the connections; blocks until then."""
        self._closed = True
        self._threads.shutdown()
        for connection in self._connections:
            connection.close()

    def _query(self, query: Callable[[UnitOfWork], T]) -> T:
        connection = self._free.get()
        try:
            connection.control("BEGIN")
            return SqliteUnit(connection).run(query)
        except sqlite3.DatabaseError as error:
            refusal = told(error, is_query=True)
            raise refusal from refusal.__cause__
        finally:
            if connection.in_transaction:
                connection.control("ROLLBACK")
            self._free.put(connection)
