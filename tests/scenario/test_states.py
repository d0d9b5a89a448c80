"""What the seller's platform accepts in which state, and that a refusal changes nothing."""

import copy
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from adapter.domain.parties import Side
from tests.fakes.dump import dump
from tests.fakes.network import GRID, OTHER, Network
from tests.fakes.orders import (
    TEMPLATE,
    Order,
    answered,
    contract,
    init_order,
    inputs,
    reference,
    select_order,
)
from tests.fakes.readings import submit_readings
from tests.fakes.stranger import Reply, Stranger
from tests.scenario.steps import confirmed, granted, initiated

Way = Callable[[Network, Stranger], Awaitable[object]]


async def refused(network: Network, buyer: Stranger, action: str, order: Order) -> Reply:
    """Send what must be refused; nothing but the stored refusal may change."""
    before = dump(network)
    reply = await buyer.ask(action, order)
    assert reply.word == "NACK"
    assert dump(network) == before
    return reply


# Ways into each state


async def new(network: Network, buyer: Stranger) -> None:
    """An init that the operator refused leaves a trade that is NEW."""
    Stranger(network, GRID)
    await buyer.ask("init", init_order(10))
    await network.run(29)


async def selected(network: Network, buyer: Stranger) -> None:
    await buyer.ask("select", select_order(10))


async def init_pending(network: Network, buyer: Stranger) -> None:
    Stranger(network, GRID)
    await buyer.ask("init", init_order(10))


async def agreed(network: Network, buyer: Stranger) -> None:
    await initiated(buyer)


async def confirm_pending(network: Network, buyer: Stranger) -> None:
    grid = Stranger(network, GRID)
    await buyer.ask("init", init_order(10))
    await granted(network, grid)
    await buyer.ask("confirm", buyer.last("on_init")["message"]["order"])


async def active(network: Network, buyer: Stranger) -> None:
    await confirmed(buyer)


async def delivering(network: Network, buyer: Stranger) -> None:
    await confirmed(buyer)
    network.clock.move_to("2026-03-02T08:31:00Z")
    await submit_readings(network, count=1)
    await network.tick()


async def completed(network: Network, buyer: Stranger) -> None:
    await confirmed(buyer)
    network.clock.move_to("2026-03-02T09:20:00Z")
    await submit_readings(network)
    await network.tick()


async def cancelled(network: Network, buyer: Stranger) -> None:
    await confirmed(buyer)
    await buyer.ask("cancel", reference())


async def lapsed(network: Network, buyer: Stranger) -> None:
    await initiated(buyer)
    network.clock.advance(901)
    await network.run(1)


STATES: dict[str, Way] = {
    "NEW": new,
    "SELECTED": selected,
    "INIT_PENDING": init_pending,
    "INITIATED": agreed,
    "CONFIRM_PENDING": confirm_pending,
    "CONFIRMED": active,
    "DELIVERING": delivering,
    "COMPLETED": completed,
    "cancelled": cancelled,
    "lapsed": lapsed,
}
ILLEGAL = "BIZ_INVALID_STATE_TRANSITION"


@pytest.mark.parametrize(("state", "way"), STATES.items(), ids=STATES)
async def test_each_way_leads_into_its_state(
    network: Network, buyer: Stranger, state: str, way: Way
) -> None:
    await way(network, buyer)
    trade = await network.trade(Side.BPP)
    ends = {"cancelled": "CANCELLED", "lapsed": "LAPSED"}
    found = trade.ended.value if trade.ended else trade.state.value
    assert found == ends.get(state, state)


# Status


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("SELECTED", "PENDING"),
        ("INIT_PENDING", "PENDING"),
        ("INITIATED", "PENDING"),
        ("CONFIRM_PENDING", "PENDING"),
        ("CONFIRMED", "ACTIVE"),
        ("DELIVERING", "ACTIVE"),
        ("COMPLETED", "COMPLETED"),
        ("cancelled", "TERMINATED"),
        ("lapsed", "TERMINATED"),
    ],
)
async def test_status_is_answered_in_every_state(
    network: Network, buyer: Stranger, state: str, status: str
) -> None:
    await STATES[state](network, buyer)
    reply = await buyer.ask("status", reference())
    assert reply.word == "ACK"
    on_status = buyer.last("on_status")
    assert on_status["context"]["message_id"] == f"{OTHER}-{buyer.ids}"
    assert contract(on_status["message"]["order"])["status"] == status


async def test_status_of_a_foreign_order_is_refused(network: Network, buyer: Stranger) -> None:
    await selected(network, buyer)
    reply = await refused(network, buyer, "status", reference("order-of-somebody"))
    assert (reply.status, reply.code) == (400, "BIZ_ORDER_NOT_FOUND")


@pytest.mark.parametrize("action", ["confirm", "status", "cancel"])
async def test_what_no_transaction_starts_with_is_refused_without_one(
    network: Network, buyer: Stranger, action: str
) -> None:
    order = init_order(10) if action == "confirm" else reference()
    reply = await refused(network, buyer, action, order)
    assert (reply.status, reply.code) == (400, "CTX_TRANSACTION_ID_UNKNOWN")


# Cancel


@pytest.mark.parametrize("state", ["SELECTED", "INITIATED", "CONFIRMED"])
async def test_cancel_ends_a_trade_that_has_not_begun(
    network: Network, buyer: Stranger, state: str
) -> None:
    await STATES[state](network, buyer)
    assert (await buyer.ask("cancel", reference())).word == "ACK"
    on_cancel = buyer.last("on_cancel")
    assert "error" not in on_cancel
    assert contract(on_cancel["message"]["order"])["status"] == "TERMINATED"
    assert on_cancel["context"]["message_id"] == f"{OTHER}-{buyer.ids}"
    assert await network.stock() == "30"


async def test_cancel_returns_cash_and_caps(network: Network, buyer: Stranger) -> None:
    await cancelled(network, buyer)
    assert network.grid.contracts is not None
    args = {"user": "bob", "asset": "USD"}
    money = await network.grid.contracts.read("token", "balance_of", args, actor="rec")
    assert (money["result"]["posted"], money["result"]["held"]) == ("20.00", "0.00")
    trade = await network.trade(Side.GRID_OPERATOR)
    assert trade.state == "TERMINATED"


async def test_cancel_after_a_refused_init_needs_no_operator(
    network: Network, buyer: Stranger
) -> None:
    await buyer.ask("select", select_order(20))
    await network.call("grid.operator.example", "registry", "set_trade_cap", **cap("5"))
    await buyer.ask("init", init_order(20))
    assert buyer.last("on_init")["error"]["code"] == "BIZ_QUANTITY_UNAVAILABLE"
    assert (await buyer.ask("cancel", reference())).word == "ACK"
    assert "error" not in buyer.last("on_cancel")
    assert (await network.trade(Side.BPP)).state == "TERMINATED"


async def test_cancel_after_delivery_began_gets_an_error_callback(
    network: Network, buyer: Stranger
) -> None:
    await delivering(network, buyer)
    assert (await buyer.ask("cancel", reference())).word == "ACK"
    error = buyer.last("on_cancel")["error"]
    assert error["code"] == "POL_CANCELLATION_NOT_ALLOWED"
    assert (await network.trade(Side.BPP)).state == "DELIVERING"


async def test_cancel_at_the_start_of_the_window_is_too_late(
    network: Network, buyer: Stranger
) -> None:
    await confirmed(buyer)
    network.clock.move_to("2026-03-02T08:15:00Z")
    await buyer.ask("cancel", reference())
    assert buyer.last("on_cancel")["error"]["code"] == "POL_CANCELLATION_NOT_ALLOWED"
    assert (await network.trade(Side.BPP)).state == "CONFIRMED"


async def test_cancel_in_the_last_second_before_the_window_is_in_time(
    network: Network, buyer: Stranger
) -> None:
    await confirmed(buyer)
    network.clock.move_to("2026-03-02T08:14:57Z")
    await buyer.ask("cancel", reference())
    assert "error" not in buyer.last("on_cancel")


async def test_cancel_of_a_cancelled_contract_is_acknowledged_without_callback(
    network: Network, buyer: Stranger
) -> None:
    await cancelled(network, buyer)
    told = buyer.actions().count("on_cancel")
    reply = await buyer.ask("cancel", reference())
    assert (reply.status, reply.word, reply.code) == (202, "ACK", "BIZ_ALREADY_CANCELLED")
    assert buyer.actions().count("on_cancel") == told


@pytest.mark.parametrize("state", ["INIT_PENDING", "CONFIRM_PENDING", "COMPLETED", "lapsed"])
async def test_cancel_is_refused_where_it_makes_no_sense(
    network: Network, buyer: Stranger, state: str
) -> None:
    await STATES[state](network, buyer)
    reply = await refused(network, buyer, "cancel", reference())
    assert (reply.status, reply.code) == (409, ILLEGAL)


async def test_a_silent_operator_fails_the_cancel_and_keeps_it_queued(
    network: Network, buyer: Stranger
) -> None:
    await confirmed(buyer)
    grid = Stranger(network, GRID, silent=True)
    await buyer.ask("cancel", reference())
    await network.run(30)
    error = buyer.last("on_cancel")["error"]
    assert error["code"] == "BIZ_FULFILLMENT_UNAVAILABLE"
    assert (await network.trade(Side.BPP)).state == "CONFIRMED"
    grid.silent = False
    await network.run(60)
    assert grid.actions() == ["cancel"]
    order = answered(init_order(10, order_id="order-1-grid"), "TERMINATED")
    await grid.post(grid.callback(grid.last("cancel"), order))
    await network.deliver()
    assert "error" not in buyer.last("on_cancel")
    assert (await network.trade(Side.BPP)).state == "TERMINATED"


async def test_a_cancel_that_the_operator_refuses_is_answered_and_blocks_nothing(
    network: Network, buyer: Stranger
) -> None:
    await confirmed(buyer)
    Stranger(network, GRID, refusal=lambda action, body: (409, nacked(ILLEGAL)))
    await buyer.ask("cancel", reference())
    await network.run(30)
    assert buyer.last("on_cancel")["error"]["details"]["cause"]["code"] == ILLEGAL
    assert (await network.trade(Side.BPP)).request is None


async def test_a_cancel_that_the_operator_did_already_counts_as_done(
    network: Network, buyer: Stranger
) -> None:
    await confirmed(buyer)
    done = {"message": {"status": "ACK", "error": {"code": "BIZ_ALREADY_CANCELLED"}}}
    Stranger(network, GRID, refusal=lambda action, body: (202, done))
    await buyer.ask("cancel", reference())
    assert "error" not in buyer.last("on_cancel")
    assert (await network.trade(Side.BPP)).state == "TERMINATED"


# Confirm


async def test_confirm_before_init_is_refused(network: Network, buyer: Stranger) -> None:
    await selected(network, buyer)
    order = answered(init_order(10), "PENDING", filledBy=GRID, **grid_inputs())
    reply = await refused(network, buyer, "confirm", order)
    assert (reply.status, reply.code) == (409, ILLEGAL)


@pytest.mark.parametrize("state", ["CONFIRMED", "DELIVERING", "COMPLETED"])
async def test_a_second_confirm_is_refused_as_confirmed_already(
    network: Network, buyer: Stranger, state: str
) -> None:
    await STATES[state](network, buyer)
    order = buyer.last("on_init")["message"]["order"]
    reply = await buyer.ask("confirm", order)
    if state == "COMPLETED":  # its window is over, which a rule finds first
        assert reply.word == "NACK"
    else:
        assert (reply.status, reply.code) == (409, "BIZ_ALREADY_CONFIRMED")


async def test_confirm_of_a_cancelled_contract_is_refused(
    network: Network, buyer: Stranger
) -> None:
    await cancelled(network, buyer)
    order = buyer.last("on_init")["message"]["order"]
    assert (await refused(network, buyer, "confirm", order)).code == ILLEGAL


async def test_confirm_at_the_last_instant_of_the_terms_is_accepted(
    network: Network, buyer: Stranger
) -> None:
    await initiated(buyer)
    until_ms = (await network.trade(Side.BPP)).terms_until_ms
    assert until_ms is not None
    network.clock.advance_ms(until_ms - network.clock.now_ms())
    order = buyer.last("on_init")["message"]["order"]
    assert (await buyer.post(buyer.request("confirm", order))).word == "ACK"


async def test_confirm_a_millisecond_after_the_terms_is_refused(
    network: Network, buyer: Stranger
) -> None:
    await initiated(buyer)
    until_ms = (await network.trade(Side.BPP)).terms_until_ms
    assert until_ms is not None
    network.clock.advance_ms(until_ms - network.clock.now_ms() + 1)
    order = buyer.last("on_init")["message"]["order"]
    reply = await refused(network, buyer, "confirm", order)
    assert (reply.status, reply.code) == (409, "BIZ_QUOTE_EXPIRED_OR_CHANGED")


def _price(order: Order) -> None:
    inputs(order, "SELLER")["pricePerKWh"] = Decimal("0.149999")
    del order["beckn:quote"]


def _meter(order: Order) -> None:
    inputs(order, "BUYER")["targetMeterId"] = "meter-of-somebody"
    order["beckn:fulfillments"] = []
    del order["beckn:fulfillments"]


def _both_quantities(order: Order) -> None:
    inputs(order, "BUYER")["contractedQuantity"] = 9
    order["beckn:items"][0]["quantity"]["count"] = 9
    del order["beckn:quote"]


def _wheeling(order: Order) -> None:
    inputs(order, "GRID_OPERATOR")["wheelingCharges"] = 0
    del order["beckn:quote"]


def _total(order: Order) -> None:
    inputs(order, "GRID_OPERATOR")["buyer_trade_cap"] = 1000


def _formula(order: Order) -> None:
    contract(order)["revenueFlows"]["flows"][0]["formula"] += " × 0.5"
    del order["beckn:quote"]


def _contract_id(order: Order) -> None:
    contract(order)["contractId"] = "contract-of-somebody"


def _item(order: Order) -> None:
    order["beckn:items"][0]["beckn:id"] = "item-of-somebody"


def _offer(order: Order) -> None:
    order["beckn:offers"][0]["beckn:id"] = "offer-of-somebody"


@pytest.mark.parametrize(
    "change",
    [_price, _meter, _both_quantities, _wheeling, _total, _formula, _contract_id, _item, _offer],
    ids=lambda change: change.__name__.strip("_"),
)
async def test_confirm_with_other_terms_than_on_init_is_refused(
    network: Network, buyer: Stranger, change: Callable[[Order], None]
) -> None:
    order = copy.deepcopy(await initiated(buyer))
    change(order)
    reply = await refused(network, buyer, "confirm", order)
    assert (reply.status, reply.code) == (409, "BIZ_UPDATE_INCONSISTENT")


async def test_confirm_with_the_contracted_quantity_alone_changed_fails_as_a_rule(
    network: Network, buyer: Stranger
) -> None:
    order = copy.deepcopy(await initiated(buyer))
    inputs(order, "BUYER")["contractedQuantity"] = 9
    del order["beckn:quote"]
    reply = await refused(network, buyer, "confirm", order)
    assert (reply.status, reply.code) == (400, "BIZ_QUANTITY_UNAVAILABLE")
    assert reply.error["details"]["cause"]["code"] == "P2P_ITEM_QUANTITY"


async def test_confirm_may_drop_stops_and_billing(network: Network, buyer: Stranger) -> None:
    order = dict(await initiated(buyer))
    for part in ("beckn:fulfillments", "beckn:billing"):
        del order[part]
    assert (await buyer.ask("confirm", order)).word == "ACK"
    assert "error" not in buyer.last("on_confirm")


async def test_a_refused_confirm_does_not_spoil_the_terms(
    network: Network, buyer: Stranger
) -> None:
    terms = await initiated(buyer)
    other = copy.deepcopy(terms)
    _price(other)
    await refused(network, buyer, "confirm", other)
    assert (await buyer.ask("confirm", terms)).word == "ACK"
    assert "error" not in buyer.last("on_confirm")


# Select and init again


@pytest.mark.parametrize("action", ["select", "init", "confirm", "cancel"])
@pytest.mark.parametrize("state", ["INIT_PENDING", "CONFIRM_PENDING"])
async def test_while_an_answer_is_pending_only_status_is_taken(
    network: Network, buyer: Stranger, state: str, action: str
) -> None:
    await STATES[state](network, buyer)
    order: dict[str, Order] = {
        "select": select_order(10),
        "init": init_order(10),
        "confirm": answered(init_order(10), "PENDING", filledBy=GRID, **grid_inputs()),
        "cancel": reference(),
    }
    reply = await refused(network, buyer, action, order[action])
    assert (reply.status, reply.code) == (409, ILLEGAL)


@pytest.mark.parametrize("action", ["select", "init"])
@pytest.mark.parametrize("state", ["CONFIRMED", "DELIVERING", "cancelled", "lapsed"])
async def test_select_and_init_come_before_confirm_only(
    network: Network, buyer: Stranger, state: str, action: str
) -> None:
    await STATES[state](network, buyer)
    order = select_order(10) if action == "select" else init_order(10)
    reply = await refused(network, buyer, action, order)
    assert (reply.status, reply.code) == (409, ILLEGAL)


async def test_init_again_with_the_same_terms_is_granted_again(
    network: Network, buyer: Stranger
) -> None:
    await initiated(buyer)
    await initiated(buyer)
    assert await network.stock() == "20"
    assert (await network.trade(Side.BPP)).state == "INITIATED"


async def test_a_child_of_the_same_contract_keeps_its_transaction(
    network: Network, buyer: Stranger
) -> None:
    grid = Stranger(network, GRID)
    await buyer.ask("init", init_order(10))
    await granted(network, grid)
    await buyer.ask("init", init_order(10))
    first, second = grid.got
    assert first["context"]["transaction_id"] == second["context"]["transaction_id"]
    assert first["context"]["message_id"] != second["context"]["message_id"]


async def test_terms_stand_on_when_a_second_init_fails(network: Network, buyer: Stranger) -> None:
    grid = Stranger(network, GRID)
    await buyer.ask("init", init_order(10))
    await granted(network, grid)
    await buyer.ask("init", init_order(10))
    error = {"code": "POL_ELIGIBILITY_NOT_MET", "message": "no"}
    await grid.post(grid.callback(grid.last("init"), error=error))
    await network.deliver()
    assert "error" in buyer.last("on_init")
    trade = await network.trade(Side.BPP)
    assert trade.state == "INITIATED"
    assert await network.stock() == "20"


async def test_select_after_terms_gives_the_stock_back(network: Network, buyer: Stranger) -> None:
    await initiated(buyer)
    assert (await buyer.ask("select", select_order(10))).word == "ACK"
    assert await network.stock() == "30"
    assert (await network.trade(Side.BPP)).state == "SELECTED"


# Contract ids


async def test_the_first_select_binds_the_template_and_the_next_gets_a_new_one(
    network: Network, buyer: Stranger
) -> None:
    ids = []
    for transaction in ("T-1", "T-2"):
        await buyer.ask("select", select_order(10), transaction_id=transaction)
        ids.append(contract(buyer.last("on_select")["message"]["order"])["contractId"])
    assert ids[0] == TEMPLATE
    assert ids[1] != TEMPLATE


async def test_init_with_a_contract_of_another_transaction_is_refused(
    network: Network, buyer: Stranger
) -> None:
    await buyer.ask("select", select_order(10), transaction_id="T-1")
    before = dump(network)
    reply = await buyer.ask("init", init_order(10), transaction_id="T-2")
    assert (reply.status, reply.code) == (409, "BIZ_UPDATE_INCONSISTENT")
    assert dump(network) == before


async def test_init_with_the_new_contract_id_of_its_on_select_is_taken(
    network: Network, buyer: Stranger
) -> None:
    await buyer.ask("select", select_order(10), transaction_id="T-1")
    await buyer.ask("select", select_order(10), transaction_id="T-2")
    given = contract(buyer.last("on_select")["message"]["order"])["contractId"]
    await buyer.ask("init", init_order(10, contract_id=given), transaction_id="T-2")
    assert "error" not in buyer.last("on_init")


async def test_of_two_first_inits_with_one_template_the_second_is_refused(
    network: Network, buyer: Stranger
) -> None:
    replies = [
        await buyer.post(buyer.request("init", init_order(10), transaction_id=name))
        for name in ("T-1", "T-2")
    ]
    assert [reply.code for reply in replies] == ["", "BIZ_UPDATE_INCONSISTENT"]


# Stock


async def test_init_takes_the_stock_and_settlement_keeps_it(
    network: Network, buyer: Stranger
) -> None:
    await buyer.ask("select", select_order(10))
    assert await network.stock() == "30"
    await completed(network, buyer)
    assert await network.stock() == "20"


async def test_stock_is_taken_with_the_ack_of_the_init(network: Network, buyer: Stranger) -> None:
    await buyer.post(buyer.request("init", init_order(10)))
    assert await network.stock() == "20"


async def test_lapsed_terms_give_the_stock_back(network: Network, buyer: Stranger) -> None:
    await lapsed(network, buyer)
    assert await network.stock() == "30"


@pytest.mark.parametrize("action", ["select", "init"])
async def test_one_micro_kwh_more_than_the_stock_is_refused(
    network: Network, buyer: Stranger, action: str
) -> None:
    kwh = Decimal("30.000001")
    order = select_order(kwh) if action == "select" else init_order(kwh)
    reply = await refused(network, buyer, action, order)
    assert (reply.status, reply.code) == (400, "BIZ_QUANTITY_UNAVAILABLE")


async def test_all_of_the_stock_can_be_taken(network: Network, buyer: Stranger) -> None:
    await initiated(buyer, 30)
    assert await network.stock() == "0"


async def test_a_trade_that_the_operator_terminates_gives_its_stock_back(
    network: Network, buyer: Stranger
) -> None:
    await confirmed(buyer)
    grid = Stranger(network, GRID)
    child = (await network.trade(Side.BPP)).leg
    assert child is not None
    order = answered(init_order(10, order_id=child.order_id), "TERMINATED", state="FAILED")
    message = grid.request("status", transaction_id=child.transaction_id)
    ours: dict[str, Any] = {"bap_id": "bpp.seller.example", "bpp_id": GRID}
    uris: dict[str, Any] = {
        "bap_uri": message["context"]["bpp_uri"],
        "bpp_uri": message["context"]["bap_uri"],
    }
    reply = await grid.post(grid.callback(message, order, **ours, **uris))
    assert reply.word == "ACK", reply.error
    await network.deliver()
    told = buyer.last("on_status")
    assert contract(told["message"]["order"])["status"] == "TERMINATED"
    assert await network.stock() == "30"


def cap(kwh: str) -> dict[str, str]:
    return {"meter_id": "meter-home-3", "side": "BUY", "cap": kwh}


def nacked(code: str) -> dict[str, Any]:
    return {"message": {"status": "NACK", "error": {"code": code, "message": "made up"}}}


def grid_inputs() -> dict[str, Any]:
    return {
        "wheelingCharges": Decimal("0.025"),
        "current_buyer_trades_total": 0,
        "current_seller_trade_total": 0,
        "buyer_trade_cap": 50,
        "seller_trade_cap": 100,
    }
