"""Units of work at the same time, on several connections: as if one came after the other."""

import asyncio
import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from adapter.domain.errors import ContractError, WireError
from adapter.domain.parties import Side
from adapter.domain.trade import Trade
from adapter.service.ports import UnitOfWork
from adapter.store.postgres import PostgresStore
from adapter.store.postgres_session import ATTEMPTS
from tests.store.child_postgres import open_ledger
from tests.store.samples import BAP, inbox_row, offer, outbox_row, trade
from tests.unit.settlement.world import Market

TRIES = 200


async def test_of_200_tries_exactly_50_get_the_room_of_50(postgres: PostgresStore) -> None:
    """I19: a try reserves by a proposal and uses what it reserved by accepting."""
    await postgres.write(open_ledger)

    def propose(uow: UnitOfWork, number: int) -> int:
        market = Market(uow.ledger, calls=10 * number)
        return market.propose(f"k-{number}", energy_amount_kwh=1)

    async def attempt(number: int) -> str:
        try:
            agreement = await postgres.write(lambda uow: propose(uow, 100 + number))
        except ContractError as error:
            return error.code
        await postgres.write(
            lambda uow: Market(uow.ledger, calls=5 + 10 * (100 + number)).accept(agreement)
        )
        return "agreed"

    ended = Counter(await asyncio.gather(*(attempt(number) for number in range(TRIES))))
    assert ended == {"agreed": 50, "TRADE_CAP_EXCEEDED": TRIES - 50}
    sold = await postgres.read(lambda uow: uow.ledger.account("m-buy|CAP|BUY"))
    assert sold is not None
    assert (sold.posted, sold.held) == (0, 0)


async def test_of_200_tries_exactly_50_get_a_stock_of_50(postgres: PostgresStore) -> None:
    await postgres.write(lambda uow: uow.save_offer(offer(available_micro_kwh=50)))

    def take_one(uow: UnitOfWork) -> bool:
        found = uow.offer("o1")
        assert found is not None
        if found.available_micro_kwh == 0:
            return False
        uow.save_offer(replace(found, available_micro_kwh=found.available_micro_kwh - 1))
        return True

    taken = await asyncio.gather(*(postgres.write(take_one) for _ in range(TRIES)))
    assert Counter(taken) == {True: 50, False: TRIES - 50}


async def test_units_on_one_trade_follow_each_other(postgres: PostgresStore) -> None:
    def save(uow: UnitOfWork) -> Trade:
        return uow.save_trade(uow.trade(Side.BPP, "t1") or trade("t1"))

    saved = await asyncio.gather(*(postgres.write(save) for _ in range(100)))
    assert sorted(one.version for one in saved) == list(range(1, 101))


def take_once(uow: UnitOfWork) -> bool:
    """Take a message unless it is there already."""
    if uow.inbox_row(BAP, "m1", "init", "") is not None:
        return False
    uow.enqueue(outbox_row())
    uow.add_inbox_row(inbox_row())
    return True


async def test_a_message_that_comes_many_times_at_once_has_one_effect(
    postgres: PostgresStore,
) -> None:
    taken = await asyncio.gather(*(postgres.write(take_once) for _ in range(40)))
    assert sum(taken) == 1
    assert len(await postgres.read(lambda uow: uow.messages(["t1"]))) == 2


def crossing(random: Random) -> Callable[[UnitOfWork], None]:
    """Return a unit that uses a few things in an order of its own."""
    names = random.sample(["a", "b", "c", "d"], 3)

    def unit(uow: UnitOfWork) -> None:
        for name in names:
            kind = random.randrange(4)
            if kind == 0:
                known = uow.offer(name)
                assert known is not None
                uow.save_offer(replace(known, available_micro_kwh=known.available_micro_kwh + 1))
            elif kind == 1:
                uow.save_trade(uow.trade(Side.BAP, name) or trade(name, side=Side.BAP))
            elif kind == 2:
                uow.save_contract_history(name, (uow.contract_history(name) or b"") + b"x")
            else:
                uow.enqueue(outbox_row(name))

    return unit


async def test_units_that_cross_each_other_never_wait_in_a_circle(
    postgres: PostgresStore, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b", "c", "d"):
        await postgres.write(lambda uow, name=name: uow.save_offer(offer(name)))  # type: ignore[misc]
    with caplog.at_level(logging.WARNING):
        await asyncio.gather(
            *(postgres.write(crossing(Random(number))) for number in range(TRIES)),
            *(postgres.write(lambda uow: uow.claim_outbox(9, 9, 5)) for _ in range(TRIES)),
        )
    assert caplog.messages == []  # a deadlock would be told


async def test_a_unit_that_finds_all_taken_starts_again_and_not_for_ever(
    postgres: PostgresStore,
) -> None:
    starts = 0

    def needs_more_each_time(uow: UnitOfWork) -> None:
        nonlocal starts
        starts += 1
        uow.savepoint(lambda: uow.offer("z"))
        uow.offer(f"a{starts}")

    await postgres.write(needs_more_each_time)
    assert starts == 1  # out of order, but free
    assert ATTEMPTS > 4  # asked, transaction, contract and ledger, one by one


async def test_a_unit_that_goes_on_without_a_lock_is_not_committed(
    postgres: PostgresStore,
) -> None:
    started, go_on = threading.Event(), threading.Event()

    def rival(uow: UnitOfWork) -> None:
        uow.offer("a")
        started.set()
        assert go_on.wait(10)

    starts = 0

    def careless(uow: UnitOfWork) -> None:
        nonlocal starts
        starts += 1
        if starts == 2:
            go_on.set()
        uow.contract_transaction("z")  # beyond the offer in the order
        with contextlib.suppress(Exception):
            uow.offer("a")
        uow.enqueue(outbox_row())

    holding = asyncio.create_task(postgres.write(rival))
    assert await asyncio.to_thread(started.wait, 10)
    careful = asyncio.create_task(postgres.write(careless))
    await asyncio.to_thread(go_on.wait, 1)
    go_on.set()
    await asyncio.gather(holding, careful)
    assert starts == 2
    assert len(await postgres.read(lambda uow: uow.messages(["t1"]))) == 1


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a\0b", id="NUL"),
        pytest.param(Random(1).randbytes(9_000).hex(), id="too long for an index"),
    ],
)
async def test_a_text_that_cannot_be_stored_is_the_senders_fault(
    postgres: PostgresStore, text: str
) -> None:
    def unit(uow: UnitOfWork) -> str:
        try:
            uow.savepoint(lambda: uow.save_contract_history(text, b""))
        except WireError as error:
            uow.add_inbox_row(inbox_row(code=error.code))
            return error.code
        return ""

    assert await postgres.write(unit) == "CTX_INVALID_FIELD"
    assert await postgres.read(lambda uow: uow.inbox_row(BAP, "m1", "init", ""))
