"""What a unit of work keeps until it is done: written once, forgotten with its savepoint."""

import sqlite3
from collections import Counter
from dataclasses import replace

import pytest

from adapter.domain.parties import Side
from adapter.service.ports import Store, UnitOfWork
from adapter.store.errors import StoreError
from adapter.store.sqlite import SqliteStore
from adapter.store.sqlite_unit import SqliteUnit
from tests.store.samples import asked, offer, trade

KEY = "bpp|t1|c1"


def given_up(unit: UnitOfWork) -> None:
    """Change everything in a savepoint that is rolled back."""

    def work() -> None:
        unit.save_contract_history(KEY, b"second")
        unit.save_offer(replace(offer("o1"), available_micro_kwh=1))
        unit.save_trade(trade("t2"))
        unit.save_asked(asked("m1"))
        raise KeyError

    with pytest.raises(KeyError):
        unit.savepoint(work)


async def test_a_savepoint_takes_back_only_what_came_after_it(store: Store) -> None:
    def unit(unit: UnitOfWork) -> tuple[object, ...]:
        unit.save_contract_history(KEY, b"first")
        unit.save_offer(offer("o1"))
        given_up(unit)
        return found(unit)

    def found(unit: UnitOfWork) -> tuple[object, ...]:
        kept = unit.contract_history(KEY), unit.offer("o1"), unit.trade(Side.BPP, "t2")
        return (*kept, unit.asked("m1", asked().action))

    expected = (b"first", offer("o1"), None, None)
    assert await store.write(unit) == expected
    assert await store.read(found) == expected


async def test_a_unit_sees_the_offers_it_has_not_written_yet(store: Store) -> None:
    def unit(unit: UnitOfWork) -> list[str]:
        unit.save_offer(offer("o1"))
        unit.save_offer(offer("o2"))
        unit.save_offer(replace(offer("o1"), withdrawn=True))
        return [one.offer_id for one in unit.offers()]

    assert await store.write(unit) == ["o2"]


async def test_a_row_that_is_changed_twice_is_read_and_written_once(sqlite: SqliteStore) -> None:
    await sqlite.write(lambda unit: unit.save_trade(trade("t1")))
    await sqlite.write(lambda unit: unit.save_asked(asked("m1")))
    seen: list[str] = []

    def unit(unit: UnitOfWork) -> None:
        assert isinstance(unit, SqliteUnit)
        unit._connection.set_trace_callback(seen.append)
        for number in (1, 2):
            unit.save_offer(replace(unit.offer("o1") or offer("o1"), available_micro_kwh=number))
            unit.save_contract_history(KEY, b"%d" % number)
            assert unit.trade(Side.BPP, "t1") is not None
            assert unit.asked("m1", asked().action) == asked("m1")

    await sqlite.write(unit)
    words = Counter(" ".join(one.split()[:3]) for one in seen)
    assert words["INSERT INTO offer"] == words["INSERT INTO contract_history"] == 1
    assert sum("JOIN trade" in one for one in seen) == 1
    assert sum("FROM asked" in one for one in seen) == 1
    assert (await sqlite.read(lambda unit: unit.contract_history(KEY))) == b"2"


async def test_a_query_that_keeps_a_write_for_later_is_refused(sqlite: SqliteStore) -> None:
    with pytest.raises(StoreError, match="must not write"):
        await sqlite.read(lambda unit: unit.save_contract_history(KEY, b"x"))


async def test_a_kept_row_that_breaks_a_bound_undoes_its_unit_alone(sqlite: SqliteStore) -> None:
    def wrong(unit: UnitOfWork) -> None:
        unit.save_trade(trade("t1"))
        unit.save_offer(replace(offer("o1"), available_micro_kwh=-1))

    with pytest.raises(sqlite3.IntegrityError):
        await sqlite.write(wrong)
    assert await sqlite.read(lambda unit: unit.trade(Side.BPP, "t1")) is None
    await sqlite.write(lambda unit: unit.save_offer(offer("o1")))
    assert await sqlite.read(lambda unit: unit.offer("o1")) == offer("o1")
