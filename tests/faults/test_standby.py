"""A primary that dies under load, and a standby with all its commits that takes over."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from adapter.domain.parties import Side
from adapter.domain.trade import TradeState
from adapter.store.audit import audit_database
from adapter.web.operations import readiness
from tests.fakes.network import BAP, BPP, GRID, Network, offer, open_network, plan
from tests.fakes.postgres import PostgresServer, url_of
from tests.fakes.readings import submit_readings
from tests.faults.streams import WAIT_S, Load

pytestmark = pytest.mark.timeout(300)

TRADES = 3
"""Begun before the primary dies, at the speed at which messages travel."""


class Pair:
    """A primary, and a standby that has each commit on its disk before it is acknowledged."""

    def __init__(self, stack: ExitStack) -> None:
        self.primary = PostgresServer(durable=True)
        stack.callback(self.primary.close)
        for schema in self.schemas:
            self.primary.run(f"CREATE SCHEMA {schema}")
        self.standby = PostgresServer(durable=True, standby_of=self.primary)
        stack.callback(self.standby.close)

    @property
    def schemas(self) -> tuple[str, ...]:
        return "bap", "bpp", "grid_operator"

    def urls(self) -> dict[str, str]:
        """Return what the nodes are told: both servers, and to take the one that writes."""
        pair = zip((BAP, BPP, GRID), self.schemas, strict=True)
        return {name: url_of(schema, self.primary, self.standby) for name, schema in pair}


@pytest.fixture
def servers() -> Iterator[Pair]:
    with ExitStack() as stack:
        yield Pair(stack)


@pytest.fixture
async def network(servers: Pair, tmp_path: Path) -> AsyncIterator[Network]:
    opened = await open_network(tmp_path, databases=servers.urls())
    yield opened
    await opened.close()


async def test_a_standby_takes_over_under_load_and_nothing_acknowledged_is_lost(
    network: Network, servers: Pair
) -> None:
    await network.bpp.catalogue.publish(offer())
    for node in network.nodes:
        await node.start()
    load = Load(network)
    await load.begin()
    first = [
        await network.bap.originator.start_trade(plan(quantity_kwh="1")) for _ in range(TRADES)
    ]
    await asyncio.to_thread(servers.primary.stop)
    await load.until_refused()
    assert (await readiness(network.bpp))["database"] != "ok"
    await asyncio.to_thread(servers.standby.promote)
    await load.end()
    await load.check()
    async with asyncio.timeout(WAIT_S):
        for node in network.nodes:
            while set((await readiness(node)).values()) != {"ok"}:
                await asyncio.sleep(0.05)
    await network.bap.originator.start_trade(plan(quantity_kwh="1"))
    async with asyncio.timeout(WAIT_S):
        while (states := await confirmed(network)) < TRADES + 1:
            network.clock.advance_ms(200)  # what was refused meanwhile is sent again
            await asyncio.sleep(0.05)
    assert states == TRADES + 1 == len(first) + 1
    network.clock.move_to("2026-03-02T09:20:00Z")
    await submit_readings(network)
    audit = audit_database(servers.urls()[GRID])
    assert audit.verdict.ok, audit.verdict
    assert servers.standby.run("SELECT pg_is_in_recovery()") == [(False,)]


async def confirmed(network: Network) -> int:
    """Return how many trades of the buyer's app are agreed."""
    trades = await network.bap.parts.store.read(lambda uow: list(uow.trades(Side.BAP, None, 9)))
    assert all(trade.error is None for trade in trades)
    return sum(trade.state is TradeState.CONFIRMED for trade in trades)
