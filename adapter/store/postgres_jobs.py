"""Work that waits for a thread with a PostgreSQL session: units of work, and queries.

A few threads share one queue. Each takes several that wait, when there are that many, and wakes
their callers together: handing each over alone costs more than most of them take.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from adapter.service.ports import UnitOfWork
from adapter.service.records import NOTHING, About
from adapter.store.postgres_session import Session

Work = Callable[[UnitOfWork], Any]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a unit of work or query."""

    result: Any = None
    error: BaseException | None = None

    @classmethod
    def of(cls, work: Callable[[], Any]) -> "Outcome":
        """Return what `work` returns or raises; whatever that is, it belongs to the caller."""
        try:
            return cls(work())
        except StopIteration as error:  # a future cannot hold it
            held = RuntimeError("a unit of work raised StopIteration")
            held.__cause__ = error
            return cls(error=held)
        except BaseException as error:
            return cls(error=error)


class Job:
    """A unit or query that waits, and later its outcome."""

    __slots__ = ("_woken", "about", "loop", "outcome", "work")

    def __init__(self, work: Work, about: About = NOTHING) -> None:
        """Wait with `work`, which will read `about`; called on the event loop of the caller."""
        self.work = work
        self.about = about
        self.loop = asyncio.get_running_loop()
        self.outcome = Outcome()
        self._woken: asyncio.Future[None] = self.loop.create_future()

    async def ended(self) -> Any:
        """Return the result, or raise the error, once it is there."""
        await self._woken
        if self.outcome.error is not None:
            raise self.outcome.error
        return self.outcome.result

    def wake(self) -> None:
        """Let the caller go on; on its event loop. A caller that was cancelled is not there."""
        if not self._woken.done():
            self._woken.set_result(None)


class Jobs:
    """A queue and the threads that work it off, each with a session of its own."""

    def __init__(
        self,
        name: str,
        sessions: Sequence[Session],
        run: Callable[[Session, Sequence[Job]], Sequence[Outcome | None]],
        most: int,
    ) -> None:
        """Start the threads.

        Args:
            name: of the threads.
            sessions: one for each thread; they are closed at the end.
            run: does some jobs, the first or all of them, and returns the outcome of each,
                None of one that has gone to another queue.
            most: jobs that a thread takes at once.
        """
        self._run = run
        self._most = most
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._free = len(sessions)
        self.under_way = 0
        """Jobs that a thread has taken."""
        # Daemons, so that a program which ends by an exception does not wait for them.
        self._threads = [
            threading.Thread(target=self._work, args=(session,), name=name, daemon=True)
            for session in sessions
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Return how many jobs have not ended."""
        return len(self._jobs) + self.under_way

    async def do(self, work: Work, about: About = NOTHING) -> Any:
        """Return what `work` returns; it is done whole when the caller is cancelled meanwhile."""
        job = Job(work, about)
        self.put(job)
        return await job.ended()

    def put(self, job: Job) -> None:
        """Let a job wait here; from any thread."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()

    def close(self) -> None:
        """Do what waits, then end threads and sessions; blocks until then."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self, session: Session) -> None:
        while jobs := self._take():
            while jobs:
                outcomes = self._outcomes(session, jobs)
                ended = []
                for job, outcome in zip(jobs, outcomes, strict=False):
                    if outcome is not None:
                        job.outcome = outcome
                        ended.append(job)
                jobs = jobs[len(outcomes) :]
                with self._changed:
                    self.under_way -= len(outcomes)
                _wake(ended)
            with self._changed:
                self._free += 1
        session.close()

    def _outcomes(self, session: Session, jobs: Sequence[Job]) -> Sequence[Outcome | None]:
        """Return the outcomes of some jobs; a fault in here is theirs, and the thread goes on.

        Otherwise their callers, and after a few such faults all others, would wait forever.
        """
        try:
            return self._run(session, jobs)
        except Exception as error:
            _LOG.exception("fault beside a unit of work or query")
            return [Outcome(error=error)] * len(jobs)

    def _take(self) -> Sequence[Job]:
        """Return jobs once there are any, a fair share; nothing when the thread is to end."""
        with self._changed:
            while not self._jobs and not self._closing:
                self._changed.wait()
            share = -(-len(self._jobs) // self._free)  # the others that are free take theirs
            jobs = [self._jobs.popleft() for _ in range(min(share, self._most))]
            self._free -= bool(jobs)
            self.under_way += len(jobs)
            return jobs


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
