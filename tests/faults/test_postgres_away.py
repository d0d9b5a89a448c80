"""PostgreSQL stopped at once under nodes that run, and started again: they go on by themselves."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from adapter.domain.errors import WireError
from adapter.domain.trade import TradeState
from tests.fakes.network import BAP, BPP, GRID, offer, open_network, plan
from tests.fakes.postgres import PostgresServer

WAIT_S = 30


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not happened():
            await asyncio.sleep(0.05)


async def test_nodes_go_on_once_the_database_is_back(
    durable_server: PostgresServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        urls = {name: stack.enter_context(durable_server.lent()) for name in (BAP, BPP, GRID)}
        network = await open_network(tmp_path, databases=urls)
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
        assert network.wire.log == []

        durable_server.start()
        wanted = await network.bap.originator.start_trade(plan())
        trade = await network.bap.originator.wait_for_trade(wanted, WAIT_S)
        assert (trade.state, trade.error) == (TradeState.CONFIRMED, None)
        await network.close()
