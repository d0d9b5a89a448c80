"""The one thread that writes to a SQLite file: group commit.

Units wait in a bounded queue. The writer takes what waits, up to GROUP_UNITS, runs each in a
savepoint of one transaction, commits once and wakes the event loop once. A unit that raises is
undone alone; when the commit fails, all units of the group fail and nothing of them is stored.
"""

import asyncio
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from adapter.domain.errors import WireError
from adapter.service.ports import UnitOfWork
from adapter.store.sqlite_connection import Connection, closed, refused, told
from adapter.store.sqlite_unit import SqliteUnit, within_savepoint

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

GROUP_UNITS = 64
"""Units per commit: the throughput hardly rises beyond, the wait of the first does."""
QUEUE_UNITS = 2_048
"""Units that may wait; about 0.1 s of work, so that what is refused could not be answered soon."""


class Job:
    """A unit that waits for the writer, and afterwards its outcome."""

    __slots__ = ("_error", "_loop", "_result", "_woken", "is_query", "unit")

    def __init__(self, unit: Callable[[UnitOfWork], Any], *, is_query: bool) -> None:
        """Wait with `unit`; called on the event loop of the caller."""
        self.unit = unit
        self.is_query = is_query
        self._loop = asyncio.get_running_loop()
        self._woken: asyncio.Future[None] = self._loop.create_future()
        self._result: Any = None
        self._error: BaseException | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop of the caller."""
        return self._loop

    @property
    def error(self) -> BaseException | None:
        """Return what the unit has raised, if anything."""
        return self._error

    def run(self, connection: Connection) -> None:
        """Run the unit in a savepoint and keep its outcome."""
        try:
            self._result = within_savepoint(
                connection, lambda: SqliteUnit(connection).run(self.unit)
            )
        except sqlite3.DatabaseError as error:
            self._error = told(error, is_query=self.is_query)
        except BaseException as error:  # whatever it is, it belongs to the caller of the unit
            self._error = error

    def fail(self, error: BaseException) -> None:
        """Forget a result, because it was not committed."""
        self._result = None
        self._error = error

    def wake(self) -> None:
        """Let the caller go on; on its event loop. A caller that was cancelled is not there."""
        if not self._woken.done():
            self._woken.set_result(None)

    async def outcome(self) -> Any:
        """Return what the unit returned, or raise what it raised, after the commit."""
        await self._woken
        if self._error is not None:
            raise self._error
        return self._result


class Writer:
    """Owns the writing connection and its thread."""

    def __init__(self, connection: Connection, name: str, queue_units: int = QUEUE_UNITS) -> None:
        """Start the thread."""
        self._connection = connection
        self._queue_units = queue_units
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closing = False
        # A daemon, so that a program which ends by an exception does not wait for it.
        self._thread = threading.Thread(target=self._work, name=f"writer {name}", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Return how many units wait."""
        return len(self._jobs)

    async def run(self, unit: Callable[[UnitOfWork], T], *, is_query: bool = False) -> T:
        """Run a unit and return its result after the commit.

        A caller that is cancelled meanwhile gives up the result only: the unit runs.

        Raises:
            WireError: NET_OVERLOADED, NET_DOWNSTREAM_UNAVAILABLE; or what the unit raises.
        """
        job = Job(unit, is_query=is_query)
        with self._changed:
            if self._closing:
                raise closed()
            if len(self._jobs) >= self._queue_units:
                raise _overloaded(len(self._jobs))
            self._jobs.append(job)
            self._changed.notify()
        result: T = await job.outcome()
        return result

    def close(self) -> None:
        """Run what waits, then end the thread and close the connection; blocks until then."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while jobs := self._take():
            _run_group(self._connection, [job for job in jobs if not job.is_query])
            for job in jobs:
                if job.is_query:
                    _run_query(self._connection, job)
            _wake(jobs)
        self._connection.close()

    def _take(self) -> Sequence[Job]:
        """Return the next group, once there is one; nothing when the writer is to end."""
        with self._changed:
            while not self._jobs and not self._closing:
                self._changed.wait()
            return [self._jobs.popleft() for _ in range(min(len(self._jobs), GROUP_UNITS))]


def _overloaded(waiting: int) -> WireError:
    return WireError("NET_OVERLOADED", f"{waiting} units of work wait already")


def _run_group(connection: Connection, jobs: Sequence[Job]) -> None:
    """Run units in one transaction; afterwards each has its outcome."""
    if not jobs:
        return
    try:
        connection.control("BEGIN IMMEDIATE")
        for job in jobs:
            job.run(connection)
            if not connection.in_transaction:
                raise sqlite3.OperationalError(job.error)
        connection.control("COMMIT")
    except sqlite3.DatabaseError as error:
        _roll_back(connection)
        _LOG.error("no commit of %d units of work: %s", len(jobs), error)
        for job in jobs:
            job.fail(refused(error))


def _run_query(connection: Connection, job: Job) -> None:
    """Run a query of a database in memory, which has no second connection."""
    connection.control("PRAGMA query_only = ON")
    connection.control("BEGIN")
    job.run(connection)
    _roll_back(connection)
    connection.control("PRAGMA query_only = OFF")


def _roll_back(connection: Connection) -> None:
    if connection.in_transaction:
        connection.control("ROLLBACK")


def _wake(jobs: Sequence[Job]) -> None:
    """Wake the callers, with one call for each event loop; nearly always there is one loop."""
    for loop in {job.loop for job in jobs}:
        callers = [job for job in jobs if job.loop is loop]
        try:
            loop.call_soon_threadsafe(_wake_all, callers)
        except RuntimeError:  # the loop is closed, so nobody waits
            continue


def _wake_all(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.wake()
