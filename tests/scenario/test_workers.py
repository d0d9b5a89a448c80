"""Two processes' worth of nodes for each participant, on one PostgreSQL database each.

They share nothing but the database. Messages go to one or the other in turn, and drains and timers
of both run at the same time.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from adapter.bootstrap import Node, Ports, build_node
from adapter.domain.trade import TradeState
from adapter.service import head_watch, waiters
from adapter.settings import load_settings
from adapter.store.audit import audit_database
from adapter.store.postgres_siblings import PostgresSiblings
from tests.fakes.network import BAP, BPP, GRID, HOSTS, Network, offer, open_network, plan
from tests.fakes.postgres import PostgresServer
from tests.fakes.readings import submit_readings
from tests.fakes.time import CountingIds

NAMES = (BAP, BPP, GRID)
WAIT_S = 50


class InTurn(dict[str, Node]):
    """Gives another worker of a host each time it is asked."""

    def __init__(self, workers: Iterable[tuple[str, Iterable[Node]]]) -> None:
        super().__init__()
        self._turns: dict[str, Iterator[Node]] = {
            host: itertools.cycle(nodes) for host, nodes in workers
        }

    def __getitem__(self, host: str) -> Node:
        return next(self._turns[host])


class Twice:
    """A network with a second worker beside each node."""

    def __init__(self, network: Network) -> None:
        self.network = network
        first = dict(zip(NAMES, network.nodes, strict=True))
        self.second = {name: self._second(name) for name in NAMES}
        pairs = [(HOSTS[name], (first[name], self.second[name])) for name in NAMES]
        network.wire.nodes = InTurn(pairs)
        self.all = [*first.values(), *self.second.values()]

    async def deliver(self) -> None:
        """Let all workers send at once, until nothing is left."""
        log = self.network.wire.log
        before = -1
        while len(log) > before:
            before = len(log)
            await asyncio.gather(*(node.outbound.drain_due() for node in self.all))
            self.network.clock.advance(1)

    async def tick(self) -> None:
        """Let the timers of all workers run at once, and deliver what they cause."""
        for _ in range(3):
            await asyncio.gather(*(node.timers.tick() for node in self.all))
            await self.deliver()

    def _second(self, name: str) -> Node:
        network = self.network
        ids = CountingIds(10 + NAMES.index(name))
        ports = Ports(clock=network.clock, ids=ids, sender=network.wire)
        return build_node(load_settings(network.files[name]), ports)


@pytest.fixture
async def twice(postgres_server: PostgresServer, tmp_path: Path) -> AsyncIterator[Twice]:
    with ExitStack() as stack:
        databases = {name: stack.enter_context(postgres_server.lent()) for name in NAMES}
        network = await open_network(tmp_path, databases=databases)
        opened = Twice(network)
        yield opened
        for node in opened.all:
            await node.stop()


@pytest.fixture
def only_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody look again by himself within a test."""
    monkeypatch.setattr(waiters, "RECHECK_S", 600)
    monkeypatch.setattr(head_watch, "RECHECK_S", 600)


async def until_connected(nodes: Iterable[Node]) -> None:
    """Return once all hear each other: a gap in the news ends with a look of everybody."""
    async with asyncio.timeout(WAIT_S):
        for node in nodes:
            siblings = node.siblings
            assert isinstance(siblings, PostgresSiblings)
            while not siblings.is_connected:
                await asyncio.sleep(0.01)


@pytest.mark.usefixtures("only_news")
async def test_a_caller_at_one_worker_gets_the_answer_that_arrives_at_the_other(
    twice: Twice,
) -> None:
    network, other = twice.network, twice.second[BAP]
    await network.bpp.catalogue.publish(offer())
    network.wire.nodes = {HOSTS[node.parts.me.subscriber_id]: node for node in network.nodes}
    for node in (network.bap, other):
        await node.start()
    await until_connected((network.bap, other))
    transaction_id = await other.originator.start_trade(plan())
    waiting = asyncio.create_task(other.originator.wait_for_trade(transaction_id, WAIT_S))
    async with asyncio.timeout(WAIT_S):
        while not waiting.done():
            await asyncio.gather(*(node.outbound.drain_due() for node in twice.all))
            await asyncio.sleep(0.01)
    assert waiting.result().state is TradeState.CONFIRMED


@pytest.mark.usefixtures("only_news")
async def test_who_follows_the_ledger_at_one_worker_sees_what_the_other_writes(
    twice: Twice,
) -> None:
    network, other = twice.network, twice.second[GRID]
    for node in (network.grid, other):
        await node.start()
    await until_connected((network.grid, other))
    assert other.contracts is not None
    seq = (await other.contracts.state())["seq"]
    waiting = asyncio.create_task(other.contracts.heads.beyond(seq, WAIT_S))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await network.call("rec", "registry", "register_user", user="eve", user_type="CONSUMER")
    assert await waiting


async def test_three_trades_over_two_workers_each(twice: Twice) -> None:
    network = twice.network
    await network.bpp.catalogue.publish(offer())
    buyers = (network.bap, twice.second[BAP], network.bap)
    ids = await asyncio.gather(
        *(one.originator.start_trade(plan(quantity_kwh="5")) for one in buyers)
    )
    await twice.deliver()
    trades = [await network.bap.originator.wait_for_trade(one, 0) for one in ids]
    assert [(trade.state.value, trade.error) for trade in trades] == [("CONFIRMED", None)] * 3
    network.clock.move_to("2026-03-02T09:20:00Z")
    await submit_readings(network, generated="3.75", consumed="3.75")
    await twice.tick()
    trades = [await network.bap.originator.wait_for_trade(one, 0) for one in ids]
    assert [trade.state.value for trade in trades] == ["COMPLETED"] * 3
    # Each message once, whoever claimed it: for each trade two of each on the way through the BPP.
    sent = Counter(url.rsplit("/", 1)[1] for url, _ in network.wire.log)
    assert sent == {
        **dict.fromkeys(("discover", "on_discover", "select", "on_select"), 3),
        **dict.fromkeys(("init", "on_init", "confirm", "on_confirm"), 6),
        "on_status": 12,
    }
    # 20.00 - 15 x 0.15 - 15 x 0.025 = 17.375; 15 x 0.15 = 2.25
    assert await network.balance("bob", "USD") == "17.375"
    assert await network.balance("sun", "USD") == "2.25"
    audit = audit_database(network.grid.settings.database.url.url)
    assert audit.verdict.ok, audit.verdict.why
