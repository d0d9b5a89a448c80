"""Whose power a key of clearedPower is, where a meter and a platform have one name."""

from tests.fakes.market import (
    LOAD,
    LOAD_CURVE,
    LOAD_METER,
    ROOF,
    ROOF_CURVE,
    ROOF_METER,
    THIRD,
    Market,
    Operator,
    Party,
)
from tests.fakes.stranger import Message
from tests.scenario.market_session_steps import (
    both_committed,
    cleared,
    committed,
    findings,
    powers,
    status,
)


def refuse_the_name(message: Message) -> Message | None:
    """Refuse an init of the meter that is called as a platform: there is none."""
    order = message["message"]["order"]
    meters = [role["roleInputs"].get("sourceMeterId") for role in roles(order)]
    return {"code": "BIZ_ORDER_REJECTED", "message": "no such meter"} if LOAD in meters else None


def roles(order: Message) -> list[Message]:
    found: list[Message] = order["beckn:orderAttributes"]["roles"]
    return found


async def test_who_was_refused_shuts_nobody_out(
    market: Market, operator: Operator, load: Party, roof: Party, third: Party
) -> None:
    operator.refuse = refuse_the_name
    await third.join(LOAD, LOAD_CURVE)
    await operator.work()
    assert "error" in third.last("on_init")
    await both_committed(operator, load, roof)
    await cleared(market, operator)
    assert set(powers(operator.last("confirm"))) == {LOAD, ROOF}


async def test_a_meter_with_the_name_of_a_platform_shuts_nobody_out(
    market: Market, operator: Operator, load: Party, roof: Party, third: Party
) -> None:
    await committed(operator, third, LOAD, LOAD_CURVE)
    await both_committed(operator, load, roof)
    await cleared(market, operator)
    given = powers(operator.last("confirm"))
    assert set(given) == {LOAD_METER, THIRD, ROOF}
    assert powers(load.last("on_confirm")) == {LOAD_METER: given[LOAD_METER]}
    assert powers(third.last("on_confirm")) == {THIRD: given[THIRD]}
    assert status(load.last("on_confirm")) == "ACTIVE"
    assert findings(market) == []


async def test_a_meter_may_be_called_as_its_own_platform(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await committed(operator, load, LOAD, LOAD_CURVE)
    await committed(operator, roof, ROOF_METER, ROOF_CURVE)
    await cleared(market, operator)
    assert set(powers(operator.last("confirm"))) == {LOAD, ROOF}


async def test_who_has_no_name_of_its_own_is_refused(
    market: Market, operator: Operator, load: Party, third: Party
) -> None:
    await committed(operator, load, LOAD_METER, LOAD_CURVE)
    await committed(operator, third, "m-3", LOAD_CURVE, transaction_id="T-1")
    refused = await third.join(LOAD, LOAD_CURVE, transaction_id="T-2")
    assert refused.code == "SCH_ATTRIBUTE_PACK_INVALID"
    assert len((await market.session()).seats) == 2


async def test_who_lost_its_name_before_the_gate_is_left_out_alone(
    market: Market, operator: Operator, load: Party, roof: Party, third: Party
) -> None:
    await committed(operator, third, LOAD, LOAD_CURVE, transaction_id="T-1")
    await committed(operator, third, "m-3", LOAD_CURVE, transaction_id="T-2")
    await both_committed(operator, load, roof)
    await cleared(market, operator)
    error = third.last("on_confirm", "T-1")["error"]
    assert error["code"] == "SCH_ATTRIBUTE_PACK_INVALID"
    assert set(powers(operator.last("confirm"))) == {LOAD, THIRD, ROOF}
    assert status(load.last("on_confirm")) == "ACTIVE"
    assert findings(market) == []
