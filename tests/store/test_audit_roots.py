"""Kept statements in a database that lies: every changed byte of them is found and named."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from adapter.settlement import UnreadableRoot
from adapter.settlement.verify_roots import check_statements
from adapter.store.audit_roots import kept_roots, read_roots
from adapter.store.errors import StoreError
from adapter.store.migrate import migrate_sqlite
from adapter.store.sqlite_connection import Connection, open_writer
from adapter.store.sqlite_unit import SqliteUnit
from tests.unit.settlement.anchored import KeyedMarket, settled_market, signed, statements


@pytest.fixture(scope="module")
def world() -> KeyedMarket:
    return settled_market()


@pytest.fixture
def connection(world: KeyedMarket) -> Iterator[Connection]:
    """Give a database that keeps the statements of the world."""
    with contextlib.closing(open_writer(None)) as opened:
        migrate_sqlite(opened)
        opened.control("BEGIN")
        for statement in statements(world):
            SqliteUnit(opened).keep_root(signed(statement))
        yield opened


def finding(connection: Connection, world: KeyedMarket) -> str:
    """Return what is wrong with the kept statements, empty when nothing is."""
    found = check_statements(world.ledger, kept_roots(connection, world.ledger), all_signed=True)
    return "" if found is None else found.why


def flips(value: Any) -> Iterator[Any]:
    """Give a value with one byte changed."""
    if isinstance(value, int):
        yield value + 1
        return
    raw = value.encode() if isinstance(value, str) else value
    for position in range(len(raw)):
        changed = raw[:position] + bytes([raw[position] ^ 1]) + raw[position + 1 :]
        yield changed.decode() if isinstance(value, str) else changed


def test_what_is_kept_agrees_with_the_journal(connection: Connection, world: KeyedMarket) -> None:
    assert finding(connection, world) == ""


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("root_statement", ("ledger", "last_epoch", "body", "signature")),
        ("root_countersignature", ("key_id", "subscriber", "public_key", "signature")),
    ],
)
def test_every_changed_byte_of_a_kept_statement_is_found(
    connection: Connection, world: KeyedMarket, table: str, columns: tuple[str, ...]
) -> None:
    rows = connection.execute(f"SELECT rowid_key, {', '.join(columns)} FROM {keyed(table)}")
    for key, *values in rows.fetchall():
        for column, value in zip(columns, values, strict=True):
            for changed in flips(value):
                where = f"{KEYS[table]} = ?"
                connection.execute("SAVEPOINT flip")
                sql = f"UPDATE {table} SET {column} = ? WHERE {where}"
                assert connection.execute(sql, (changed, key)).rowcount == 1
                why = finding(connection, world)
                connection.execute("ROLLBACK TO flip")
                assert why.startswith("6 roots"), (column, changed)


KEYS = {
    "root_statement": "hash",
    "root_countersignature": "statement || key_id",
}


def keyed(table: str) -> str:
    return f"(SELECT {KEYS[table]} AS rowid_key, * FROM {table})"


def test_a_ledger_that_was_never_opened_has_no_statements(connection: Connection) -> None:
    assert kept_roots(connection, KeyedMarket().ledger) == []


def test_a_countersignature_without_its_statement_is_found(
    connection: Connection, world: KeyedMarket
) -> None:
    connection.execute("PRAGMA defer_foreign_keys = ON")
    connection.execute("UPDATE root_countersignature SET statement = '0' || substr(statement, 2)")
    found = [one for one in kept_roots(connection, world.ledger) if isinstance(one, UnreadableRoot)]
    assert [one.why for one in found] == ["a countersignature belongs to no kept statement"]


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b'{"roots": 1}', b"null", b"\xff"])
def test_a_file_without_statements_is_refused(data: bytes) -> None:
    with pytest.raises(StoreError):
        read_roots(data)
