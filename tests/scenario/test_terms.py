"""Nobody names the other side's terms: what the seller's platform checks against its offer."""

import copy
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapter.domain.instants import parse_instant
from adapter.domain.quantities import to_micro
from tests.fakes.dump import dump
from tests.fakes.network import BPP, GRID, Network, offer, open_network
from tests.fakes.orders import GRID_INPUTS, Order, answered, contract, init_order, inputs
from tests.fakes.orders import select_order as select
from tests.fakes.stranger import Stranger
from tests.scenario.steps import initiated

Change = Callable[[Order], object]


def seller(name: str, value: Any) -> Change:
    def change(order: Order) -> None:
        inputs(order, "SELLER")[name] = value

    return change


def flow(order: Order) -> None:
    contract(order)["revenueFlows"]["flows"][0]["formula"] += " × 0.5"


def without_wheeling(order: Order) -> None:
    contract(order)["revenueFlows"]["flows"].pop()


def more_flows(order: Order) -> None:
    formula = "roles.BUYER.roleInputs.contractedQuantity × 0.01"
    extra = {"from": "SELLER", "to": "BUYER", "formula": formula}
    contract(order)["revenueFlows"]["flows"].append(extra)


def basis(order: Order) -> None:
    contract(order)["inputParameters"] = {"settlementBasis": "MIN_OF_TWO"}


def filled_by(order: Order) -> None:
    contract(order)["roles"][0]["filledBy"] = "bpp.else.example"


def contract_id(order: Order) -> None:
    contract(order)["contractId"] = "contract-of-my-own"


def item(order: Order) -> None:
    order["beckn:items"][0]["beckn:id"] = "item-of-my-own"


def two_items(order: Order) -> None:
    half = {"beckn:id": "item-offer-roof-7", "quantity": {"count": 5, "unit": "kWh"}}
    order["beckn:items"] = [half, half]


def offer_id(order: Order) -> None:
    order["beckn:offers"][0]["beckn:id"] = "offer-of-my-own"


def provider(order: Order) -> None:
    order["beckn:provider"]["beckn:id"] = "provider-of-my-own"


def no_provider(order: Order) -> None:
    del order["beckn:provider"]


REFUSED: dict[str, tuple[Change, int, str]] = {
    "price": (seller("pricePerKWh", Decimal("0.149999")), 400, "BIZ_PRICE_MISMATCH"),
    "currency": (seller("currency", "EUR"), 400, "BIZ_PRICE_MISMATCH"),
    "source type": (seller("sourceType", "WIND"), 409, "BIZ_UPDATE_INCONSISTENT"),
    "source meter": (seller("sourceMeterId", "meter-x"), 409, "BIZ_UPDATE_INCONSISTENT"),
    "an input the offer lacks": (seller("inverterId", "i"), 409, "BIZ_UPDATE_INCONSISTENT"),
    "formula": (flow, 409, "BIZ_UPDATE_INCONSISTENT"),
    "a flow left out": (without_wheeling, 409, "BIZ_UPDATE_INCONSISTENT"),
    "a flow more": (more_flows, 409, "BIZ_UPDATE_INCONSISTENT"),
    "settlement basis": (basis, 409, "BIZ_UPDATE_INCONSISTENT"),
    "seller": (filled_by, 409, "BIZ_UPDATE_INCONSISTENT"),
    "contract id": (contract_id, 409, "BIZ_UPDATE_INCONSISTENT"),
    "item": (item, 400, "BIZ_ITEM_NOT_FOUND"),
    "two items": (two_items, 400, "BIZ_ITEM_NOT_FOUND"),
    "offer": (offer_id, 400, "BIZ_OFFER_NOT_FOUND"),
    "provider": (provider, 400, "BIZ_PROVIDER_NOT_FOUND"),
    "no provider": (no_provider, 400, "BIZ_PROVIDER_NOT_FOUND"),
}


@pytest.mark.parametrize("action", ["select", "init"])
@pytest.mark.parametrize("name", REFUSED)
async def test_terms_that_differ_from_the_offer_are_refused(
    network: Network, buyer: Stranger, action: str, name: str
) -> None:
    change, status, code = REFUSED[name]
    order = select(10) if action == "select" else init_order(10)
    change(order)
    order.pop("beckn:fulfillments", None)
    before = dump(network)
    reply = await buyer.ask(action, order)
    assert reply.word == "NACK", buyer.got
    if reply.code != code:  # a rule over the message alone may find it first
        assert reply.error["details"]["cause"]["code"].startswith("P2P_"), reply.error
    else:
        assert reply.status == status
    assert dump(network) == before


async def test_terms_in_envelopes_are_the_same_terms(network: Network, buyer: Stranger) -> None:
    order = init_order(10)
    price = {"type": "NUMBER", "required": True, "value": Decimal("0.15")}
    inputs(order, "SELLER")["pricePerKWh"] = price
    inputs(order, "BUYER")["contractedQuantity"] = {
        "type": "NUMBER",
        "required": True,
        "value": 10,
    }
    reply = await buyer.ask("init", order)
    assert reply.word == "ACK", reply.error
    assert "error" not in buyer.last("on_init")


async def test_a_consumer_is_a_buyer(network: Network, buyer: Stranger) -> None:
    order = init_order(10)
    contract(order)["roles"][1]["role"] = "CONSUMER"
    reply = await buyer.ask("init", order)
    assert reply.word == "ACK", reply.error
    assert "error" not in buyer.last("on_init")


@pytest.mark.parametrize("filled_by", [BPP, GRID])
async def test_only_the_operator_names_its_terms(
    network: Network, buyer: Stranger, filled_by: str
) -> None:
    cheap = GRID_INPUTS | {"wheelingCharges": 0, "filledBy": filled_by}
    before = dump(network)
    reply = await buyer.ask("init", answered(init_order(10), "PENDING", **cheap))
    assert (reply.status, reply.code) == (409, "BIZ_UPDATE_INCONSISTENT")
    assert dump(network) == before


async def test_init_again_may_repeat_what_the_operator_answered(
    network: Network, buyer: Stranger
) -> None:
    terms = copy.deepcopy(await initiated(buyer))
    reply = await buyer.ask("init", terms)
    assert reply.word == "ACK", reply.error
    assert "error" not in buyer.last("on_init")


async def test_init_again_with_other_operator_terms_is_refused_also_after_a_failed_one(
    network: Network, buyer: Stranger
) -> None:
    terms = copy.deepcopy(await initiated(buyer))
    grid = Stranger(network, GRID)
    await buyer.ask("init", terms)
    error = {"code": "POL_ELIGIBILITY_NOT_MET", "message": "no"}
    await grid.post(grid.callback(grid.last("init"), error=error))
    await network.deliver()
    reply = await buyer.ask("init", terms)
    assert reply.word == "ACK", reply.error
    order = copy.deepcopy(terms)
    inputs(order, "GRID_OPERATOR")["wheelingCharges"] = 0
    order.pop("beckn:quote")
    assert (await buyer.ask("init", order)).word == "NACK"


async def test_the_operator_refuses_terms_of_its_own_that_others_filled_in(
    network: Network,
) -> None:
    platform = Stranger(network, BPP)
    order = answered(init_order(10), "PENDING", filledBy=GRID, **GRID_INPUTS)
    for part in ("beckn:items", "beckn:offers", "beckn:payments"):
        del order[part]
    before = dump(network)
    reply = await platform.post(platform.request("init", order, to=GRID), to=network.grid)
    assert (reply.status, reply.code) == (409, "BIZ_UPDATE_INCONSISTENT")
    assert dump(network) == before


async def test_an_offer_that_was_withdrawn_is_not_found(network: Network, buyer: Stranger) -> None:
    await network.bpp.catalogue.withdraw("offer-roof-7")
    reply = await buyer.ask("select", select(10))
    assert (reply.status, reply.code) == (400, "BIZ_OFFER_NOT_FOUND")


async def test_a_trade_goes_on_when_its_offer_is_withdrawn(
    network: Network, buyer: Stranger
) -> None:
    terms = await initiated(buyer)
    await network.bpp.catalogue.withdraw("offer-roof-7")
    assert (await buyer.ask("confirm", terms)).word == "ACK"
    assert "error" not in buyer.last("on_confirm")


# Validity


VALID_UNTIL = "2026-03-02T08:05:00Z"


async def limited(folder: Path) -> tuple[Network, Stranger]:
    """Return a network whose one offer ends at 08:05."""
    network = await open_network(folder)
    await network.bpp.catalogue.publish(offer(valid_until_ms=parse_instant(VALID_UNTIL)))
    return network, Stranger(network)


@pytest.mark.parametrize("action", ["select", "init"])
async def test_an_offer_stands_at_its_last_instant(tmp_path: Path, action: str) -> None:
    network, buyer = await limited(tmp_path)
    network.clock.move_to(VALID_UNTIL)
    order = select(10) if action == "select" else init_order(10)
    reply = await buyer.post(buyer.request(action, order))
    assert reply.word == "ACK", reply.error
    await network.bpp.outbound.drain_due()
    if action == "select":
        assert buyer.last("on_select")["context"]["ttl"] == "PT1S"
    await network.close()


@pytest.mark.parametrize("action", ["select", "init"])
async def test_an_offer_is_over_a_millisecond_later(tmp_path: Path, action: str) -> None:
    network, buyer = await limited(tmp_path)
    network.clock.move_to(VALID_UNTIL)
    network.clock.advance_ms(1)
    order = select(10) if action == "select" else init_order(10)
    reply = await buyer.ask(action, order)
    assert (reply.status, reply.code) == (409, "BIZ_QUOTE_EXPIRED_OR_CHANGED")
    await network.close()


async def test_an_offer_that_ended_after_the_init_cannot_be_confirmed(tmp_path: Path) -> None:
    network, buyer = await limited(tmp_path)
    terms = await initiated(buyer)
    network.clock.move_to(VALID_UNTIL)
    network.clock.advance_ms(1)
    reply = await buyer.ask("confirm", terms)
    assert (reply.status, reply.code) == (409, "BIZ_QUOTE_EXPIRED_OR_CHANGED")
    await network.close()


async def test_terms_of_a_select_end_with_the_offer(tmp_path: Path) -> None:
    network, buyer = await limited(tmp_path)
    await buyer.ask("select", select(10))
    assert buyer.last("on_select")["context"]["ttl"] == "PT5M"
    await network.close()


async def test_terms_stand_15_minutes_from_on_init(network: Network, buyer: Stranger) -> None:
    await initiated(buyer)
    # never longer than the operator's, which began up to a second earlier
    assert buyer.last("on_init")["context"]["ttl"] in ("PT15M", "PT899S")


async def test_terms_stand_no_longer_than_the_operators(network: Network, buyer: Stranger) -> None:
    grid = Stranger(network, GRID)
    await buyer.ask("init", init_order(10))
    child = grid.last("init")
    order = answered(child["message"]["order"], "PENDING", filledBy=GRID, **GRID_INPUTS)
    await grid.post(grid.callback(child, order, ttl="PT2M"))
    await network.bpp.outbound.drain_due()
    assert buyer.last("on_init")["context"]["ttl"] == "PT2M"


# Limits of the offer


async def test_a_quantity_below_the_offers_minimum_is_refused(tmp_path: Path) -> None:
    network = await open_network(tmp_path)
    await network.bpp.catalogue.publish(offer(minimum_micro_kwh=to_micro("5")))
    buyer = Stranger(network)
    order = init_order(Decimal("4.999999"))
    inputs(order, "SELLER")["minimumQuantity"] = 5
    assert (await buyer.ask("init", order)).code == "BIZ_QUANTITY_UNAVAILABLE"
    dropped = init_order(Decimal("4.999999"))
    assert (await buyer.ask("init", dropped)).code == "BIZ_QUANTITY_UNAVAILABLE"
    await network.close()


async def test_a_quantity_above_the_offers_maximum_is_refused(tmp_path: Path) -> None:
    network = await open_network(tmp_path)
    await network.bpp.catalogue.publish(offer(maximum_micro_kwh=to_micro("5")))
    buyer = Stranger(network)
    dropped = init_order(Decimal("5.000001"))
    assert (await buyer.ask("init", dropped)).code == "BIZ_QUANTITY_UNAVAILABLE"
    await network.close()


async def test_a_window_in_which_the_offer_produces_nothing_is_refused(
    network: Network, buyer: Stranger
) -> None:
    order = init_order(10)
    inputs(order, "BUYER")["tradeEndTime"] = "2026-03-02T18:15:00Z"
    del order["beckn:fulfillments"]
    reply = await buyer.ask("init", order)
    assert reply.code == "BIZ_QUANTITY_UNAVAILABLE"
