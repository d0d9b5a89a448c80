"""The store of a node in PostgreSQL, which any number of its processes share.

Units of work run in a few threads, each with a session of its own; queries in a few others. What
units of all processes read to write they lock in one order: `postgres_locks`.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import LifoQueue
from types import CodeType
from typing import Any, TypeVar

import psycopg

from adapter.domain.errors import WireError
from adapter.service.ports import UnitOfWork
from adapter.store.errors import StoreError
from adapter.store.postgres_connection import Connection, place
from adapter.store.postgres_lane import LedgerLane
from adapter.store.postgres_locks import Key, Kind
from adapter.store.postgres_migrate import migrate_postgres
from adapter.store.postgres_outbox import RELEASE_DEAD_CLAIMS
from adapter.store.postgres_session import Session

T = TypeVar("T")

WRITERS = 8
"""Sessions for units of work: enough to fill the waits for commits and the network."""
READERS = 4
"""Sessions for queries."""
QUEUE_UNITS = 2_048
"""Units that may wait, as with SQLite."""


class Sessions:
    """A few sessions and as many threads."""

    def __init__(self, url: str, count: int, name: str) -> None:
        """Open nothing yet."""
        self._all = [Session(url) for _ in range(count)]
        # The one used last first: with little to do the others stay idle.
        self._free: LifoQueue[Session] = LifoQueue()
        for session in self._all:
            self._free.put(session)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix=name)
        self.waiting = 0
        """Work that has not ended; changed by the event loop only."""

    async def run(self, work: Callable[[Session], T]) -> T:
        """Return what `work` returns; it is done whole when the caller is cancelled meanwhile."""
        self.waiting += 1
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._threads, self._run, work)
        running.add_done_callback(self._done)
        return await asyncio.shield(running)

    def close(self) -> None:
        """Finish what waits and end the sessions; blocks until then."""
        self._threads.shutdown()
        for session in self._all:
            session.close()

    def _run(self, work: Callable[[Session], T]) -> T:
        session = self._free.get()
        try:
            return work(session)
        except StopIteration as error:  # a future cannot hold it
            msg = "a unit of work raised StopIteration"
            raise RuntimeError(msg) from error
        finally:
            self._free.put(session)

    def _done(self, running: asyncio.Future[Any]) -> None:
        self.waiting -= 1
        if not running.cancelled():
            running.exception()  # known, also when the caller has gone


class PostgresStore:
    """Durable state of one node. Implements `service.ports.Store`."""

    def __init__(self, url: str, *, queue_units: int = QUEUE_UNITS) -> None:
        """Bring the schema up to date.

        Args:
            url: `postgresql://user@host/database`; tables are in the user's current schema.
            queue_units: units of work that may wait before NET_OVERLOADED.

        Raises:
            StoreError: out of reach, not a schema of ours, or one of a newer program.
        """
        where = place(url)
        try:
            connection = Connection.open(url)
            try:
                migrate_postgres(connection)
                connection.control(RELEASE_DEAD_CLAIMS)
            finally:
                connection.close()
        except psycopg.Error as error:
            msg = f"the database {where} cannot be opened: {error}"
            raise StoreError(msg) from error
        self._queue_units = queue_units
        self._writers = Sessions(url, WRITERS, "postgres writer")
        self._readers = Sessions(url, READERS, "postgres reader")
        self._ledger = LedgerLane(url)
        self._on_ledger: set[CodeType] = set()
        """Code of units that have used the ledger, and will again."""
        self._closed = False

    @property
    def waiting(self) -> int:
        """Return how many units of work have not ended."""
        return self._writers.waiting + self._ledger.waiting

    async def write(self, unit: Callable[[UnitOfWork], T]) -> T:
        """Run a unit of work and return its result once it is durably committed.

        When the caller is cancelled the unit still runs, whole.

        Raises:
            WireError: NET_OVERLOADED when too many units wait, NET_DOWNSTREAM_UNAVAILABLE when
                the database refuses. Whatever `unit` raises rolls it back and is raised here.
        """
        self._refuse_closed()
        if self.waiting >= self._queue_units + WRITERS:
            raise WireError("NET_OVERLOADED", f"{self.waiting} units of work wait already")
        code: CodeType | None = getattr(unit, "__code__", None)
        if code in self._on_ledger:
            return await self._ledger.run(unit)
        return await self._writers.run(lambda session: self._write(session, unit, code))

    async def read(self, query: Callable[[UnitOfWork], T]) -> T:
        """Run a query on one consistent snapshot.

        Raises:
            StoreError: the query writes.
            WireError: NET_DOWNSTREAM_UNAVAILABLE when the database refuses.
        """
        self._refuse_closed()
        return await self._readers.run(lambda session: session.read(query))

    async def close(self) -> None:
        """Finish waiting units and close."""
        self._closed = True
        await asyncio.to_thread(self._close)

    def _write(self, session: Session, unit: Callable[[UnitOfWork], T], code: CodeType | None) -> T:
        wanted: set[Key] = set()
        result = session.write(unit, wanted)
        if code is not None and any(kind is Kind.LEDGER for kind, _ in wanted):
            self._on_ledger.add(code)
        return result

    def _close(self) -> None:
        self._readers.close()
        self._writers.close()
        self._ledger.close()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise WireError("NET_DOWNSTREAM_UNAVAILABLE", "the database is closed")
