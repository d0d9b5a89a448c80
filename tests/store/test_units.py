"""Units of work: all or nothing, durable when acknowledged, one snapshot for each read."""

import asyncio
import contextlib
import threading

import pytest

from adapter.domain.errors import ContractError, WireError
from adapter.service.ports import Store, UnitOfWork
from adapter.store.errors import StoreError
from adapter.store.sqlite import SqliteStore
from tests.store.conftest import Opener
from tests.store.samples import asked, inbox_row, offer, outbox_row, trade


class RefusalError(Exception):
    """What a unit raises in these tests."""


class Stop(BaseException):
    """Something that no `except Exception` catches."""


async def marked(store: Store, key: str) -> bool:
    """Return whether a mark is set."""
    return not await store.write(lambda unit: unit.mark(key))


async def test_a_unit_returns_its_result(store: Store) -> None:
    assert await store.write(lambda unit: (unit.mark("a"), unit.mark("a"))) == (True, False)


@pytest.mark.parametrize(
    "error", [RefusalError("no"), Stop("no"), ContractError("NOT_OWNER", "no")]
)
async def test_a_unit_that_raises_leaves_nothing(store: Store, error: BaseException) -> None:
    def unit_that_fails(unit: UnitOfWork) -> None:
        unit.mark("a")
        unit.enqueue(outbox_row())
        raise error

    with pytest.raises(type(error), match="no"):
        await store.write(unit_that_fails)
    assert await store.read(lambda unit: unit.next_outbox_ms()) is None
    assert not await marked(store, "a")


async def test_an_end_of_iteration_does_not_hang_the_caller(store: Store) -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await store.write(lambda unit: next(iter([])))


async def test_a_savepoint_undoes_its_part_only(store: Store) -> None:
    def work(unit: UnitOfWork) -> str:
        def part() -> None:
            unit.mark("undone")
            raise RefusalError

        unit.mark("before")
        with contextlib.suppress(RefusalError):
            unit.savepoint(part)
        unit.mark("after")
        return unit.savepoint(lambda: "result")

    assert await store.write(work) == "result"
    assert await marked(store, "before")
    assert await marked(store, "after")
    assert not await marked(store, "undone")


async def test_savepoints_may_be_nested(store: Store) -> None:
    def work(unit: UnitOfWork) -> None:
        def inner() -> None:
            unit.mark("inner")
            raise RefusalError

        def outer() -> None:
            unit.mark("outer")
            with contextlib.suppress(RefusalError):
                unit.savepoint(inner)
            unit.mark("after inner")

        unit.savepoint(outer)

    await store.write(work)
    assert await marked(store, "outer")
    assert await marked(store, "after inner")
    assert not await marked(store, "inner")


async def test_a_transaction_first_named_in_an_undone_part_can_be_used(store: Store) -> None:
    def work(unit: UnitOfWork) -> None:
        def part() -> None:
            unit.enqueue(outbox_row("t1"))
            raise RefusalError

        with contextlib.suppress(RefusalError):
            unit.savepoint(part)
        unit.enqueue(outbox_row("t1"))

    await store.write(work)
    assert len(await store.read(lambda unit: unit.messages(["t1"]))) == 1


async def test_an_outer_savepoint_undoes_the_inner_one(store: Store) -> None:
    def work(unit: UnitOfWork) -> None:
        def outer() -> None:
            unit.savepoint(lambda: unit.mark("inner"))
            raise RefusalError

        with contextlib.suppress(RefusalError):
            unit.savepoint(outer)

    await store.write(work)
    assert not await marked(store, "inner")


WRITES = {
    "mark": lambda unit: unit.mark("a"),
    "inbox": lambda unit: unit.add_inbox_row(inbox_row()),
    "trade": lambda unit: unit.save_trade(trade()),
    "contract": lambda unit: unit.bind_contract("c", "t"),
    "history": lambda unit: unit.save_contract_history("k", b""),
    "asked": lambda unit: unit.save_asked(asked()),
    "attempt": lambda unit: unit.add_attempt("m", "init", "h"),
    "outbox": lambda unit: unit.enqueue(outbox_row()),
    "offer": lambda unit: unit.save_offer(offer()),
    "savepoint": lambda unit: unit.savepoint(lambda: unit.mark("a")),
}


@pytest.mark.parametrize("name", WRITES)
async def test_a_query_cannot_write(store: Store, name: str) -> None:
    with pytest.raises(StoreError, match="a query must not write"):
        await store.read(WRITES[name])
    await store.write(WRITES[name])  # and the next unit can


async def test_a_query_that_raises_leaves_the_connection_usable(store: Store) -> None:
    def fail(unit: UnitOfWork) -> None:
        unit.offers()
        raise RefusalError

    for _ in range(20):  # more often than there are connections
        with pytest.raises(RefusalError):
            await store.read(fail)
    assert await store.read(lambda unit: unit.offers()) == []


async def test_a_read_sees_what_was_acknowledged_before(store: Store) -> None:
    for number in range(50):
        row_id = await store.write(lambda unit: unit.enqueue(outbox_row()))
        rows = await asyncio.gather(
            *(store.read(lambda unit, row_id=row_id: unit.outbox_row(row_id)) for _ in range(5))  # type: ignore[misc]
        )
        assert None not in rows, number


async def enqueue_many(store: Store, count: int) -> list[int]:
    """Return the row ids of as many units that came at once, in the order in which they came."""
    return await asyncio.gather(
        *(
            store.write(lambda unit, number=number: unit.enqueue(outbox_row(f"t{number}")))  # type: ignore[misc]
            for number in range(count)
        )
    )


async def test_a_thousand_units_at_once_are_all_done(store: Store) -> None:
    row_ids = await enqueue_many(store, 1_000)
    assert len(set(row_ids)) == 1_000
    claimed = await store.write(lambda unit: unit.claim_outbox(1, 1, 2_000))
    assert [row.id for row in claimed] == sorted(row_ids)


async def test_one_writer_does_units_in_the_order_in_which_they_came(sqlite: SqliteStore) -> None:
    row_ids = await enqueue_many(sqlite, 1_000)
    assert row_ids == sorted(row_ids)


async def test_a_unit_whose_caller_is_cancelled_is_done_whole(store: Store) -> None:
    started, go_on, came = threading.Event(), threading.Event(), threading.Event()

    def slow(unit: UnitOfWork) -> None:
        unit.mark("first")
        started.set()
        assert go_on.wait(10)
        unit.mark("second")

    def next_one(unit: UnitOfWork) -> None:
        unit.mark("third")
        came.set()

    running = asyncio.create_task(store.write(slow))
    waiting = asyncio.create_task(store.write(next_one))
    assert await asyncio.to_thread(started.wait, 10)
    for task in (running, waiting):
        task.cancel()
    await asyncio.wait([running, waiting])
    assert running.cancelled()
    go_on.set()
    assert await asyncio.to_thread(came.wait, 10)
    for key in ("first", "second", "third"):
        assert await marked(store, key)


async def test_closing_finishes_what_waits(open_store: Opener) -> None:
    store = open_store()
    tasks = [
        asyncio.create_task(store.write(lambda unit: unit.enqueue(outbox_row())))
        for _ in range(200)
    ]
    await asyncio.sleep(0)
    await store.close()
    assert len(set(await asyncio.gather(*tasks))) == 200


async def test_nothing_is_done_after_closing(open_store: Opener) -> None:
    store = open_store()
    await store.close()
    await store.close()
    for use in (store.write, store.read):
        with pytest.raises(WireError, match="closed") as raised:
            await use(lambda unit: unit.offers())
        assert raised.value.code == "NET_DOWNSTREAM_UNAVAILABLE"
