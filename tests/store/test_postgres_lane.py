"""Units on the ledger of one process: committed in groups, refused and repeated one by one."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from adapter.domain.errors import WireError
from adapter.service.ports import UnitOfWork
from adapter.settlement import Account, Changes, Entry
from adapter.store import postgres_lane
from adapter.store.postgres import PostgresStore
from adapter.store.postgres_unit import PostgresUnit
from tests.store.samples import offer, outbox_row

WAIT_S = 50
END_AT_COMMIT = """
CREATE TEMP TABLE ending (id int);
CREATE FUNCTION pg_temp.end_session() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER ending AFTER INSERT ON ending DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION pg_temp.end_session();
INSERT INTO ending VALUES (1);
"""


class RefusalError(Exception):
    """What a unit raises in these tests."""


class Append:
    """Units that write an entry each, and do something of their own before."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store

    async def __call__(self, before: Any = None) -> tuple[int, int]:
        """Return the number of the entry and of the transaction it was committed in."""

        def unit(uow: UnitOfWork) -> tuple[int, int]:
            head = uow.ledger.head()
            if before is not None:
                before(uow)
            seq = 0 if head is None else head.seq + 1
            entry = Entry(seq, 1, f"{seq:064x}", b"{}")
            uow.ledger.write(Changes([Account("a|USD|MAIN", seq, 0)], (), (), entry))
            assert isinstance(uow, PostgresUnit)
            [(number,)] = uow._connection.execute("SELECT pg_current_xact_id()::text").fetchall()
            return seq, int(number)

        return await self._store.write(unit)


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no group end early because the machine is slow."""
    monkeypatch.setattr(postgres_lane, "GROUP_S", 60)


@pytest.fixture
async def append(postgres: PostgresStore) -> Append:
    one = Append(postgres)
    await one()  # now the store knows that these units use the ledger
    return one


@asynccontextmanager
async def held(append: Append) -> AsyncIterator[None]:
    """Keep the lane busy, so that units wait and form a group."""
    started, go_on = threading.Event(), threading.Event()

    def hold(_: UnitOfWork) -> None:
        started.set()
        assert go_on.wait(WAIT_S)

    holding = asyncio.create_task(append(hold))
    assert await asyncio.to_thread(started.wait, WAIT_S)
    try:
        yield
    finally:
        go_on.set()
        await holding


async def together(append: Append, *befores: Any) -> list[Any]:
    async with held(append):
        tasks = [asyncio.create_task(append(before)) for before in befores]
        await asyncio.sleep(0)
    return await asyncio.gather(*tasks, return_exceptions=True)


def refuse(uow: UnitOfWork) -> None:
    uow.mark("refused")
    raise RefusalError


async def test_units_that_wait_together_share_a_commit(append: Append) -> None:
    ended = await together(append, None, None, None)
    assert [seq for seq, _ in ended] == [2, 3, 4]
    assert len({number for _, number in ended}) == 1


async def test_a_unit_that_raises_is_undone_alone(append: Append, postgres: PostgresStore) -> None:
    first, refused, second = await together(append, None, refuse, None)
    assert isinstance(refused, RefusalError)
    assert (first[0], second[0]) == (2, 3)
    assert await postgres.write(lambda uow: uow.mark("refused"))


async def test_a_unit_that_raises_through_savepoints_leaves_nothing(
    append: Append, postgres: PostgresStore
) -> None:
    def refuse_inside(uow: UnitOfWork) -> None:
        uow.mark("outer")
        uow.savepoint(lambda: refuse(uow))

    first, refused, second = await together(append, None, refuse_inside, None)
    assert isinstance(refused, RefusalError)
    assert first[1] == second[1]  # in one group
    assert await postgres.write(lambda uow: uow.mark("outer"))
    assert await postgres.write(lambda uow: uow.mark("refused"))


async def test_a_claim_ends_its_group(append: Append, postgres: PostgresStore) -> None:
    """Whoever holds the lock of a claimed row's transaction waits for the row: not we for him."""
    await postgres.write(lambda uow: uow.enqueue(outbox_row()))

    def claim(uow: UnitOfWork) -> None:
        assert uow.claim_outbox(1, 9, 9)

    ended = await together(append, None, claim, None, None)
    numbers = [number for _, number in ended]
    assert numbers[0] == numbers[1] != numbers[2] == numbers[3]


async def test_a_unit_that_meets_a_rival_runs_alone_and_waits(
    append: Append, postgres: PostgresStore
) -> None:
    await postgres.write(lambda uow: uow.save_offer(offer("o1")))
    started, go_on = threading.Event(), threading.Event()

    def rival(uow: UnitOfWork) -> None:
        uow.offer("o1")
        started.set()
        assert go_on.wait(WAIT_S)

    holding = asyncio.create_task(postgres.write(rival))
    assert await asyncio.to_thread(started.wait, WAIT_S)
    tries = 0

    def use_offer(uow: UnitOfWork) -> None:
        nonlocal tries
        tries += 1
        if tries == 2:
            go_on.set()
        uow.offer("o1")

    ended = await together(append, None, use_offer, None)
    assert sorted(seq for seq, _ in ended) == [2, 3, 4]
    assert ended[0][1] == ended[2][1] != ended[1][1]
    await holding


async def test_a_group_whose_session_is_ended_runs_again(append: Append) -> None:
    ended_once = False

    def end_session(uow: UnitOfWork) -> None:
        nonlocal ended_once
        if not ended_once:
            ended_once = True
            assert isinstance(uow, PostgresUnit)
            sql = "SELECT pg_terminate_backend(pg_backend_pid())"
            uow._connection.execute(sql).fetchall()  # so it ends before the commit

    ended = await together(append, None, end_session, None)
    assert [seq for seq, _ in ended] == [2, 3, 4]


async def test_a_group_that_cannot_be_committed_is_not_acknowledged(
    append: Append, postgres: PostgresStore
) -> None:
    def spoil(uow: UnitOfWork) -> None:
        assert isinstance(uow, PostgresUnit)
        uow._connection.control("ROLLBACK")

    ended = await together(append, None, spoil)
    assert isinstance(ended[1], WireError)
    assert ended[0][0] == 2  # it ran again, alone
    head = await postgres.read(lambda uow: uow.ledger.head())
    assert head is not None
    assert head.seq == 2


async def test_of_a_group_whose_commit_is_in_doubt_only_units_that_began_are_refused(
    append: Append, postgres: PostgresStore
) -> None:
    await postgres.write(lambda uow: uow.enqueue(outbox_row()))

    def claim(uow: UnitOfWork) -> None:
        assert uow.claim_outbox(1, 9, 9)  # with which the group ends
        assert isinstance(uow, PostgresUnit)
        uow._connection.control(END_AT_COMMIT)

    ended = await together(append, None, claim, None, None)
    assert [getattr(one, "code", None) for one in ended[:2]] == ["NET_DOWNSTREAM_UNAVAILABLE"] * 2
    assert [seq for seq, _ in ended[2:]] == [2, 3]


async def test_a_unit_whose_commit_is_in_doubt_does_not_run_again(append: Append) -> None:
    runs = 0

    def end_at_commit(uow: UnitOfWork) -> None:
        nonlocal runs
        runs += 1
        assert isinstance(uow, PostgresUnit)
        uow._connection.control(END_AT_COMMIT)

    with pytest.raises(WireError, match="terminating connection"):
        await append(end_at_commit)
    assert runs == 1
    assert (await append())[0] == 1
