"""Units of work committed in groups, on PostgreSQL as on SQLite.

A thread takes the units that wait, runs each in a savepoint of one transaction and commits once.
Alone each would cost a commit, and units on the ledger would hand its lock from one to the next.
A unit that meets a rival's lock runs alone afterwards, where it may wait for it. One that turns out
to use the ledger goes to the thread for that: so a process asks for that lock once at a time.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial

import psycopg
from psycopg import errors

from adapter.domain.errors import WireError
from adapter.store.postgres_connection import Connection, UnknownOutcomeError
from adapter.store.postgres_jobs import Job, Outcome, Work
from adapter.store.postgres_locks import BarredError, BusyError, Kind, Locks
from adapter.store.postgres_rows import Rows
from adapter.store.postgres_session import Session
from adapter.store.postgres_unit import PostgresUnit

GROUP_UNITS = 32
"""Units per commit. While a group runs, others wait for its locks."""
GROUP_S = 0.2
"""After which a group takes no further unit: who waits for one of its locks does so for 5 s."""


class Lane:
    """Runs groups of units, for any number of threads."""

    def __init__(self, move: Callable[[Job], None] | None = None) -> None:
        """Take where units belong that use the ledger; without it, all that come here do."""
        self._move = move
        self._barred = None if move is None else Kind.LEDGER

    def run(self, session: Session, jobs: Sequence[Job]) -> Sequence[Outcome | None]:
        """Run the first of some units; return their outcomes after the commit, None if moved."""
        grouped = self._group(session, jobs) if len(jobs) > 1 else [None]
        return [
            self._alone(session, job) if outcome is None else self._here(job, outcome)
            for job, outcome in zip(jobs, grouped, strict=False)
        ]

    def _alone(self, session: Session, job: Job) -> Outcome | None:
        outcome = Outcome.of(partial(session.write, job.work, job.about, barred=self._barred))
        return self._here(job, outcome)

    def _here(self, job: Job, outcome: Outcome) -> Outcome | None:
        """Return an outcome; of a unit that belongs elsewhere None, it goes there."""
        if not isinstance(outcome.error, BarredError) or self._move is None:
            return outcome
        self._move(job)
        return None

    def _group(self, session: Session, jobs: Sequence[Job]) -> Sequence[Outcome | None]:
        """Run units in one transaction; return their outcomes, None for what must run alone.

        It ends early, with the outcomes it has, after GROUP_S and after a claim. Claimed rows are
        locked without their transactions. A rival that holds one of these may wait for its row, so
        nobody here may wait any more, neither for him nor for a row that another claim has. No
        refusal is told before the commit: it may rest on what another unit of the group wrote.
        """
        end_s = time.monotonic() + GROUP_S
        outcomes: list[Outcome | None] = []
        try:
            with session.transaction() as connection:
                locks = Locks(connection, set(), barred=self._barred)
                rows = Rows(connection)
                rows.read(locks, [job.about for job in jobs])
                if self._barred is None:
                    locks.take(Kind.LEDGER, "")
                for job in jobs:
                    outcomes.append(self._one(connection, locks, rows, job.work))
                    if locks.has_claimed or time.monotonic() > end_s:
                        break
                connection.commit()
        except UnknownOutcomeError as error:
            refusal = WireError("NET_DOWNSTREAM_UNAVAILABLE", f"the database refuses: {error}")
            return [Outcome(error=refusal)] * len(outcomes)  # the others did not begin
        except (psycopg.Error, WireError, BusyError):  # nothing is committed; alone each hears why
            return [None] * len(jobs)
        return outcomes

    def _one(self, connection: Connection, locks: Locks, rows: Rows, work: Work) -> Outcome | None:
        """Run a unit of a group; None when it must run alone.

        Raises:
            psycopg.Error: the whole group is lost.
        """
        unit = PostgresUnit(connection, locks, rows)
        locks.missed = None

        def checked() -> object:
            result = work(unit)
            locks.check()
            return result

        outcome = Outcome.of(lambda: unit.savepoint(checked))
        if connection.fault is not None:
            raise connection.fault
        return None if isinstance(outcome.error, BusyError | errors.UniqueViolation) else outcome


def look(session: Session, jobs: Sequence[Job]) -> Sequence[Outcome]:
    """Run queries and return their outcomes, all on one snapshot, taken after they were asked."""
    together = _look_together(session, jobs) if len(jobs) > 1 else None
    return together or [Outcome.of(partial(session.read, job.work)) for job in jobs]


def _look_together(session: Session, jobs: Sequence[Job]) -> Sequence[Outcome] | None:
    """Return the outcomes of queries; None when alone each must hear what is wrong."""
    outcomes = []
    try:
        with session.snapshot() as connection:
            for job in jobs:
                outcomes.append(Outcome.of(partial(job.work, PostgresUnit(connection, None))))
                connection.flush()
                if connection.fault is not None:
                    return None
    except (psycopg.Error, WireError):
        return None
    return outcomes
