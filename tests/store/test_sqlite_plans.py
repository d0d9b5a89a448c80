"""Every statement of the store reaches its rows by an index, so that no table is too long."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import ModuleType
from typing import TypeVar

import pytest

from adapter.service.ports import UnitOfWork
from adapter.service.records import OutboxRow, OutboxState, Share
from adapter.store import (
    sqlite_asked,
    sqlite_inbox,
    sqlite_offers,
    sqlite_outbox,
    sqlite_roots,
    sqlite_trades,
)
from adapter.store.migrate import migrate_sqlite
from adapter.store.sqlite import SqliteStore
from adapter.store.sqlite_connection import Connection, open_writer
from adapter.store.sqlite_unit import SqliteUnit
from tests.store.samples import outbox_row, trade

T = TypeVar("T")

MODULES = (
    sqlite_asked,
    sqlite_inbox,
    sqlite_offers,
    sqlite_outbox,
    sqlite_roots,
    sqlite_trades,
)
VERBS = ("SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH ")


def statements(module: ModuleType) -> Iterator[tuple[str, str]]:
    for name, value in vars(module).items():
        if name != "_ROWS" and isinstance(value, str) and value.lstrip().startswith(VERBS):
            yield name, value


ALL = {f"{module.__name__}.{name}": sql for module in MODULES for name, sql in statements(module)}


@pytest.fixture
def connection() -> Iterator[Connection]:
    with contextlib.closing(open_writer(None)) as opened:
        migrate_sqlite(opened)
        opened.control("BEGIN")
        yield opened


def plan(connection: Connection, sql: str) -> list[str]:
    names = {"before": 1, "limit": 1, "side": "bpp"}
    parameters = names if ":before" in sql else (1,) * sql.count("?")
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]


@pytest.mark.parametrize("name", ALL)
def test_no_statement_reads_a_whole_table(connection: Connection, name: str) -> None:
    steps = plan(connection, ALL[name])
    for step in steps:
        is_bounded = " INDEX " in step or "CONSTANT" in step or step == "SCAN line"  # of peers
        assert not step.startswith("SCAN") or is_bounded, steps


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("_READY", "SEARCH outbox USING INDEX outbox_ready (peer=? AND ready_ms<?)"),
        ("_WAITING", "SEARCH later USING COVERING INDEX outbox_ready (peer>?)"),
        ("_WAITING", "SEARCH first USING COVERING INDEX outbox_ready (peer=? AND ready_ms>?)"),
        ("HEAD", "SEARCH outbox USING INDEX outbox_head (transaction_number=? AND peer=?)"),
        (
            "STEP_UP",
            "SEARCH outbox USING INDEX outbox_behind (transaction_number=? AND peer=?)",
        ),
        ("RELEASE_CLAIMS", "SCAN outbox USING INDEX outbox_ready"),
        ("_DEAD", "SEARCH outbox USING INDEX outbox_dead (state=?)"),
        ("OLD", "SEARCH message USING INDEX outbox_age (created_ms<?)"),
    ],
)
def test_an_outbox_statement_uses_its_index(connection: Connection, name: str, index: str) -> None:
    assert index in plan(connection, ALL[f"adapter.store.sqlite_outbox.{name}"])


@pytest.mark.parametrize(
    "name",
    [
        "sqlite_outbox._READY",
        "sqlite_outbox._DEAD",
        "sqlite_trades._DUE",
        "sqlite_trades._PAGE_OF_SIDE",
        "sqlite_trades._PAGE",
        "sqlite_asked._OPEN_ALL",
        "sqlite_asked._DUE",
        "sqlite_inbox._PRUNE",
    ],
)
def test_rows_come_in_order_without_a_sort(connection: Connection, name: str) -> None:
    assert not [step for step in plan(connection, ALL[f"adapter.store.{name}"]) if "B-TREE" in step]


async def test_a_claim_reads_only_what_it_takes_of_many_rows(sqlite: SqliteStore) -> None:
    """As after a restart: a hundred thousand rows wait, most behind a head that is not due."""

    def fill(unit: UnitOfWork) -> None:
        for number in range(100_000):
            unit.enqueue(outbox_row(f"t{number % 20_000}", next_ms=1 if number % 2 else 10**6))

    await sqlite.write(fill)

    def claim(unit: UnitOfWork, limit: int) -> tuple[Sequence[OutboxRow], int]:
        return counted(unit, lambda: unit.claim_outbox(1, 1_000, limit))

    rows, steps = await sqlite.write(lambda unit: claim(unit, 64))
    assert len(rows) == 64
    assert steps < 64 * 500, "a pass over the table takes millions"
    _, steps = await sqlite.write(lambda unit: claim(unit, 1))
    assert steps < 500

    def leave_out(unit: UnitOfWork) -> tuple[Sequence[OutboxRow], int]:
        share = Share(8, {rows[0].peer: 0})
        return counted(unit, lambda: unit.claim_outbox(1, 1_000, 64, share))

    none, steps = await sqlite.write(leave_out)
    assert list(none) == []
    assert steps < 500, "what waits for a peer that is left out is not read"


def counted(unit: UnitOfWork, work: Callable[[], T]) -> tuple[T, int]:
    """Return the result of `work` and about how many steps SQLite's machine took for it."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 10
        return 0

    assert isinstance(unit, SqliteUnit)
    unit._connection.set_progress_handler(count, 10)
    result = work()
    unit._connection.set_progress_handler(None, 0)
    return result, steps


async def test_a_long_line_moves_up_without_being_read(sqlite: SqliteStore) -> None:
    def fill(unit: UnitOfWork) -> OutboxRow:
        for _ in range(5_000):
            unit.enqueue(outbox_row())
        [head] = unit.claim_outbox(1, 1_000, 9)
        return head

    head = await sqlite.write(fill)
    sent = replace(head, state=OutboxState.SENT)
    _, steps = await sqlite.write(lambda unit: counted(unit, lambda: unit.save_outbox(sent)))
    assert steps < 500
    rows = await sqlite.write(lambda unit: unit.claim_outbox(1, 1_000, 9))
    assert [row.id for row in rows] == [head.id + 1]


async def test_a_page_of_many_trades_is_read_by_index(sqlite: SqliteStore) -> None:
    def fill(unit: UnitOfWork) -> None:
        for number in range(200):
            unit.save_trade(trade(f"t{number}"))

    await sqlite.write(fill)
    page = await sqlite.read(lambda unit: unit.trades(None, "t150", 3))
    assert [found.transaction_id for found in page] == ["t149", "t148", "t147"]
