"""The clock jumps an hour on or back, over a leap day, over a change of local time.

Orders are entered all the while and the timer runs as often as it can: each epoch with orders is
cleared exactly once, in order, whatever the clock says meanwhile.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from adapter.domain.errors import ContractError
from adapter.domain.instants import parse_instant
from adapter.service.ports import UnitOfWork
from adapter.settlement import SYSTEM, due_commands, execute
from adapter.store.audit import audit_sqlite
from adapter.store.sqlite import SqliteStore
from tests.unit.settlement.world import EPOCH, Market, settled_with

HOUR = 3_600_000
JUMPS: dict[str, Sequence[int]] = {
    "evenly": [EPOCH] * 9,
    "an hour back and on again": [EPOCH, EPOCH, -HOUR, HOUR, EPOCH, EPOCH],
    "an hour on and back again": [EPOCH, HOUR, -HOUR, EPOCH, EPOCH, HOUR],
    "back and forth about an end": [EPOCH, -1, 1, -HOUR, HOUR, -2, EPOCH, 1],
}
# Orders begin 2 1/4 hours later and span what the name says.
BEGINS = {
    "an ordinary day": "2026-03-02T12:00:00Z",
    "a leap day": "2028-02-28T21:00:00Z",
    "the night when summer time begins": "2026-03-28T22:30:00Z",
    "the night when it ends": "2026-10-24T22:30:00Z",
    "the end of a year": "2026-12-31T21:00:00Z",
}


def stocked(world: Market) -> None:
    """Give the seller 500 kWh to sell."""
    world.set_up(settled_with(max_orders_per_user_epoch=1_000), funds=1_000)
    world.meter("m-big", "bob", kw=10_000)
    begin = world.now
    world.now += EPOCH
    world.submit("m-big", begin, generated=500)
    world.now += 2 * HOUR  # a meter is its owner's from an instant on; no jump goes behind that


def enter(world: Market) -> bool:
    """Enter a bid and an ask that meet; return whether the clock allowed it."""
    price = {"energy_amount": "0.5", "meter_id": "m-big"}
    try:
        world.do("trading.create_sell_order", "bpp", "bob", price_per_unit="0.20", **price)
        bid = {"energy_amount": "0.1", "max_price": "0.25", "meter_id": "m-buy"}
        world.do("trading.create_buy_order", "bap", "alice", **bid)
    except ContractError as refused:
        if refused.code != "EPOCH_CLOSED":
            raise
        return False  # the clock is back in an epoch that is cleared
    return True


def tick(world: Market) -> None:
    """Do what is due, as a node's timer does."""
    while due := due_commands(world.ledger, world.now, 10):
        for command in due:
            execute(world.ledger, command, SYSTEM, world.now)


@pytest.mark.parametrize("jumps", JUMPS.values(), ids=list(JUMPS))
@pytest.mark.parametrize("begin", BEGINS.values(), ids=list(BEGINS))
async def test_each_epoch_is_cleared_once_and_in_order(
    begin: str, jumps: Sequence[int], tmp_path: Path
) -> None:
    store = SqliteStore(tmp_path / "ledger.db")

    def unit(uow: UnitOfWork) -> tuple[set[int], list[int]]:
        world = Market(uow.ledger, now=parse_instant(begin))
        stocked(world)
        entered: set[int] = set()
        for jump in jumps:
            if enter(world):
                entered.add(world.now // EPOCH)
            tick(world)
            world.now += jump
            tick(world)
        world.now = parse_instant(begin) + 24 * HOUR
        tick(world)
        events = [
            event
            for entry in world.ledger.entries(-1, 10_000)
            for event in json.loads(entry.body)["events"]
        ]
        return entered, [e["epoch"] for e in events if e["name"] == "MarketCleared"]

    entered, cleared = await store.write(unit)
    await store.close()
    assert cleared == sorted(set(cleared))
    assert entered
    assert set(cleared) >= entered, "an epoch with orders was not cleared"
    assert audit_sqlite(tmp_path / "ledger.db").verdict.ok
