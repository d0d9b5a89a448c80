"""A database is brought to the schema of the code, or refused."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from adapter.store.errors import StoreError
from adapter.store.migrate import Migration, known_migrations, migrate_sqlite
from adapter.store.sqlite import SqliteStore
from adapter.store.sqlite_connection import Connection, open_writer

FIRST = Migration(1, "0001_first.sqlite.sql", "CREATE TABLE first (a INTEGER) STRICT;")
SECOND = Migration(2, "0002_second.sqlite.sql", "CREATE TABLE second (a INTEGER) STRICT;")
BROKEN = Migration(2, "0002_broken.sqlite.sql", "CREATE TABLE half (a ANY) STRICT; SELECT oops;")


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    with contextlib.closing(open_writer(tmp_path / "node.db")) as opened:
        yield opened


def tables(connection: Connection) -> set[str]:
    found = connection.control("SELECT name FROM sqlite_schema WHERE type = 'table'")
    return {name for (name,) in found}


def applied(connection: Connection) -> list[tuple[int, str, str]]:
    return connection.control("SELECT * FROM migration ORDER BY number").fetchall()


def test_a_new_database_gets_every_migration(connection: Connection) -> None:
    migrate_sqlite(connection, [FIRST, SECOND])
    assert {"first", "second"} <= tables(connection)
    assert applied(connection) == [(one.number, one.name, one.checksum) for one in (FIRST, SECOND)]


def test_an_older_database_gets_what_it_lacks(connection: Connection) -> None:
    migrate_sqlite(connection, [FIRST])
    migrate_sqlite(connection, [FIRST, SECOND])
    migrate_sqlite(connection, [FIRST, SECOND])
    assert "second" in tables(connection)


def test_a_database_of_a_newer_program_is_refused(connection: Connection) -> None:
    migrate_sqlite(connection, [FIRST, SECOND])
    with pytest.raises(StoreError, match=r"has migration 0002_second\.sqlite\.sql.*knows only 1"):
        migrate_sqlite(connection, [FIRST])


def test_a_migration_that_was_changed_is_refused(connection: Connection) -> None:
    migrate_sqlite(connection, [FIRST])
    with pytest.raises(StoreError, match=r"0001_first.*must be the same"):
        migrate_sqlite(connection, [replace(FIRST, script="CREATE TABLE other (a ANY) STRICT;")])


def test_a_migration_that_breaks_leaves_nothing(connection: Connection) -> None:
    with pytest.raises(sqlite3.OperationalError, match="oops"):
        migrate_sqlite(connection, [FIRST, BROKEN])
    assert not connection.in_transaction
    assert "half" not in tables(connection)
    assert [number for number, _, _ in applied(connection)] == [1]
    migrate_sqlite(connection, [FIRST, SECOND])


def test_a_database_of_another_program_is_refused(connection: Connection) -> None:
    connection.control("CREATE TABLE photos (a ANY)")
    with pytest.raises(StoreError, match="another program"):
        migrate_sqlite(connection, [FIRST])
    assert tables(connection) == {"photos"}


def test_our_migrations_are_numbered_and_strict() -> None:
    known = known_migrations("sqlite")
    assert known[0].name == "0001_node.sqlite.sql"
    for migration in known:
        assert migration.script.count("CREATE TABLE") == migration.script.count(") STRICT")


def test_a_refused_database_can_be_opened_by_the_right_program(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    with contextlib.closing(open_writer(path)) as opened:
        newer = Migration(len(known_migrations("sqlite")) + 1, "0099_newer.sqlite.sql", "SELECT 1;")
        migrate_sqlite(opened, [*known_migrations("sqlite"), newer])
    for _ in range(2):  # the second time shows that the lock was given back
        with pytest.raises(StoreError, match=r"0099_newer.*use the newer program"):
            SqliteStore(path)
    with contextlib.closing(open_writer(path)) as opened:
        opened.control("DELETE FROM migration WHERE name LIKE '0099%'")
    asyncio.run(SqliteStore(path).close())


_TRADE = """
INSERT INTO trade (transaction_number, side, transaction_id, peer, state, version, document)
VALUES (?, ?, 'T-1', 'peer', 'NEW', 1, '{}')
"""


def test_a_database_from_before_there_were_markets_keeps_its_trades_and_takes_theirs(
    tmp_path: Path,
) -> None:
    known = known_migrations("sqlite")
    before = [one for one in known if one.number < 7]
    with contextlib.closing(open_writer(tmp_path / "node.db")) as opened:
        migrate_sqlite(opened, before)
        opened.control("BEGIN")
        opened.execute(_TRADE, (1, "bpp"))
        with pytest.raises(sqlite3.IntegrityError):
            opened.execute(_TRADE, (2, "market"))
        opened.control("COMMIT")
        migrate_sqlite(opened, known)
    with contextlib.closing(open_writer(tmp_path / "node.db")) as opened:
        opened.control("BEGIN")
        for number, side in enumerate(("bap", "grid_operator", "market", "market_session"), 2):
            opened.execute(_TRADE, (number, side))
        with pytest.raises(sqlite3.IntegrityError):
            opened.execute(_TRADE, (9, "somebody"))
        opened.control("COMMIT")
        sides = opened.control("SELECT side FROM trade ORDER BY transaction_number").fetchall()
        assert [side for (side,) in sides] == [
            "bpp",
            "bap",
            "grid_operator",
            "market",
            "market_session",
        ]
        assert opened.control("PRAGMA integrity_check").fetchall() == [("ok",)]
        for table in ("asked", "outbox"):
            (text,) = opened.control(
                f"SELECT sql FROM sqlite_schema WHERE name = '{table}'"
            ).fetchone()
            assert "side = 'market_session'" in text
