"""PostgreSQL stopped at once under nodes that run, and started again: they go on by themselves."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from adapter.domain.errors import WireError
from adapter.domain.trade import TradeState
from adapter.protocol import strict_json
from adapter.web.operations import readiness
from tests.fakes.network import BAP, BPP, GRID, Network, offer, open_network, plan
from tests.fakes.postgres import PostgresServer
from tests.fakes.stranger import Reply, Stranger

WAIT_S = 30
READY_S = 5
"""How soon a node must be ready once its database is back."""
STREAMS, ENOUGH = 8, 60
"""Peers that post at once, and answers before the stop and again after the start."""


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
    async with asyncio.timeout(READY_S):
        for node in network.nodes:
            while set((await readiness(node)).values()) != {"ok"}:
                await asyncio.sleep(0.05)
    wanted = await network.bap.originator.start_trade(plan())
    trade = await network.bap.originator.wait_for_trade(wanted, WAIT_S)
    assert (trade.state, trade.error) == (TradeState.CONFIRMED, None)


class Load:
    """Peers that post messages all the time and repeat what was not acknowledged."""

    def __init__(self, network: Network) -> None:
        self.buyer = Stranger(network)
        self.acknowledged: dict[str, Reply] = {}
        self.sent: dict[str, bytes] = {}
        self.refused: list[Reply] = []
        self.enough = False

    async def stream(self, number: int) -> None:
        count = 0
        while not self.enough:
            transaction_id = f"T-{number}-{count}"
            request = self.buyer.request("discover", transaction_id=transaction_id)
            raw = strict_json.encode(request | {"message": {"text_search": "solar"}})
            reply = await self.buyer.post_bytes("discover", raw)
            while reply.status != 200:
                self.refused.append(reply)
                await asyncio.sleep(0.02)
                reply = await self.buyer.post_bytes("discover", raw)
            self.acknowledged[transaction_id], self.sent[transaction_id] = reply, raw
            count += 1

    async def until(self, count: int) -> None:
        async with asyncio.timeout(WAIT_S):
            while len(self.acknowledged) < count:
                await asyncio.sleep(0.01)


async def test_a_stop_at_once_under_load_loses_no_acknowledged_message(
    network: Network, durable_server: PostgresServer
) -> None:
    load = Load(network)
    streams = [asyncio.create_task(load.stream(number)) for number in range(STREAMS)]
    await load.until(ENOUGH)
    await asyncio.to_thread(durable_server.stop)
    async with asyncio.timeout(WAIT_S):
        while len(load.refused) < STREAMS:
            await asyncio.sleep(0.01)
    before = len(load.acknowledged)
    durable_server.start()  # here: what a thread starts would end with the thread
    await load.until(before + ENOUGH)
    load.enough = True
    await asyncio.gather(*streams)
    answers = {(reply.status, reply.code) for reply in load.refused}
    assert answers == {(503, "NET_DOWNSTREAM_UNAVAILABLE")}
    assert all("retry-after" in reply.headers for reply in load.refused)

    stored = rows(
        network,
        "SELECT t.transaction_id, i.reply FROM inbox i JOIN wire_transaction t"
        " ON t.number = i.transaction_number",
    )
    # Each once, and the answer to a repeat is the one that is stored.
    assert sorted(one for one, _ in stored) == sorted(load.acknowledged)
    assert {one: bytes(reply) for one, reply in stored} == {
        one: reply.raw for one, reply in load.acknowledged.items()
    }
    queued = rows(network, "SELECT count(*), count(DISTINCT message_id) FROM outbox")
    assert queued == [(len(stored), len(stored))]
    transaction_id, raw = next(iter(load.sent.items()))
    again = await load.buyer.post_bytes("discover", raw)
    assert again.raw == load.acknowledged[transaction_id].raw


def rows(network: Network, query: str) -> list[Any]:
    url = network.bpp.settings.database.url.url
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()
