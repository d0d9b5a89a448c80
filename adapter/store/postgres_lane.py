"""Units that use the ledger, one after the other and committed in groups.

A ledger has one order, so its units cannot run side by side; on sessions of their own they would
only hand its lock around, with a commit between any two. One thread takes what waits, locks the
ledger once, runs each unit in a savepoint and commits once: the group commit of SQLite, here among
processes that take turns. A unit that meets a rival's lock runs alone afterwards.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psycopg
from psycopg import errors

from adapter.domain.errors import WireError
from adapter.service.ports import UnitOfWork
from adapter.store.postgres_connection import Connection, UnknownOutcomeError
from adapter.store.postgres_locks import BusyError, Kind, Locks
from adapter.store.postgres_session import Session
from adapter.store.postgres_unit import PostgresUnit

T = TypeVar("T")

GROUP_UNITS = 32
"""Units per commit. While a group runs, other processes wait for the ledger, and messages about
the same trades for their locks: some tenths of a second, of the 5 s that a lock may take."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A unit that waits, and later its outcome."""

    unit: Callable[[UnitOfWork], Any]
    done: Future[Any] = field(default_factory=Future)

    def end(self, outcome: "_Outcome") -> None:
        """Tell the caller."""
        if outcome.error is None:
            self.done.set_result(outcome.result)
        else:
            self.done.set_exception(outcome.error)


@dataclass(frozen=True, slots=True)
class _Outcome:
    result: Any = None
    error: BaseException | None = None


class LedgerLane:
    """The thread of one process that runs units on the ledger."""

    def __init__(self, url: str) -> None:
        """Start the thread; nothing is opened yet."""
        self._session = Session(url)
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="postgres ledger", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Return how many units wait."""
        return len(self._jobs)

    async def run(self, unit: Callable[[UnitOfWork], T]) -> T:
        """Run a unit and return its result after the commit; whole, whatever the caller does.

        Raises:
            WireError: NET_OVERLOADED, NET_DOWNSTREAM_UNAVAILABLE; or what the unit raises.
        """
        job = _Job(unit)
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()
        ended = asyncio.wrap_future(job.done)
        ended.add_done_callback(_known)
        result: T = await asyncio.shield(ended)
        return result

    def close(self) -> None:
        """Run what waits, then end the thread; blocks until then."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self._session.close()

    def _work(self) -> None:
        while jobs := self._take():
            outcomes = self._group(jobs) if len(jobs) > 1 else None
            for number, job in enumerate(jobs):
                outcome = None if outcomes is None else outcomes[number]
                job.end(outcome or self._alone(job))

    def _take(self) -> Sequence[_Job]:
        """Return the next group, once there is one; nothing when the thread is to end."""
        with self._changed:
            while not self._jobs and not self._closing:
                self._changed.wait()
            return [self._jobs.popleft() for _ in range(min(len(self._jobs), GROUP_UNITS))]

    def _alone(self, job: _Job) -> _Outcome:
        try:
            return _Outcome(self._session.write(job.unit))
        except BaseException as error:  # whatever it is, it belongs to the caller of the unit
            return _Outcome(error=_holdable(error))

    def _group(self, jobs: Sequence[_Job]) -> Sequence[_Outcome | None] | None:
        """Run units in one transaction; return their outcomes, None for what must run alone.

        No refusal is told before the commit: it may rest on what another unit of the group wrote.
        """
        try:
            with self._session.transaction() as connection:
                locks = Locks(connection, set())
                locks.take(Kind.LEDGER, "")
                outcomes = [_run(connection, locks, job) for job in jobs]
                connection.commit()
        except UnknownOutcomeError as error:
            refusal = WireError("NET_DOWNSTREAM_UNAVAILABLE", f"the database refuses: {error}")
            return [_Outcome(error=refusal) for _ in jobs]
        except (psycopg.Error, WireError):  # nothing is committed; alone each hears why
            return None
        return outcomes


def _run(connection: Connection, locks: Locks, job: _Job) -> _Outcome | None:
    """Run a unit of a group; None when it must run alone.

    Raises:
        psycopg.Error: the whole group is lost.
    """
    unit = PostgresUnit(connection, locks)
    locks.missed = None

    def checked() -> Any:
        result = job.unit(unit)
        locks.check()
        return result

    try:
        return _Outcome(unit.savepoint(checked))
    except (BusyError, errors.UniqueViolation):
        outcome = None
    except BaseException as error:  # whatever it is, it belongs to the caller of the unit
        outcome = _Outcome(error=_holdable(error))
    if connection.fault is not None:
        raise connection.fault
    return outcome


def _holdable(error: BaseException) -> BaseException:
    """Return an error as a future can hold it."""
    if not isinstance(error, StopIteration):
        return error
    held = RuntimeError("a unit of work raised StopIteration")
    held.__cause__ = error
    return held


def _known(ended: asyncio.Future[Any]) -> None:
    """Look at the outcome, also when the caller has gone."""
    if not ended.cancelled():
        ended.exception()
