"""The writer of a SQLite file: groups, failures within a group, the bound of the queue."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from adapter.domain.errors import WireError
from adapter.service.ports import UnitOfWork
from adapter.store.sqlite import SqliteStore
from adapter.store.sqlite_unit import SqliteUnit
from adapter.store.sqlite_writer import GROUP_UNITS
from tests.store.samples import outbox_row

Unit = Callable[[UnitOfWork], Any]
Begun = Callable[..., Awaitable[list[Any]]]


async def traced(store: SqliteStore) -> list[str]:
    """Return the list of the statements that the writer runs from now on."""
    statements: list[str] = []

    def trace(unit: UnitOfWork) -> None:
        assert isinstance(unit, SqliteUnit)
        unit._connection.set_trace_callback(statements.append)

    await store.write(trace)
    statements.clear()
    return statements


@contextlib.asynccontextmanager
async def held(store: SqliteStore) -> AsyncIterator[None]:
    """Keep the writer busy, so that units wait and form groups."""
    started, go_on = threading.Event(), threading.Event()

    def hold(unit: UnitOfWork) -> None:
        started.set()
        assert go_on.wait(10)

    holding = asyncio.create_task(store.write(hold))
    assert await asyncio.to_thread(started.wait, 10)
    try:
        yield
    finally:
        go_on.set()
        await holding


async def together(store: SqliteStore, *units: Unit) -> list[Any]:
    """Return what units return or raise that waited at the same time."""
    async with held(store):
        tasks = [asyncio.create_task(store.write(unit)) for unit in units]
        await asyncio.sleep(0)
        assert store.waiting == len(units)
    return await asyncio.gather(*tasks, return_exceptions=True)


async def brief(store: SqliteStore, *units: Unit) -> list[Any]:
    """Return what brief units return or raise that were begun at the same time."""
    return await asyncio.gather(
        *(store.write(unit, brief=True) for unit in units), return_exceptions=True
    )


def enqueue(unit: UnitOfWork) -> int:
    return unit.enqueue(outbox_row())


async def test_units_that_wait_share_a_commit_in_order(sqlite: SqliteStore) -> None:
    statements = await traced(sqlite)
    row_ids = await together(sqlite, *[enqueue] * 10)
    assert row_ids == sorted(row_ids)
    assert statements.count("COMMIT") == 2  # the unit that held the writer, then the ten


@pytest.mark.parametrize(
    ("units", "commits"),
    [
        pytest.param(GROUP_UNITS, 1, id="a full group"),
        pytest.param(GROUP_UNITS + 1, 2, id="one more"),
        pytest.param(3 * GROUP_UNITS, 3, id="three groups"),
    ],
)
async def test_a_group_is_bounded(sqlite: SqliteStore, units: int, commits: int) -> None:
    statements = await traced(sqlite)
    await together(sqlite, *[enqueue] * units)
    assert statements.count("COMMIT") == 1 + commits


async def test_a_lone_unit_does_not_wait_for_others(sqlite: SqliteStore) -> None:
    statements = await traced(sqlite)
    for _ in range(3):
        await sqlite.write(enqueue)
    assert statements.count("COMMIT") == 3


async def test_a_group_is_one_wake_up(sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    wakes: list[object] = []
    wake = loop.call_soon_threadsafe

    def counted(*args: Any, **kwargs: Any) -> asyncio.Handle:
        if threading.current_thread().name.startswith("writer"):
            wakes.append(args)
        return wake(*args, **kwargs)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    await together(sqlite, *[enqueue] * 20)
    assert len(wakes) == 2


def bad(unit: UnitOfWork) -> None:
    unit.mark("bad")
    message = "bad"
    raise ValueError(message)


def breaks_a_rule(unit: UnitOfWork) -> None:
    unit.mark("rule")
    unit.enqueue(outbox_row(next_ms=-1))


def orphan(unit: UnitOfWork) -> None:
    """Break a foreign key in a way that only COMMIT notices."""
    assert isinstance(unit, SqliteUnit)
    unit._connection.execute("PRAGMA defer_foreign_keys = ON")
    unit._connection.execute("INSERT INTO outbox_body (id, body) VALUES (999, x'')")


@pytest.mark.parametrize("begun", [together, brief])
async def test_one_bad_unit_fails_alone(sqlite: SqliteStore, begun: Begun) -> None:
    first, second, third, last = await begun(sqlite, enqueue, bad, breaks_a_rule, enqueue)
    assert isinstance(second, ValueError)
    assert "CHECK" in str(third)
    for row_id in (first, last):
        assert await sqlite.read(lambda unit, row_id=row_id: unit.outbox_row(row_id))  # type: ignore[misc]
    assert await sqlite.write(lambda unit: (unit.mark("bad"), unit.mark("rule"))) == (True, True)


async def test_a_caller_that_was_cancelled_does_not_keep_the_others_waiting(
    sqlite: SqliteStore,
) -> None:
    async with held(sqlite):
        tasks = [asyncio.create_task(sqlite.write(enqueue)) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in done] == [int, asyncio.CancelledError, int]


async def test_a_later_unit_of_a_group_sees_the_earlier_ones(sqlite: SqliteStore) -> None:
    assert await together(sqlite, *[lambda unit: unit.mark("a")] * 2) == [True, False]


async def test_a_unit_of_an_open_group_is_not_seen(sqlite: SqliteStore) -> None:
    async with held(sqlite):
        task = asyncio.create_task(sqlite.write(enqueue))
        await asyncio.sleep(0)
        assert await sqlite.read(lambda unit: unit.next_outbox_ms()) is None
    await task
    assert await sqlite.read(lambda unit: unit.next_outbox_ms()) == 1


async def test_writes_of_a_running_unit_are_not_seen(sqlite: SqliteStore) -> None:
    written, go_on = threading.Event(), threading.Event()

    def slow(unit: UnitOfWork) -> None:
        unit.enqueue(outbox_row())
        written.set()
        assert go_on.wait(10)

    task = asyncio.create_task(sqlite.write(slow))
    assert await asyncio.to_thread(written.wait, 10)
    assert await sqlite.read(lambda unit: unit.next_outbox_ms()) is None
    go_on.set()
    await task
    assert await sqlite.read(lambda unit: unit.next_outbox_ms()) == 1


async def test_a_query_sees_one_snapshot(sqlite: SqliteStore) -> None:
    looked, go_on = threading.Event(), threading.Event()

    def look_twice(unit: UnitOfWork) -> tuple[int | None, int | None]:
        first = unit.next_outbox_ms()
        looked.set()
        assert go_on.wait(10)
        return first, unit.next_outbox_ms()

    task = asyncio.create_task(sqlite.read(look_twice))
    assert await asyncio.to_thread(looked.wait, 10)
    await sqlite.write(enqueue)
    go_on.set()
    assert await task == (None, None)


async def test_a_full_queue_refuses(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "node.db", queue_units=3)
    async with held(store):
        tasks = [asyncio.create_task(store.write(enqueue)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(WireError) as raised:
            await store.write(enqueue)
        assert raised.value.code == "NET_OVERLOADED"
        assert raised.value.transient
    assert len(await asyncio.gather(*tasks)) == 3
    await store.write(enqueue)  # there is room again
    await store.close()


@pytest.mark.parametrize("begun", [together, brief])
async def test_a_failed_commit_fails_every_unit_of_the_group(
    sqlite: SqliteStore, begun: Begun
) -> None:
    failed = await begun(sqlite, enqueue, orphan, enqueue)
    assert {getattr(error, "code", None) for error in failed} == {"NET_DOWNSTREAM_UNAVAILABLE"}
    assert len({id(error) for error in failed}) == 3  # each caller has a traceback of its own
    assert await sqlite.read(lambda unit: unit.next_outbox_ms()) is None
    await sqlite.write(enqueue)
