"""The processes of one node on one PostgreSQL database: news of commits, and turns.

News go by NOTIFY on a session of their own, after the commit and many together. Inside the units
of work they would be safer to arrive, but PostgreSQL lets transactions that notify commit only
one after the other. What gets lost with a connection is covered: after a gap everybody looks.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import psycopg
from psycopg import pq

from adapter.service.siblings import Heard, News
from adapter.store.errors import StoreError
from adapter.store.postgres_connection import Connection
from adapter.store.postgres_locks import Kind, Locks
from adapter.store.postgres_session import Session, told

AGAIN_S = 0.5
"""Between two tries to listen while the server is away."""
NEWS_BYTES = 7_900
"""In one notification, which must have less than 8,000. Source: PostgreSQL, NOTIFY."""
STOP_S = 1.0
"""How long a stop waits for the last news to go out."""
_LISTEN = 'LISTEN "{}"'
_NOTIFY = b"SELECT pg_notify($1, $2)"

_log = logging.getLogger(__name__)


class PostgresSiblings:
    """Implements `service.siblings.Siblings`."""

    def __init__(self, url: str) -> None:
        """Open nothing yet."""
        self._url = url
        self._line: _Line | None = None
        self._untold = _Untold()
        self._stopping = asyncio.Event()
        self._turns: dict[str, _Turn] = {}

    @property
    def is_connected(self) -> bool:
        """Return whether news are heard and told."""
        return self._line is not None

    async def run(self, heard: Heard) -> None:
        """Listen until stopped; connect again when the server was away."""
        while not self._stopping.is_set():
            try:
                connection = await asyncio.to_thread(Connection.open, self._url)
            except (psycopg.Error, StoreError) as error:
                _log.warning("news of other processes cannot be heard: %s", error)
            else:
                await self._follow(connection, heard)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), AGAIN_S)

    def tell(self, transaction_id: str, *, is_help_wanted: bool = False) -> None:
        """Tell the others of a commit; what they are not told they find by themselves."""
        if self._line is not None:
            self._untold.add(transaction_id, is_help_wanted=is_help_wanted)
            self._line.send()

    @contextlib.asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[bool]:
        """Give whether the named work is this process's to do, in a turn of at most 30 s.

        The turn is an open transaction with a lock: it ends with the process, and the server ends
        it when the process stands still.

        Raises:
            WireError: NET_DOWNSTREAM_UNAVAILABLE.
        """
        turn = self._turns.setdefault(name, _Turn(self._url, name))
        is_ours = await turn.take()
        try:
            yield is_ours
        finally:
            await turn.give_back()

    async def stop(self) -> None:
        """Tell what is left to tell, and end."""
        self._stopping.set()
        if self._line is not None:
            self._line.end_soon(STOP_S)
        for turn in self._turns.values():
            turn.close()

    async def _follow(self, connection: Connection, heard: Heard) -> None:
        try:
            line = _Line(connection, heard, self._untold)
        except psycopg.Error as error:
            _log.warning("news of other processes cannot be heard: %s", error)
            connection.close()
            return
        self._line = line
        heard(News(None, is_help_wanted=True))  # what was told before nobody has heard
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((line.ended, stopping), return_when=asyncio.FIRST_COMPLETED)
            if self._stopping.is_set():
                await line.ended
        finally:
            stopping.cancel()
            self._line = None
            line.close()


class _Line:
    """One session that listens and tells; used by one event loop, which it never blocks."""

    def __init__(self, connection: Connection, heard: Heard, untold: "_Untold") -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connection = connection
        self._heard = heard
        self._channel = f"p2ptrade {connection.schema}"[:60]
        connection.control(_LISTEN.format(self._channel.replace('"', '""')))
        self._pgconn = connection.pgconn
        self._own_pid = self._pgconn.backend_pid
        self._untold = untold
        self._is_asking = False
        self._is_ending = False
        self._socket = self._pgconn.socket
        asyncio.get_running_loop().add_reader(self._socket, self._readable)

    def send(self) -> None:
        """Send what is untold as soon as what was sent before is answered."""
        if not self._is_asking and not self.ended.done():
            self._guarded(self._ask)

    def end_soon(self, most_s: float) -> None:
        """End once nothing is left to send."""
        self._is_ending = True
        loop = asyncio.get_running_loop()
        loop.call_later(most_s, self._end)
        if not self._is_asking:
            self._end()

    def close(self) -> None:
        """Stop listening."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._connection.close()

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def _readable(self) -> None:
        self._guarded(self._read)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except psycopg.Error as error:
            _log.warning("news of other processes are interrupted: %s", error)
            self._end()

    def _read(self) -> None:
        pgconn = self._pgconn
        pgconn.consume_input()
        while (news := pgconn.notifies()) is not None:
            if news.be_pid != self._own_pid:
                self._heard(News(**json.loads(news.extra)))
        if not self._is_asking:
            return
        while not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                self._is_asking = False
                self._ask()
                return
            if result.status == pq.ExecStatus.FATAL_ERROR:
                raise psycopg.OperationalError(result.error_message.decode(errors="replace"))

    def _ask(self) -> None:
        """Send one notification, if there is something to tell."""
        if not self._untold:
            if self._is_ending:
                self._end()
            return
        news = self._untold.take()
        self._is_asking = True
        self._pgconn.send_query_params(_NOTIFY, [self._channel.encode(), news])
        self._pgconn.flush()


class _Turn:
    """A session that holds the lock of one kind of work while it is done."""

    def __init__(self, url: str, name: str) -> None:
        self._session = Session(url)
        self._name = name
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"turn {name}")

    async def take(self) -> bool:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._take)

    async def give_back(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.shield(loop.run_in_executor(self._thread, self._session.leave))

    def close(self) -> None:
        self._thread.submit(self._session.close)
        self._thread.shutdown(wait=False)

    def _take(self) -> bool:
        connection = self._session.enter()
        try:
            return Locks(connection, set()).try_(Kind.TURN, self._name)
        except psycopg.Error as error:  # the server went away since the last turn
            self._session.leave()
            raise told(error) from error


class _Untold:
    """What is to be told next."""

    def __init__(self) -> None:
        self._transaction_ids: dict[str, None] = {}
        self._is_help_wanted = False

    def __bool__(self) -> bool:
        return bool(self._transaction_ids)

    def add(self, transaction_id: str, *, is_help_wanted: bool) -> None:
        self._transaction_ids[transaction_id] = None
        self._is_help_wanted |= is_help_wanted

    def take(self) -> bytes:
        """Return as much as one notification holds, and forget it."""
        some: list[str] = []
        size = len(_encoded(News((), is_help_wanted=False)))
        for transaction_id in self._transaction_ids:
            size += len(json.dumps(transaction_id)) + len(", ")  # quotes in it count twice
            if some and size > NEWS_BYTES:
                break
            some.append(transaction_id)
        for transaction_id in some:
            del self._transaction_ids[transaction_id]
        news = News(some, self._is_help_wanted)
        self._is_help_wanted = False
        return _encoded(news)


def _encoded(news: News) -> bytes:
    """Return news as JSON, all of it ASCII."""
    return json.dumps(asdict(news)).encode()
