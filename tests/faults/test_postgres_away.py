"""PostgreSQL stopped at once under nodes that run, and started again: they go on by themselves."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from adapter.domain.errors import WireError
from adapter.domain.trade import TradeState
from adapter.web.operations import readiness
from tests.fakes.network import BAP, BPP, GRID, Network, offer, open_network, plan
from tests.fakes.postgres import PostgresServer
from tests.faults.streams import WAIT_S, Load

pytestmark = pytest.mark.timeout(180)


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not happened():
            await asyncio.sleep(0.05)


@pytest.fixture
async def network(durable_server: PostgresServer, tmp_path: Path) -> AsyncIterator[Network]:
    with ExitStack() as stack:
        urls = {name: stack.enter_context(durable_server.lent()) for name in (BAP, BPP, GRID)}
        opened = await open_network(tmp_path, databases=urls)
        yield opened
        await opened.close()


async def test_nodes_go_on_once_the_database_is_back(
    network: Network, durable_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    await network.bpp.catalogue.publish(offer())
    for node in network.nodes:
        await node.start()
    with caplog.at_level(logging.WARNING, "adapter.service"):
        durable_server.stop()
        for node in network.nodes:
            node.outbound.wake()
        await until(lambda: {"outbox cannot be read", "tick failed"} <= set(caplog.messages))
    with pytest.raises(WireError) as raised:
        await network.bap.originator.start_trade(plan())
    assert raised.value.code == "NET_DOWNSTREAM_UNAVAILABLE"
    assert (await readiness(network.bpp))["database"] != "ok"
    assert network.wire.log == []

    durable_server.start()
    async with asyncio.timeout(WAIT_S):
        for node in network.nodes:
            while set((await readiness(node)).values()) != {"ok"}:
                await asyncio.sleep(0.05)
    wanted = await network.bap.originator.start_trade(plan())
    trade = await network.bap.originator.wait_for_trade(wanted, WAIT_S)
    assert (trade.state, trade.error) == (TradeState.CONFIRMED, None)


async def test_a_stop_at_once_under_load_loses_no_acknowledged_message(
    network: Network, durable_server: PostgresServer
) -> None:
    load = Load(network)
    await load.begin()
    await asyncio.to_thread(durable_server.stop)
    await load.until_refused()
    durable_server.start()  # here: what a thread starts would end with the thread
    await load.end()
    await load.check()
