"""One suite for every `LedgerStore`: it gives back what was put, in order."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import psycopg
import pytest

from adapter.settlement import Account, Changes, Entry, Hold, LedgerStore, Row
from adapter.settlement.codec import decode_row, encode_row
from adapter.settlement.postings import HoldState
from adapter.settlement.rows import User, UserState, UserType
from adapter.settlement.state import Index, RowChange, Span
from adapter.store.ledger_memory import MemoryLedger
from adapter.store.ledger_sqlite import SqliteLedger
from adapter.store.postgres_connection import Connection
from adapter.store.postgres_ledger import LockedLedger
from adapter.store.postgres_migrate import migrate_postgres
from tests.fakes.postgres import PostgresServer
from tests.unit.settlement.world import NOON, Market, sqlite_ledger


@dataclass(frozen=True, slots=True)
class Part:
    """A nested value."""

    number: int
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Thing(Row):
    """A row with all kinds of fields."""

    KIND = "thing"
    name: str
    colour: str
    place: str = ""
    part: Part = Part(0)
    pairs: tuple[tuple[str, int], ...] = ()
    note: str | None = None
    is_old: bool = False

    @property
    def key(self) -> str:
        """Return the name."""
        return self.name

    def indexes(self) -> tuple[Index, ...]:
        """List it by colour, in order of place."""
        return (Index("colour", self.colour, self.place),)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest) -> Iterator[LedgerStore]:
    """Give an empty ledger."""
    if request.param == "memory":
        yield MemoryLedger()
    elif request.param == "sqlite":
        yield sqlite_ledger()
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        with server.lent() as url, closing(Connection.open(url)) as connection:
            migrate_postgres(connection)
            connection.begin("READ COMMITTED", exact=True)
            yield LockedLedger(connection)


def write(
    ledger: LedgerStore,
    *rows: Row,
    accounts: tuple[Account, ...] = (),
    holds: tuple[Hold, ...] = (),
) -> None:
    """Write as one command."""
    head = ledger.head()
    seq = head.seq + 1 if head else 0
    entry = Entry(seq, NOON + seq, f"{seq:064x}", b"{}")
    changes = [RowChange(ledger.get(type(row), row.key), row) for row in rows]
    ledger.write(Changes(accounts, holds, changes, entry))


def test_an_empty_ledger_has_nothing(ledger: LedgerStore) -> None:
    assert ledger.head() is None
    assert ledger.entry(0) is None
    assert ledger.entry(-1) is None
    assert list(ledger.entries(-1, 10)) == []
    assert ledger.account("a|USD|MAIN") is None
    assert list(ledger.accounts()) == []
    assert ledger.hold("0.0") is None
    assert list(ledger.open_holds("x")) == []
    assert ledger.get(Thing, "a") is None
    assert list(ledger.find(Thing, "colour", "red")) == []


def test_entries_come_in_order_and_in_pages(ledger: LedgerStore) -> None:
    for _ in range(5):
        write(ledger)
    assert [entry.seq for entry in ledger.entries(-1, 2)] == [0, 1]
    assert [entry.seq for entry in ledger.entries(1, 10)] == [2, 3, 4]
    assert ledger.entry(3) == Entry(3, NOON + 3, f"{3:064x}", b"{}")
    head = ledger.head()
    assert head is not None
    assert (head.seq, head.hash) == (4, f"{4:064x}")


def test_accounts_are_found_by_id_and_by_owner(ledger: LedgerStore) -> None:
    given = [Account(name, 5, 2) for name in ("a|USD|MAIN", "ab|USD|MAIN", "a|GRID|MAIN")]
    write(ledger, accounts=(*given, Account("sys|USD|EXTERNAL", -9, 0)))
    assert ledger.account("a|USD|MAIN") == Account("a|USD|MAIN", 5, 2)
    assert [account.id for account in ledger.accounts("a")] == ["a|GRID|MAIN", "a|USD|MAIN"]
    assert len(ledger.accounts()) == 4
    write(ledger, accounts=(Account("a|USD|MAIN", 1, 1),))
    assert ledger.account("a|USD|MAIN") == Account("a|USD|MAIN", 1, 1)


def test_open_holds_come_oldest_first(ledger: LedgerStore) -> None:
    ids = ["10.0", "9.1", "9.0"]
    write(ledger, holds=tuple(Hold(i, "a|USD|MAIN", 5, "x", 0) for i in ids))
    assert [hold.id for hold in ledger.open_holds("x")] == ["9.0", "9.1", "10.0"]
    write(ledger, holds=(Hold("9.1", "a|USD|MAIN", 5, "x", 0, HoldState.POSTED, 3),))
    assert [hold.id for hold in ledger.open_holds("x")] == ["9.0", "10.0"]
    resolved = ledger.hold("9.1")
    assert resolved is not None
    assert (resolved.state, resolved.posted) == (HoldState.POSTED, 3)


def test_rows_come_back_whole(ledger: LedgerStore) -> None:
    thing = Thing("a|é", "red", "1", Part(2**53 - 1, ("x", "y")), (("p", 1),), "n", True)
    write(ledger, thing)
    assert ledger.get(Thing, "a|é") == thing


def test_lists_are_in_order_of_sort_and_key(ledger: LedgerStore) -> None:
    write(
        ledger,
        Thing("b", "red", "2"),
        Thing("c", "red", "1"),
        Thing("a", "red", "2"),
        Thing("d", "blue", "1"),
    )

    def names(span: Span = Span()) -> str:  # noqa: B008 - a value
        return "".join(thing.name for thing in ledger.find(Thing, "colour", "red", span))

    assert names() == "cab"
    assert names(Span(newest_first=True)) == "bac"
    assert names(Span(end="2")) == "c"
    assert names(Span(start="2")) == "ab"
    assert names(Span("1", "1")) == ""


def test_a_changed_row_leaves_its_old_list(ledger: LedgerStore) -> None:
    write(ledger, Thing("a", "red"), Thing("b", "red"))
    write(ledger, Thing("a", "blue"))
    assert [thing.name for thing in ledger.find(Thing, "colour", "red")] == ["b"]
    assert [thing.name for thing in ledger.find(Thing, "colour", "blue")] == ["a"]


def test_an_entry_that_does_not_follow_is_a_bug(ledger: LedgerStore) -> None:
    write(ledger)
    with pytest.raises((AssertionError, sqlite3.IntegrityError, psycopg.IntegrityError)):
        ledger.write(Changes((), (), (), Entry(0, NOON, "f" * 64, b"{}")))


def test_enums_come_back_as_enums() -> None:
    user = User("a", UserType.PROSUMER, "x", UserState.ACTIVE)
    again = decode_row(User, encode_row(user))
    assert again == user
    assert isinstance(again.state, UserState)


# SQLite alone


def connected(ledger: SqliteLedger) -> sqlite3.Connection:
    connection = ledger._connection
    assert isinstance(connection, sqlite3.Connection)
    return connection


@pytest.mark.parametrize(
    "account",
    [
        pytest.param(Account("a|USD|MAIN", -1, 0), id="below zero"),
        pytest.param(Account("a|USD|MAIN", 1, 2), id="more held than posted"),
        pytest.param(Account("a|USD|MAIN", 1, -1), id="held below zero"),
    ],
)
def test_the_database_itself_refuses_an_unsound_balance(account: Account) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        write(sqlite_ledger(), accounts=(account,))


def test_the_database_takes_64_bits_and_not_one_more() -> None:
    ledger = sqlite_ledger()
    write(ledger, accounts=(Account("a|USD|MAIN", 2**63 - 1, 0),))
    assert ledger.account("a|USD|MAIN") == Account("a|USD|MAIN", 2**63 - 1, 0)
    with pytest.raises(OverflowError):
        write(ledger, accounts=(Account("a|USD|MAIN", 2**63, 0),))


def test_a_rolled_back_savepoint_takes_the_command_with_it() -> None:
    ledger = sqlite_ledger()
    world = Market(ledger).set_up()
    before = world.fingerprint()
    connection = connected(ledger)
    connection.execute("BEGIN")
    connection.execute("SAVEPOINT unit")
    number = world.agree()
    assert world.fingerprint() != before
    connection.execute("ROLLBACK TO unit")
    connection.execute("COMMIT")
    assert world.fingerprint() == before
    assert world.propose() == number


def test_the_ledger_never_begins_or_ends_a_transaction() -> None:
    ledger = sqlite_ledger()
    connection = connected(ledger)
    connection.execute("BEGIN")
    Market(ledger).set_up().agree()
    assert connection.in_transaction
    connection.execute("ROLLBACK")
    assert ledger.head() is None


def test_a_column_of_numbers_holds_integers_only() -> None:
    connection = connected(sqlite_ledger())
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute("INSERT INTO ledger_accounts VALUES ('a|USD|MAIN', 1.5, 0)")
