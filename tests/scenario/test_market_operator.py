"""What a market makes of its grid operator's refusals, silence and late answers."""

import copy
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.market import (
    GATE,
    LOAD,
    LOAD_CURVE,
    LOAD_METER,
    ROOF,
    ROOF_METER,
    THIRD,
    Market,
    Operator,
    Party,
)
from tests.fakes.orders import contract
from tests.fakes.stranger import Message
from tests.scenario.market_session_steps import (
    both_committed,
    cleared,
    committed,
    powers,
    status,
)

d = Decimal


def no_cash(meter: str, *others: str) -> Message:
    """Return a refusal because of one participant, or of several."""
    named: Message = {"participant": meter}
    if others:
        named["participants"] = [meter, *others]
    cause = {"code": "INSUFFICIENT_FUNDS", "message": "not enough", "details": named}
    return {
        "code": "BIZ_PAYMENT_FAILED",
        "message": "not enough",
        "details": {"cause": cause},
    }


def refusing(operator: Operator, *meters: str) -> None:
    """Let the operator refuse every confirm that names one of some meters."""

    def verdict(message: Message) -> Message | None:
        if message["context"]["action"] != "confirm":
            return None
        named = [
            role["roleInputs"].get("sourceMeterId")
            for role in contract(message["message"]["order"])["roles"]
        ]
        return next((no_cash(meter) for meter in meters if meter in named), None)

    operator.refuse = verdict


# One participant


async def test_who_is_refused_is_left_out_and_the_rest_cleared_again(
    market: Market, operator: Operator, load: Party, roof: Party, third: Party
) -> None:
    await both_committed(operator, load, roof)
    await committed(operator, third, "m-3", (("0.06", "-10"), ("0.07", "0")))
    refusing(operator, "m-3")
    await cleared(market, operator)
    confirms = [one for one in operator.got if one["context"]["action"] == "confirm"]
    assert [set(powers(one)) for one in confirms] == [{LOAD, ROOF, THIRD}, {LOAD, ROOF}]
    assert len({one["context"]["message_id"] for one in confirms}) == 2
    error = third.last("on_confirm")["error"]
    assert error["code"] == "BIZ_PAYMENT_FAILED"
    assert powers(load.last("on_confirm")) == {LOAD: d("-4.716981")}
    await market.run(1)
    assert (await market.states())[f"T-{THIRD}"] == "TERMINATED"


async def test_a_refused_participant_may_leave_nothing_to_trade(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await both_committed(operator, load, roof)
    refusing(operator, LOAD_METER)
    await cleared(market, operator)
    assert load.last("on_confirm")["error"]["code"] == "BIZ_PAYMENT_FAILED"
    assert status(roof.last("on_confirm")) == "TERMINATED"
    assert operator.actions() == ["init", "init", "confirm", "cancel"]


async def test_one_after_the_other_may_be_refused(
    market: Market, operator: Operator, load: Party, roof: Party, third: Party
) -> None:
    await both_committed(operator, load, roof)
    await committed(operator, third, "m-3", (("0.06", "-10"), ("0.07", "0")))
    refusing(operator, "m-3", ROOF_METER)
    await cleared(market, operator)
    assert operator.actions()[3:] == ["confirm", "confirm", "cancel"]
    assert [p.last("on_confirm")["error"]["code"] for p in (third, roof)] == [
        "BIZ_PAYMENT_FAILED"
    ] * 2
    assert status(load.last("on_confirm")) == "TERMINATED"


async def test_all_that_are_refused_at_once_are_left_out_at_once(
    market: Market, operator: Operator, load: Party, roof: Party, third: Party
) -> None:
    await both_committed(operator, load, roof)
    for meter in ("m-3", "m-4"):
        points = (("0.06", "-10"), ("0.07", "0"))
        await committed(operator, third, meter, points, transaction_id=f"T-{meter}")

    def verdict(message: Message) -> Message | None:
        if message["context"]["action"] != "confirm" or "m-3" not in powers(message):
            return None
        return no_cash("m-3", "m-4", "m-of-nobody")

    operator.refuse = verdict
    await cleared(market, operator)
    confirms = [one for one in operator.got if one["context"]["action"] == "confirm"]
    assert [set(powers(one)) for one in confirms] == [{LOAD, ROOF, "m-3", "m-4"}, {LOAD, ROOF}]
    first, second = (third.last("on_confirm", f"T-{meter}")["error"] for meter in ("m-3", "m-4"))
    assert first["code"] == second["code"] == "BIZ_PAYMENT_FAILED"
    assert "m-4" not in str(first)
    assert "m-3" not in str(second)
    assert status(load.last("on_confirm")) == "ACTIVE"


async def test_nobody_learns_why_another_one_was_refused(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await both_committed(operator, load, roof)
    refusing(operator, LOAD_METER)
    await cleared(market, operator)
    assert "error" not in roof.last("on_confirm")


# Everybody


@pytest.mark.parametrize(
    "error",
    [
        pytest.param({"code": "NET_INTERNAL_ERROR", "message": "no"}, id="no reason"),
        pytest.param(no_cash("somebody-else"), id="a meter that does not take part"),
        pytest.param(
            {"code": "BIZ_X", "message": "no", "details": {"cause": "text"}}, id="odd details"
        ),
    ],
)
async def test_a_refusal_without_a_participant_is_one_for_all(
    market: Market, operator: Operator, load: Party, roof: Party, error: Message
) -> None:
    await both_committed(operator, load, roof)
    operator.refuse = lambda m: error if m["context"]["action"] == "confirm" else None
    await cleared(market, operator)
    told = [party.last("on_confirm")["error"]["code"] for party in (load, roof)]
    assert set(told) <= {"BIZ_FULFILLMENT_UNAVAILABLE", "BIZ_PAYMENT_FAILED"}
    assert operator.actions() == ["init", "init", "confirm", "cancel"]
    await market.run(1)
    assert set((await market.states()).values()) == {"TERMINATED"}


async def test_a_confirm_that_does_not_activate_is_a_refusal(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await both_committed(operator, load, roof)
    await market.close_gate()
    confirm = operator.last("confirm")
    order = copy.deepcopy(confirm["message"]["order"])
    contract(order)["status"] = "TERMINATED"
    assert (await operator.post(operator.answer(confirm, order))).word == "ACK"
    await market.deliver()
    assert load.last("on_confirm")["error"]["code"] == "BIZ_FULFILLMENT_UNAVAILABLE"


# Init


async def test_an_init_that_the_operator_refuses_is_an_error_for_its_prosumer_alone(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    error = {"code": "BIZ_QUANTITY_UNAVAILABLE", "message": "no room"}
    operator.refuse = lambda message: error
    await load.join(LOAD_METER, LOAD_CURVE)
    await operator.work()
    assert load.last("on_init")["error"]["code"] == "BIZ_QUANTITY_UNAVAILABLE"
    operator.refuse = lambda message: None
    await both_committed(operator, load, roof)
    await cleared(market, operator)
    assert powers(load.last("on_confirm")) == {LOAD: d("-4.716981")}


async def test_a_silent_operator_fails_the_init_in_time_and_is_not_heard_later(
    market: Market, operator: Operator, load: Party
) -> None:
    await load.join(LOAD_METER, LOAD_CURVE)
    await market.run(29)
    error = load.last("on_init")["error"]
    assert error["code"] == "BIZ_FULFILLMENT_UNAVAILABLE"
    assert error["details"]["cause"]["code"] == "NET_TIMEOUT"
    await operator.work()  # a cancel would end the others' reservations: it lapses by itself
    assert operator.actions() == ["init"]
    assert load.actions() == ["on_init"]
    assert await market.states() == {f"T-{LOAD}": "NEW"}


async def test_an_operator_that_is_away_fails_the_init(
    market: Market, operator: Operator, load: Party
) -> None:
    operator.silent = True
    await load.join(LOAD_METER, LOAD_CURVE)
    await market.run(29)
    error = load.last("on_init")["error"]
    assert error["details"]["cause"]["code"] == "NET_DOWNSTREAM_UNAVAILABLE"


async def test_an_approval_that_comes_after_the_gate_is_of_no_use(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await both_committed(operator, load, roof)
    market.clock.move_to("2026-03-02T08:44:50Z")
    third = Party(market, THIRD)
    await third.join("m-3", LOAD_CURVE)
    await market.close_gate()
    await operator.work()
    assert third.last("on_init")["error"]["code"] == "BIZ_QUOTE_EXPIRED_OR_CHANGED"
    assert status(load.last("on_confirm")) == "ACTIVE"


async def test_a_curve_of_which_nothing_is_approved_is_refused(
    market: Market, operator: Operator, load: Party
) -> None:
    operator.room["m-must-run"] = {"approved": d("1.5")}
    await load.join("m-must-run", (("0.05", "2"), ("0.06", "5")))
    await operator.work()
    assert load.last("on_init")["error"]["code"] == "BIZ_QUANTITY_UNAVAILABLE"


async def test_an_answer_without_terms_is_a_refusal(
    market: Market, operator: Operator, load: Party
) -> None:
    await load.join(LOAD_METER, LOAD_CURVE)
    asked = operator.last("init")
    reply = await operator.post(operator.answer(asked, asked["message"]["order"]))
    await market.deliver()
    assert reply.word == "NACK" or "error" in load.last("on_init")
    assert (await market.states())[f"T-{LOAD}"] != "INITIATED"


# Silence after the confirm


async def silent_after(market: Market, operator: Operator, load: Party, roof: Party) -> None:
    """Clear, and let the operator not answer until its status is asked for."""
    await both_committed(operator, load, roof)
    await market.close_gate()
    while operator.actions()[-1] != "status":
        await market.run(1)


async def test_an_unanswered_confirm_is_asked_about_and_then_undone(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await silent_after(market, operator, load, roof)
    assert "on_confirm" not in load.actions()
    await market.run(6)
    assert operator.actions() == ["init", "init", "confirm", "status", "cancel"]
    for party in (load, roof):
        error = party.last("on_confirm")["error"]
        assert error["code"] == "BIZ_FULFILLMENT_UNAVAILABLE"
        assert error["details"]["cause"]["code"] == "NET_TIMEOUT"
    gate_and_a_minute = "2026-03-02T08:46:00Z"
    assert load.last("on_confirm")["context"]["timestamp"] < gate_and_a_minute
    await market.run(1)
    assert set((await market.states()).values()) == {"TERMINATED"}


@pytest.mark.parametrize(("said", "becomes"), [("ACTIVE", "CONFIRMED"), ("PENDING", "TERMINATED")])
async def test_the_status_of_an_unanswered_confirm_decides(
    market: Market, operator: Operator, load: Party, roof: Party, said: str, becomes: str
) -> None:
    await silent_after(market, operator, load, roof)
    order = copy.deepcopy(operator.last("confirm")["message"]["order"])
    contract(order)["status"] = said
    if said == "PENDING":
        agent = contract(order)["roles"][0]["roleInputs"]
        del agent["clearingPrice"], agent["clearedPower"]
    reply = await operator.post(operator.answer(operator.last("status"), order))
    assert reply.word == "ACK", reply.error
    await market.deliver()
    await market.run(1)
    assert (await market.session()).state == becomes
    assert set((await market.states()).values()) == {becomes}


async def test_an_error_to_the_status_of_an_unanswered_confirm_is_no_confirm(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await silent_after(market, operator, load, roof)
    error: dict[str, Any] = {"code": "BIZ_ORDER_NOT_FOUND", "message": "no such order"}
    assert (
        await operator.post(operator.answer(operator.last("status"), None, error))
    ).word == "ACK"
    await market.deliver()
    assert load.last("on_confirm")["error"]["code"] == "BIZ_FULFILLMENT_UNAVAILABLE"
    assert operator.actions()[-1] == "cancel"


async def test_a_confirm_that_is_answered_while_its_status_is_asked_for_counts(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await silent_after(market, operator, load, roof)
    await operator.work()
    assert status(load.last("on_confirm")) == "ACTIVE"
    assert "cancel" not in operator.actions()


async def test_a_late_on_confirm_is_undone_once_more(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await silent_after(market, operator, load, roof)
    await market.run(6)
    await operator.work()
    assert operator.actions()[-2:] == ["cancel", "cancel"]
    assert "error" in load.last("on_confirm")
    assert (await market.session()).state == "TERMINATED"


async def test_a_market_that_restarts_while_the_operator_is_silent_gives_up_in_time(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await both_committed(operator, load, roof)
    await market.close_gate()
    await market.restart()
    market.clock.move_to(GATE)
    market.clock.advance(120)
    await market.run(2)
    assert load.last("on_confirm")["error"]["details"]["cause"]["code"] == "NET_TIMEOUT"
    assert operator.actions()[-1] == "cancel"


# Afterwards


async def test_an_operator_that_cancels_the_market_ends_every_share(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await both_committed(operator, load, roof)
    await cleared(market, operator)
    confirm = operator.last("confirm")
    order = copy.deepcopy(confirm["message"]["order"])
    contract(order)["status"] = "TERMINATED"
    context: dict[str, Any] = {"action": "on_cancel", "message_id": operator.new_id()}
    assert (await operator.post(operator.answer(confirm, order, **context))).word == "ACK"
    await market.deliver()
    assert status(load.last("on_status")) == "TERMINATED"
    assert set((await market.states()).values()) == {"TERMINATED"}


async def test_news_about_a_meter_that_does_not_take_part_is_passed_over(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await both_committed(operator, load, roof)
    await cleared(market, operator)
    confirm = operator.last("confirm")
    order = copy.deepcopy(confirm["message"]["order"])
    contract(order)["status"] = "ACTIVE"
    order["beckn:fulfillments"] = order["beckn:fulfillments"][:1]
    stop = order["beckn:fulfillments"][0]["beckn:stops"][0]
    stop["beckn:location"]["beckn:address"] = "m-unknown"
    context: dict[str, Any] = {"action": "on_status", "message_id": operator.new_id()}
    assert (await operator.post(operator.answer(confirm, order, **context))).word == "ACK"
    await market.deliver()
    assert "on_status" not in load.actions() + roof.actions()
