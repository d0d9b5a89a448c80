"""A market over Beckn: commitments before the gate, one clearing, one confirm, one answer each."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapter.domain.market import FeeTreatment
from adapter.domain.parties import Side
from adapter.protocol import strict_json
from tests.fakes.market import (
    GATE,
    GRID,
    LOAD,
    LOAD_CURVE,
    LOAD_METER,
    ROOF,
    ROOF_METER,
    THIRD,
    Market,
    Operator,
    Party,
    market_init,
    market_offer,
    open_market,
)
from tests.fakes.orders import Order, contract, inputs, reference
from tests.scenario.market_session_steps import (
    Points,
    agent,
    both_committed,
    cleared,
    committed,
    delivered,
    findings,
    powers,
    status,
)

d = Decimal
AT_012: Points = (("0.12", "-4"), ("0.12", "0"))
AT_006: Points = (("0.06", "0"), ("0.06", "4"))


# Clearing


async def test_c1_clears_at_the_price_of_the_specification(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await both_committed(operator, load, roof)
    assert load.actions() == ["on_init"]
    await cleared(market, operator)
    assert agent(operator.last("confirm")) == {
        "marketMakingFee": d("0.01"),
        "clearingPrice": d("0.069057"),
        "clearedPower": {LOAD: d("-4.716981"), ROOF: d("4.716981")},
    }
    for party, power in ((load, d("-4.716981")), (roof, d("4.716981"))):
        order = party.last("on_confirm")["message"]["order"]
        names = [role["role"] for role in contract(order)["roles"]]
        assert names == ["MARKET_CLEARING_AGENT", "PROSUMER", "GRID_OPERATOR"]
        assert contract(order)["status"] == "ACTIVE"
        assert powers(party.last("on_confirm")) == {party.name: power}
    assert await market.states() == {f"T-{LOAD}": "CONFIRMED", f"T-{ROOF}": "CONFIRMED"}
    assert (await market.session()).state == "CONFIRMED"


async def test_a_withdrawal_is_quoted_with_the_fee_and_an_export_is_not(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await both_committed(operator, load, roof)
    await cleared(market, operator)
    quote = load.last("on_confirm")["message"]["order"]["beckn:quote"]
    # (0.069057 + 0.01) x 4.716981 = 0.372910, of which 0.069057 x 4.716981 = 0.325741
    assert quote["beckn:price"]["schema:price"] == d("0.37291")
    parts = [part["beckn:price"]["schema:price"] for part in quote["beckn:breakup"]]
    assert parts == [d("0.325741"), d("0.047169")]
    assert "beckn:quote" not in roof.last("on_confirm")["message"]["order"]


async def test_everybody_of_one_market_has_one_contract_and_the_operator_one_transaction(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await both_committed(operator, load, roof)
    asked = [one["context"]["transaction_id"] for one in operator.got]
    assert len(asked) == 2
    assert len(set(asked)) == 1
    orders = {one["message"]["order"]["beckn:id"] for one in operator.got}
    assert orders == {"order-contract-market-9-grid"}
    found = {contract(p.last("on_init")["message"]["order"])["contractId"] for p in (load, roof)}
    assert found == {"contract-market-9"}


async def test_each_cascaded_init_is_about_one_meter_and_leaves_the_operator_open(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await both_committed(operator, load, roof)
    for asked, meter, stop in zip(
        operator.got, (LOAD_METER, ROOF_METER), ("END", "START"), strict=True
    ):
        order = asked["message"]["order"]
        roles = contract(order)["roles"]
        assert [(one["role"], one["filled"]) for one in roles] == [
            ("MARKET_CLEARING_AGENT", True),
            ("PROSUMER", True),
            ("GRID_OPERATOR", False),
        ]
        (fulfillment,) = order["beckn:fulfillments"]
        (found,) = fulfillment["beckn:stops"]
        assert (found["beckn:type"], found["beckn:location"]["beckn:address"]) == (stop, meter)


async def test_two_prosumers_of_one_platform_are_told_apart_by_their_meters(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    # C2: x -6 at 0.10, s1 4 at 0.05, s2 4 at 0.08: p = 0.08; -6, +4, +2
    await committed(operator, load, "m-x", (("0.10", "-6"), ("0.10", "0")))
    await committed(operator, roof, "m-1", (("0.05", "0"), ("0.05", "4")), transaction_id="T-1")
    await committed(operator, roof, "m-2", (("0.08", "0"), ("0.08", "4")), transaction_id="T-2")
    await cleared(market, operator)
    confirm = operator.last("confirm")
    assert agent(confirm)["clearingPrice"] == d("0.08")
    assert powers(confirm) == {LOAD: -6, "m-1": 4, "m-2": 2}
    assert len(confirm["message"]["order"]["beckn:fulfillments"]) == 3
    assert powers(roof.last("on_confirm", "T-1")) == {"m-1": 4}
    assert powers(roof.last("on_confirm", "T-2")) == {"m-2": 2}
    assert powers(load.last("on_confirm")) == {LOAD: -6}


async def test_who_commits_and_clears_nothing_is_left_out_and_told_so(
    market: Market, operator: Operator, load: Party, roof: Party, third: Party
) -> None:
    await both_committed(operator, load, roof)
    await committed(operator, third, "meter-dear", (("0.50", "0"), ("0.60", "3")))
    await cleared(market, operator)
    assert set(powers(operator.last("confirm"))) == {LOAD, ROOF}
    assert status(third.last("on_confirm")) == "TERMINATED"
    assert status(load.last("on_confirm")) == "ACTIVE"


async def test_nobody_is_told_before_the_operator_has_confirmed(
    market: Market, operator: Operator, load: Party, roof: Party, third: Party
) -> None:
    await both_committed(operator, load, roof)
    await committed(operator, third, "meter-dear", (("0.50", "0"), ("0.60", "3")))
    await market.close_gate()
    assert operator.actions()[-1] == "confirm"
    assert all("on_confirm" not in party.actions() for party in (load, roof, third))


async def test_a_storage_buys_or_sells_by_its_two_way_curve(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    # -11 at 0.05 to +10 at 0.08, so 0 at 0.0657...; against a load of 4 up to 0.12
    await committed(operator, roof, "m-battery", (("0.05", "-11"), ("0.08", "10")))
    await committed(operator, load, "m-x", AT_012)
    (fulfillment,) = operator.got[0]["message"]["order"]["beckn:fulfillments"]
    assert [stop["beckn:type"] for stop in fulfillment["beckn:stops"]] == ["START", "END"]
    await cleared(market, operator)
    assert powers(operator.last("confirm")) == {ROOF: 4, LOAD: -4}
    market.wire.log.clear()  # P2P_CURVE_SIDE informs about storage, in each message


async def test_what_is_approved_clips_a_curve(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    operator.room["m-s"] = {"approved": d("2.5")}
    await committed(operator, load, "m-x", AT_012)
    await committed(operator, roof, "m-s", AT_006)
    approved = contract(roof.last("on_init")["message"]["order"])["inputParameters"]
    assert approved["approvedMaxTradeKW"] == d("2.5")
    await cleared(market, operator)
    assert powers(operator.last("confirm")) == {LOAD: d("-2.5"), ROOF: d("2.5")}


@pytest.mark.parametrize(
    ("room", "power"),
    [
        pytest.param({"seller_trade_cap": 3}, "3", id="the export cap counts for an export"),
        pytest.param({"buyer_trade_cap": 3}, "4", id="the import cap does not"),
        pytest.param(
            {"seller_trade_cap": 5, "current_seller_trade_total": d("3.5")},
            "1.5",
            id="what it sold already counts",
        ),
    ],
)
async def test_a_meters_cap_clips_its_curve(
    market: Market,
    operator: Operator,
    load: Party,
    roof: Party,
    room: dict[str, object],
    power: str,
) -> None:
    operator.room["m-s"] = room
    await committed(operator, load, "m-x", AT_012)
    await committed(operator, roof, "m-s", AT_006)
    await cleared(market, operator)
    assert powers(operator.last("confirm")) == {LOAD: -d(power), ROOF: d(power)}


async def test_a_market_of_100_fits_into_a_message_and_takes_no_101st(tmp_path: Path) -> None:
    market = await open_market(tmp_path)
    operator, load = Operator(market, GRID), Party(market, LOAD)
    prices = [f"0.{100_000 + number}" for number in range(40)]
    bought = tuple((price, f"{n - 39}.123456") for n, price in enumerate(prices[:-1]))
    sold = tuple((price, f"{n}.123456") for n, price in enumerate(prices))
    for number in range(100):
        points = sold if number % 2 else (*bought, (prices[-1], "0"))
        meter = f"meter-of-somebody-{number:03}"
        await committed(operator, load, meter, points, transaction_id=f"T-{number}")
    refused = await load.join("meter-101", AT_006, transaction_id="T-100")
    assert (refused.status, refused.code) == (400, "BIZ_QUANTITY_UNAVAILABLE")
    longer = (*sold, *((f"0.2{n:05}", "40") for n in range(40)))
    too_long = await load.join("meter-101", longer, transaction_id="T-101")
    assert too_long.code == "SCH_ATTRIBUTE_PACK_INVALID"
    await cleared(market, operator)
    assert len(powers(operator.last("confirm"))) == 100
    assert 200_000 < max(len(raw) for _, raw in market.wire.log) < 262_144
    assert findings(market) == []
    assert set((await market.states()).values()) == {"CONFIRMED"}
    await market.close()


async def test_a_place_that_was_given_up_is_free_again(tmp_path: Path) -> None:
    market = await open_market(tmp_path, most_participants=2)
    operator, load = Operator(market, GRID), Party(market, LOAD)
    for number in (1, 2):
        await load.join(f"m-{number}", AT_006, transaction_id=f"T-{number}")
        await operator.work()
    assert (await load.join("m-3", AT_006, transaction_id="T-3")).word == "NACK"
    assert (await load.ask("cancel", reference(), transaction_id="T-1")).word == "ACK"
    assert (await load.join("m-3", AT_006, transaction_id="T-4")).word == "ACK"
    await market.close()


# Nothing to trade


@pytest.mark.parametrize(
    ("bought", "sold"),
    [
        pytest.param(
            (("0.05", "-4"), ("0.05", "0")), (("0.09", "0"), ("0.09", "4")), id="C6: no volume"
        ),
        pytest.param(
            (("0.05", "-10"), ("0.09", "-8")),
            (("0.06", "0"), ("0.08", "4")),
            id="C7: demand above supply at every price",
        ),
    ],
)
async def test_without_volume_every_commitment_is_terminated_and_released(
    market: Market, operator: Operator, load: Party, roof: Party, bought: Points, sold: Points
) -> None:
    await committed(operator, load, "m-b", bought)
    await committed(operator, roof, "m-s", sold)
    await cleared(market, operator)
    assert [status(p.last("on_confirm")) for p in (load, roof)] == ["TERMINATED"] * 2
    assert operator.actions() == ["init", "init", "cancel"]
    assert set((await market.states()).values()) == {"TERMINATED"}
    assert (await market.session()).state == "TERMINATED"


NO_PRICE = [
    pytest.param("0", id="a surplus for nothing"),
    pytest.param("0.009999", id="below the fee, which an export would have to add"),
]


@pytest.mark.parametrize("price", NO_PRICE)
async def test_a_price_at_which_exports_would_cost_is_no_trade(
    market: Market, operator: Operator, load: Party, roof: Party, price: str
) -> None:
    await committed(operator, load, "m-b", AT_012)
    await committed(operator, roof, "m-s", ((price, "0"), (price, "5")))
    await cleared(market, operator)
    assert [status(p.last("on_confirm")) for p in (load, roof)] == ["TERMINATED"] * 2
    assert operator.actions() == ["init", "init", "cancel"]
    assert (await market.session()).state == "TERMINATED"


async def test_at_a_price_of_the_fee_an_export_brings_nothing_and_is_made(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await committed(operator, load, "m-b", AT_012)
    await committed(operator, roof, "m-s", (("0.01", "0"), ("0.01", "5")))
    await cleared(market, operator)
    assert agent(roof.last("on_confirm"))["clearingPrice"] == d("0.01")
    assert status(load.last("on_confirm")) == "ACTIVE"


@pytest.mark.parametrize("price", NO_PRICE)
async def test_without_an_operator_the_same_prices_are_no_trade(tmp_path: Path, price: str) -> None:
    market = await open_market(tmp_path, cascades=False)
    load, roof = Party(market, LOAD), Party(market, ROOF)
    await committed(None, load, "m-b", AT_012, wheeling=False)
    await committed(None, roof, "m-s", ((price, "0"), (price, "5")), wheeling=False)
    await market.close_gate()
    assert [status(p.last("on_confirm")) for p in (load, roof)] == ["TERMINATED"] * 2
    await market.close()


async def test_a_gate_at_which_nobody_is_committed_ends_the_market(
    market: Market, operator: Operator, load: Party
) -> None:
    await load.join(LOAD_METER, LOAD_CURVE)
    await operator.work()
    await cleared(market, operator)
    assert load.actions() == ["on_init"]
    trade = (await market.trades(Side.MARKET))[0]
    assert (trade.state, trade.ended) == ("TERMINATED", "LAPSED")
    assert operator.actions() == ["init", "cancel"]


async def test_who_did_not_commit_does_not_take_part(
    market: Market, operator: Operator, load: Party, roof: Party, third: Party
) -> None:
    await both_committed(operator, load, roof)
    await third.join("m-3", (("0.01", "0"), ("0.01", "10")))
    await operator.work()
    await cleared(market, operator)
    assert agent(operator.last("confirm"))["clearingPrice"] == d("0.069057")
    assert third.actions() == ["on_init"]
    assert (await market.states())[f"T-{THIRD}"] == "TERMINATED"


# Without an operator, and several markets


async def test_a_market_without_operator_confirms_by_itself(tmp_path: Path) -> None:
    market = await open_market(tmp_path, cascades=False)
    load, roof = Party(market, LOAD), Party(market, ROOF)
    await both_committed(None, load, roof)
    await market.close_gate()
    for party, power in ((load, d("-4.716981")), (roof, d("4.716981"))):
        assert powers(party.last("on_confirm")) == {party.name: power}
        assert status(party.last("on_confirm")) == "ACTIVE"
    assert findings(market) == []
    await market.close()


async def test_a_fee_of_buyers_only_is_part_of_the_contract(tmp_path: Path) -> None:
    market = await open_market(tmp_path, fee_treatment=FeeTreatment.BUYER_ONLY)
    operator, load = Operator(market, GRID), Party(market, LOAD)
    assert (await load.join(LOAD_METER, LOAD_CURVE)).code == "BIZ_PRICE_MISMATCH"
    assert operator.got == []
    await market.close()


async def test_several_markets_have_sessions_of_their_own(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await market.node.catalogue.publish(market_offer(offer_id="market-10"))
    await both_committed(operator, load, roof)
    for party, meter, points in ((load, "m-x", AT_012), (roof, "m-s", AT_006)):
        order = _of_market_10(party, meter, points)
        await party.ask("init", order, transaction_id=f"U-{party.name}")
        await operator.work()
        await party.commit(f"U-{party.name}")
    await cleared(market, operator)
    confirms = [one for one in operator.got if one["context"]["action"] == "confirm"]
    assert {powers(one)[LOAD] for one in confirms} == {d("-4.716981"), d(-4)}
    assert len({one["context"]["transaction_id"] for one in confirms}) == 2
    assert len(await market.trades(Side.MARKET_SESSION)) == 2
    assert set((await market.states()).values()) == {"CONFIRMED"}


def _of_market_10(party: Party, meter: str, points: Points) -> Order:
    order = market_init(party.name, meter, points)
    order["beckn:offers"] = [{"beckn:id": "market-10"}]
    contract(order)["contractId"] = "contract-market-10"
    return order


# Delivery


async def test_news_about_a_share_reaches_its_prosumer_alone(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await both_committed(operator, load, roof)
    await cleared(market, operator)
    market.clock.move_to("2026-03-02T09:31:00Z")
    await _report(operator, LOAD_METER, "ACTIVE", "IN_PROGRESS")
    assert status(load.last("on_status")) == "ACTIVE"
    assert "on_status" not in roof.actions()
    assert (await market.states())[f"T-{LOAD}"] == "DELIVERING"
    assert (await market.states())[f"T-{ROOF}"] == "CONFIRMED"


async def test_a_session_is_over_when_every_share_is(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await both_committed(operator, load, roof)
    await cleared(market, operator)
    market.clock.move_to("2026-03-02T10:05:00Z")
    await _report(operator, ROOF_METER, "COMPLETED", "COMPLETED")
    assert (await market.session()).state == "CONFIRMED"
    market.clock.advance(-1)  # a share is late for itself only, not for the session
    await _report(operator, LOAD_METER, "COMPLETED", "COMPLETED")
    assert (await market.session()).state == "COMPLETED"
    order = load.last("on_status")["message"]["order"]
    assert contract(order)["status"] == "COMPLETED"
    assert order["beckn:payments"][0]["beckn:status"] == "PAID"
    assert inputs(order, "MARKET_CLEARING_AGENT")["clearedPower"] == {LOAD: d("-4.716981")}


async def test_a_share_that_fails_ends_for_its_prosumer(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await both_committed(operator, load, roof)
    await cleared(market, operator)
    market.clock.move_to("2026-03-02T10:05:00Z")
    await _report(operator, ROOF_METER, "TERMINATED", "FAILED")
    assert status(roof.last("on_status")) == "TERMINATED"
    assert await market.states() == {f"T-{LOAD}": "CONFIRMED", f"T-{ROOF}": "TERMINATED"}


async def _report(operator: Operator, meter: str, status: str, state: str) -> None:
    confirm = operator.last("confirm")
    order = delivered(confirm["message"]["order"], meter, contract_status=status, state=state)
    context: dict[str, Any] = {"action": "on_status", "message_id": operator.new_id()}
    reply = await operator.post(operator.answer(confirm, order, **context))
    assert reply.word == "ACK", reply.error
    await operator.market.deliver()


# Restart


async def test_a_market_that_restarts_between_gate_and_confirm_goes_on(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await both_committed(operator, load, roof)
    market.clock.move_to(GATE)
    market.clock.advance_ms(1)
    await market.node.timers.tick()
    await market.restart()
    assert operator.actions() == ["init", "init"]
    await operator.work()
    assert status(load.last("on_confirm")) == "ACTIVE"


async def test_a_market_that_was_down_at_its_gate_clears_at_start(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await both_committed(operator, load, roof)
    market.clock.move_to(GATE)
    market.clock.advance(40)
    await market.restart()
    await market.tick()
    await operator.work()
    assert powers(load.last("on_confirm")) == {LOAD: d("-4.716981")}


async def test_a_market_that_was_down_for_too_long_gives_everybody_an_error(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await both_committed(operator, load, roof)
    market.clock.move_to(GATE)
    market.clock.advance(61)
    await market.restart()
    await market.tick()
    for party in (load, roof):
        error = party.last("on_confirm")["error"]
        assert error["code"] == "BIZ_QUOTE_EXPIRED_OR_CHANGED"
        assert "could not clear in time" in error["message"]
    assert operator.actions() == ["init", "init", "cancel"]
    assert set((await market.states()).values()) == {"TERMINATED"}


async def test_what_the_market_stores_is_read_back_as_it_was(
    market: Market, operator: Operator, load: Party, roof: Party
) -> None:
    await both_committed(operator, load, roof)
    await cleared(market, operator)
    before = await market.session()
    await market.restart()
    assert await market.session() == before
    assert strict_json.encode(before.order) == strict_json.encode((await market.session()).order)
