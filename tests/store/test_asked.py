"""Requests of our own, and the attempts to send them."""

from dataclasses import replace
from decimal import Decimal

from adapter.service.ports import Store
from adapter.service.records import Asked, AskedState
from tests.store.samples import asked


async def save(store: Store, *rows: Asked) -> None:
    for row in rows:
        await store.write(lambda unit, row=row: unit.save_asked(row))  # type: ignore[misc]


async def test_a_request_is_found_by_message_and_action(store: Store) -> None:
    row = asked(error={"code": "BIZ_OFFER_NOT_FOUND", "details": {"price": Decimal("0.10")}})
    await save(store, row)
    assert await store.read(lambda unit: unit.asked("m1", "init")) == row
    assert await store.read(lambda unit: unit.asked("m1", "confirm")) is None


async def test_a_request_is_written_over(store: Store) -> None:
    answered = asked(state=AskedState.ANSWERED, answer_digest="d", deadline_ms=7)
    await save(store, asked(), answered)
    assert await store.read(lambda unit: unit.asked("m1", "init")) == answered


async def test_open_requests_of_a_transaction(store: Store) -> None:
    first, second = asked("m1", deadline_ms=20), asked("m2", action="confirm", deadline_ms=10)
    closed = [replace(asked(state.value), state=state) for state in AskedState if state != "OPEN"]
    await save(store, first, second, asked("m3", transaction_id="t2"), *closed)
    assert await store.read(lambda unit: unit.open_asked("t1")) == [second, first]
    assert await store.read(lambda unit: unit.open_asked("t1", "init")) == [first]
    assert await store.read(lambda unit: unit.open_asked("t1", "select")) == []


async def test_due_requests_are_open_and_past_their_deadline(store: Store) -> None:
    rows = [asked(f"m{deadline}", deadline_ms=deadline) for deadline in (30, 10, 20, 40)]
    await save(store, *rows, asked("late", deadline_ms=5, state=AskedState.EXPIRED))
    due = await store.read(lambda unit: unit.due_asked(40, 9))
    assert [row.deadline_ms for row in due] == [10, 20, 30]
    assert len(await store.read(lambda unit: unit.due_asked(40, 2))) == 2


async def test_attempts_are_kept_in_order(store: Store) -> None:
    for header in ("b", "a", "b"):
        await store.write(lambda unit, header=header: unit.add_attempt("m1", "init", header))  # type: ignore[misc]
    await store.write(lambda unit: unit.add_attempt("m1", "confirm", "c"))
    assert await store.read(lambda unit: unit.attempts("m1", "init")) == ["b", "a", "b"]
    assert await store.read(lambda unit: unit.attempts("m2", "init")) == []
