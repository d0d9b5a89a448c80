"""What the seller's platform makes of its grid operator's answers, refusals and silence."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapter.domain.parties import Side
from tests.fakes.network import GRID, OTHER, Network, offer, open_network
from tests.fakes.orders import GRID_INPUTS, answered, contract, init_order, inputs, reference
from tests.fakes.stranger import Message, Stranger, nack


async def initiated(buyer: Stranger, kwh: Any = 10, **context: Any) -> Message:
    """Run an init and return its on_init."""
    reply = await buyer.ask("init", init_order(kwh), **context)
    assert reply.word == "ACK", reply.error
    return buyer.last("on_init")


async def confirm(buyer: Stranger, **context: Any) -> Message:
    """Confirm what the last on_init said and return the on_confirm."""
    order = buyer.last("on_init")["message"]["order"]
    reply = await buyer.ask("confirm", order, **context)
    assert reply.word == "ACK", reply.error
    return buyer.last("on_confirm")


async def caps(network: Network) -> tuple[str, str]:
    """Return what the buyer's meter has in use and reserved."""
    assert network.grid.contracts is not None
    args = {"meter_id": "meter-home-3"}
    found = await network.grid.contracts.read("registry", "get_trade_caps", args, actor="rec")
    buy = found["result"]["BUY"]
    return buy["total"], buy["reserved"]


# Quantity


async def test_a_quantity_equal_to_the_cap_is_accepted(tmp_path: Path) -> None:
    network = await open_network(tmp_path, buyer_cap="10")
    await network.bpp.catalogue.publish(offer())
    on_init = await initiated(Stranger(network), 10)
    assert "error" not in on_init
    assert inputs(on_init["message"]["order"], "GRID_OPERATOR")["buyer_trade_cap"] == 10
    await network.close()


async def test_one_micro_kwh_over_the_cap_is_refused_with_the_most_that_may_be_traded(
    tmp_path: Path,
) -> None:
    network = await open_network(tmp_path, buyer_cap="10")
    await network.bpp.catalogue.publish(offer())
    on_init = await initiated(Stranger(network), Decimal("10.000001"))
    error = on_init["error"]
    assert error["code"] == "BIZ_QUANTITY_UNAVAILABLE"
    assert error["details"]["path"].endswith("contractedQuantity")
    assert error["details"]["cause"]["details"]["max_trade_kwh"] == "10"
    assert await network.stock() == "30"
    assert await caps(network) == ("0", "0")
    await network.close()


async def test_the_most_that_may_be_traded_is_the_smaller_room_of_both_meters(
    tmp_path: Path,
) -> None:
    network = await open_network(tmp_path, buyer_cap="12", seller_cap="9")
    await network.bpp.catalogue.publish(offer())
    on_init = await initiated(Stranger(network), 13)
    assert on_init["error"]["details"]["cause"]["details"]["max_trade_kwh"] == "9"
    await network.close()


async def test_a_meter_whose_cap_is_0_gets_no_terms(tmp_path: Path) -> None:
    network = await open_network(tmp_path, buyer_cap="0")
    await network.bpp.catalogue.publish(offer())
    on_init = await initiated(Stranger(network), 1)
    assert on_init["error"]["code"] == "BIZ_QUANTITY_UNAVAILABLE"
    assert on_init["error"]["details"]["cause"]["details"]["max_trade_kwh"] == "0"
    await network.close()


async def test_of_two_inits_for_one_cap_the_first_gets_it_and_the_other_the_rest(
    tmp_path: Path,
) -> None:
    network = await open_network(tmp_path, buyer_cap="15")
    await network.bpp.catalogue.publish(offer())
    await network.bpp.catalogue.publish(offer(offer_id="offer-2"))
    buyer = Stranger(network)
    first = buyer.request("init", init_order(10), transaction_id="T-1")
    order = init_order(10, contract_id="contract-offer-2", order_id="order-2")
    order["beckn:offers"][0]["beckn:id"] = "offer-2"
    order["beckn:items"][0]["beckn:id"] = "item-offer-2"
    second = buyer.request("init", order, transaction_id="T-2")
    for message in (first, second):
        assert (await buyer.post(message)).word == "ACK"
    await network.deliver()
    answers = {m["context"]["transaction_id"]: m.get("error") for m in buyer.got}
    errors = [error for error in answers.values() if error is not None]
    assert len(answers) == 2
    assert [error["details"]["cause"]["details"]["max_trade_kwh"] for error in errors] == ["5"]
    assert await caps(network) == ("0", "10")
    await network.close()


async def test_an_operator_that_approves_less_than_the_quantity_counts_as_a_refusal(
    network: Network, buyer: Stranger
) -> None:
    grid = Stranger(network, GRID)
    await buyer.ask("init", init_order(10))
    child = grid.last("init")
    few = GRID_INPUTS | {"buyer_trade_cap": Decimal("9.999999"), "filledBy": GRID}
    order = answered(child["message"]["order"], "PENDING", **few)
    reply = await grid.post(grid.callback(child, order))
    await network.deliver()
    assert reply.word == "NACK" or buyer.last("on_init")["error"]["code"] == (
        "BIZ_QUANTITY_UNAVAILABLE"
    )
    assert (await network.trade(Side.BPP)).state != "INITIATED"


# Silence


async def test_a_silent_operator_fails_the_init_at_the_stored_deadline(
    network: Network, buyer: Stranger
) -> None:
    Stranger(network, GRID)
    await buyer.ask("init", init_order(10))
    # 30 s less the hop: child ttl 19 or 20 s, and one second more
    await network.run(17)
    assert buyer.actions() == []
    await network.run(5)
    error = buyer.last("on_init")["error"]
    assert error["code"] == "BIZ_FULFILLMENT_UNAVAILABLE"
    assert error["details"]["cause"]["code"] == "NET_TIMEOUT"
    assert await network.stock() == "30"


async def test_an_operator_that_is_away_fails_the_init_at_the_stored_deadline(
    network: Network, buyer: Stranger
) -> None:
    Stranger(network, GRID, silent=True)
    await buyer.ask("init", init_order(10))
    await network.run(17)
    assert buyer.actions() == []
    await network.run(12)
    error = buyer.last("on_init")["error"]
    assert error["code"] == "BIZ_FULFILLMENT_UNAVAILABLE"
    assert error["details"]["cause"]["code"] == "NET_DOWNSTREAM_UNAVAILABLE"
    assert await network.stock() == "30"
    assert (await network.trade(Side.BPP)).request is None


async def test_a_late_on_init_is_answered_with_a_cancel_and_not_with_terms(
    network: Network, buyer: Stranger
) -> None:
    grid = Stranger(network, GRID)
    await buyer.ask("init", init_order(10))
    await network.run(29)
    child = grid.last("init")
    order = answered(child["message"]["order"], "PENDING", filledBy=GRID, **GRID_INPUTS)
    assert (await grid.post(grid.callback(child, order))).word == "ACK"
    await network.deliver()
    assert buyer.actions() == ["on_init"]
    cancel = grid.last("cancel")
    assert cancel["context"]["transaction_id"] == child["context"]["transaction_id"]
    assert cancel["message"]["order"]["beckn:id"] == order["beckn:id"]
    assert (await network.trade(Side.BPP)).state == "NEW"


async def test_the_on_cancel_of_a_compensating_cancel_does_not_reach_the_buyer(
    network: Network, buyer: Stranger
) -> None:
    grid = Stranger(network, GRID)
    await buyer.ask("select", init_order(10))
    await buyer.ask("init", init_order(10))
    await network.run(29)
    child = grid.last("init")
    order = answered(child["message"]["order"], "PENDING", filledBy=GRID, **GRID_INPUTS)
    await grid.post(grid.callback(child, order))
    await network.deliver()
    cancelled = answered(order, "TERMINATED")
    reply = await grid.post(grid.callback(grid.last("cancel"), cancelled))
    await network.deliver()
    assert reply.word == "ACK"
    assert buyer.actions() == ["on_select", "on_init"]
    assert (await network.trade(Side.BPP)).state == "SELECTED"


async def test_an_operator_that_dies_after_reserving_leaves_a_reservation_that_lapses(
    network: Network, buyer: Stranger
) -> None:
    network.wire.lost = lambda url, _: url.endswith("9102/bap/receiver/on_init")
    await buyer.ask("init", init_order(10))
    assert await caps(network) == ("0", "10")
    await network.run(30)
    assert buyer.last("on_init")["error"]["code"] == "BIZ_FULFILLMENT_UNAVAILABLE"
    network.clock.advance(900)
    await network.run(1)
    assert await caps(network) == ("0", "0")
    assert (await network.trade(Side.GRID_OPERATOR)).state == "TERMINATED"


# Refusals


async def test_an_operators_error_becomes_an_unavailable_fulfilment(
    network: Network, buyer: Stranger
) -> None:
    grid = Stranger(network, GRID)
    await buyer.ask("init", init_order(10))
    error = {"code": "POL_ELIGIBILITY_NOT_MET", "message": "no", "details": {"path": "$.x"}}
    reply = await grid.post(grid.callback(grid.last("init"), error=error))
    await network.deliver()
    assert reply.word == "ACK"
    told = buyer.last("on_init")["error"]
    assert told["code"] == "BIZ_FULFILLMENT_UNAVAILABLE"
    assert told["details"]["cause"]["code"] == "POL_ELIGIBILITY_NOT_MET"
    assert await network.stock() == "30"


@pytest.mark.parametrize(
    ("code", "towards_buyer"),
    [
        ("BIZ_QUANTITY_UNAVAILABLE", "BIZ_QUANTITY_UNAVAILABLE"),
        ("BIZ_PAYMENT_FAILED", "BIZ_PAYMENT_FAILED"),
        ("SCH_FIELD_NOT_ALLOWED", "BIZ_FULFILLMENT_UNAVAILABLE"),
    ],
)
async def test_an_operators_nack_of_the_init_is_told_at_once(
    network: Network, buyer: Stranger, code: str, towards_buyer: str
) -> None:
    Stranger(network, GRID, refusal=lambda action, body: (400, nack(code)))
    await buyer.ask("init", init_order(10))
    error = buyer.last("on_init")["error"]
    assert error["code"] == towards_buyer
    assert error["details"]["cause"]["code"] == code
    assert await network.stock() == "30"


async def test_an_operators_retryable_nack_is_sent_again(network: Network, buyer: Stranger) -> None:
    grid = Stranger(network, GRID, refusal=lambda action, body: (503, nack("NET_OVERLOADED")))
    await buyer.ask("init", init_order(10))
    assert buyer.actions() == []
    grid.refusal = lambda action, body: None
    await network.run(8)  # 5 s and at most a fifth more
    assert grid.actions() == ["init"]


async def test_a_foreign_contract_in_a_child_callback_is_refused(
    network: Network, buyer: Stranger
) -> None:
    grid = Stranger(network, GRID)
    await buyer.ask("init", init_order(10))
    child = grid.last("init")
    order = answered(child["message"]["order"], "PENDING", filledBy=GRID, **GRID_INPUTS)
    contract(order)["contractId"] = "contract-of-somebody-else"
    reply = await grid.post(grid.callback(child, order))
    assert reply.code == "BIZ_UPDATE_INCONSISTENT"
    assert (await network.trade(Side.BPP)).state == "INIT_PENDING"


async def test_only_the_operator_answers_for_the_operator(
    network: Network, buyer: Stranger
) -> None:
    grid = Stranger(network, GRID)
    await buyer.ask("init", init_order(10))
    child = grid.last("init")
    order = answered(child["message"]["order"], "PENDING", filledBy=OTHER, **GRID_INPUTS)
    forged = buyer.callback(child, order, bpp_id=OTHER)
    assert (await buyer.post(forged)).code == "AUT_UNAUTHORIZED_ACTION"
    assert (await network.trade(Side.BPP)).state == "INIT_PENDING"


# Money


async def test_a_buyer_without_cash_is_told_that_payment_failed(tmp_path: Path) -> None:
    # 10 x 0.15 + 10 x 0.025 = 1.75
    network = await open_network(tmp_path, cash="1.74")
    await network.bpp.catalogue.publish(offer())
    buyer = Stranger(network)
    await initiated(buyer)
    on_confirm = await confirm(buyer)
    assert on_confirm["error"]["code"] == "BIZ_PAYMENT_FAILED"
    assert on_confirm["error"]["details"]["cause"]["code"] == "BIZ_PAYMENT_FAILED"
    assert (await network.trade(Side.BPP)).state == "INITIATED"
    assert (await network.trade(Side.GRID_OPERATOR)).state == "INITIATED"
    assert await network.balance("bob", "USD") == "1.74"
    await network.close()


async def test_cash_for_exactly_the_hold_is_enough(tmp_path: Path) -> None:
    network = await open_network(tmp_path, cash="1.75", allowance="1.75")
    await network.bpp.catalogue.publish(offer())
    buyer = Stranger(network)
    await initiated(buyer)
    on_confirm = await confirm(buyer)
    assert contract(on_confirm["message"]["order"])["status"] == "ACTIVE"
    await network.close()


async def test_a_buyer_without_allowance_is_told_that_payment_failed(tmp_path: Path) -> None:
    network = await open_network(tmp_path, allowance="1.74")
    await network.bpp.catalogue.publish(offer())
    buyer = Stranger(network)
    await initiated(buyer)
    on_confirm = await confirm(buyer)
    assert on_confirm["error"]["code"] == "BIZ_PAYMENT_FAILED"
    await network.close()


async def test_a_refusal_does_not_tell_the_seller_what_the_buyer_owns(tmp_path: Path) -> None:
    network = await open_network(tmp_path, cash="1.13")
    await network.bpp.catalogue.publish(offer())
    buyer = Stranger(network)
    await initiated(buyer)
    on_confirm = await confirm(buyer)
    assert "113" not in str(on_confirm["error"])
    assert "1.13" not in str(on_confirm["error"])
    assert "bob" not in str(on_confirm["error"])
    await network.close()


async def test_after_a_failed_payment_the_same_terms_can_be_confirmed_again(
    tmp_path: Path,
) -> None:
    network = await open_network(tmp_path, cash="1.00")
    await network.bpp.catalogue.publish(offer())
    buyer = Stranger(network)
    await initiated(buyer)
    await confirm(buyer)
    paid_in = {"to": "bob", "amount": "5.00", "external_reference": "bank-2"}
    await network.call("treasury", "token", "deposit", **paid_in)
    on_confirm = await confirm(buyer)
    assert "error" not in on_confirm
    assert (await network.trade(Side.BPP)).state == "CONFIRMED"
    await network.close()


# Confirm


async def test_a_failed_child_confirm_leaves_the_parent_unconfirmed(
    network: Network, buyer: Stranger
) -> None:
    grid = Stranger(network, GRID)
    await to_confirm_pending(network, buyer, grid)
    error = {"code": "NET_INTERNAL_ERROR", "message": "no"}
    await grid.post(grid.callback(grid.last("confirm"), error=error))
    await network.deliver()
    told = buyer.last("on_confirm")["error"]
    assert told["code"] == "BIZ_FULFILLMENT_UNAVAILABLE"
    assert (await network.trade(Side.BPP)).state == "INITIATED"


async def test_a_child_on_confirm_that_is_not_active_does_not_confirm_the_parent(
    network: Network, buyer: Stranger
) -> None:
    grid = Stranger(network, GRID)
    await to_confirm_pending(network, buyer, grid)
    child = grid.last("confirm")
    order = answered(child["message"]["order"], "TERMINATED", state="FAILED")
    await grid.post(grid.callback(child, order))
    await network.deliver()
    assert buyer.last("on_confirm")["error"]["code"] == "BIZ_FULFILLMENT_UNAVAILABLE"


async def test_an_unanswered_child_confirm_is_asked_about_and_then_undone(
    network: Network, buyer: Stranger
) -> None:
    grid = Stranger(network, GRID)
    await to_confirm_pending(network, buyer, grid)
    await network.run(23)
    assert grid.actions() == ["init", "confirm", "status"]
    assert "on_confirm" not in buyer.actions()
    await network.run(6)
    assert grid.actions() == ["init", "confirm", "status", "cancel"]
    error = buyer.last("on_confirm")["error"]
    assert error["code"] == "BIZ_FULFILLMENT_UNAVAILABLE"
    assert error["details"]["cause"]["code"] == "NET_TIMEOUT"


async def test_the_error_of_an_unanswered_confirm_goes_out_before_the_buyer_stops_waiting(
    network: Network, buyer: Stranger
) -> None:
    grid = Stranger(network, GRID)
    on_confirm_by = await to_confirm_pending(network, buyer, grid)
    while "on_confirm" not in buyer.actions():
        await network.run(1)
    assert network.clock.now_ms() < on_confirm_by


async def test_after_an_unanswered_confirm_the_terms_count_as_lapsed(
    network: Network, buyer: Stranger
) -> None:
    grid = Stranger(network, GRID)
    await to_confirm_pending(network, buyer, grid)
    await network.run(29)
    order = buyer.last("on_init")["message"]["order"]
    reply = await buyer.ask("confirm", order)
    assert reply.code == "BIZ_QUOTE_EXPIRED_OR_CHANGED"
    assert await network.stock() == "30"


async def test_the_terms_count_as_lapsed_also_when_the_cancel_was_answered_at_once(
    network: Network, buyer: Stranger
) -> None:
    grid = Stranger(network, GRID)
    await to_confirm_pending(network, buyer, grid)
    while "cancel" not in grid.actions():
        network.clock.advance(1)
        await network.bpp.timers.tick()
        await network.bpp.outbound.drain_due()
    child = grid.last("cancel")
    order = answered(grid.last("confirm")["message"]["order"], "TERMINATED")
    await grid.post(grid.callback(child, order))
    await network.deliver()
    reply = await buyer.ask("confirm", buyer.last("on_init")["message"]["order"])
    assert reply.code == "BIZ_QUOTE_EXPIRED_OR_CHANGED"
    assert "on_cancel" not in buyer.actions()


async def test_a_status_that_says_active_confirms_the_parent(
    network: Network, buyer: Stranger
) -> None:
    grid = Stranger(network, GRID)
    await to_confirm_pending(network, buyer, grid)
    await network.run(23)
    order = answered(grid.last("confirm")["message"]["order"], "ACTIVE", state="PENDING")
    await grid.post(grid.callback(grid.last("status"), order))
    await network.deliver()
    assert contract(buyer.last("on_confirm")["message"]["order"])["status"] == "ACTIVE"
    assert "cancel" not in grid.actions()


async def test_a_status_that_says_pending_undoes_the_confirm(
    network: Network, buyer: Stranger
) -> None:
    grid = Stranger(network, GRID)
    await to_confirm_pending(network, buyer, grid)
    await network.run(23)
    order = answered(grid.last("confirm")["message"]["order"], "PENDING")
    await grid.post(grid.callback(grid.last("status"), order))
    await network.deliver()
    assert buyer.last("on_confirm")["error"]["code"] == "BIZ_FULFILLMENT_UNAVAILABLE"
    assert grid.actions()[-1] == "cancel"


async def test_a_late_child_on_confirm_gets_another_cancel(
    network: Network, buyer: Stranger
) -> None:
    grid = Stranger(network, GRID)
    await to_confirm_pending(network, buyer, grid)
    await network.run(29)
    child = grid.last("confirm")
    order = answered(child["message"]["order"], "ACTIVE", state="PENDING")
    assert (await grid.post(grid.callback(child, order))).word == "ACK"
    await network.deliver()
    assert grid.actions() == ["init", "confirm", "status", "cancel", "cancel"]
    assert "error" in buyer.last("on_confirm")


async def test_a_reservation_that_lapsed_cannot_be_confirmed(
    network: Network, buyer: Stranger
) -> None:
    await initiated(buyer)
    # terms stand 900 s from the operator's on_init
    network.clock.advance(901)
    await network.run(1)
    reply = await buyer.ask("confirm", buyer.last("on_init")["message"]["order"])
    assert reply.code == "BIZ_QUOTE_EXPIRED_OR_CHANGED"
    assert await network.stock() == "30"
    assert await caps(network) == ("0", "0")


# Time


async def test_a_parent_that_leaves_less_than_4_s_is_refused(
    network: Network, buyer: Stranger
) -> None:
    reply = await buyer.ask("init", init_order(10), ttl="PT2S")
    assert (reply.status, reply.code) == (400, "CTX_TTL_EXPIRED")
    assert await network.stock() == "30"


async def test_a_parent_that_leaves_4_s_is_cascaded_with_what_is_left(
    network: Network, buyer: Stranger
) -> None:
    grid = Stranger(network, GRID)
    await buyer.ask("init", init_order(10), ttl="PT4S")
    # 4 - min(10, 4 / 3) = 2.67, in whole seconds 2
    assert grid.last("init")["context"]["ttl"] == "PT2S"


async def test_29_s_left_make_a_child_ttl_of_19_s(network: Network, buyer: Stranger) -> None:
    grid = Stranger(network, GRID)
    await buyer.ask("init", init_order(10), ttl="PT29S")
    assert grid.last("init")["context"]["ttl"] == "PT19S"


# Restart


async def test_a_platform_that_restarts_while_the_operator_answers_goes_on(
    network: Network, buyer: Stranger
) -> None:
    grid = Stranger(network, GRID)
    await buyer.ask("init", init_order(10))
    await network.restart_bpp()
    child = grid.last("init")
    order = answered(child["message"]["order"], "PENDING", filledBy=GRID, **GRID_INPUTS)
    assert (await grid.post(grid.callback(child, order))).word == "ACK"
    await network.deliver()
    assert "error" not in buyer.last("on_init")


async def test_a_platform_that_restarts_before_it_sent_the_child_init_sends_it(
    network: Network, buyer: Stranger
) -> None:
    assert (await buyer.post(buyer.request("init", init_order(10)))).word == "ACK"
    await network.restart_bpp()
    await network.deliver()
    assert "error" not in buyer.last("on_init")


async def test_a_platform_that_restarts_after_the_deadline_answers_with_the_error(
    network: Network, buyer: Stranger
) -> None:
    Stranger(network, GRID)
    await buyer.ask("init", init_order(10))
    network.clock.advance(3600)
    await network.restart_bpp()
    await network.run(1)
    assert buyer.last("on_init")["error"]["details"]["cause"]["code"] == "NET_TIMEOUT"


async def to_confirm_pending(network: Network, buyer: Stranger, grid: Stranger) -> int:
    """Bring a trade to a confirm that waits for a hand-made operator; return its deadline."""
    await buyer.ask("init", init_order(10))
    child = grid.last("init")
    order = answered(child["message"]["order"], "PENDING", filledBy=GRID, **GRID_INPUTS)
    assert (await grid.post(grid.callback(child, order, ttl="PT15M"))).word == "ACK"
    await network.deliver()
    now_ms = network.clock.now_ms()
    reply = await buyer.ask("confirm", buyer.last("on_init")["message"]["order"])
    assert reply.word == "ACK", reply.error
    assert (
        grid.last("confirm")["message"]["order"]["beckn:id"]
        == reference("order-1-grid")["beckn:id"]
    )
    return now_ms + 30_000
