"""Opens connections to PostgreSQL and runs on them the statements that SQLite runs too.

The tables of a unit of work are written once. What PostgreSQL spells otherwise is respelled here:
the places of values, `IS` between values, a join, and one name that is reserved.
"""

import re
from collections.abc import (
    Callable,
    Collection,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from functools import lru_cache
from itertools import zip_longest
from typing import Any, Self

import psycopg
from psycopg import errors, pq
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.types.numeric import Int8Dumper

from adapter.domain.errors import WireError
from adapter.store.errors import StoreError
from adapter.store.postgres_arrays import Arrays
from adapter.store.postgres_pipeline import STATEMENTS, Pipeline, Statement
from adapter.store.postgres_writes import Row, Target, Writes

CONNECT_S = 3
"""How long opening a connection may take; a node that is asked meanwhile answers 503."""
LOCK_MS = 5_000
"""How long a statement waits for others before it fails, as with SQLite."""
IDLE_MS = 30_000
"""A worker that stops in the middle of a transaction loses it after that, and its locks."""
_LIMITS: Mapping[str, Any] = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""After about 11 s without a sign of life a host is taken for gone, and the session for broken;
the system's own limits are hours. A URL may say otherwise. Source: libpq, Parameter Key Words."""
_NONE, _OPEN = TransactionStatus.IDLE, TransactionStatus.INTRANS

_SETTINGS = f"""
SET lock_timeout = {LOCK_MS};
SET idle_in_transaction_session_timeout = {IDLE_MS};
SET client_min_messages = error;
SET timezone = 'UTC';
"""
_DURABLE = "SET synchronous_commit = on"
SESSION = "pid || ' ' || extract(epoch FROM backend_start)"
"""Name of a session in `pg_stat_activity`; no other one ever has it."""
_FACTS = f"""
SELECT current_schema(), current_setting('server_encoding'), current_setting('synchronous_commit'),
       (SELECT {SESSION} FROM pg_stat_activity WHERE pid = pg_backend_pid())
"""
_SPELLINGS = (
    ("IS ?", "IS NOT DISTINCT FROM ?"),
    ("CROSS JOIN outbox_body", "JOIN outbox_body"),
)
_NAMED = re.compile(r"(?<!:):([a-z_]+)")
_RESERVED = re.compile(r"\bauthorization\b")


class UnknownOutcomeError(Exception):
    """The connection broke while a commit was under way."""


class Answer:
    """What a statement found and did; asking for it sends what waits to be sent."""

    __slots__ = ("_connection", "_rows", "statement")

    def __init__(self, connection: "Connection", statement: Statement) -> None:
        """Belong to a statement that is perhaps not sent yet."""
        self._connection = connection
        self._rows: list[Any] | None = None
        self.statement = statement

    @property
    def rowcount(self) -> int:
        """Return how many rows were written."""
        return self._outcome().command_tuples or 0

    def fetchone(self) -> Any:
        """Return the next row, None at the end."""
        rows = self._loaded()
        return rows.pop(0) if rows else None

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""
        rows = self._loaded()
        self._rows = []
        return rows

    def __iter__(self) -> Iterator[Any]:
        """Give the rows that are left."""
        return iter(self.fetchall())

    def _loaded(self) -> list[Any]:
        if self._rows is None:
            self._rows = self._connection.rows(self._outcome())
        return self._rows

    def _outcome(self) -> Any:
        if self.statement.result is None:
            self._connection.flush()
        assert self.statement.result is not None
        return self.statement.result


class Savepoint:
    """A point in a transaction to which it can return."""

    __slots__ = ("depth", "is_sent")

    def __init__(self, depth: int) -> None:
        """Be known to nobody but us yet; inside how many, itself included, tells its name."""
        self.depth = depth
        self.is_sent = False

    @property
    def name(self) -> str:
        """Return what the server calls it: like no other one that it is in, or that is in it."""
        return f"step{self.depth}"


class Connection:
    """One session, whose statements run inside a transaction or not at all.

    A statement is sent with all that wait before it when somebody asks what it found, or at the
    commit. So one that fails may be told at a later one, and its transaction is lost; `is_exact`
    sends each at once and lets a savepoint undo a failure: a unit that failed runs again so.

    After a failure that cannot be undone `fault` holds it and every statement is refused.
    """

    def __init__(self, raw: psycopg.Connection[Any], schema: str, session: str) -> None:
        """Take a session in autocommit mode, the name of its schema and its own."""
        self._raw = raw
        self._pipeline = Pipeline(raw)
        self._waiting: list[Statement | Savepoint | Writes] = []
        self._begin: Statement | None = None
        self._depth = 0
        """Savepoints that are open."""
        self.on_flush: Callable[[], None] | None = None
        """Called after each flush that went well; may refuse what was found."""
        self.schema = schema
        self.session = session
        self.own_sessions: Collection[str] = (session,)
        """Names of all sessions that this store has had: by any of them it may have claimed."""
        self.is_exact = False
        self.fault: psycopg.Error | None = None
        self.known: dict[object, Any] = {}
        """What the transaction has found and nobody else can change before its end."""
        self.flushes = 0
        """How often something was sent."""

    @classmethod
    def open(cls, url: str) -> Self:
        """Return a new session.

        Raises:
            psycopg.OperationalError: the server is out of reach, or refuses.
            StoreError: a database that cannot hold every text, or without a schema to use.
        """
        limits = {name: value for name, value in _LIMITS.items() if name not in _parts(url)}
        raw = psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_S, **limits)
        try:
            raw.adapters.register_dumper(int, Int8Dumper)  # one type, so one plan for each text
            raw.execute(_SETTINGS)
            found = raw.execute(_FACTS.encode()).fetchone()
            assert found is not None
            schema, encoding, commit, session = found
            if encoding != "UTF8":
                msg = f"the encoding of {place(url)} is {encoding}, expected UTF8"
                raise StoreError(msg)
            if schema is None:
                msg = f"{place(url)} has no schema on the search path of this user"
                raise StoreError(msg)
            if commit in ("off", "local"):  # an ACK must outlive a power cut
                raw.execute(_DURABLE)
        except BaseException:
            raw.close()
            raise
        return cls(raw, schema, session)

    @property
    def is_broken(self) -> bool:
        """Return whether the session is lost."""
        return self._raw.closed or self._raw.broken

    @property
    def pgconn(self) -> "pq.abc.PGconn":
        """Return the session as the library of PostgreSQL has it, to listen on."""
        return self._raw.pgconn

    def execute(self, sql: str, parameters: Any = (), /) -> Answer:
        """Queue a statement of the open transaction."""
        self._refuse_outside()
        text, names = _spelled(sql)
        values = parameters if names is None else [parameters[name] for name in names]
        try:
            statement = self._pipeline.statement(text, values)
        except psycopg.Error as error:
            raise self._noted(error) from error
        self._waiting.append(statement)
        if self.is_exact:
            self.flush()
        return Answer(self, statement)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> None:
        """Queue a statement of the open transaction many times."""
        for values in parameters:
            self.execute(sql, values)

    def find(self, sql: str, arrays: Arrays) -> Answer:
        """Queue a statement as PostgreSQL spells it whose values are arrays."""
        self._refuse_outside()
        statement = Statement(sql.encode(), *arrays)
        self._waiting.append(statement)
        return Answer(self, statement)

    def put(self, target: Target, key: Hashable, row: Row) -> None:
        """Write a row, together with others of its table; what is asked later sees it."""
        self._refuse_outside()
        last = self._waiting[-1] if self._waiting else None
        if not isinstance(last, Writes):
            last = Writes()
            self._waiting.append(last)
        last.put(target, key, row)
        if self.is_exact:
            self.flush()

    def is_done(self, sql: str, parameters: Any, /) -> bool:
        """Queue a statement of `once`; return whether it wrote its row.

        When it did not the answer is True all the same, the transaction is lost, and the unit hears
        the truth when it runs again.
        """
        try:
            self.execute(sql, parameters)
        except errors.DivisionByZero:
            return False
        return True

    def flush(self) -> None:
        """Send what waits and read the outcomes.

        A savepoint that protects no writes yet stays here: most are never needed.
        """
        waiting, self._waiting = self._waiting, []
        last = max((at for at, one in enumerate(waiting) if _writes(one)), default=-1)
        batch = []
        for at, one in enumerate(waiting):
            if isinstance(one, Statement):
                batch.append(one)
            elif isinstance(one, Writes):
                batch += self._statements(one)
            elif at < last or self.is_exact:
                one.is_sent = True
                batch.append(self._pipeline.statement(f"SAVEPOINT {one.name}".encode(), ()))
            else:
                self._waiting.append(one)
        if batch:
            self._run(batch)

    def savepoint(self) -> Savepoint:
        """Mark a point of the transaction to return to."""
        self._depth += 1
        point = Savepoint(self._depth)
        self._waiting.append(point)
        if self.is_exact:
            self.flush()
        return point

    def release(self, point: Savepoint) -> None:
        """Keep what was done since a savepoint."""
        self._depth = point.depth - 1
        if point.is_sent:
            self.execute(f"RELEASE {point.name}")
        else:
            at = self._waiting.index(point)
            del self._waiting[at]
            beside = self._waiting[at - 1 : at + 1] if at else []
            match beside:
                case [Writes() as before, Writes() as after]:
                    before.add(after)
                    del self._waiting[at]

    def undo(self, point: Savepoint) -> None:
        """Undo what was done since a savepoint."""
        self.known.clear()
        self._depth = point.depth - 1
        if point.is_sent:
            # All that waits came after it, also the undoing of savepoints inside: by their names
            # nothing of theirs outlives this one, whether the server has heard of it or not.
            self._waiting.clear()
            self.execute(f"ROLLBACK TO {point.name}")
            self.execute(f"RELEASE {point.name}")
        else:
            del self._waiting[self._waiting.index(point) :]

    def is_waiting(self, answer: Answer) -> bool:
        """Return whether a statement is still to be sent."""
        return answer.statement in self._waiting

    def control(self, sql: str) -> psycopg.Cursor[Any]:
        """Run a statement as PostgreSQL spells it, outside of what units do."""
        if self._waiting:
            self.flush()
        return self._raw.execute(sql.encode())

    def rows(self, result: "pq.abc.PGresult") -> list[Any]:
        """Return the rows of an outcome."""
        return self._pipeline.rows(result)

    def begin(self, mode: str, *, exact: bool = False) -> None:
        """Begin a transaction, as `READ COMMITTED`."""
        self.fault = None
        self.is_exact = exact
        self.on_flush = None
        self._depth = 0
        self.known.clear()
        self._begin = self._pipeline.statement(f"BEGIN ISOLATION LEVEL {mode}".encode(), ())
        self._waiting = [self._begin]

    def commit(self) -> None:
        """Commit, with all that waits.

        Raises:
            UnknownOutcomeError: the connection broke, and perhaps it is committed.
            psycopg.Error: it is not committed.
        """
        self._refuse_outside()
        if self._raw.info.transaction_status not in (_NONE, _OPEN):
            # PostgreSQL answers COMMIT of a failed transaction with ROLLBACK and no error.
            msg = "a statement has failed and the unit went on"
            raise errors.InFailedSqlTransaction(msg)
        commit = self._pipeline.statement(b"COMMIT", ())
        self._waiting.append(commit)
        try:
            self.flush()
        except psycopg.OperationalError as error:
            # Of an earlier statement the server has told: then it did not come to the commit.
            is_told = error.sqlstate is not None and self._pipeline.failed is not commit
            if self.is_broken and not is_told:
                raise UnknownOutcomeError(str(error)) from error
            raise
        self._begin = None
        assert commit.result is not None
        if commit.result.command_status != b"COMMIT":
            raise errors.InFailedSqlTransaction(str(commit.result.command_status))

    def roll_back(self) -> None:
        """Leave the transaction, if there is one; a session that does not answer is closed."""
        self._begin = None
        self._waiting.clear()
        try:
            if self._raw.info.transaction_status != _NONE:
                self.control("ROLLBACK")
        except psycopg.Error:
            self._raw.close()

    def close(self) -> None:
        """End the session."""
        self._raw.close()

    def _statements(self, writes: Writes) -> Iterable[Statement]:
        try:
            return [Statement(sql, *arrays) for sql, arrays in writes.statements()]
        except psycopg.Error as error:
            if self.is_exact:
                raise self._noted(error) from error
            self.fault = error  # the row was written somewhere before, and is told of there
            raise

    def _run(self, batch: Sequence[Statement]) -> None:
        self.flushes += 1
        try:
            self._pipeline.run(batch)
        except psycopg.Error as error:
            raise self._noted(error) from error
        if self.on_flush is not None:
            self.on_flush()

    def _refuse_outside(self) -> None:
        """Refuse a statement that would stand alone, or come after a fault."""
        begin = self._begin
        is_sent = begin is not None and begin.result is not None
        if begin is None or (is_sent and self._raw.info.transaction_status == _NONE):
            msg = "there is no transaction"
            self.fault = self.fault or errors.InFailedSqlTransaction(msg)
        if self.fault is not None:
            msg = f"the transaction is lost: {self.fault}"
            raise errors.InFailedSqlTransaction(msg)

    def _noted(self, error: psycopg.Error) -> Exception:
        """Return what to raise for a failure; keep one that ends the transaction."""
        is_undone = self.is_exact or error.sqlstate is None
        if is_undone and is_too_much(error):
            return WireError("CTX_INVALID_FIELD", f"a text cannot be stored: {error}")
        if self.is_broken or not self.is_exact or not is_bug(error):
            self.fault = error
        return error


def is_too_much(error: psycopg.Error) -> bool:
    """Return whether a value is one that PostgreSQL cannot hold: too long, or with a NUL."""
    return isinstance(error, errors.ProgramLimitExceeded) or "NUL (0x00)" in str(error)


def is_bug(error: psycopg.Error) -> bool:
    """Return whether an error is a fault of the unit, not of the database or of a rival."""
    return isinstance(
        error,
        errors.IntegrityError
        | errors.DataError
        | errors.ProgrammingError
        | errors.NotSupportedError,
    )


def place(url: str) -> str:
    """Return hosts and database of a URL, without user and password.

    Raises:
        StoreError: not a URL that PostgreSQL understands.
    """
    parts = _parts(url)
    hosts = str(parts.get("host") or "the local server").split(",")
    ports = str(parts.get("port") or "").split(",")
    shown = [f"{host}:{port}" if port else host for host, port in zip_longest(hosts, ports)]
    return f"{','.join(shown)}/{parts.get('dbname') or parts.get('user') or ''}"


def _parts(url: str) -> Mapping[str, Any]:
    try:
        return conninfo_to_dict(url)
    except psycopg.ProgrammingError:  # its text may hold a part of the password
        msg = "database.url: not a PostgreSQL URL, expected postgresql://user@host:port/database"
        raise StoreError(msg) from None


def once(sql: str) -> str:
    """Return a statement that fails unless it writes a row, without being asked."""
    return f"WITH done AS ({sql} RETURNING 1) SELECT 1 / count(*) FROM done"


@lru_cache(maxsize=STATEMENTS)
def _spelled(sql: str) -> tuple[bytes, Sequence[str] | None]:
    """Return a statement as PostgreSQL spells it, and the names of its values if they have any."""
    for ours, theirs in _SPELLINGS:
        sql = sql.replace(ours, theirs)
    sql = _RESERVED.sub('"authorization"', sql)
    names = tuple(dict.fromkeys(_NAMED.findall(sql)))
    if names:
        return _NAMED.sub(lambda name: f"${names.index(name[1]) + 1}", sql).encode(), names
    first, *others = sql.split("?")
    return "".join([first, *(f"${at}{text}" for at, text in enumerate(others, 1))]).encode(), None


def _writes(one: Statement | Savepoint | Writes) -> bool:
    return isinstance(one, Writes) or (isinstance(one, Statement) and one.writes)
