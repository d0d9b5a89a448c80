"""Writes to a SQLite file: group commit.

Units wait in a bounded queue. What waits is taken, up to a bound, run in one transaction and
committed once; then the callers are woken together. A unit that raises is undone alone; when the
commit fails, all units of the group fail and nothing of them is stored.

Brief units are run by the event loop itself. With a thread of their own they hand the interpreter
back and forth at each statement, between two processors, which takes longer than most statements.
The writer's thread does what has to wait: commits, units that may take long, and the beginning of
a transaction while another process has the file.
"""

import asyncio
import itertools
import logging
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from adapter.domain.errors import WireError
from adapter.service.ports import UnitOfWork
from adapter.store.sqlite_connection import BUSY_MS, Connection, closed, refused, told
from adapter.store.sqlite_unit import SqliteUnit, within_savepoint

T = TypeVar("T")
Loop = asyncio.AbstractEventLoop

_LOG = logging.getLogger(__name__)

GROUP_UNITS = 64
"""Units per commit: the throughput hardly rises beyond, the wait of the first does."""
BRIEF_UNITS = 32
"""The same on the event loop, which does nothing else meanwhile."""
BRIEF_S = 0.015
"""After that long no other unit of such a group begins."""
QUEUE_UNITS = 2_048
"""Units that may wait; a second of work, so that what is refused could not be answered soon."""
_LOST_S = 0.1
"""How often the end looks whether a loop that had the next turn is gone."""


class Job:
    """A unit that waits to be run, and afterwards its outcome."""

    __slots__ = ("_result", "_woken", "error", "is_brief", "is_query", "loop", "unit")

    def __init__(
        self, unit: Callable[[UnitOfWork], Any], *, is_brief: bool, is_query: bool
    ) -> None:
        """Wait with `unit`; called on the event loop of the caller."""
        self.unit = unit
        self.is_brief = is_brief
        self.is_query = is_query
        self.loop = asyncio.get_running_loop()
        self._woken: asyncio.Future[None] = self.loop.create_future()
        self._result: Any = None
        self.error: BaseException | None = None

    def run(self, connection: Connection, *, apart: bool = False) -> None:
        """Run the unit and keep its outcome; `apart` in a savepoint, which undoes a failure."""
        self.error = None
        work = partial(SqliteUnit(connection).run, self.unit)
        try:
            self._result = within_savepoint(connection, work) if apart else work()
        except sqlite3.DatabaseError as error:
            self.error = told(error, is_query=self.is_query)
        except BaseException as error:  # whatever it is, it belongs to the caller of the unit
            self.error = error

    def fail(self, error: BaseException) -> None:
        """Forget a result, because it was not committed."""
        self._result = None
        self.error = error

    def wake(self) -> None:
        """Let the caller go on; on its event loop. A caller that was cancelled is not there."""
        if not self._woken.done():
            self._woken.set_result(None)

    async def outcome(self) -> Any:
        """Return what the unit returned, or raise what it raised, after the commit."""
        await self._woken
        if self.error is not None:
            raise self.error
        return self._result


class Writer:
    """Owns the writing connection: one group after another, each by one thread at a time."""

    def __init__(self, connection: Connection, name: str, queue_units: int = QUEUE_UNITS) -> None:
        """Start the thread."""
        self._connection = connection
        connection.control("PRAGMA busy_timeout = 0")  # the thread alone waits for others
        self._queue_units = queue_units
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._at_work = False
        """Somebody has a group, or will take the next one."""
        self._turn_of: Loop | None = None
        """Where the next group is to be taken; None when the thread has it."""
        self._steps: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        # A daemon, so that a program which ends by an exception does not wait for it.
        self._thread = threading.Thread(target=self._work, name=f"writer {name}", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Return how many units wait."""
        return len(self._jobs)

    async def run(
        self, unit: Callable[[UnitOfWork], T], *, is_brief: bool = False, is_query: bool = False
    ) -> T:
        """Run a unit and return its result after the commit.

        A caller that is cancelled meanwhile gives up the result only: the unit runs.

        Args:
            unit: what to run.
            is_brief: the event loop may run it.
            is_query: in memory, where there is no second connection.

        Raises:
            WireError: NET_OVERLOADED, NET_DOWNSTREAM_UNAVAILABLE; or what the unit raises.
        """
        job = Job(unit, is_brief=is_brief, is_query=is_query)
        with self._changed:
            if self._closing:
                raise closed()
            if len(self._jobs) >= self._queue_units:
                raise _overloaded(len(self._jobs))
            self._jobs.append(job)
            begins = not self._is_under_way()
            if begins:
                self._give_turn(job)
        if begins and is_brief:
            job.loop.call_soon(self._turn)  # what else is ready now comes with it
        result: T = await job.outcome()
        return result

    def close(self) -> None:
        """Run what waits, then end the thread and close the connection; blocks until then.

        Not to be called on an event loop that still has units to run.
        """
        with self._changed:
            self._closing = True
            while self._jobs or self._is_under_way():
                if not self._is_under_way():
                    self._give_turn(None)
                self._changed.wait(_LOST_S)
        self._steps.put(None)
        self._thread.join()

    # Turns

    def _is_under_way(self) -> bool:
        """Return whether somebody will see to what waits; a loop that was closed will not."""
        return self._at_work and not (self._turn_of is not None and self._turn_of.is_closed())

    def _give_turn(self, following: Job | None) -> None:
        """Note who takes the next group: the loop of a brief unit, otherwise the thread."""
        self._at_work = True
        self._turn_of = following.loop if following is not None and following.is_brief else None
        if self._turn_of is None:
            self._steps.put(self._turn)

    def _turn(self) -> None:
        """Take the next group; run it here, or leave it to the thread."""
        with self._changed:
            jobs, is_here = self._take(), self._turn_of is not None
            self._turn_of = None  # the thread has the commit, or the whole group
        if not is_here:
            self._finish(jobs, _run_group)
            return
        try:
            done = _run_together(self._connection, jobs) if _begun(self._connection) else 0
        except sqlite3.DatabaseError:  # not even undone
            done = 0
        if done:
            with self._changed:
                self._jobs.extendleft(reversed(jobs[done:]))
            self._steps.put(partial(self._finish, jobs[:done], _commit))
        else:
            self._steps.put(partial(self._finish, jobs, _run_group))

    def _take(self) -> Sequence[Job]:
        """Return the units that wait first; the event loop takes brief ones only."""
        jobs = list(itertools.islice(self._jobs, GROUP_UNITS))
        if self._turn_of is not None:
            jobs = list(itertools.takewhile(lambda job: job.is_brief, jobs[:BRIEF_UNITS]))
        for _ in jobs:
            self._jobs.popleft()
        return jobs

    # The thread

    def _work(self) -> None:
        for step in iter(self._steps.get, None):
            step()
        self._connection.close()

    def _finish(
        self, jobs: Sequence[Job], work: Callable[[Connection, Sequence[Job]], None]
    ) -> None:
        """Give all units of a group their outcome; whatever goes wrong, nobody waits for ever."""
        try:
            work(self._connection, jobs)
        except BaseException as error:
            _LOG.exception("bug while writing")
            for job in jobs:
                job.fail(error)
        self._end(jobs)

    def _end(self, jobs: Sequence[Job]) -> None:
        """Wake the callers and give the next turn, with one call for each event loop."""
        with self._changed:
            self._at_work = False
            if self._jobs:
                self._give_turn(self._jobs[0])
            turn_of = self._turn_of
            self._changed.notify_all()
        for loop in {job.loop for job in jobs} | ({turn_of} if turn_of is not None else set()):
            callers = [job for job in jobs if job.loop is loop]
            try:
                loop.call_soon_threadsafe(self._go_on, callers, loop is turn_of)
            except RuntimeError:  # the loop is closed, so nobody waits there
                with self._changed:
                    if loop is turn_of and self._turn_of is turn_of:  # nobody has taken it over
                        self._give_turn(None)

    def _go_on(self, callers: Sequence[Job], has_turn: bool) -> None:
        for job in callers:
            job.wake()
        if has_turn:
            # After what the callers do now, so that what they bring next is in the same group.
            asyncio.get_running_loop().call_soon(self._turn)


def _overloaded(waiting: int) -> WireError:
    return WireError("NET_OVERLOADED", f"{waiting} units of work wait already")


def _begun(connection: Connection) -> bool:
    """Begin a transaction unless another process is writing."""
    try:
        connection.control("BEGIN IMMEDIATE")
    except sqlite3.DatabaseError:
        return False
    return True


def _wait_and_begin(connection: Connection) -> None:
    """Begin a transaction, once no other process is writing."""
    connection.control(f"PRAGMA busy_timeout = {BUSY_MS}")
    try:
        connection.control("BEGIN IMMEDIATE")
    finally:
        connection.control("PRAGMA busy_timeout = 0")


def _run_together(connection: Connection, jobs: Sequence[Job]) -> int:
    """Run units in the open transaction until BRIEF_S has passed; return how many.

    None when one must be undone: then all of them are. Nearly no unit raises, and one that does
    has mostly written nothing, so savepoints can wait.
    """
    end_s = time.monotonic() + BRIEF_S
    for number, job in enumerate(jobs, start=1):
        changes = connection.total_changes
        job.run(connection)
        if job.error is not None and connection.total_changes != changes:
            break
        if time.monotonic() > end_s or number == len(jobs):
            return number if connection.in_transaction else 0
    _roll_back(connection)
    return 0


def _commit(connection: Connection, jobs: Sequence[Job]) -> None:
    """Commit what the event loop has run."""
    try:
        connection.control("COMMIT")
    except sqlite3.DatabaseError as error:
        _fail(connection, jobs, error)


def _run_group(connection: Connection, jobs: Sequence[Job]) -> None:
    """Run a group, whatever it holds; afterwards each unit has its outcome."""
    _run_apart(connection, [job for job in jobs if not job.is_query])
    for job in jobs:
        if job.is_query:
            _run_query(connection, job)


def _run_apart(connection: Connection, jobs: Sequence[Job]) -> None:
    """Run units in one transaction, each in a savepoint."""
    if not jobs:
        return
    try:
        _wait_and_begin(connection)
        for job in jobs:
            job.run(connection, apart=True)
            if not connection.in_transaction:
                raise sqlite3.OperationalError(job.error)
        connection.control("COMMIT")
    except sqlite3.DatabaseError as error:
        _fail(connection, jobs, error)


def _fail(connection: Connection, jobs: Sequence[Job], error: sqlite3.DatabaseError) -> None:
    """Undo a group; each of its callers hears why."""
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
