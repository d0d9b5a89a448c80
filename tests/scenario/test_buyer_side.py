"""What the buyer's app makes of answers that are late, wrong, lost or contradict each other."""

import copy
from decimal import Decimal
from typing import Any

import pytest

from adapter.domain.errors import WireError
from adapter.domain.parties import Side
from adapter.protocol import strict_json
from adapter.protocol.actions import Action
from adapter.service.originate import Sent
from tests.fakes.dump import dump
from tests.fakes.network import BAP, BPP, GRID, HOSTS, Network, open_network, plan
from tests.fakes.orders import (
    GRID_INPUTS,
    Order,
    answered,
    contract,
    init_order,
    inputs,
    reference,
    select_order,
)
from tests.fakes.stranger import Message, Reply, Stranger, nack

T = "T-buyer"


async def send(network: Network, action: Action, order: Order) -> Sent:
    """Let the buyer's own application send a request, and messages travel."""
    context = {"bpp_id": BPP, "transaction_id": T}
    body = {"context": context, "message": {"order": order}}
    sent = await network.bap.originator.send(action, body)
    await network.deliver()
    return sent


async def terms(network: Network) -> Order:
    """Run an init with the real nodes; return the order of the on_init."""
    await send(network, Action.INIT, init_order(by=BAP))
    trade = await network.trade(Side.BAP)
    assert trade.state == "INITIATED", trade.error
    assert trade.order is not None
    return dict(trade.order)


async def confirming(network: Network) -> Stranger:
    """Bring the trade to a confirm that waits for a hand-made seller's platform."""
    order = await terms(network)
    seller = Stranger(network, BPP)
    await send(network, Action.CONFIRM, order)
    assert seller.actions() == ["confirm"]
    return seller


def active(order: Order, state: str = "PENDING", status: str = "ACTIVE") -> Order:
    return answered(order, status, state=state)


async def tell(network: Network, seller: Stranger, message: Message) -> Reply:
    """Post a callback to the buyer's app and let messages travel."""
    reply = await seller.post(message, to=network.bap)
    await network.deliver()
    return reply


def news(network: Network, seller: Stranger, order: Order, **context: Any) -> Message:
    """Return an on_status that nobody asked for."""
    request = seller.request("status", transaction_id=T, bap_id=BAP, bpp_id=BPP)
    uris: Any = {
        "bap_uri": f"http://{HOSTS[BAP]}/bap/receiver",
        "bpp_uri": f"http://{HOSTS[BPP]}/bpp/receiver",
    }
    return seller.callback(request, order, **(uris | context))


# Confirm of unknown fate


async def test_a_confirm_without_on_confirm_is_asked_about_and_never_repeated(
    network: Network,
) -> None:
    seller = await confirming(network)
    await network.run(31)
    assert (await network.trade(Side.BAP)).state == "CONFIRM_UNKNOWN"
    await network.run(65)
    assert set(seller.actions()[1:]) == {"status"}
    assert seller.actions().count("confirm") == 1


async def test_a_confirm_whose_ack_is_lost_is_asked_about(network: Network) -> None:
    order = await terms(network)
    network.wire.unanswered = lambda url, _: url.endswith("/confirm")
    network.wire.lost = lambda url, _: url.endswith("9101/bap/receiver/on_confirm")
    await send(network, Action.CONFIRM, order)
    await network.run(40)
    assert (await network.trade(Side.BAP)).state == "CONFIRM_UNKNOWN" or (
        await network.trade(Side.BAP)
    ).state == "CONFIRMED"
    network.wire.lost = lambda url, _: False
    await network.run(60)  # the fourth attempt comes at most 48 s after the third
    assert (await network.trade(Side.BAP)).state == "CONFIRMED"
    assert (await network.trade(Side.GRID_OPERATOR)).state == "CONFIRMED"


async def test_a_confirm_that_never_arrived_is_found_pending(network: Network) -> None:
    order = await terms(network)
    network.wire.lost = lambda url, _: url.endswith("9102/bpp/receiver/confirm")
    await send(network, Action.CONFIRM, order)
    await network.run(40)
    trade = await network.trade(Side.BAP)
    assert (trade.state, trade.request) == ("INITIATED", None)
    assert trade.error is not None


@pytest.mark.parametrize(
    ("status", "state", "becomes"),
    [
        ("ACTIVE", "PENDING", "CONFIRMED"),
        ("ACTIVE", "IN_PROGRESS", "DELIVERING"),
        ("PENDING", "PENDING", "INITIATED"),
        ("TERMINATED", "FAILED", "TERMINATED"),
    ],
)
async def test_a_status_tells_what_became_of_the_confirm(
    network: Network, status: str, state: str, becomes: str
) -> None:
    seller = await confirming(network)
    await network.run(31)
    order = active(seller.last("confirm")["message"]["order"], state, status)
    reply = await tell(network, seller, seller.callback(seller.last("status"), order))
    assert reply.word == "ACK", reply.error
    assert (await network.trade(Side.BAP)).state == becomes


async def test_a_late_on_confirm_is_taken_after_a_lost_ack(network: Network) -> None:
    order = await terms(network)
    seller = Stranger(network, BPP)
    network.wire.unanswered = lambda url, _: True
    seller.silent = True
    await send(network, Action.CONFIRM, order)
    request = await sent_body(network, "confirm")
    await network.run(40)
    assert (await network.trade(Side.BAP)).state == "CONFIRM_UNKNOWN"
    reply = await tell(network, seller, seller.callback(request, active(order)))
    assert reply.word == "ACK", reply.error
    assert (await network.trade(Side.BAP)).state == "CONFIRMED"


async def test_a_seller_that_refuses_the_status_is_not_flooded(network: Network) -> None:
    seller = await confirming(network)
    seen: list[str] = []

    def refuse(action: str, body: Message) -> tuple[int, Message]:
        seen.append(action)
        return 400, nack("CTX_TRANSACTION_ID_UNKNOWN")

    seller.refusal = refuse
    await network.run(31 + 60)
    assert (await network.trade(Side.BAP)).state == "CONFIRM_UNKNOWN"
    assert 1 <= seen.count("status") <= 4


async def test_an_error_to_the_status_leaves_the_fate_unknown(network: Network) -> None:
    seller = await confirming(network)
    await network.run(31)
    error = {"code": "NET_INTERNAL_ERROR", "message": "no"}
    message = seller.callback(seller.last("status"), error=error)
    assert (await tell(network, seller, message)).word == "ACK"
    assert (await network.trade(Side.BAP)).state == "CONFIRM_UNKNOWN"


async def test_the_status_is_not_asked_for_after_the_trade_window(network: Network) -> None:
    seller = await confirming(network)
    await network.run(31)
    network.clock.move_to("2026-03-02T09:15:00Z")
    await network.run(31)
    asked = len(seller.got)
    await network.run(120)
    assert len(seller.got) == asked


@pytest.mark.parametrize("action", [Action.SELECT, Action.INIT, Action.CONFIRM, Action.CANCEL])
async def test_while_the_fate_is_unknown_nothing_but_status_is_sent(
    network: Network, action: Action
) -> None:
    seller = await confirming(network)
    order = seller.last("confirm")["message"]["order"]
    await network.run(31)
    orders = {Action.SELECT: select_order(), Action.INIT: init_order(by=BAP)}
    order = orders.get(action, order if action is Action.CONFIRM else reference())
    before = dump(network)
    with pytest.raises(WireError) as refusal:
        await send(network, action, order)
    assert refusal.value.code == "BIZ_INVALID_STATE_TRANSITION"
    assert dump(network) == before


# Callbacks out of order


async def test_an_on_status_before_the_on_confirm_confirms(network: Network) -> None:
    seller = await confirming(network)
    order = active(seller.last("confirm")["message"]["order"])
    await tell(network, seller, news(network, seller, order))
    assert (await network.trade(Side.BAP)).state == "CONFIRMED"
    reply = await tell(network, seller, seller.callback(seller.last("confirm"), order))
    assert reply.word == "ACK"
    assert (await network.trade(Side.BAP)).state == "CONFIRMED"


async def test_a_late_active_after_completed_is_recorded_and_not_applied(
    network: Network,
) -> None:
    seller = await completed(network)
    order = seller.last("confirm")["message"]["order"]
    reply = await tell(network, seller, news(network, seller, active(order)))
    assert reply.word == "ACK", reply.error
    trade = await network.trade(Side.BAP)
    assert (trade.state, trade.flags) == ("COMPLETED", ())


async def test_of_two_final_states_the_first_stays_and_the_trade_is_flagged(
    network: Network,
) -> None:
    seller = await completed(network)
    order = active(seller.last("confirm")["message"]["order"], "FAILED", "TERMINATED")
    reply = await tell(network, seller, news(network, seller, order))
    assert reply.word == "ACK", reply.error
    trade = await network.trade(Side.BAP)
    assert (trade.state, trade.flags) == ("COMPLETED", ("two_ends",))


async def test_an_older_on_status_of_the_same_rank_is_not_applied(network: Network) -> None:
    seller = await confirmed(network)
    order = seller.last("confirm")["message"]["order"]
    old = news(network, seller, active(order, "PENDING"))
    network.clock.advance(10)
    await tell(network, seller, news(network, seller, active(order, "IN_PROGRESS")))
    await tell(network, seller, old)
    trade = await network.trade(Side.BAP)
    assert trade.state == "DELIVERING"
    assert trade.order is not None
    state = trade.order["beckn:fulfillments"][0]["beckn:state"]["beckn:descriptor"]
    assert state["schema:name"] == "IN_PROGRESS"


async def test_three_on_status_of_one_stream_are_all_taken(network: Network) -> None:
    seller = await confirmed(network)
    order = seller.last("confirm")["message"]["order"]
    sent = await network.bap.originator.send(
        Action.STATUS, {"context": {"transaction_id": T}, "message": {"order": reference()}}
    )
    await network.deliver()
    for state in ("PENDING", "IN_PROGRESS", "COMPLETED"):
        network.clock.advance(1)
        message = seller.callback(seller.last("status"), active(order, state))
        assert message["context"]["message_id"] == sent.message_id
        assert (await tell(network, seller, message)).word == "ACK"
    assert (await network.trade(Side.BAP)).state == "DELIVERING"


# Correlation


@pytest.mark.parametrize("action", ["discover", "select", "init", "confirm"])
async def test_an_answer_under_an_unknown_message_id_is_refused(
    network: Network, action: str
) -> None:
    seller = await confirming(network)
    order = active(seller.last("confirm")["message"]["order"])
    request = copy.deepcopy(seller.last("confirm"))
    request["context"] |= {"action": action, "message_id": "nobody-asked"}
    before = dump(network)
    reply = await tell(network, seller, seller.callback(request, order))
    assert (reply.status, reply.code) == (400, "CTX_INVALID_FIELD")
    assert reply.error["details"]["path"] == "$.context.message_id"
    assert dump(network) == before


async def test_an_unasked_on_status_of_an_unknown_transaction_is_refused(
    network: Network,
) -> None:
    seller = await confirmed(network)
    order = active(seller.last("confirm")["message"]["order"])
    message = news(network, seller, order, transaction_id="T-unknown")
    before = dump(network)
    reply = await tell(network, seller, message)
    assert (reply.status, reply.code) == (400, "CTX_TRANSACTION_ID_UNKNOWN")
    assert dump(network) == before


async def test_an_unasked_on_cancel_ends_the_trade(network: Network) -> None:
    seller = await confirmed(network)
    order = answered(seller.last("confirm")["message"]["order"], "TERMINATED")
    message = news(network, seller, order, action="on_cancel")
    assert (await tell(network, seller, message)).word == "ACK"
    assert (await network.trade(Side.BAP)).state == "TERMINATED"


async def test_a_callback_of_somebody_else_is_refused(network: Network) -> None:
    seller = await confirming(network)
    thief = Stranger(network, GRID)
    request = copy.deepcopy(seller.last("confirm"))
    request["context"] |= {"bpp_id": GRID, "bpp_uri": f"http://{HOSTS[GRID]}/bpp/receiver"}
    order = active(seller.last("confirm")["message"]["order"])
    before = dump(network)
    reply = await tell(network, thief, thief.callback(request, order))
    assert (reply.status, reply.code) == (401, "AUT_UNAUTHORIZED_ACTION")
    assert dump(network) == before


async def test_a_second_different_on_confirm_is_refused(network: Network) -> None:
    seller = await confirming(network)
    request = seller.last("confirm")
    order = active(request["message"]["order"])
    assert (await tell(network, seller, seller.callback(request, order))).word == "ACK"
    network.clock.advance(1)
    before = dump(network)
    reply = await tell(network, seller, seller.callback(request, order))
    assert (reply.status, reply.code) == (400, "CTX_MESSAGE_ID_DUPLICATE")
    assert dump(network) == before


async def test_the_same_on_confirm_twice_has_one_effect(network: Network) -> None:
    seller = await confirming(network)
    request = seller.last("confirm")
    message = seller.callback(request, active(request["message"]["order"]))
    first = await tell(network, seller, message)
    before = dump(network)
    second = await tell(network, seller, message)
    assert (first.status, first.raw) == (second.status, second.raw)
    assert dump(network) == before


async def test_a_callback_is_not_judged_by_its_ttl(network: Network) -> None:
    seller = await confirming(network)
    request = seller.last("confirm")
    message = seller.callback(request, active(request["message"]["order"]), ttl="PT1S")
    network.clock.advance(20)
    assert (await tell(network, seller, message)).word == "ACK"
    assert (await network.trade(Side.BAP)).state == "CONFIRMED"


async def test_a_peer_with_its_own_message_ids_is_understood_where_that_is_set(
    tmp_path: Any,
) -> None:
    network = await open_network(tmp_path, rules={BAP: {"correlate": "transaction"}})
    seller = Stranger(network, BPP)
    sent = await send(network, Action.INIT, init_order(by=BAP))
    order = answered(init_order(by=BAP), "PENDING", filledBy=GRID, **GRID_INPUTS)
    message = seller.callback(seller.last("init"), order, message_id="own-id")
    reply = await tell(network, seller, message)
    assert reply.word == "ACK", reply.error
    assert (await network.trade(Side.BAP)).state == "INITIATED"
    assert await network.bap.originator.wait_for_callback(sent) == message
    await network.close()


async def test_an_on_update_is_taken_for_the_same_news(network: Network) -> None:
    seller = await confirmed(network)
    order = active(seller.last("confirm")["message"]["order"], "IN_PROGRESS")
    message = news(network, seller, order, action="on_update")
    reply = await tell(network, seller, message)
    assert reply.word == "ACK", reply.error
    assert (await network.trade(Side.BAP)).state == "DELIVERING"


# Terms


def _price(order: Order) -> None:
    inputs(order, "SELLER")["pricePerKWh"] = Decimal("0.16")


def _quantity(order: Order) -> None:
    inputs(order, "BUYER")["contractedQuantity"] = 11
    order["beckn:items"][0]["quantity"]["count"] = 11


@pytest.mark.parametrize("change", [_price, _quantity], ids=["price", "quantity"])
async def test_an_on_init_with_other_terms_than_asked_for_is_refused(
    network: Network, change: Any
) -> None:
    seller = Stranger(network, BPP)
    await send(network, Action.INIT, init_order(by=BAP))
    order = answered(init_order(by=BAP), "PENDING", filledBy=GRID, **GRID_INPUTS)
    change(order)
    reply = await tell(network, seller, seller.callback(seller.last("init"), order))
    assert (reply.status, reply.code) == (409, "BIZ_UPDATE_INCONSISTENT")
    assert (await network.trade(Side.BAP)).state == "INIT_PENDING"


async def test_an_on_init_that_writes_the_same_times_otherwise_is_accepted(
    network: Network,
) -> None:
    seller = Stranger(network, BPP)
    await send(network, Action.INIT, init_order(by=BAP))
    order = answered(init_order(by=BAP), "PENDING", filledBy=GRID, **GRID_INPUTS)
    inputs(order, "BUYER")["tradeStartTime"] = "2026-03-02T08:15:00.000+00:00"
    inputs(order, "BUYER")["contractedQuantity"] = Decimal("10.0")
    reply = await tell(network, seller, seller.callback(seller.last("init"), order))
    assert reply.word == "ACK", reply.error


async def test_an_on_init_without_grid_operator_is_accepted(network: Network) -> None:
    seller = Stranger(network, BPP)
    await send(network, Action.INIT, init_order(by=BAP))
    reply = await tell(network, seller, seller.callback(seller.last("init"), init_order(by=BAP)))
    assert reply.word == "ACK", reply.error
    assert (await network.trade(Side.BAP)).state == "INITIATED"


async def test_an_on_confirm_that_is_not_what_was_agreed_is_refused(network: Network) -> None:
    seller = await confirming(network)
    order = active(seller.last("confirm")["message"]["order"])
    _price(order)
    order.pop("beckn:quote")
    reply = await tell(network, seller, seller.callback(seller.last("confirm"), order))
    assert (reply.status, reply.code) == (409, "BIZ_UPDATE_INCONSISTENT")


@pytest.mark.parametrize("action", ["on_status", "on_cancel"])
async def test_news_about_another_contract_is_refused(network: Network, action: str) -> None:
    seller = await confirmed(network)
    status = "TERMINATED" if action == "on_cancel" else "ACTIVE"
    order = active(seller.last("confirm")["message"]["order"], "IN_PROGRESS", status)
    contract(order)["contractId"] = "contract-of-somebody"
    message = news(network, seller, order, action=action)
    before = dump(network)
    reply = await tell(network, seller, message)
    assert (reply.status, reply.code) == (409, "BIZ_UPDATE_INCONSISTENT")
    assert dump(network) == before


async def test_a_planned_trade_does_not_follow_a_price_that_rises_after_the_choice(
    network: Network,
) -> None:
    seller = Stranger(network, BPP)
    network.wire.actors.clear()
    await network.bap.originator.start_trade(plan(max_price_per_kwh="0.15"))
    await network.bap.outbound.drain_due()
    await network.bpp.outbound.drain_due()
    network.wire.actors[HOSTS[BPP]] = seller
    await network.deliver()
    order = copy.deepcopy(seller.last("select")["message"]["order"])
    _price(order)
    reply = await tell(network, seller, seller.callback(seller.last("select"), order))
    assert reply.word == "ACK", reply.error
    assert seller.actions() == ["select"]
    trade = await network.trade(Side.BAP)
    assert trade.error is not None
    assert trade.error["code"] == "BIZ_UPDATE_INCONSISTENT"


# Cancel and errors


async def test_an_error_callback_ends_the_wait_and_changes_no_state(network: Network) -> None:
    seller = await confirming(network)
    error = {"code": "BIZ_PAYMENT_FAILED", "message": "no cash", "details": {"path": "$.a"}}
    message = seller.callback(seller.last("confirm"), error=error)
    assert (await tell(network, seller, message)).word == "ACK"
    trade = await network.trade(Side.BAP)
    assert (trade.state, trade.request) == ("INITIATED", None)
    assert trade.error is not None
    assert trade.error["code"] == "BIZ_PAYMENT_FAILED"


@pytest.mark.parametrize(
    "error",
    [
        pytest.param({"error": {"code": "BIZ_X", "message": "m"}}, id="top level"),
        pytest.param({"message": {"error": {"code": "BIZ_X", "message": "m"}}}, id="in message"),
        pytest.param({"message": {"errorCode": "BIZ_X", "errorMessage": "m"}}, id="AsyncError"),
    ],
)
async def test_an_error_is_read_wherever_a_peer_puts_it(network: Network, error: Message) -> None:
    seller = await confirming(network)
    message = seller.callback(seller.last("confirm")) | error
    assert (await tell(network, seller, message)).word == "ACK"
    trade = await network.trade(Side.BAP)
    assert trade.error is not None
    assert trade.error["code"] == "BIZ_X"


async def test_a_cancel_that_fails_leaves_the_trade_as_it_was(network: Network) -> None:
    seller = await confirmed(network)
    await send(network, Action.CANCEL, reference())
    error = {"code": "POL_CANCELLATION_NOT_ALLOWED", "message": "begun"}
    message = seller.callback(seller.last("cancel"), error=error)
    assert (await tell(network, seller, message)).word == "ACK"
    trade = await network.trade(Side.BAP)
    assert (trade.state, trade.request) == ("CONFIRMED", None)


async def test_a_request_that_the_seller_refuses_fails_at_once(network: Network) -> None:
    Stranger(network, BPP, refusal=lambda action, body: (409, nack("BIZ_UPDATE_INCONSISTENT")))
    await send(network, Action.INIT, init_order(by=BAP))
    trade = await network.trade(Side.BAP)
    assert (trade.state, trade.request) == ("NEW", None)
    assert trade.error is not None
    assert trade.error["code"] == "BIZ_UPDATE_INCONSISTENT"


async def confirmed(network: Network) -> Stranger:
    """Bring the trade to CONFIRMED with a hand-made seller's platform."""
    seller = await confirming(network)
    request = seller.last("confirm")
    message = seller.callback(request, active(request["message"]["order"]))
    reply = await tell(network, seller, message)
    assert reply.word == "ACK", reply.error
    return seller


async def completed(network: Network) -> Stranger:
    """Bring the trade to COMPLETED with a hand-made seller's platform."""
    seller = await confirmed(network)
    network.clock.advance(1)
    order = active(seller.last("confirm")["message"]["order"], "COMPLETED", "COMPLETED")
    reply = await tell(network, seller, news(network, seller, order))
    assert reply.word == "ACK", reply.error
    return seller


async def sent_body(network: Network, action: str) -> Message:
    """Return what the buyer's app wanted to send."""
    rows = await network.bap.parts.store.read(lambda uow: uow.messages([T]))
    return strict_json.decode_object(next(r.body for r in rows if r.action == action))
