"""Brief units, which the event loop runs itself: groups with the others, failures, the end."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapter.domain.errors import WireError
from adapter.service.ports import UnitOfWork
from adapter.store import sqlite_writer
from adapter.store.sqlite import SqliteStore
from adapter.store.sqlite_unit import SqliteUnit
from adapter.store.sqlite_writer import BRIEF_UNITS
from tests.store.test_sqlite_group_commit import brief, enqueue, held, traced


def thread_of(_: UnitOfWork) -> str:
    return threading.current_thread().name


async def test_the_event_loop_runs_brief_units_and_no_others(sqlite: SqliteStore) -> None:
    here = threading.current_thread().name
    assert await brief(sqlite, thread_of) == [here]
    assert await sqlite.write(thread_of) == "writer node.db"


async def test_units_begun_together_share_a_commit_in_order(sqlite: SqliteStore) -> None:
    statements = await traced(sqlite)
    row_ids = await brief(sqlite, *[enqueue] * 10)
    assert row_ids == sorted(row_ids)
    assert statements.count("COMMIT") == 1


async def test_a_group_is_bounded(sqlite: SqliteStore) -> None:
    statements = await traced(sqlite)
    await brief(sqlite, *[enqueue] * (2 * BRIEF_UNITS + 1))
    assert statements.count("COMMIT") == 3


async def test_a_group_ends_when_its_time_is_over(
    sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements = await traced(sqlite)
    monkeypatch.setattr(sqlite_writer, "BRIEF_S", 0)
    row_ids = await brief(sqlite, *[enqueue] * 5)
    assert row_ids == sorted(row_ids)
    assert statements.count("COMMIT") == 5


async def test_brief_and_long_units_keep_their_order(sqlite: SqliteStore) -> None:
    ran: list[tuple[int, str]] = []

    def noted(number: int) -> Callable[[UnitOfWork], None]:
        return lambda unit: ran.append((number, thread_of(unit)))

    async with held(sqlite):
        tasks = [
            asyncio.create_task(sqlite.write(noted(number), brief=number % 3 > 0))
            for number in range(100)
        ]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert [number for number, _ in ran] == list(range(100))
    assert {thread for number, thread in ran if number % 3 == 0} == {"writer node.db"}


async def test_a_unit_that_raises_before_it_writes_costs_nobody_a_second_run(
    sqlite: SqliteStore,
) -> None:
    runs: list[str] = []

    def good(unit: UnitOfWork) -> bool:
        runs.append("good")
        return unit.mark(f"{len(runs)}")

    def refuses(unit: UnitOfWork) -> None:
        runs.append("refuses")
        assert unit.outbox_row(1) is None
        raise WireError("BIZ_QUANTITY_UNAVAILABLE", "nothing left")

    first, refused, last = await brief(sqlite, good, refuses, good)
    assert (first, last) == (True, True)
    assert isinstance(refused, WireError)
    assert runs == ["good", "refuses", "good"]


async def test_the_thread_commits_what_the_loop_has_run(sqlite: SqliteStore) -> None:
    ran: list[tuple[str, str]] = []

    def trace(unit: UnitOfWork) -> None:
        assert isinstance(unit, SqliteUnit)
        note = unit._connection.set_trace_callback
        note(lambda sql: ran.append((sql.split()[0], threading.current_thread().name)))

    await sqlite.write(trace)
    ran.clear()
    await brief(sqlite, enqueue)
    here = threading.current_thread().name
    assert {thread for sql, thread in ran if sql == "INSERT"} == {here}
    assert ran[-1] == ("COMMIT", "writer node.db")


async def test_what_waits_is_done_before_the_end(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "node.db")
    tasks = [asyncio.create_task(store.write(enqueue, brief=True)) for _ in range(100)]
    await asyncio.sleep(0)
    await store.close()
    assert len(set(await asyncio.gather(*tasks))) == 100
    with pytest.raises(WireError) as raised:
        await store.write(enqueue, brief=True)
    assert raised.value.code == "NET_DOWNSTREAM_UNAVAILABLE"


def test_a_loop_that_ends_with_the_turn_stops_nobody(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "node.db")
    _abandon(asyncio.new_event_loop(), store)
    assert store.waiting == 1  # its turn is still to come

    async def go_on() -> list[Any]:
        found = await brief(store, enqueue, enqueue)
        await store.close()
        return found

    assert asyncio.run(go_on()) == [2, 3]  # the unit that was abandoned ran whole, before them


async def test_a_turn_that_an_ended_loop_had_is_taken_over_once(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "node.db")
    abandoned, here = asyncio.new_event_loop(), asyncio.get_running_loop()
    taken_over: list[asyncio.Task[Any]] = []

    def take_over(*_: Any) -> None:
        """Let somebody else write between the turn and the news that nobody will take it."""
        if not taken_over:
            asyncio.run_coroutine_threadsafe(begin(), here).result(10)
        message = "Event loop is closed"
        raise RuntimeError(message)

    async def begin() -> None:
        taken_over.append(asyncio.create_task(store.write(enqueue, brief=True)))
        await asyncio.sleep(0.1)

    async with held(store):
        await asyncio.to_thread(_abandon, abandoned, store)
        abandoned.call_soon_threadsafe = take_over  # type: ignore[method-assign, assignment]
    while not taken_over:
        await asyncio.sleep(0.01)
    assert await taken_over[0] == 2
    assert await brief(store, enqueue) == [3]
    assert await store.write(enqueue) == 4
    await store.close()


def _abandon(loop: asyncio.AbstractEventLoop, store: SqliteStore) -> None:
    """Let a unit wait whose loop is closed."""
    task = loop.create_task(store.write(enqueue, brief=True))
    loop.call_soon(loop.stop)
    loop.run_forever()
    task.cancel()
    loop.close()


@pytest.mark.parametrize("is_brief", [True, False])
async def test_nobody_waits_for_a_connection_that_is_gone(
    tmp_path: Path, *, is_brief: bool
) -> None:
    store = SqliteStore(tmp_path / "node.db")

    def closes(unit: UnitOfWork) -> None:
        assert isinstance(unit, SqliteUnit)
        unit._connection.close()

    for unit in (closes, enqueue):
        with pytest.raises((WireError, sqlite3.ProgrammingError)):
            await asyncio.wait_for(store.write(unit, brief=is_brief), 30)
    await asyncio.wait_for(store.close(), 30)


def test_the_end_runs_what_an_ended_loop_has_left(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    store = SqliteStore(path)
    abandoned = asyncio.new_event_loop()
    abandoned.create_task(store.write(enqueue, brief=True)).cancel()
    task = abandoned.create_task(store.write(enqueue, brief=True))
    abandoned.call_soon(abandoned.stop)
    abandoned.run_forever()
    task.cancel()
    abandoned.close()
    asyncio.run(store.close())

    async def look() -> Any:
        again = SqliteStore(path)
        found = await again.read(lambda unit: unit.outbox_row(1))
        await again.close()
        return found

    assert asyncio.run(look()) is not None
