"""The store of a node in PostgreSQL, which any number of its processes share.

Units of work run in a few threads, each with a session of its own, and those on the ledger in
one; queries in a few others. What units of all processes read to write they lock in one order:
`postgres_locks`.
"""

import asyncio
from collections.abc import Callable
from types import CodeType
from typing import Any, TypeVar

import psycopg

from adapter.domain.errors import WireError
from adapter.service.ports import UnitOfWork
from adapter.service.records import NOTHING, About
from adapter.store.errors import StoreError
from adapter.store.postgres_connection import Connection, place
from adapter.store.postgres_jobs import Job, Jobs
from adapter.store.postgres_lane import GROUP_UNITS, Lane, look
from adapter.store.postgres_migrate import migrate_postgres
from adapter.store.postgres_outbox import RELEASE_DEAD_CLAIMS
from adapter.store.postgres_session import Session
from adapter.store.sqlite_outbox import say_released

T = TypeVar("T")

WRITERS = 4
"""Sessions for units of work: groups of units need few, enough to fill the waits for commits."""
READERS = 3
"""Sessions for queries."""
GROUP_QUERIES = 16
"""Queries that share a snapshot."""
QUEUE_UNITS = 2_048
"""Units that may wait, as with SQLite."""


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
                say_released(connection.control(RELEASE_DEAD_CLAIMS).rowcount)
            finally:
                connection.close()
        except psycopg.Error as error:
            msg = f"the database {where} cannot be opened: {error}"
            raise StoreError(msg) from error
        self._queue_units = queue_units
        self._on_ledger: set[CodeType] = set()
        """Code of units that have used the ledger, and will again."""
        names: set[str] = set()
        writers = [Session(url, names) for _ in range(WRITERS)]
        readers = [Session(url) for _ in range(READERS)]
        self._ledger = Jobs("postgres ledger", [Session(url, names)], Lane().run, GROUP_UNITS)
        lane = Lane(self._to_ledger)
        self._writers = Jobs("postgres writer", writers, lane.run, GROUP_UNITS)
        self._readers = Jobs("postgres reader", readers, look, GROUP_QUERIES)
        self._closed = False

    @property
    def waiting(self) -> int:
        """Return how many units of work have not ended."""
        return self._writers.waiting + self._ledger.waiting

    async def write(
        self, unit: Callable[[UnitOfWork], T], *, brief: bool = False, about: About = NOTHING
    ) -> T:
        """Run a unit of work and return its result once it is durably committed.

        When the caller is cancelled the unit still runs, whole.

        Raises:
            WireError: NET_OVERLOADED when too many units wait, NET_DOWNSTREAM_UNAVAILABLE when
                the database refuses. Whatever `unit` raises rolls it back and is raised here.
        """
        del brief  # the server is waited for, so a thread runs it in any case
        self._refuse_closed()
        if self.waiting >= self._queue_units + WRITERS:
            raise WireError("NET_OVERLOADED", f"{self.waiting} units of work wait already")
        jobs = self._ledger if _code_of(unit) in self._on_ledger else self._writers
        result: T = await jobs.do(unit, about)
        return result

    async def read(self, query: Callable[[UnitOfWork], T]) -> T:
        """Run a query on one consistent snapshot.

        Raises:
            StoreError: the query writes.
            WireError: NET_DOWNSTREAM_UNAVAILABLE when the database refuses.
        """
        self._refuse_closed()
        result: T = await self._readers.do(query)
        return result

    async def close(self) -> None:
        """Finish waiting units and close."""
        self._closed = True
        await asyncio.to_thread(self._close)

    def _to_ledger(self, job: Job) -> None:
        code = _code_of(job.work)
        if code is not None:
            self._on_ledger.add(code)
        self._ledger.put(job)

    def _close(self) -> None:
        self._readers.close()
        self._writers.close()
        self._ledger.close()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise WireError("NET_DOWNSTREAM_UNAVAILABLE", "the database is closed")


def _code_of(unit: Callable[[UnitOfWork], Any]) -> CodeType | None:
    return getattr(unit, "__code__", None)
