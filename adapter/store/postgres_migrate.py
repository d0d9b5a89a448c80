"""Brings a PostgreSQL schema to that of this code, also when several processes start at once."""

from collections.abc import Sequence

from adapter.store.errors import StoreError
from adapter.store.migrate import Migration, known_migrations, pending
from adapter.store.postgres_connection import LOCK_MS, Connection

ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('p2ptrade migrations', 0))"
_AS_LONG_AS_IT_TAKES = "SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0"
_LIMITED = f"SET LOCAL lock_timeout = {LOCK_MS}"
_RECORDS = """
CREATE TABLE migration (
    number BIGINT PRIMARY KEY CHECK (number > 0),
    name TEXT NOT NULL,
    checksum TEXT NOT NULL
)
"""
_HAS_RECORDS = """
SELECT EXISTS (SELECT 1 FROM pg_tables
               WHERE schemaname = current_schema() AND tablename = 'migration')
"""
_TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()"
_APPLIED = "SELECT number, name, checksum FROM migration ORDER BY number"
_RECORD = "INSERT INTO migration (number, name, checksum) VALUES (?, ?, ?)"


def migrate_postgres(connection: Connection, known: Sequence[Migration] | None = None) -> None:
    """Apply what a schema still needs, all of it or nothing.

    Waits for another process that does it already. A table that a unit of work holds is not waited
    for longer than by any statement: behind that wait all units on it would stand.

    Raises:
        StoreError: not a schema of ours, or one of a newer program.
        psycopg.Error: the database refuses.
    """
    connection.begin("READ COMMITTED")
    try:
        connection.control(_AS_LONG_AS_IT_TAKES)
        connection.control(ONE_AT_A_TIME)
        connection.control(_LIMITED)
        waiting = _waiting(connection, known_migrations("postgres") if known is None else known)
        for migration in waiting:
            if migration.number == 1:
                connection.control(_RECORDS)
            connection.control(migration.script)
            record = (migration.number, migration.name, migration.checksum)
            connection.execute(_RECORD, record)
        connection.commit()
    except BaseException:
        connection.roll_back()
        raise


def pending_in(connection: Connection) -> int:
    """Return how many migrations a schema still needs; in a query.

    Raises:
        StoreError: not a schema of ours, or one of a newer program.
    """
    return len(_waiting(connection, known_migrations("postgres")))


def _waiting(connection: Connection, known: Sequence[Migration]) -> Sequence[Migration]:
    if connection.control(_HAS_RECORDS).fetchone()[0]:  # type: ignore[index]
        return pending(connection.control(_APPLIED).fetchall(), known)
    if connection.control(_TABLES).fetchone()[0]:  # type: ignore[index]
        msg = f"schema {connection.schema} holds tables of another program, expected none or ours"
        raise StoreError(msg)
    return known
