"""What a market refuses: other terms than its own, and what comes too late, twice or too often."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from adapter.domain.instants import parse_instant
from adapter.domain.parties import Side
from tests.fakes.market import (
    GATE,
    GRID,
    LOAD,
    LOAD_CURVE,
    LOAD_METER,
    MARKET,
    OFFER,
    ROOF,
    ROOF_CURVE,
    ROOF_METER,
    Market,
    Operator,
    Party,
    market_init,
    market_offer,
)
from tests.fakes.orders import Order, contract, inputs, reference
from tests.scenario.market_session_steps import both_committed, cleared, committed, powers

Change = Callable[[Order], None]
d = Decimal


# Init


def agent(order: Order) -> dict[str, Any]:
    return inputs(order, "MARKET_CLEARING_AGENT")


def parameter(name: str, value: object) -> Change:
    def change(order: Order) -> None:
        contract(order)["inputParameters"][name] = value

    return change


def without(name: str) -> Change:
    return lambda order: contract(order)["inputParameters"].pop(name)


def role(number: int, **changes: object) -> Change:
    return lambda order: contract(order)["roles"][number].update(changes)


def fee(order: Order) -> None:
    agent(order)["marketMakingFee"] = d("0.009")


def no_agent_name(order: Order) -> None:
    contract(order)["roles"][0]["filledBy"] = "market.other.example"


def other_flow(order: Order) -> None:
    flow = contract(order)["revenueFlows"]["flows"][0]
    flow["formula"] = f"0.5 × ({flow['formula']})"


def without_wheeling(order: Order) -> None:
    contract(order)["revenueFlows"]["flows"].pop()


def two_prosumers(order: Order) -> None:
    other = market_init(LOAD, "m-2", ROOF_CURVE)
    contract(order)["roles"].append(contract(other)["roles"][1])


def no_prosumer(order: Order) -> None:
    contract(order)["roles"][1].update(filled=False, filledBy=None, roleInputs={})


def operator_filled(order: Order) -> None:
    charges = {
        "wheelingCharges": 0,
        "current_buyer_trades_total": 0,
        "current_seller_trade_total": 0,
        "buyer_trade_cap": 1000,
        "seller_trade_cap": 1000,
    }
    contract(order)["roles"].append(
        {"role": "GRID_OPERATOR", "filledBy": GRID, "filled": True, "roleInputs": charges}
    )


def dollars(order: Order) -> None:
    inputs(order, "PROSUMER")["offerCurve"]["currency"] = "USD"


REFUSED: dict[str, tuple[Change, str]] = {
    "another fee": (fee, "BIZ_PRICE_MISMATCH"),
    "the fee treated otherwise": (parameter("feeTreatment", "BUYER_ONLY"), "BIZ_PRICE_MISMATCH"),
    "another pricing model": (parameter("pricingModel", "PAY_AS_BID"), "BIZ_PRICE_MISMATCH"),
    "a curve in another currency": (dollars, "BIZ_PRICE_MISMATCH"),
    "another window": (
        parameter(
            "deliveryWindow",
            {"startTime": "2026-03-02T09:00:00Z", "endTime": "2026-03-02T11:00:00Z"},
        ),
        "BIZ_UPDATE_INCONSISTENT",
    ),
    "no window": (without("deliveryWindow"), "BIZ_UPDATE_INCONSISTENT"),
    "a later gate": (
        parameter("gateClosureTime", "2026-03-02T08:59:00Z"),
        "BIZ_UPDATE_INCONSISTENT",
    ),
    "another basis": (parameter("settlementBasis", "DELIVERED"), "BIZ_UPDATE_INCONSISTENT"),
    "another market": (no_agent_name, "BIZ_UPDATE_INCONSISTENT"),
    "another formula": (other_flow, "BIZ_UPDATE_INCONSISTENT"),
    "no wheeling": (without_wheeling, "BIZ_UPDATE_INCONSISTENT"),
    "two prosumers": (two_prosumers, "BIZ_UPDATE_INCONSISTENT"),
    "somebody else's prosumer": (role(1, filledBy=ROOF), "BIZ_UPDATE_INCONSISTENT"),
    "the operator's terms": (operator_filled, "BIZ_UPDATE_INCONSISTENT"),
    "another contract": (
        lambda order: contract(order).update(contractId="contract-mine"),
        "BIZ_UPDATE_INCONSISTENT",
    ),
    "another offer": (
        lambda order: order.update({"beckn:offers": [{"beckn:id": "market-99"}]}),
        "BIZ_OFFER_NOT_FOUND",
    ),
    "items": (
        lambda order: order.update({"beckn:items": [{"beckn:id": "item-1"}]}),
        "BIZ_ITEM_NOT_FOUND",
    ),
    "another provider": (
        lambda order: order.update({"beckn:provider": {"beckn:id": "provider-x"}}),
        "BIZ_PROVIDER_NOT_FOUND",
    ),
    "no prosumer": (no_prosumer, "SCH_ATTRIBUTE_PACK_INVALID"),
}


@pytest.mark.parametrize(("change", "code"), REFUSED.values(), ids=REFUSED)
async def test_an_init_on_other_terms_is_refused(
    market: Market, operator: Operator, load: Party, change: Change, code: str
) -> None:
    order = market_init(LOAD, LOAD_METER, LOAD_CURVE)
    change(order)
    reply = await load.ask("init", order)
    assert (reply.word, reply.code) == ("NACK", code), reply.error
    assert operator.got == []
    assert await market.states() == {}


async def test_the_same_terms_written_otherwise_are_the_same(
    market: Market, operator: Operator, load: Party
) -> None:
    order = market_init(LOAD, LOAD_METER, LOAD_CURVE)
    parameters = contract(order)["inputParameters"]
    parameters["gateClosureTime"] = "2026-03-02T09:45:00+01:00"
    parameters["feeTreatment"] = "SYMMETRIC"
    reply = await load.ask("init", order)
    assert reply.word == "ACK", reply.error
    assert len(operator.got) == 1


async def test_a_withdrawn_market_takes_nobody_in_and_clears_for_who_is(
    market: Market, operator: Operator, load: Party, roof: Party, third: Party
) -> None:
    await both_committed(operator, load, roof)
    await market.node.catalogue.withdraw(OFFER)
    assert (await third.join("m-3", ROOF_CURVE)).code == "BIZ_OFFER_NOT_FOUND"
    await cleared(market, operator)
    assert powers(load.last("on_confirm")) == {LOAD: d("-4.716981")}


async def test_a_market_that_has_not_opened_takes_nobody_in(market: Market, load: Party) -> None:
    opens = parse_instant("2026-03-02T08:30:00Z")
    await market.node.catalogue.publish(market_offer(offer_id="later", valid_from_ms=opens))
    order = market_init(LOAD, LOAD_METER, LOAD_CURVE)
    order["beckn:offers"] = [{"beckn:id": "later"}]
    contract(order)["contractId"] = "contract-later"
    assert (await load.ask("init", order)).code == "BIZ_QUOTE_EXPIRED_OR_CHANGED"


async def test_an_init_after_the_gate_is_refused(market: Market, load: Party) -> None:
    market.clock.move_to(GATE)
    market.clock.advance(1)
    assert (await load.join(LOAD_METER, LOAD_CURVE)).code == "BIZ_QUOTE_EXPIRED_OR_CHANGED"


async def test_a_meter_takes_part_once(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await committed(operator, load, LOAD_METER, LOAD_CURVE)
    refused = await roof.join(LOAD_METER, ROOF_CURVE)
    assert refused.code == "BIZ_UPDATE_INCONSISTENT"
    again = await load.join(LOAD_METER, LOAD_CURVE, transaction_id="T-again")
    assert again.code == "BIZ_UPDATE_INCONSISTENT"


async def test_a_meter_may_come_back_with_another_curve_after_a_cancel(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await load.join(LOAD_METER, (("0.01", "-1"), ("0.02", "0")), transaction_id="T-first")
    await operator.work()
    await load.ask("cancel", reference(), transaction_id="T-first")
    await both_committed(operator, load, roof)
    await cleared(market, operator)
    assert powers(load.last("on_confirm")) == {LOAD: d("-4.716981")}
    assert (await market.states())["T-first"] == "TERMINATED"


async def test_there_is_nothing_to_select(market: Market, load: Party) -> None:
    order = market_init(LOAD, LOAD_METER, LOAD_CURVE)
    order["beckn:items"] = [{"beckn:id": "item-1", "quantity": {"count": 1, "unit": "kWh"}}]
    reply = await load.ask("select", order)
    assert (reply.status, reply.code) == (409, "BIZ_INVALID_STATE_TRANSITION")


async def test_an_init_without_time_for_the_operator_is_refused(
    market: Market, load: Party
) -> None:
    reply = await load.join(LOAD_METER, LOAD_CURVE, ttl="PT2S")
    assert reply.code == "CTX_TTL_EXPIRED"
    assert await market.states() == {}
    assert await market.trades(Side.MARKET_SESSION) == []


# Confirm


async def agreed(operator: Operator, load: Party) -> Order:
    """Bring a prosumer to its on_init."""
    await load.join(LOAD_METER, LOAD_CURVE)
    await operator.work()
    order: Order = load.last("on_init")["message"]["order"]
    return order


def curve(order: Order) -> None:
    inputs(order, "PROSUMER")["offerCurve"]["curve"][0]["price"] = d("0.061")


def charges(order: Order) -> None:
    inputs(order, "GRID_OPERATOR")["wheelingCharges"] = 0


CHANGED: dict[str, Change] = {
    "the curve": curve,
    "the meter": lambda order: inputs(order, "PROSUMER").update(sourceMeterId="m-9"),
    "the wheeling charge": charges,
    "the fee": fee,
    "the window": parameter(
        "deliveryWindow",
        {"startTime": "2026-03-02T09:15:00Z", "endTime": "2026-03-02T10:00:00Z"},
    ),
    "a formula": other_flow,
    "the offer": lambda order: order.update({"beckn:offers": [{"beckn:id": "market-8"}]}),
}


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
async def test_a_confirm_that_changes_what_was_agreed_is_refused(
    market: Market, operator: Operator, load: Party, change: Change
) -> None:
    order = await agreed(operator, load)
    change(order)
    reply = await load.ask("confirm", order, ttl="PT1H")
    assert (reply.status, reply.code) == (409, "BIZ_UPDATE_INCONSISTENT")
    assert await market.states() == {f"T-{LOAD}": "INITIATED"}


async def test_a_confirm_that_ends_before_the_gate_commits_nobody(
    market: Market, operator: Operator, load: Party
) -> None:
    order = await agreed(operator, load)
    reply = await load.ask("confirm", order, ttl="PT30S")
    assert (reply.status, reply.code) == (400, "CTX_TTL_EXPIRED")
    assert "before the market closes 2026-03-02T08:45:00Z" in reply.error["message"]
    assert await market.states() == {f"T-{LOAD}": "INITIATED"}
    # 08:00 + 45 min is the gate itself
    assert (await load.ask("confirm", order, ttl="PT45M")).word == "ACK"


async def test_a_confirm_without_an_end_commits(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    order = await agreed(operator, load)
    message = load.request("confirm", order)
    del message["context"]["ttl"]
    assert (await load.post(message)).word == "ACK"
    await committed(operator, roof, ROOF_METER, ROOF_CURVE)
    await cleared(market, operator)
    assert powers(load.last("on_confirm")) == {LOAD: d("-4.716981")}


async def test_a_commitment_that_ended_before_the_market_cleared_does_not_count(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    order = await agreed(operator, load)
    await load.ask("confirm", order, ttl="PT45M")
    await committed(operator, roof, ROOF_METER, ROOF_CURVE)
    market.clock.move_to(GATE)
    market.clock.advance(20)
    await market.tick()
    assert load.last("on_confirm")["error"]["code"] == "CTX_TTL_EXPIRED"
    assert "confirm" not in operator.actions()


async def test_a_confirm_after_the_gate_is_refused(
    market: Market, operator: Operator, load: Party
) -> None:
    order = await agreed(operator, load)
    market.clock.move_to(GATE)
    market.clock.advance_ms(1)
    reply = await load.ask("confirm", order, ttl="PT1H")
    assert reply.code == "BIZ_QUOTE_EXPIRED_OR_CHANGED"
    await market.tick()
    assert (await load.ask("confirm", order, ttl="PT1H")).code == "BIZ_QUOTE_EXPIRED_OR_CHANGED"


async def test_a_clock_behind_commits_nobody_to_a_market_that_has_cleared(
    market: Market, operator: Operator, load: Party, roof: Party, third: Party
) -> None:
    await both_committed(operator, load, roof)
    await third.join("m-3", ROOF_CURVE)
    await operator.work()
    late = third.last("on_init")["message"]["order"]
    market.clock.move_to(GATE)
    market.clock.advance_ms(1)
    await market.node.timers._lapse(await market.session(), market.clock.now_ms())
    market.clock.advance_ms(-2)
    assert (await third.ask("confirm", late, ttl="PT1H")).code == "BIZ_QUOTE_EXPIRED_OR_CHANGED"
    joined = await third.join("m-4", ROOF_CURVE, transaction_id="T-4")
    assert joined.code == "BIZ_QUOTE_EXPIRED_OR_CHANGED"


async def test_the_same_confirm_twice_is_answered_the_same_and_counts_once(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    order = await agreed(operator, load)
    message = load.request("confirm", order, ttl="PT1H")
    first, second = await load.post(message), await load.post(message)
    assert first.raw == second.raw
    await committed(operator, roof, ROOF_METER, ROOF_CURVE)
    await cleared(market, operator)
    assert (await load.post(message)).raw == first.raw
    assert load.actions().count("on_confirm") == 1
    assert operator.actions().count("confirm") == 1


async def test_a_second_confirm_is_refused_while_the_first_waits_and_when_it_is_confirmed(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await both_committed(operator, load, roof)
    order = load.last("on_init")["message"]["order"]
    assert (await load.ask("confirm", order, ttl="PT1H")).code == "BIZ_INVALID_STATE_TRANSITION"
    await cleared(market, operator)
    assert (await load.ask("confirm", order, ttl="PT1H")).code == "BIZ_ALREADY_CONFIRMED"


# Cancel and status


async def test_a_cancel_before_the_confirm_ends_the_trade_at_the_market_alone(
    market: Market, operator: Operator, load: Party
) -> None:
    await agreed(operator, load)
    assert (await load.ask("cancel", reference())).word == "ACK"
    assert "error" not in load.last("on_cancel")
    assert await market.states() == {f"T-{LOAD}": "TERMINATED"}
    assert operator.actions() == ["init"]  # its reservation lapses by itself
    assert (await load.ask("cancel", reference())).status == 202


async def test_who_is_committed_cannot_cancel(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await both_committed(operator, load, roof)
    refused = await load.ask("cancel", reference())
    assert refused.code == "BIZ_INVALID_STATE_TRANSITION"
    await cleared(market, operator)
    assert (await load.ask("cancel", reference())).word == "ACK"
    assert load.last("on_cancel")["error"]["code"] == "POL_CANCELLATION_NOT_ALLOWED"
    assert (await market.states())[f"T-{LOAD}"] == "CONFIRMED"


async def test_a_status_is_answered_from_the_markets_own_records(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await both_committed(operator, load, roof)
    await load.ask("status", reference())
    assert contract(load.last("on_status")["message"]["order"])["status"] == "PENDING"
    await cleared(market, operator)
    await load.ask("status", reference())
    answered = load.last("on_status")
    assert contract(answered["message"]["order"])["status"] == "ACTIVE"
    assert powers(answered) == {LOAD: d("-4.716981")}
    assert "status" not in operator.actions()
    assert (await load.ask("status", reference("order-x"))).code == "BIZ_ORDER_NOT_FOUND"


# Catalogue


async def test_the_catalogue_shows_the_market_without_items(market: Market, load: Party) -> None:
    body = load.request("discover") | {"message": {"text_search": "local energy market"}}
    assert (await load.post(body)).word == "ACK"
    await market.deliver()
    (catalog,) = load.last("on_discover")["message"]["catalogs"]
    assert "beckn:items" not in catalog
    (offered,) = catalog["beckn:offers"]
    assert offered["beckn:provider"] == f"provider-{MARKET}"
    attributes = offered["beckn:offerAttributes"]
    assert (attributes["openRole"], attributes["offerId"]) == ("PROSUMER", OFFER)
    mine = market_init(LOAD, LOAD_METER, LOAD_CURVE)
    expected = contract(mine)
    expected["roles"][1] = {
        "role": "PROSUMER",
        "filledBy": None,
        "filled": False,
        "roleInputs": {},
    }
    assert attributes["contract"] == expected


async def test_a_closed_market_is_not_in_the_catalogue(market: Market, load: Party) -> None:
    market.clock.move_to(GATE)
    market.clock.advance(1)
    await load.post(load.request("discover") | {"message": {"text_search": "market"}})
    await market.deliver()
    assert load.last("on_discover")["message"]["catalogs"] == []
