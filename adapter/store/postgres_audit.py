"""Looks into a PostgreSQL database beside the node that writes it; changes nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from adapter.store.errors import StoreError
from adapter.store.postgres_connection import Connection, place
from adapter.store.postgres_migrate import pending_in
from adapter.store.postgres_unit import PostgresUnit

_STATE = """
SELECT current_setting('server_version'),
       current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on',
       current_setting('max_connections')::int
"""


@dataclass(frozen=True, slots=True)
class PostgresState:
    """What `doctor` tells of a database."""

    place: str
    """Host, port and database."""
    version: str
    """Of the server."""
    pending: int
    """Migrations that come at the next start."""
    is_durable: bool
    """What is committed outlives a power cut."""
    connections_max: int
    """Of all clients together."""


def state_of(url: str) -> PostgresState:
    """Return what there is at a URL.

    Raises:
        StoreError: out of reach, not a schema of ours, or one of a newer program.
    """
    with _reading(url) as connection:
        pending = pending_in(connection)
        found = connection.control(_STATE).fetchone()
        assert found is not None
        version, is_durable, connections_max = found
        return PostgresState(place(url), version, pending, is_durable, connections_max)


@contextmanager
def snapshot_postgres(url: str) -> Iterator[tuple[Connection, PostgresUnit]]:
    """Give a connection that reads one state of a database, and queries on it.

    Raises:
        StoreError: out of reach, or not a database of ours.
    """
    with _reading(url) as connection:
        pending_in(connection)
        yield connection, PostgresUnit(connection, None)


@contextmanager
def _reading(url: str) -> Iterator[Connection]:
    where = place(url)
    try:
        connection = Connection.open(url)
    except psycopg.Error as error:
        msg = f"the database {where} cannot be opened: {error}"
        raise StoreError(msg) from None
    try:
        connection.control("SET idle_in_transaction_session_timeout = 0")  # a replay takes long
        connection.begin("REPEATABLE READ READ ONLY")
        yield connection
    except psycopg.Error as error:
        msg = f"{where} is not a readable database of a node: {error}"
        raise StoreError(msg) from None
    finally:
        connection.close()
