"""Reservations over crossing meters, offers and trades, in two processes' worth: no deadlock."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

import pytest

from adapter.domain.errors import ContractError
from adapter.domain.parties import Side
from adapter.service.ports import UnitOfWork
from adapter.store.audit import audit_database
from adapter.store.postgres import PostgresStore
from tests.fakes.postgres import PostgresServer
from tests.store.samples import offer, outbox_row, trade
from tests.unit.settlement.world import Market

UNITS = 120
CAP_KWH = 20
USERS = ("ann", "ben", "cat", "dan")


@pytest.fixture
def url(postgres_server: PostgresServer) -> Iterator[str]:
    with postgres_server.lent() as lent:
        yield lent


def open_market(uow: UnitOfWork) -> None:
    """Write users who both buy and sell, at a meter with room for CAP_KWH either way."""
    market = Market(uow.ledger)
    market.open()
    for user in USERS:
        market.user(user, representative="platform")
        market.meter(f"m-{user}", user)
        market.deposit(user, 1_000)
        market.do("token.approve", "platform", user, spender="network", value=1_000, asset="USD")
        for side in ("BUY", "SELL"):
            market.cap(f"m-{user}", side, CAP_KWH)
    for user in USERS:
        uow.save_offer(offer(user))


def reserve(random: Random, number: int) -> Callable[[UnitOfWork], str]:
    """Return a unit that reserves at two meters, and before or after uses others' rows."""
    seller, buyer = random.sample(USERS, 2)
    others = random.sample(USERS, 2)
    ledger_first = random.random() < 0.5

    def propose(uow: UnitOfWork) -> str:
        market = Market(uow.ledger, calls=1_000 + 10 * number)
        meters = {"source_meter": f"m-{seller}", "target_meter": f"m-{buyer}"}
        parties = {"provider": seller, "consumer": buyer}
        terms = market.terms(f"k-{number}", energy_amount_kwh=1, **meters, **parties)
        try:
            market.do("agreements.create_agreement", "platform", seller, **terms)
        except ContractError as error:
            return error.code
        return "reserved"

    def use(uow: UnitOfWork) -> None:
        for name in others:
            known = uow.offer(name)
            assert known is not None
            uow.save_offer(replace(known, available_micro_kwh=known.available_micro_kwh - 1))
            uow.save_trade(uow.trade(Side.BPP, name) or trade(name))
            uow.enqueue(outbox_row(name))

    def unit(uow: UnitOfWork) -> str:
        if ledger_first:
            said = propose(uow)
            use(uow)
            return said
        use(uow)
        return propose(uow)

    return unit


async def test_reservations_that_cross_each_other_never_wait_in_a_circle(
    url: str, postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    stores = [PostgresStore(url), PostgresStore(url)]
    await stores[0].write(open_market)
    before = postgres_server.log()
    units = [reserve(Random(number), number) for number in range(UNITS)]
    said = Counter(
        await asyncio.gather(*(stores[number % 2].write(unit) for number, unit in enumerate(units)))
    )
    assert said["reserved"] + said["TRADE_CAP_EXCEEDED"] == UNITS, said
    # Room for 4 x 20 kWh as seller and as many as buyer.
    assert 0 < said["reserved"] <= len(USERS) * CAP_KWH
    left = await stores[0].read(lambda uow: sum(one.available_micro_kwh for one in uow.offers()))
    assert left == len(USERS) * offer().available_micro_kwh - 2 * UNITS  # none is lost
    since = postgres_server.log().removeprefix(before)
    assert "deadlock detected" not in since
    assert "lock timeout" not in since
    assert [one for one in caplog.messages if "starts again" in one] == []
    for store in stores:
        await store.close()
    audit = audit_database(url)
    assert audit.verdict.ok, audit.verdict.why
