"""One trade from discovery to settled balances, message by message, in one event loop."""

from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from adapter.bootstrap import Node
from adapter.domain.parties import Side
from adapter.store.audit import audit_database
from tests.fakes.network import BAP, BPP, GRID, Network, offer, open_network, plan
from tests.fakes.postgres import PostgresServer
from tests.fakes.readings import submit_readings


@pytest.fixture(params=["sqlite", "postgres"])
async def network(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Network]:
    with ExitStack() as stack:
        databases = None
        if request.param == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            databases = {name: stack.enter_context(server.lent()) for name in (BAP, BPP, GRID)}
        opened = await open_network(tmp_path, databases=databases)
        yield opened
        await opened.close()


async def states(node: Node, side: Side) -> list[str]:
    trades = await node.parts.store.read(lambda uow: list(uow.trades(side, None, 9)))
    return [trade.state.value for trade in trades]


def actions(network: Network) -> list[str]:
    return [url.rsplit("/", 1)[1] for url, _ in network.wire.log]


async def test_ten_kwh_from_discover_to_settled_balances(network: Network) -> None:
    await network.bpp.catalogue.publish(offer())
    transaction_id = await network.bap.originator.start_trade(plan())
    await network.deliver()
    trade = await network.bap.originator.wait_for_trade(transaction_id, 0)
    assert trade.state == "CONFIRMED", trade.error
    assert actions(network) == [
        *("discover", "on_discover", "select", "on_select", "init", "init", "on_init", "on_init"),
        *("confirm", "confirm", "on_confirm", "on_confirm"),
    ]
    network.clock.move_to("2026-03-02T09:20:00Z")
    await submit_readings(network)
    await network.tick()
    assert actions(network)[12:] == ["on_status"] * 4
    for node, side in zip(network.nodes, (Side.BAP, Side.BPP, Side.GRID_OPERATOR), strict=True):
        assert await states(node, side) == ["COMPLETED"]
    # 20.00 - 10 x 0.15 - 10 x 0.025 = 18.25; 10 x 0.15 = 1.50; 10 x 0.025 = 0.25
    assert await network.balance("bob", "USD") == "18.25"
    assert await network.balance("bob", "GRID") == "10"
    assert await network.balance("sun", "USD") == "1.50"
    assert await network.balance("sun", "GRID") == "0"
    assert await network.balance(GRID, "USD") == "0.25"
    url = network.grid.settings.database.url
    assert audit_database(url.path or url.url).verdict.ok
