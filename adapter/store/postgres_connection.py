"""Opens connections to PostgreSQL and runs on them the statements that SQLite runs too.

The tables of a unit of work are written once. What PostgreSQL spells otherwise is respelled here:
the places of values, `IS` between values, a join, and one name that is reserved.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import zip_longest
from typing import Any, Self

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.types.numeric import Int8Dumper

from adapter.domain.errors import WireError
from adapter.store.errors import StoreError

CONNECT_S = 3
"""How long opening a connection may take; a node that is asked meanwhile answers 503."""
LOCK_MS = 5_000
"""How long a statement waits for others before it fails, as with SQLite."""
IDLE_MS = 30_000
"""A worker that stops in the middle of a transaction loses it after that, and its locks."""
STATEMENTS = 512
"""Prepared on each connection: more than the node and its ledger have."""

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
    ("%", "%%"),
    ("IS ?", "IS NOT DISTINCT FROM ?"),
    ("CROSS JOIN outbox_body", "JOIN outbox_body"),
    ("?", "%s"),
)
_NAMED = re.compile(r"(?<!:):([a-z_]+)")
_RESERVED = re.compile(r"\bauthorization\b")


class UnknownOutcomeError(Exception):
    """The connection broke while a commit was under way."""


class Connection:
    """One session, whose statements run inside a transaction or not at all.

    After a failure that a savepoint cannot undo, `fault` holds it and every statement is refused.
    """

    def __init__(self, raw: psycopg.Connection[Any], schema: str, session: str) -> None:
        """Take a session in autocommit mode, the name of its schema and its own."""
        self._raw = raw
        self.schema = schema
        self.session = session
        self.fault: psycopg.Error | None = None

    @classmethod
    def open(cls, url: str) -> Self:
        """Return a new session.

        Raises:
            psycopg.OperationalError: the server is out of reach, or refuses.
            StoreError: a database that cannot hold every text, or without a schema to use.
        """
        raw = psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_S)
        try:
            raw.prepared_max = STATEMENTS
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

    def execute(self, sql: str, parameters: Any = (), /) -> psycopg.Cursor[Any]:
        """Run a statement of the open transaction."""
        self._refuse_outside()
        try:
            return self._raw.execute(_spelled(sql), parameters)
        except psycopg.Error as error:
            raise self._noted(error) from error

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> None:
        """Run a statement of the open transaction many times, in one round trip."""
        rows = list(parameters)
        if not rows:
            return
        self._refuse_outside()
        try:
            with self._raw.cursor() as cursor:
                cursor.executemany(_spelled(sql), rows)
        except psycopg.Error as error:
            raise self._noted(error) from error

    @contextmanager
    def together(self) -> Iterator[None]:
        """Send the statements of the block at once and read their outcomes at its end."""
        self._refuse_outside()
        try:
            with self._raw.pipeline():
                yield
        except psycopg.Error as error:
            raise self._noted(error) from error

    def control(self, sql: str) -> psycopg.Cursor[Any]:
        """Run a statement as PostgreSQL spells it, outside of what units do."""
        return self._raw.execute(sql.encode())

    def begin(self, mode: str) -> None:
        """Begin a transaction, as `READ COMMITTED`."""
        self.fault = None
        self.control(f"BEGIN ISOLATION LEVEL {mode}")

    def commit(self) -> None:
        """Commit.

        Raises:
            UnknownOutcomeError: the connection broke, and perhaps it is committed.
            psycopg.Error: it is not committed.
        """
        if self._raw.info.transaction_status != TransactionStatus.INTRANS:
            # PostgreSQL answers COMMIT of a failed transaction with ROLLBACK and no error.
            msg = "a statement has failed and the unit went on"
            raise errors.InFailedSqlTransaction(msg)
        try:
            done = self.control("COMMIT").statusmessage
        except psycopg.OperationalError as error:
            if self.is_broken:
                raise UnknownOutcomeError(str(error)) from error
            raise
        if done != "COMMIT":
            raise errors.InFailedSqlTransaction(str(done))

    def roll_back(self) -> None:
        """Leave the transaction, if there is one; a session that does not answer is closed."""
        try:
            if self._raw.info.transaction_status != TransactionStatus.IDLE:
                self.control("ROLLBACK")
        except psycopg.Error:
            self._raw.close()

    def close(self) -> None:
        """End the session."""
        self._raw.close()

    def _refuse_outside(self) -> None:
        """Refuse a statement that would stand alone, or come after a fault."""
        if self._raw.pgconn.transaction_status == TransactionStatus.IDLE:
            msg = "there is no transaction"
            self.fault = self.fault or errors.InFailedSqlTransaction(msg)
        if self.fault is not None:
            msg = f"the transaction is lost: {self.fault}"
            raise errors.InFailedSqlTransaction(msg)

    def _noted(self, error: psycopg.Error) -> Exception:
        """Return what to raise for a failure; keep one that ends the transaction."""
        if isinstance(error, errors.ProgramLimitExceeded) or "NUL (0x00)" in str(error):
            return WireError("CTX_INVALID_FIELD", f"a text cannot be stored: {error}")
        if self.is_broken or not is_bug(error):
            self.fault = error
        return error


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
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:  # its text may hold a part of the password
        msg = "database.url: not a PostgreSQL URL, expected postgresql://user@host:port/database"
        raise StoreError(msg) from None
    hosts = str(parts.get("host") or "the local server").split(",")
    ports = str(parts.get("port") or "").split(",")
    shown = [f"{host}:{port}" if port else host for host, port in zip_longest(hosts, ports)]
    return f"{','.join(shown)}/{parts.get('dbname') or parts.get('user') or ''}"


@lru_cache(maxsize=STATEMENTS)
def _spelled(sql: str) -> bytes:
    """Return a statement as PostgreSQL and psycopg spell it."""
    for ours, theirs in _SPELLINGS:
        sql = sql.replace(ours, theirs)
    return _RESERVED.sub('"authorization"', _NAMED.sub(r"%(\1)s", sql)).encode()
