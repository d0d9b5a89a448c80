"""What the ledger remembers on a connection, and when it has to forget."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from adapter.settlement import Account, Changes, Entry, LedgerStore
from adapter.settlement.rows import Binding, MeterKind, User, UserState, UserType
from adapter.settlement.state import RowChange
from adapter.store import ledger_known
from adapter.store.migrate import migrate_sqlite
from adapter.store.sqlite_connection import Connection, open_writer
from adapter.store.sqlite_unit import SqliteUnit, within_savepoint
from tests.unit.settlement.world import NOON

CASH = "a|USD|MAIN"
FULL = Account(CASH, 5, 0)
EMPTY = Account(CASH, 0, 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "node.db"


@pytest.fixture
def connection(path: Path) -> Iterator[Connection]:
    """Give the writing connection of a new file, without an open transaction."""
    with closing(open_writer(path)) as opened:
        migrate_sqlite(opened)
        yield opened


def ledger_of(connection: Connection) -> LedgerStore:
    """Return the ledger as one unit of work has it."""
    return SqliteUnit(connection).ledger


def put(connection: Connection, account: Account, *changes: RowChange) -> None:
    """Write as one command."""
    ledger = ledger_of(connection)
    head = ledger.head()
    seq = head.seq + 1 if head else 0
    entry = Entry(seq, NOON + seq, f"{seq:064x}", b"{}")
    ledger.write(Changes((account,), (), changes, entry))


def committed(connection: Connection, work: Callable[[], None]) -> None:
    """Do something in a transaction of its own."""
    connection.control("BEGIN IMMEDIATE")
    work()
    connection.control("COMMIT")


def found(connection: Connection) -> Account | None:
    """Return what the next unit of work sees, and leave nothing open."""
    connection.control("BEGIN IMMEDIATE")
    account = ledger_of(connection).account(CASH)
    connection.control("COMMIT")
    return account


def statements(connection: Connection, work: Callable[[], object]) -> list[str]:
    """Return what was asked of the database meanwhile."""
    asked: list[str] = []
    connection.set_trace_callback(asked.append)
    work()
    connection.set_trace_callback(None)
    return [sql for sql in asked if "ledger_" in sql]


def test_the_next_unit_knows_what_was_committed(connection: Connection) -> None:
    committed(connection, lambda: put(connection, FULL))
    assert statements(connection, lambda: found(connection)) == []
    assert found(connection) == FULL


def test_what_is_not_there_is_looked_up_once(connection: Connection) -> None:
    assert found(connection) is None
    assert statements(connection, lambda: found(connection)) == []
    committed(connection, lambda: put(connection, FULL))
    assert found(connection) == FULL


def test_an_undone_savepoint_is_forgotten(connection: Connection) -> None:
    committed(connection, lambda: put(connection, FULL))
    connection.control("BEGIN IMMEDIATE")

    def refused() -> None:
        put(connection, EMPTY)
        raise LookupError

    with pytest.raises(LookupError):
        within_savepoint(connection, refused)
    ledger = ledger_of(connection)
    head = ledger.head()
    assert ledger.account(CASH) == FULL
    assert head is not None
    assert head.seq == 0
    connection.control("COMMIT")


def test_a_transaction_that_was_rolled_back_is_forgotten(connection: Connection) -> None:
    committed(connection, lambda: put(connection, FULL))
    connection.control("BEGIN IMMEDIATE")
    put(connection, EMPTY)
    connection.control("ROLLBACK")
    assert found(connection) == FULL


def test_a_transaction_that_the_database_gave_up_is_forgotten(connection: Connection) -> None:
    committed(connection, lambda: put(connection, FULL))
    connection.control("BEGIN IMMEDIATE")
    put(connection, EMPTY)
    sqlite3.Connection.execute(connection, "ROLLBACK")  # as SQLite does when the disk is full
    assert found(connection) == FULL


def test_what_another_connection_has_written_is_seen(connection: Connection, path: Path) -> None:
    committed(connection, lambda: put(connection, FULL))
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE ledger_accounts SET posted = 3")
    assert found(connection) == Account(CASH, 3, 0)


def test_a_short_list_is_known_until_one_of_its_rows_is_written(connection: Connection) -> None:
    def binding(owner: str, from_ms: int) -> RowChange:
        kind = MeterKind.BOTH
        return RowChange(None, Binding("m", owner, kind, 1, "key", "area", from_ms))

    def owners() -> list[str]:
        connection.control("BEGIN IMMEDIATE")
        rows = [one.owner for one in ledger_of(connection).find(Binding, "meter", "m")]
        connection.control("COMMIT")
        return rows

    committed(connection, lambda: put(connection, FULL, binding("a", NOON)))
    assert owners() == ["a"]
    assert statements(connection, owners) == []
    committed(connection, lambda: put(connection, FULL, binding("b", NOON + 900_000)))
    assert owners() == ["a", "b"]


@pytest.mark.parametrize(
    "users",
    [pytest.param(3, id="over the bound bit by bit"), pytest.param(9, id="and in one command")],
)
def test_the_memory_is_bounded(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, users: int
) -> None:
    monkeypatch.setattr(ledger_known, "KNOWN_MAX", 5)

    def names(turn: int) -> list[str]:
        return [f"user-{turn}-{number}" for number in range(users)]

    def user(name: str) -> User:
        return User(name, UserType.PROSUMER, "x", UserState.ACTIVE)

    for turn in range(4):
        rows = [RowChange(None, user(name)) for name in names(turn)]
        committed(connection, lambda rows=rows: put(connection, FULL, *rows))  # type: ignore[misc]
        assert len(connection.known) <= 5
    connection.control("BEGIN IMMEDIATE")
    for turn in range(4):
        for name in names(turn):
            assert ledger_of(connection).get(User, name) == user(name)
            assert len(connection.known) <= 5
    connection.control("COMMIT")
