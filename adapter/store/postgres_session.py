"""Runs units of work and queries on one PostgreSQL session, in the thread that has it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg
from psycopg import errors

from adapter.domain.errors import WireError
from adapter.service.ports import UnitOfWork
from adapter.service.records import NOTHING, About
from adapter.store.errors import StoreError
from adapter.store.postgres_connection import (
    Connection,
    UnknownOutcomeError,
    is_bug,
    is_too_much,
)
from adapter.store.postgres_locks import BusyError, Key, Kind, Locks
from adapter.store.postgres_rows import Rows
from adapter.store.postgres_unit import PostgresUnit

T = TypeVar("T")

ATTEMPTS = 20
"""How often a unit may start before it is refused. Each start takes the locks that the ones before
it missed, so a unit that needs n locks is done after n starts, and after two nearly always."""

_LOG = logging.getLogger(__name__)


class Session:
    """One connection, opened when it is needed, and again after the server was away."""

    def __init__(self, url: str, names: set[str] | None = None) -> None:
        """Take the URL of the database; nothing is opened yet.

        Args:
            url: of the database.
            names: of the sessions that the store has had; grows with each that is opened.
        """
        self._url = url
        self._names = set() if names is None else names
        self._connection: Connection | None = None

    def write(
        self,
        unit: Callable[[UnitOfWork], T],
        about: About = NOTHING,
        *,
        barred: Kind | None = None,
    ) -> T:
        """Run a unit of work and return its result once it is durably committed.

        Args:
            unit: what to run.
            about: what it is known to read.
            barred: what it may not lock.

        Raises:
            BarredError: it wants to; nothing is done.
            WireError: NET_OVERLOADED, NET_DOWNSTREAM_UNAVAILABLE; or what the unit raises.
        """
        wanted: set[Key] = set()
        why: BaseException | None = None
        exact = False
        for _ in range(ATTEMPTS):
            was_open = self._is_open
            try:
                with self.transaction(exact=exact) as connection:
                    locks = Locks(connection, wanted, barred=barred)
                    rows = Rows(connection)
                    rows.read(locks, [about])
                    result = unit(PostgresUnit(connection, locks, rows))
                    locks.check()
                    connection.commit()
                    return result
            except BusyError as busy:
                why = busy
            except UnknownOutcomeError as error:
                # Not again: it may be committed. Whoever waits for an answer asks again, and the
                # inbox tells then.
                raise _refused(error) from error
            except psycopg.Error as error:
                if isinstance(error, errors.ReadOnlySqlTransaction):
                    self.close()  # the server has become a standby: another one may take over
                if not exact and (is_bug(error) or is_too_much(error)):
                    exact = True  # so that each failure is told where it belongs
                elif not self._may_start_again(error, was_open=was_open):
                    raise told(error) from error
                why = error
        raise WireError("NET_OVERLOADED", f"the database is too busy: {why}")

    @contextmanager
    def transaction(self, *, exact: bool = False) -> Iterator[Connection]:
        """Give the connection in a transaction, which is rolled back unless it was committed.

        Args:
            exact: each statement is sent at once, see `Connection`.

        Raises:
            UnknownOutcomeError: of the commit.
            psycopg.Error: what a statement has failed with, whatever was made of it since.
            WireError: NET_DOWNSTREAM_UNAVAILABLE, no connection.
        """
        connection = self._open()
        try:
            connection.begin("READ COMMITTED", exact=exact)
            yield connection
        except UnknownOutcomeError:
            raise  # its cause is the fault, and says less
        except Exception as error:
            if connection.fault is not None and connection.fault is not error:
                raise connection.fault from error
            raise
        finally:
            connection.roll_back()

    def read(self, query: Callable[[UnitOfWork], T]) -> T:
        """Run a query on one snapshot.

        Raises:
            StoreError: the query writes.
            WireError: NET_DOWNSTREAM_UNAVAILABLE; or what the query raises.
        """
        for is_last in (False, True):
            was_open = self._is_open
            try:
                with self.snapshot() as connection:
                    result = query(PostgresUnit(connection, None))
                    connection.flush()  # tells of one that writes
                    return result
            except errors.ReadOnlySqlTransaction:
                msg = "a query must not write"
                raise StoreError(msg) from None
            except psycopg.Error as error:
                if was_open and not self._is_open and not is_last:
                    continue  # the server was restarted since the last query
                raise told(error) from error
        raise AssertionError

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Give the connection in a transaction that only reads, all of it the same state.

        Raises:
            psycopg.Error: what a statement has failed with.
            WireError: NET_DOWNSTREAM_UNAVAILABLE, no connection.
        """
        connection = self._open()
        try:
            connection.begin("REPEATABLE READ READ ONLY")
            yield connection
        finally:
            connection.roll_back()

    def enter(self) -> Connection:
        """Return the connection in a new transaction, which `leave` ends."""
        connection = self._open()
        connection.begin("READ COMMITTED")
        return connection

    def leave(self) -> None:
        """End the transaction of `enter` without a trace."""
        if self._connection is not None:
            self._connection.roll_back()

    def close(self) -> None:
        """End the session."""
        if self._connection is not None:
            self._connection.close()

    @property
    def _is_open(self) -> bool:
        return self._connection is not None and not self._connection.is_broken

    def _open(self) -> Connection:
        if self._connection is not None and not self._connection.is_broken:
            return self._connection
        try:
            self._connection = Connection.open(self._url)
        except (psycopg.Error, StoreError) as error:  # also after a restore that lacks something
            raise _refused(error) from error
        self._names.add(self._connection.session)
        self._connection.own_sessions = self._names
        return self._connection

    def _may_start_again(self, fault: psycopg.Error, *, was_open: bool) -> bool:
        if isinstance(fault, errors.SerializationFailure | errors.DeadlockDetected):
            _LOG.warning("a unit of work starts again: %s", fault)
            return True
        return was_open and not self._is_open  # the server was restarted, or has ended the session


def told(error: psycopg.Error) -> Exception:
    """Return the error for the caller of a unit: a refusal when the database is away or full."""
    return error if is_bug(error) else _refused(error)


def _refused(error: Exception) -> WireError:
    _LOG.error("the database refuses: %s", error)
    return WireError("NET_DOWNSTREAM_UNAVAILABLE", f"the database refuses: {error}")
