"""What units say they will read: locked in order and read at once, seen by those that follow."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

import psycopg
import pytest

from adapter.domain.errors import WireError
from adapter.domain.parties import Side
from adapter.service.ports import UnitOfWork
from adapter.service.records import About
from adapter.store import postgres, postgres_lane
from adapter.store.errors import StoreError
from adapter.store.postgres import PostgresStore
from adapter.store.postgres_arrays import BYTES, INT, TEXT, Columns
from adapter.store.postgres_unit import PostgresUnit
from tests.fakes.postgres import PostgresServer
from tests.store.samples import BAP, asked, inbox_row, leg, offer, outbox_row, trade
from tests.store.test_postgres_races import take_once

TRIES = 200
WAIT_S = 10
ALL = About(
    message=(BAP, "m1", "init", ""),
    transactions=("t1",),
    legs=("t-leg",),
    asked=(("m1", "init"),),
    histories=("h1",),
    offers=("o1",),
    contracts=("c1",),
    traded=(("bpp", BAP, "c1"),),
)


class RefusalError(Exception):
    """What a unit raises in these tests."""


@pytest.fixture(autouse=True)
def one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what waits share one group, however slow the machine is."""
    monkeypatch.setattr(postgres_lane, "GROUP_S", 60)
    monkeypatch.setattr(postgres, "WRITERS", 1)


@pytest.fixture
async def rival(
    postgres: PostgresStore, postgres_server: PostgresServer
) -> AsyncIterator[PostgresStore]:
    """Open a second store on the same tables."""

    def schema_of(uow: UnitOfWork) -> str:
        assert isinstance(uow, PostgresUnit)
        return uow._connection.schema

    opened = PostgresStore(postgres_server.url(await postgres.read(schema_of)))
    yield opened
    await opened.close()


def trips(uow: UnitOfWork) -> int:
    assert isinstance(uow, PostgresUnit)
    return uow._connection.flushes


def everything(uow: UnitOfWork) -> tuple[Any, ...]:
    """Return all that `ALL` names."""
    return (
        uow.inbox_row(BAP, "m1", "init", ""),
        uow.trade(Side.BPP, "t1"),
        uow.trade_of_leg("t-leg"),
        uow.trade_of_contract(Side.BPP, BAP, "c1"),
        uow.asked("m1", "init"),
        uow.contract_history("h1"),
        uow.offer("o1"),
        uow.contract_transaction("c1"),
    )


def write_everything(uow: UnitOfWork) -> None:
    saved = trade("t1", leg=leg(), contract_id="c1")
    uow.save_trade(saved)
    uow.bind_contract("c1", "t1")
    uow.save_contract_history("h1", b"said")
    uow.save_asked(asked())
    uow.save_offer(offer())
    uow.enqueue(outbox_row())
    uow.add_inbox_row(inbox_row())


STORED = trade("t1", leg=leg(), contract_id="c1", version=1)
FOUND = (inbox_row(), STORED, STORED, STORED, asked(), b"said", offer(), "t1")
ABSENT = (None,) * len(FOUND)


@asynccontextmanager
async def held(store: PostgresStore) -> AsyncIterator[None]:
    """Keep the one thread busy, so that units wait and form a group."""
    started, go_on = threading.Event(), threading.Event()

    def hold(_: UnitOfWork) -> None:
        started.set()
        assert go_on.wait(WAIT_S)

    holding = asyncio.create_task(store.write(hold))
    assert await asyncio.to_thread(started.wait, WAIT_S)
    try:
        yield
    finally:
        go_on.set()
        await holding


async def together(
    store: PostgresStore, *units: Callable[[UnitOfWork], Any], about: About = ALL
) -> list[Any]:
    async with held(store):
        tasks = [asyncio.create_task(store.write(unit, about=about)) for unit in units]
        await asyncio.sleep(0)
    return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("is_stored", [False, True])
async def test_what_is_foreseen_is_read_in_no_further_round_trip(
    postgres: PostgresStore, is_stored: bool
) -> None:
    if is_stored:
        await postgres.write(write_everything)

    def unit(uow: UnitOfWork) -> tuple[int, tuple[Any, ...]]:
        before = trips(uow)
        found = everything(uow)
        if not is_stored:
            write_everything(uow)
        return trips(uow) - before, found

    assert await postgres.write(unit, about=ALL) == (0, FOUND if is_stored else ABSENT)
    assert await postgres.read(everything) == FOUND
    messages = await postgres.read(lambda uow: uow.messages(["t1"]))
    assert sorted(one.direction for one in messages) == ["in", "out"]


async def test_what_was_not_foreseen_is_found_all_the_same(postgres: PostgresStore) -> None:
    await postgres.write(write_everything)
    assert await postgres.write(everything) == FOUND
    assert await postgres.write(everything, about=About(offers=("o2",))) == FOUND


async def test_a_unit_sees_what_the_one_before_it_in_the_group_has_written(
    postgres: PostgresStore,
) -> None:
    first, second = await together(postgres, write_everything, everything)
    assert first is None
    assert second == FOUND


async def test_a_unit_that_raises_leaves_nothing_for_those_that_follow(
    postgres: PostgresStore,
) -> None:
    def refuse(uow: UnitOfWork) -> None:
        write_everything(uow)
        raise RefusalError

    refused, seen, written = await together(postgres, refuse, everything, write_everything)
    assert isinstance(refused, RefusalError)
    assert seen == ABSENT
    assert written is None
    assert await postgres.read(everything) == FOUND
    assert len(await postgres.read(lambda uow: uow.messages(["t1"]))) == 2


async def test_a_part_that_is_undone_after_it_was_sent_is_read_anew(
    postgres: PostgresStore,
) -> None:
    def part(uow: UnitOfWork) -> None:
        uow.save_offer(offer(available_micro_kwh=1))
        uow.offers()  # asks, so what was written before is sent
        raise RefusalError

    def unit(uow: UnitOfWork) -> int:
        uow.save_offer(offer(available_micro_kwh=2))
        with pytest.raises(RefusalError):
            uow.savepoint(lambda: part(uow))
        found = uow.offer("o1")
        assert found is not None
        return found.available_micro_kwh

    assert await postgres.write(unit, about=ALL) == 2
    [listed] = await postgres.read(lambda uow: uow.offers())
    assert listed.available_micro_kwh == 2


async def test_a_trade_that_changes_often_in_a_group_is_written_with_its_last_version(
    postgres: PostgresStore,
) -> None:
    def save(uow: UnitOfWork) -> int:
        return uow.save_trade(uow.trade(Side.BPP, "t1") or trade("t1")).version

    assert await together(postgres, save, save, save) == [1, 2, 3]
    assert await together(postgres, save, save) == [4, 5]
    stored = await postgres.read(lambda uow: uow.trade(Side.BPP, "t1"))
    assert stored is not None
    assert stored.version == 5


@pytest.mark.parametrize("about", [ALL, About()], ids=["foreseen", "not foreseen"])
async def test_a_stale_trade_is_refused_and_those_beside_it_are_not(
    postgres: PostgresStore, about: About
) -> None:
    await postgres.write(lambda uow: uow.save_trade(trade("t1")))
    told = await together(
        postgres,
        lambda uow: uow.mark("before"),
        lambda uow: uow.save_trade(trade("t1", version=7)),
        lambda uow: uow.mark("after"),
        about=about,
    )
    assert (told[0], told[2]) == (True, True)
    assert isinstance(told[1], StoreError)


async def test_a_message_that_comes_many_times_in_a_group_has_one_effect(
    postgres: PostgresStore,
) -> None:
    assert Counter(await together(postgres, *[take_once] * 8)) == {True: 1, False: 7}


async def test_of_200_tries_in_two_stores_exactly_50_get_a_foreseen_stock_of_50(
    postgres_server: PostgresServer,
) -> None:
    with postgres_server.lent() as url:
        stores = [PostgresStore(url), PostgresStore(url)]
        await stores[0].write(lambda uow: uow.save_offer(offer(available_micro_kwh=50)))

        def take_one(uow: UnitOfWork) -> bool:
            found = uow.offer("o1")
            assert found is not None
            if found.available_micro_kwh == 0:
                return False
            uow.save_offer(replace(found, available_micro_kwh=found.available_micro_kwh - 1))
            return True

        about = About(offers=("o1",))
        taken = await asyncio.gather(
            *(stores[number % 2].write(take_one, about=about) for number in range(TRIES))
        )
        assert Counter(taken) == {True: 50, False: TRIES - 50}
        for store in stores:
            await store.close()


async def test_units_that_foresee_each_others_rows_never_wait_in_a_circle(
    postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("a", "b", "c", "d")

    def unit(random: Random) -> tuple[Callable[[UnitOfWork], None], About]:
        some = random.sample(names, 3)

        def work(uow: UnitOfWork) -> None:
            for name in some:
                known = uow.offer(name)
                assert known is not None
                uow.save_offer(replace(known, available_micro_kwh=known.available_micro_kwh - 1))
                uow.save_trade(uow.trade(Side.BPP, name) or trade(name))
                uow.enqueue(outbox_row(name))

        return work, About(transactions=some[:2], offers=some[1:])  # a part of it

    with postgres_server.lent() as url:
        stores = [PostgresStore(url), PostgresStore(url)]
        for name in names:
            await stores[0].write(lambda uow, name=name: uow.save_offer(offer(name)))  # type: ignore[misc]
        before = postgres_server.log()
        works = [unit(Random(number)) for number in range(TRIES)]
        await asyncio.gather(
            *(
                stores[number % 2].write(work, about=about)
                for number, (work, about) in enumerate(works)
            )
        )
        left = await stores[0].read(
            lambda uow: sum(one.available_micro_kwh for one in uow.offers())
        )
        assert left == len(names) * offer().available_micro_kwh - 3 * TRIES
        rows = await stores[0].read(lambda uow: uow.messages(names))
        assert len(rows) == 3 * TRIES
        assert "deadlock detected" not in postgres_server.log().removeprefix(before)
        assert [one for one in caplog.messages if "starts again" in one] == []
        for store in stores:
            await store.close()


async def test_a_parent_that_is_found_by_its_leg_is_locked_too(
    postgres: PostgresStore, rival: PostgresStore
) -> None:
    await postgres.write(lambda uow: uow.save_trade(trade("t1", leg=leg())))

    def by_leg(uow: UnitOfWork) -> int:
        parent = uow.trade_of_leg("t-leg")
        assert parent is not None
        return uow.save_trade(parent).version

    def by_itself(uow: UnitOfWork) -> int:
        return uow.save_trade(uow.trade(Side.BPP, "t1") or trade("t1")).version

    versions = await asyncio.gather(
        *(postgres.write(by_leg, about=About(legs=("t-leg",))) for _ in range(40)),
        *(rival.write(by_itself) for _ in range(40)),
    )
    assert sorted(versions) == list(range(2, 82))


async def test_a_leg_that_its_trade_has_given_up_has_no_trade(postgres: PostgresStore) -> None:
    await postgres.write(lambda uow: uow.save_trade(trade("t1", leg=leg())))

    def change(uow: UnitOfWork) -> tuple[Any, Any]:
        parent = uow.trade_of_leg("t-leg")
        assert parent is not None
        saved = uow.save_trade(replace(parent, leg=leg("t-new")))
        return uow.trade_of_leg("t-leg"), uow.trade_of_leg("t-new") == saved

    assert await postgres.write(change, about=About(legs=("t-leg", "t-new"))) == (None, True)


async def test_a_contract_that_its_trade_has_given_up_has_no_trade(
    postgres: PostgresStore,
) -> None:
    await postgres.write(lambda uow: uow.save_trade(trade("t1", contract_id="c1")))

    def change(uow: UnitOfWork) -> tuple[Any, Any]:
        known = uow.trade_of_contract(Side.BPP, BAP, "c1")
        assert known is not None
        saved = uow.save_trade(replace(known, contract_id="c2"))
        traded = [uow.trade_of_contract(Side.BPP, BAP, name) for name in ("c1", "c2")]
        return traded[0], traded[1] == saved

    about = About(traded=[("bpp", BAP, "c1"), ("bpp", BAP, "c2")])
    assert await postgres.write(change, about=about) == (None, True)


async def test_a_message_is_behind_those_that_its_unit_has_read_of(
    postgres: PostgresStore, rival: PostgresStore
) -> None:
    """Its id was not drawn before theirs, or it would be sent before them."""
    started, go_on = threading.Event(), threading.Event()

    def unit(uow: UnitOfWork) -> int:
        started.set()
        assert go_on.wait(WAIT_S)
        uow.open_asked("t1")
        return uow.enqueue(outbox_row("t1"))

    behind = asyncio.create_task(postgres.write(unit, about=About(offers=("o1",))))
    assert await asyncio.to_thread(started.wait, WAIT_S)
    ahead = await rival.write(lambda uow: uow.enqueue(outbox_row("t1")))
    go_on.set()
    assert ahead < await behind
    [row] = await rival.write(lambda uow: uow.claim_outbox(1, 9, 9))
    assert row.id == ahead


COLUMNS = Columns({"text": TEXT, "number": INT, "body": BYTES})
ROWS = [
    ("", 0, b""),
    ('a"b\\{},NULL', -(2**63), bytes(range(256))),
    (None, None, None),
    ("ü\U0001f600", 2**63 - 1, b"x" * 70_000),
]


async def test_rows_come_back_from_arrays_as_they_went(postgres: PostgresStore) -> None:
    def unit(uow: UnitOfWork) -> list[Any]:
        assert isinstance(uow, PostgresUnit)
        sql = f"SELECT new.* FROM {COLUMNS.rows}"
        return uow._connection.find(sql, COLUMNS.arrays(ROWS)).fetchall()

    assert await postgres.write(unit) == ROWS


async def test_a_nul_that_is_foreseen_is_refused_where_it_is_met(postgres: PostgresStore) -> None:
    """Those that are read for together with it stay in one transaction."""
    nul = About(
        message=(BAP, "m\0", "init", ""),
        histories=("h\0",),
        offers=("o\0", "o1"),
        contracts=("c\0",),
        traded=(("bpp", BAP, "c\0"),),
    )

    def number(uow: UnitOfWork) -> Any:
        uow.mark(str(id(uow)))
        assert isinstance(uow, PostgresUnit)
        return uow._connection.execute("SELECT pg_current_xact_id()::text").fetchall()

    def meet(uow: UnitOfWork) -> None:
        assert uow.offer("o1") is None
        uow.contract_transaction("c\0")

    first, met, last = await together(postgres, number, meet, number, about=nul)
    assert isinstance(met, WireError)
    assert met.code == "CTX_INVALID_FIELD"
    assert first == last


def test_a_text_with_a_nul_is_refused() -> None:
    with pytest.raises(psycopg.DataError, match=r"NUL \(0x00\)"):
        COLUMNS.arrays([("a\0b", 1, b"\0")])
