"""A seller's platform that is its own grid operator, and one that has none."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapter.domain.parties import Side
from tests.fakes.network import BPP, Network, offer, open_network, plan
from tests.fakes.orders import (
    contract,
    init_order,
    inputs,
    reference,
    select_order,
)
from tests.fakes.readings import submit_readings
from tests.fakes.stranger import Stranger


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Network]:
    opened = await open_network(tmp_path, one_node=True, buyer_cap="10")
    await opened.bpp.catalogue.publish(offer())
    yield opened
    await opened.close()


@pytest.fixture
async def alone(tmp_path: Path) -> AsyncIterator[Network]:
    opened = await open_network(tmp_path, cascades=False)
    await opened.bpp.catalogue.publish(offer())
    yield opened
    await opened.close()


async def test_a_platform_that_is_its_own_operator_answers_in_one_unit_of_work(
    one: Network,
) -> None:
    buyer = Stranger(one)
    await buyer.ask("init", init_order(10))
    terms = buyer.last("on_init")["message"]["order"]
    assert inputs(terms, "GRID_OPERATOR")["buyer_trade_cap"] == 10
    assert (await one.trade(Side.BPP)).state == "INITIATED"
    await buyer.ask("confirm", terms)
    assert (await one.trade(Side.BPP)).state == "CONFIRMED"
    assert (await one.trade(Side.GRID_OPERATOR)).state == "CONFIRMED"
    assert {url.rsplit(":", 1)[1] for url, _ in one.wire.log} == {
        "9104/bap/receiver/on_init",
        "9104/bap/receiver/on_confirm",
    }


async def test_its_own_refusal_becomes_the_error_callback(one: Network) -> None:
    buyer = Stranger(one)
    assert (await buyer.ask("init", init_order(11))).word == "ACK"
    error = buyer.last("on_init")["error"]
    assert error["code"] == "BIZ_QUANTITY_UNAVAILABLE"
    assert error["details"]["cause"]["details"]["max_trade_kwh"] == "10"
    assert await one.stock() == "30"


async def test_a_whole_trade_with_its_own_operator_settles(one: Network) -> None:
    await one.bap.originator.start_trade(plan())
    await one.deliver()
    one.clock.move_to("2026-03-02T09:20:00Z")
    await submit_readings(one)
    await one.tick()
    for side in (Side.BAP, Side.BPP, Side.GRID_OPERATOR):
        assert (await one.trade(side)).state == "COMPLETED"
    # 20 - 10 x 0.15 - 10 x 0.025
    assert await one.balance("bob", "USD") == "18.25"
    assert await one.balance(BPP, "USD") == "0.25"


async def test_a_cancel_with_its_own_operator_releases_everything(one: Network) -> None:
    buyer = Stranger(one)
    await buyer.ask("init", init_order(10))
    await buyer.ask("confirm", buyer.last("on_init")["message"]["order"])
    assert (await buyer.ask("cancel", reference())).word == "ACK"
    assert "error" not in buyer.last("on_cancel")
    assert (await one.trade(Side.GRID_OPERATOR)).state == "TERMINATED"
    assert await one.stock() == "30"


async def test_a_repeated_init_at_one_node_has_one_effect(one: Network) -> None:
    buyer = Stranger(one)
    message = buyer.request("init", init_order(10))
    replies = [await buyer.post(message) for _ in range(3)]
    await one.deliver()
    assert len({reply.raw for reply in replies}) == 1
    assert buyer.actions() == ["on_init"]


async def test_terms_of_one_node_lapse_on_both_sides(one: Network) -> None:
    buyer = Stranger(one)
    await buyer.ask("init", init_order(10))
    one.clock.advance(901)
    await one.run(1)
    for side in (Side.BPP, Side.GRID_OPERATOR):
        assert (await one.trade(side)).state == "TERMINATED"
    await buyer.ask("init", init_order(10), transaction_id="T-2")
    assert await one.stock() == "30"


async def test_a_platform_without_operator_answers_init_itself(alone: Network) -> None:
    buyer = Stranger(alone)
    await buyer.ask("init", init_order(10, wheeling=False))
    order = buyer.last("on_init")["message"]["order"]
    assert order["beckn:quote"]["beckn:price"]["schema:price"] == pytest.approx(1.5)
    assert {entry["role"] for entry in contract(order)["roles"]} == {"SELLER", "BUYER"}
    await buyer.ask("confirm", order)
    active = buyer.last("on_confirm")["message"]["order"]
    assert contract(active)["status"] == "ACTIVE"
    assert (await alone.trade(Side.BPP)).state == "CONFIRMED"
    assert await alone.stock() == "20"


async def test_a_platform_without_operator_offers_no_wheeling_flow(alone: Network) -> None:
    buyer = Stranger(alone)
    body = buyer.request("discover") | {"message": {"text_search": "solar"}}
    await buyer.post(body)
    await alone.deliver()
    offered = buyer.last("on_discover")["message"]["catalogs"][0]["beckn:offers"][0]
    flows = offered["beckn:offerAttributes"]["contract"]["revenueFlows"]["flows"]
    assert [flow["to"] for flow in flows] == ["SELLER"]


@pytest.mark.parametrize("action", ["select", "init"])
async def test_a_platform_without_operator_refuses_a_flow_to_one(
    alone: Network, action: str
) -> None:
    buyer = Stranger(alone)
    order = select_order(10) if action == "select" else init_order(10)
    reply = await buyer.ask(action, order)
    assert (reply.status, reply.code) == (409, "BIZ_UPDATE_INCONSISTENT")


async def test_a_platform_without_operator_cancels_by_itself(alone: Network) -> None:
    buyer = Stranger(alone)
    await buyer.ask("init", init_order(10, wheeling=False))
    await buyer.ask("confirm", buyer.last("on_init")["message"]["order"])
    await buyer.ask("cancel", reference())
    assert "error" not in buyer.last("on_cancel")
    assert await alone.stock() == "30"


async def test_a_platform_without_operator_does_not_know_about_delivery(alone: Network) -> None:
    buyer = Stranger(alone)
    await buyer.ask("init", init_order(10, wheeling=False))
    await buyer.ask("confirm", buyer.last("on_init")["message"]["order"])
    alone.clock.move_to("2026-03-02T10:00:00Z")
    await alone.run(2)
    await buyer.ask("status", reference())
    order = buyer.last("on_status")["message"]["order"]
    assert contract(order)["status"] == "ACTIVE"
    assert "beckn:attributes" not in order["beckn:fulfillments"][0]


async def test_only_a_node_that_buys_or_cascades_takes_callbacks(alone: Network) -> None:
    assert not alone.bpp.inbound.serves("bap", "on_init")
    assert alone.bap.inbound.serves("bap", "on_init")


async def test_a_node_that_cascades_takes_callbacks(network: Network) -> None:
    assert network.bpp.inbound.serves("bap", "on_init")
    assert not network.grid.inbound.serves("bap", "on_init")
    assert not network.bap.inbound.serves("bpp", "init")
    assert not network.grid.inbound.serves("bpp", "select")
