"""A market in a node with other roles, and at several workers on one PostgreSQL database."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from adapter.bootstrap import Node, Ports, build_node
from adapter.domain.offers import Offer
from adapter.domain.parties import Side
from adapter.protocol import strict_json
from adapter.settings import load_settings
from tests.fakes.market import (
    GRID,
    HOSTS,
    LOAD,
    LOAD_CURVE,
    LOAD_METER,
    MARKET,
    ROOF,
    ROOF_CURVE,
    ROOF_METER,
    THIRD,
    Market,
    Operator,
    Party,
    market_init,
    open_market,
)
from tests.fakes.network import offer
from tests.fakes.orders import contract, init_order
from tests.fakes.postgres import PostgresServer
from tests.fakes.time import CountingIds
from tests.scenario.market_session_steps import (
    both_committed,
    cleared,
    committed,
    findings,
    powers,
    status,
)

d = Decimal


# With a seller's platform


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[Market]:
    """A node that is a seller's platform and a market, with one offer of each."""
    opened = await open_market(tmp_path, cascades=False, roles=["bpp", "market"])
    await opened.node.catalogue.publish(roof_offer())
    yield opened
    await opened.close()


def roof_offer() -> Offer:
    """Return an offer of energy as a seller's platform has it."""
    return offer(currency="EUR")


async def test_one_catalogue_shows_energy_and_markets(both: Market) -> None:
    load = Party(both, LOAD)
    await load.post(load.request("discover") | {"message": {"text_search": "energy"}})
    await both.deliver()
    (catalog,) = load.last("on_discover")["message"]["catalogs"]
    assert [item["beckn:id"] for item in catalog["beckn:items"]] == ["item-offer-roof-7"]
    roles = [one["beckn:offerAttributes"]["openRole"] for one in catalog["beckn:offers"]]
    assert sorted(roles) == ["BUYER", "PROSUMER"]
    assert findings(both) == []


async def test_the_roles_of_a_contract_say_which_side_an_init_is_for(both: Market) -> None:
    load, roof = Party(both, LOAD), Party(both, ROOF)
    bought = init_order(10, by=LOAD, wheeling=False)
    contract(bought)["roles"][0]["filledBy"] = MARKET
    contract(bought)["roles"][0]["roleInputs"]["currency"] = "EUR"
    reply = await load.ask("init", bought, transaction_id="T-bought")
    assert reply.word == "ACK", reply.error
    assert "error" not in load.last("on_init")
    await both_committed(None, load, roof)
    assert [one.transaction_id for one in await both.trades(Side.BPP)] == ["T-bought"]
    assert len(await both.trades(Side.MARKET)) == 2
    await both.close_gate()
    assert powers(load.last("on_confirm")) == {LOAD: d("-4.716981")}


async def test_energy_is_not_sold_as_a_market_nor_a_market_as_energy(both: Market) -> None:
    load = Party(both, LOAD)
    as_market = market_init(LOAD, LOAD_METER, LOAD_CURVE, wheeling=False)
    as_market["beckn:offers"] = [{"beckn:id": "offer-roof-7"}]
    assert (await load.ask("init", as_market)).code == "BIZ_OFFER_NOT_FOUND"
    as_energy = init_order(10, by=LOAD, wheeling=False)
    contract(as_energy)["roles"][0]["filledBy"] = MARKET
    as_energy["beckn:offers"] = [{"beckn:id": "market-9"}]
    assert (await load.ask("init", as_energy)).code == "BIZ_OFFER_NOT_FOUND"


# As its own grid operator


@pytest.fixture
async def alone(tmp_path: Path) -> AsyncIterator[Market]:
    """A node that is a market and its own grid operator, with two users and the market's."""
    opened = await open_market(tmp_path, roles=["market", "grid_operator"])
    await opened.enroll("cold-store", LOAD, LOAD_METER, "5.00")
    await opened.enroll("roof", ROOF, ROOF_METER, "0")
    await opened.enroll(MARKET, MARKET, None, "5.00")
    yield opened
    assert findings(opened) == []
    await opened.close()


async def test_a_market_that_is_its_own_operator_clears_in_one_unit_of_work(
    alone: Market,
) -> None:
    load, roof = Party(alone, LOAD), Party(alone, ROOF)
    await joined_by(load, roof)
    await alone.close_gate()
    for party, power in ((load, "-4.716981"), (roof, "4.716981")):
        assert powers(party.last("on_confirm")) == {party.name: d(power)}
    (operator,) = await alone.trades(Side.GRID_OPERATOR)
    assert operator.state == "CONFIRMED"
    assert (await alone.session()).transaction_id == operator.transaction_id
    ways = {url.rsplit("/", 1)[1] for url, _ in alone.wire.log}
    assert ways == {"on_init", "on_confirm"}


async def test_its_own_refusal_leaves_one_out_and_clears_again_at_once(alone: Market) -> None:
    third = Party(alone, THIRD)
    await alone.enroll("poor", THIRD, "m-3", "0")
    load, roof = Party(alone, LOAD), Party(alone, ROOF)
    await joined_by(load, roof)
    await committed(None, third, "m-3", LOAD_CURVE)
    await alone.close_gate()
    assert third.last("on_confirm")["error"]["code"] == "BIZ_PAYMENT_FAILED"
    assert powers(load.last("on_confirm")) == {LOAD: d("-4.716981")}
    assert status(roof.last("on_confirm")) == "ACTIVE"


async def joined_by(load: Party, roof: Party) -> None:
    """Commit C1 where the operator answers at once."""
    await committed(None, load, LOAD_METER, LOAD_CURVE)
    await committed(None, roof, ROOF_METER, ROOF_CURVE)


# Several workers


class Pair:
    """Two workers of one market."""

    def __init__(self, market: Market, second: Node) -> None:
        self.market = market
        self.nodes = (market.node, second)

    async def tick(self) -> None:
        """Let the timers of both run at once, then both send."""
        for _ in range(3):
            await asyncio.gather(*(node.timers.tick() for node in self.nodes))
            await asyncio.gather(*(node.outbound.drain_due() for node in self.nodes))

    async def turn(self) -> None:
        """Let the next message arrive at the other worker."""
        first, second = self.nodes
        other = second if self.market.node is first else first
        self.market.node = other


async def test_two_workers_clear_a_market_once(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    with postgres_server.lent() as url:
        market = await open_market(tmp_path, database=url)
        ports = Ports(clock=market.clock, ids=CountingIds(2), sender=market.wire)
        pair = Pair(market, build_node(load_settings(market.file), ports))
        operator, load, roof = (Operator(market, GRID), Party(market, LOAD), Party(market, ROOF))
        await committed(operator, load, LOAD_METER, LOAD_CURVE)
        await pair.turn()
        await committed(operator, roof, ROOF_METER, ROOF_CURVE)
        market.clock.move_to("2026-03-02T08:45:01Z")
        await pair.tick()
        await pair.turn()
        await operator.work()
        await pair.tick()
        assert operator.actions() == ["init", "init", "confirm"]
        assert len({one["context"]["transaction_id"] for one in operator.got}) == 1
        for party, power in ((load, "-4.716981"), (roof, "4.716981")):
            assert party.actions() == ["on_init", "on_confirm"]
            assert powers(party.last("on_confirm")) == {party.name: d(power)}
        for node in pair.nodes:
            await node.stop()


async def test_two_first_prosumers_at_two_workers_make_one_session(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    with postgres_server.lent() as url:
        market = await open_market(tmp_path, database=url)
        ports = Ports(clock=market.clock, ids=CountingIds(2), sender=market.wire)
        second = build_node(load_settings(market.file), ports)
        operator, load, roof = (Operator(market, GRID), Party(market, LOAD), Party(market, ROOF))
        asked = (
            (load, market_init(LOAD, LOAD_METER, LOAD_CURVE)),
            (roof, market_init(ROOF, ROOF_METER, ROOF_CURVE)),
        )
        raws = [(p, strict_json.encode(p.request("init", order))) for p, order in asked]
        replies = await asyncio.gather(
            *(
                node.inbound.receive("bpp", "init", party.headers(raw), raw)
                for node, (party, raw) in zip((market.node, second), raws, strict=True)
            )
        )
        assert [reply.status for reply in replies] == [200, 200]
        await operator.work()
        assert len(await market.trades(Side.MARKET_SESSION)) == 1
        assert {seat.platform for seat in (await market.session()).seats} == {LOAD, ROOF}
        await second.stop()
        await market.close()


# What its application sees


async def test_the_application_sees_the_session_behind_a_trade(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await both_committed(operator, load, roof)
    await cleared(market, operator)
    queries = market.node.queries
    trade = (await queries.trade(f"T-{LOAD}")).to_wire()
    session = (await queries.trade(trade["session"])).to_wire()
    assert session["side"] == "market_session"
    assert {(p["meter_id"], p["cleared_kw"]) for p in session["participants"]} == {
        (LOAD_METER, "-4.716981"),
        (ROOF_METER, "4.716981"),
    }
    listed = await queries.messages(f"T-{LOAD}")
    assert {one["action"] for one in listed if one["to"] == GRID} == {"init", "confirm"}
    own = sorted(one["action"] for one in listed if one["transaction_id"] == f"T-{LOAD}")
    assert own == ["confirm", "init", "on_confirm", "on_init"]
    keys = {(one["direction"], one["action"], one["message_id"]) for one in listed}
    assert len(keys) == len(listed) == 4 + 3 * 2  # and the session's two inits and its confirm
    assert trade["status"] == "ACTIVE" == status(load.last("on_confirm"))
    assert HOSTS[MARKET]
